"""The derivative of a forward formula is that of the quotient of differences, and of the formula by hand."""

import numpy as np
import pytest
from ml_dtypes import bfloat16
from scipy.special import erfc, expit
from tests.reference.numbers.test_moves import BY_NAME, OF_TWO, SHAPE

from backproof.reference.formulas.activations import ACTIVATIONS, softmax_backward, softmax_forward
from backproof.reference.formulas.layers import dense_backward, dense_forward
from backproof.reference.numbers.balls import balls, floats, sizes, working_precision
from backproof.reference.numbers.bounded import RULES
from backproof.reference.numbers.contraction import contract
from backproof.reference.numbers.half import Half, half
from backproof.reference.numbers.moves import gather
from backproof.reference.numbers.protocol import (
    SQRT_HALF,
    elementary,
    first_largest,
    flushed_with,
    in_any_order,
    mixture,
    number_like,
    of_step,
    positive,
)
from backproof.reference.numbers.sums import mean, scatter_add
from backproof.reference.numbers.tape import DERIVATIVES, WITHOUT_DERIVATIVE, derivative
from tests.reference.numbers.test_bounded import assert_sound, draws
from tests.trial.bounds import DTYPES, budgets, given
from tests.trial.oracle import activations, name_of, rules_of

BITS, STEP = 300, 2.0**-60
PLACES = np.array([[2, -1, 0], [1, 1, -1]])
IS_LEFT = np.array([True, False, True])

FORMULAS = {
    "add": (lambda a, b: a + b, (2, 3), (3,)),
    "subtract": (lambda a, b: a - b, (2, 1), (2, 3)),
    "multiply": (lambda a, b: a * b, (3,), (2, 3)),
    "divide": (lambda a, b: a / b, (2, 3), (3,)),
    "constants": (lambda a: (0.3 - 2 * a) / 7 + 1 / a, (2, 3)),
    "matmul": (lambda a, b: a @ b, (4, 2, 3), (3, 5)),
    "power": (lambda a, b: (a * a) ** b, (2, 3), (3,)),
    "whole power": (lambda a: a**3, (2, 3)),
    "larger": (np.maximum, (2, 3), (3,)),
    "larger than a constant": (lambda a: np.maximum(a, 0.2) + np.maximum(-0.3, a), (2, 3)),
    "smaller": (np.minimum, (3,), (2, 3)),
    "smaller than a constant": (lambda a: np.minimum(a, 0.2) + np.minimum(0, a), (2, 3)),
    "sum": (lambda a: a.sum(axis=(0, 2)) * a.sum() + np.sum(a, axis=1, keepdims=True).sum(axis=(-1, -3)), (2, 3, 3)),
    "mean": (lambda a: mean(a, axis=(0, 1)) * np.mean(a), (2, 3, 4)),
    "largest": (lambda a: np.maximum.reduce(a, axis=1) + np.max(a, axis=-1, keepdims=True)[..., 0], (3, 3)),
    "negative, absolute": (lambda a: -np.abs(a), (2, 3)),
    "square, root": (lambda a: np.sqrt(np.square(a) + 1), (2, 3)),
    "exp, expm1": (lambda a: np.exp(a) * np.expm1(a), (2, 3)),
    "log, log1p": (lambda a: np.log(a * a) * np.log1p(a * a), (2, 3)),
    "tanh, expit, erfc": (lambda a: np.tanh(a) * expit(a) * erfc(a), (2, 3)),
    "sides": (lambda a: positive(a) * a + np.sign(a) * a + first_largest(a, 1) * a, (2, 3)),
    "hints": (lambda a: elementary(np.exp(a)) + in_any_order(a * a) + flushed_with(a, 1 / (1 + np.abs(a))), (2, 3)),
    "forms": (lambda a, b: mixture(a * a, b, 0.25), (2, 3), (2, 3)),
    "a number that no float holds": (lambda a: SQRT_HALF * a + number_like(a, 0.5) * a, (2, 3)),
    "a number of the step": (lambda a: of_step(a, lambda t, eta: t * eta, 4, 0.5) * a, (2, 3)),
    "contract": (lambda x, w: contract("i,io->o", x, w), (2, 4, 3), (2, 3, 5)),
    "attention": (lambda q, k: contract("bqd,bkd->bqk", q, k), (2, 4, 3), (2, 5, 3)),
    "scattered": (lambda a: scatter_add(a * a, PLACES, 4, axis=1), (2, 2, 3, 2)),
    "scattered by steps": (lambda a: scatter_add(a * a, PLACES, 4, axis=1, paired=1), (2, 3, 2)),
    "of a tree": (lambda a, b: (a * b + a) * np.tanh(a), (2, 3), (3,)),
    "joined to a constant": (lambda a: np.concatenate([a * a, np.ones((2, 1))], axis=1) ** 2, (2, 3)),
    "chosen": (lambda a: np.where(IS_LEFT, a * a, 1.5), (2, 3)),
    "not used": (lambda a, _: 2 * a, (2, 3), (3,)),
} | {
    f"moved: {name}": (lambda *x, move=move: np.square(move(*x)), *[SHAPE] * (2 if name in OF_TWO else 1))
    for name, move in BY_NAME.items()
}  # fmt: skip


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.random.default_rng(10 + place).normal(size=shape) for place, shape in enumerate(shapes)]


@pytest.mark.parametrize(("formula", "shapes"), [(f, s) for f, *s in FORMULAS.values()], ids=FORMULAS)
def test_the_derivative_is_a_quotient_of_differences(formula, shapes):
    """Along a random direction of each operand, to 30 digits."""
    with working_precision(BITS):
        operands = [balls(array) for array in arrays(*shapes)]
        y = formula(*operands)
        dy = balls(np.random.default_rng(0).normal(size=y.shape))
        found = derivative(formula)(dy, y, *operands)
        assert [cotangent.shape for cotangent in found] == shapes
        for place, cotangent in enumerate(found):
            along = balls(np.random.default_rng(place).normal(size=shapes[place]))
            ahead, behind = (
                formula(*operands[:place], operands[place] + sign * STEP * along, *operands[place + 1 :])
                for sign in (1, -1)
            )
            desired = (dy * (ahead - behind)).sum() / (2 * STEP)
            assert sizes(desired - (cotangent * along).sum()) < 1e-30


def test_every_rule_of_the_bounds_has_a_derivative():
    """But for the hints, which are tested by their names."""
    ufuncs = {key for key in RULES if key[1] != "method"}
    assert ufuncs == DERIVATIVES.keys() | {(ufunc, "__call__") for ufunc in WITHOUT_DERIVATIVE}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_its_bounds_are_sound(name, dtype):
    """Of tame numbers: a program that multiplies what is tiny and what is huge may leave the range in another order."""
    formula, *shapes = FORMULAS[name]
    random, y = np.random.default_rng(3), formula(*arrays(*shapes))
    backward = derivative(formula)
    given_arrays = draws(random, dtype, y.shape, *shapes, hostile=False)
    assert_sound(lambda dy, *operands: backward(dy, None, *operands), given_arrays, random)


# ---------------------------------------------------------------- beside the formulas by hand


@pytest.mark.parametrize("layer", activations(), ids=name_of)
def test_the_derivative_of_an_activation_is_that_by_hand(layer):
    """In float64; of the bounded numbers, each lies in the other's allowance."""
    forward, backward = rules_of(layer)
    x, *parameters, dy = arrays((4, 3), *layer.parameter_shapes(3).values(), (4, 3))
    tape = derivative(forward)
    by_hand = backward(x, *parameters, dy)
    by_hand = by_hand if isinstance(by_hand, tuple) else (by_hand,)
    for found, desired in zip(tape(dy, None, x, *parameters), by_hand, strict=True):
        np.testing.assert_allclose(found, desired, rtol=1e-9, atol=1e-12)
    bounded = [given(array) for array in (x, *parameters, dy)]
    in_hand = backward(*bounded)
    in_hand = in_hand if isinstance(in_hand, tuple) else (in_hand,)
    for found, desired in zip(tape(bounded[-1], None, *bounded[:-1]), in_hand, strict=True):
        assert budgets(found, desired.value.astype(float)).max() <= 1.01
        assert np.isfinite(found.bound).all()


def test_a_dense_layer_is_as_sharp_as_by_hand():
    """Its moves and products are the same, so the bounds are."""
    x, weight, bias, dy = (given(array) for array in arrays((4, 2), (2, 3), (3,), (4, 3)))
    found = derivative(lambda x, weight, bias: contract("ni,io->no", x, weight) + bias)(dy, None, x, weight, bias)
    for one, other in zip(found, dense_backward(x, weight, dy), strict=True):
        assert one.bound.tolist() == other.bound.tolist()
        assert one.value.tolist() == other.value.tolist()
    assert derivative(dense_forward)(dy, None, x, weight)[1].bound.tolist() == found[1].bound.tolist()


@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_halves_have_halves(dtype):
    x, dy = (half(array.astype(dtype)) for array in arrays((4, 3), (4, 3)))
    (found,) = derivative(softmax_forward)(dy, None, x)
    assert (type(found), found.dtype) == (Half, np.dtype(dtype))
    desired = softmax_backward(x, softmax_forward(x), dy)
    np.testing.assert_allclose(floats(found), floats(desired), atol=16 * float(np.finfo(np.float32).eps) * 2**16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_floats_keep_their_dtype(dtype):
    x, dy = (array.astype(dtype) for array in arrays((4, 3), (4, 3)))
    (found,) = derivative(ACTIVATIONS["tanh"][0])(dy, None, x)
    assert found.dtype == dtype


# ---------------------------------------------------------------- conventions


def test_the_convention_at_kinks():
    zero, one = np.zeros(1), np.ones(1)
    assert derivative(lambda x: np.maximum(x, 0))(one, None, zero) == (0,)
    assert derivative(lambda x: np.maximum(1, x))(one, None, one) == (0,)
    assert derivative(lambda x: np.minimum(x, 1))(one, None, one) == (0,)
    assert derivative(np.maximum)(one, None, one, one) == (0, 1)
    assert derivative(np.minimum)(one, None, one, one) == (0, 1)
    assert derivative(np.abs)(one, None, zero) == (0,)
    assert derivative(lambda x: np.max(x, axis=0))(one, None, np.ones((3, 1)))[0].tolist() == [[1], [0], [0]]


def test_the_same_kink_of_a_relu_as_by_hand():
    x, dy = given(np.array([[0.1, -0.3]])) * given([[3.0, 1.0]]), given([[1.0, 1.0]])
    (found,) = derivative(lambda x: np.maximum(x, 0))(dy, None, x)
    assert found.passed == 1
    assert found.bound.tolist() == ACTIVATIONS["relu"][1](x, None, dy).bound.tolist()


def test_what_is_not_differentiated_has_none():
    """Places, masks, and what is not there; settings go by keyword."""

    def forward(table, tokens, mask, bias, *, scale):
        rows = gather(table, tokens) * mask[..., None] * scale
        return rows if bias is None else rows + bias

    table, dy = arrays((5, 2), (3, 4, 2))
    tokens = np.random.default_rng(0).integers(0, 5, (3, 4))
    mask = tokens > 1
    found = derivative(forward)(dy, None, table, tokens, mask, None, scale=2.0)
    assert found[1:] == (None, None, None)
    np.testing.assert_allclose(found[0], scatter_add(2 * dy * mask[..., None], tokens, 5))


def test_what_has_no_derivative_is_refused():
    with pytest.raises(TypeError):
        derivative(np.sin)(np.ones(1), None, np.ones(1))
    with pytest.raises(TypeError):
        derivative(np.cumsum)(np.ones(1), None, np.ones(1))
    with pytest.raises(ValueError, match=r"largest number: expected one axis, found None"):
        derivative(np.max)(np.ones(()), None, np.ones(2))


def test_a_value_may_be_the_operand_itself_or_a_constant():
    x, dy = arrays((3,), (3,))
    assert derivative(lambda x: x)(dy, None, x)[0].tolist() == dy.tolist()
    assert derivative(np.sign)(dy, None, x)[0].tolist() == [0, 0, 0]
