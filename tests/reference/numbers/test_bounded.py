"""Bounded arrays allow every correct program, enclose the exact result, and refuse what is wrong by 0.1 %."""

from functools import partial
from itertools import permutations, product

import numpy as np
import pytest
from ml_dtypes import bfloat16, finfo
from numpy.random import Generator
from scipy.special import erfc, expit

from backproof.cases.format.layers.activations import Identity, Relu, Sigmoid, Tanh
from backproof.cases.format.layers.dense import Dense
from backproof.cases.format.losses import L1, L2, SquaredError
from backproof.cases.format.network import Network
from backproof.cases.format.optimizers import Adam, Asgd, Nadam, Norm, Radam, Sgd, Value
from backproof.cases.problem import Problem
from backproof.reference.formulas.activations import ACTIVATIONS, tanh_backward
from backproof.reference.formulas.combining import dropout_forward, skip_backward, skip_forward
from backproof.reference.formulas.dense import dense_backward, dense_forward
from backproof.reference.formulas.losses import loss_backward, loss_forward, penalty_backward, penalty_forward
from backproof.reference.formulas.optimizers import at_rate, clipped, update
from backproof.reference.numbers.balls import balls, sizes, working_precision
from backproof.reference.numbers.bounded import RULES, Bounded, exact, rounded_to
from backproof.reference.numbers.precision import Precision, precision_of
from backproof.reference.numbers.protocol import elementary, of_step
from backproof.reference.numbers.rules import Result
from backproof.reference.training import backward, forward, train
from tests.backends.test_optimizers import OPTIMIZERS
from tests.trial.bounds import DTYPES, SMALLEST_NORMAL, WIDE_DTYPES, budgets, given
from tests.trial.oracle import activations, criteria, name_of, outputs_for, rules_of, targets_for
from tests.trial.worst import Arithmetic, Program

# ---------------------------------------------------------------- what is claimed


def flat(result) -> list:
    """The numbers of a result that may be nested, in order."""
    if isinstance(result, dict):
        result = tuple(result.values())
    return [leaf for part in result for leaf in flat(part)] if isinstance(result, tuple) else [result]


def assert_encloses(bounded: Bounded, proved) -> None:
    """value ± truth_bound holds the exact result, which a ball of 300 bits proves."""
    with working_precision(300), np.errstate(all="ignore"):
        distance = sizes(balls(bounded.value) - proved)
    outside = (distance > bounded.truth_bound) & np.isfinite(bounded.bound)
    assert not outside.any(), (distance[outside], bounded.truth_bound[outside])


def assert_sound(formula, arrays: list, random: Generator) -> None:
    """The bounds of a formula hold the exact result and every program's, however it rounds."""
    precision = precision_of(arrays[0].dtype)
    results = flat(formula(*(exact(array, precision) for array in arrays)))
    with working_precision(300):
        proved = flat(formula(*map(balls, arrays)))
    for bounded, ball in zip(results, proved, strict=True):
        assert_encloses(bounded, ball)
    for way in ("nearest", "up", "down", "either"):
        arithmetic = Arithmetic(arrays[0].dtype, way, random)
        with np.errstate(all="ignore"):
            actual = flat(formula(*(Program(array, arithmetic) for array in arrays)))
        for bounded, numbers in zip(results, actual, strict=True):
            assert budgets(bounded, numbers.values).max() <= 1, way


def draws(random: Generator, dtype, *shapes: tuple[int, ...], hostile: bool = True) -> list[np.ndarray]:
    """Arrays of ordinary numbers, or of magnitudes 1e-30 to 1e30, zeros, subnormals, pairs that cancel, saturation."""
    largest = float(finfo(dtype).max)
    drawn = [_hostile(random, shape) if hostile else random.normal(size=shape) for shape in shapes]
    return [np.clip(numbers, -largest, largest).astype(dtype) for numbers in drawn]


def _hostile(random: Generator, shape: tuple[int, ...]) -> np.ndarray:
    wide = 10 ** random.uniform(-30, 30, shape)
    tame = random.normal(size=shape)
    special = random.choice([0.0, 1e-40, -1e-42, 4e-310, 1.0, 50.0, -50.0, 800.0, -800.0, 1e8, SMALLEST_NORMAL], shape)
    numbers = np.choose(random.integers(0, 4, shape), [wide, tame, tame, special]) * random.choice([-1, 1], shape)
    if len(shape) and shape[-1] > 1:
        numbers[..., -1] = np.where(random.random(shape[:-1]) < 0.5, -numbers[..., 0], numbers[..., -1])
    return numbers


# ---------------------------------------------------------------- every formula


def own_shapes(layer) -> list[tuple[int, ...]]:
    return [(LAYER[0], *shape) for shape in layer.parameters(LAYER[-1:]).values()]


MEAN = SquaredError(factor=0.3, reduction="mean")
LAYER, COLUMN, ROW = (2, 4, 3), (2, 3, 5), (2, 5)
POSITIONS = (2, 2, 2, 3)
AXES = {"a.weight": (-2, -1), "a.bias": (-1,)}


def back_through_dense(x, dy, *parameters) -> tuple:
    return dense_backward(x, None, dy, *parameters)


FORMULAS = {
    "dense": (dense_forward, LAYER, COLUMN),
    "dense with bias": (dense_forward, LAYER, COLUMN, ROW),
    "dense with positions": (dense_forward, POSITIONS, COLUMN, ROW),
    "dense backward": (back_through_dense, LAYER, (2, 4, 5), COLUMN),
    "dense backward with positions": (back_through_dense, POSITIONS, (2, 2, 2, 5), COLUMN, ROW),
    "skip": (skip_forward, LAYER, LAYER),
    "skip backward": (lambda dy: skip_backward(None, None, None, dy), LAYER),
    "square root": (lambda x: np.sqrt(np.square(x)), LAYER),
    "sgd": (lambda w, g: update(Sgd(learning_rate=0.1), {"w": w}, {"w": g}, {}, 0)[0], LAYER, LAYER),
    "division": (np.divide, LAYER, LAYER),
    **{name_of(layer): (rules_of(layer)[0], LAYER, *own_shapes(layer)) for layer in activations()},
    **{f"{name_of(layer)} backward": (rules_of(layer)[1], LAYER, *own_shapes(layer), LAYER) for layer in activations()},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", criteria(), ids=name_of)
def test_every_loss_is_sound(loss, dtype):
    random = np.random.default_rng(len(loss.kind))
    for trial in range(12):
        y, t = draws(random, dtype, (2, 4, 2), (2, 4, 2), hostile=trial % 3 > 0)
        y, t = outputs_for(loss, y).astype(dtype), targets_for(loss, t).astype(dtype)
        assert_sound(partial(loss_forward, loss), [y, t], random)
        assert_sound(partial(loss_backward, loss), [y, t], random)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_every_formula_is_sound(name, dtype):
    random = np.random.default_rng(list(FORMULAS).index(name))
    formula, *shapes = FORMULAS[name]
    for trial in range(12):
        assert_sound(formula, draws(random, dtype, *shapes, hostile=trial % 3 > 0), random)


POSITIVE = ("accumulator", "mean_square", "second_moment", "largest_second_moment", "infinity_norm", "step_size")
SHARES = ("momentum_product",)
LATER = (0, 1, 6, 2000)


def state_for(name: str, numbers: np.ndarray) -> np.ndarray:
    """Numbers that an optimizer may remember under this name; of a mean square so large that no variance is below 0."""
    numbers = np.abs(numbers) if name.startswith(POSITIVE) else numbers
    if name == "mean_square":
        return numbers + 9
    return numbers / (1 + np.abs(numbers)) if name in SHARES else numbers


ONE_OF_EACH = {optimizer.kind: optimizer for optimizer in OPTIMIZERS}.values()


@pytest.mark.parametrize(
    ("optimizer", "dtype"), [*product(OPTIMIZERS, WIDE_DTYPES), *product(ONE_OF_EACH, (np.float16, bfloat16))],
    ids=lambda part: getattr(part, "__name__", None) or name_of(part),
)  # fmt: skip
def test_every_optimizer_is_sound(optimizer, dtype):
    """At the first steps, whose corrections are known least, and late ones; by the learning rate of a schedule too."""
    random = np.random.default_rng(len(optimizer.kind))
    for trial, step in enumerate(LATER * 3):
        scheduled = optimizer if trial % 2 or optimizer.kind in ("asgd", "rprop") else at_rate(optimizer, 1 / 3)

        def formula(w, g, *memory, optimizer=scheduled, step=step):
            state = {f"{name}/w": value for name, value in zip(optimizer.state, memory, strict=True)}
            return update(optimizer, {"w": w}, {"w": g}, state, step)

        w, g, *memory = draws(random, dtype, *[(4, 3)] * (2 + len(optimizer.state)), hostile=trial % 3 > 0)
        with np.errstate(over="ignore"):
            memory = [state_for(name, numbers) for name, numbers in zip(optimizer.state, memory, strict=True)]
        assert_sound(formula, [w, g, *memory], random)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clip", [Norm(maximum=0.7), Norm(maximum=0.7, epsilon=1e-6), Value(maximum=0.3)], ids=name_of)
def test_clipping_is_sound(clip, dtype):
    """Also where the norm is the maximum but for its rounding."""
    random = np.random.default_rng(5)
    for trial in range(12):
        weight, bias = draws(random, dtype, (2, 4, 3), (2, 3), hostile=trial % 3 > 0)
        if trial % 2:
            with np.errstate(all="ignore"):
                size = np.sqrt(np.square(weight).sum(axis=(-2, -1)) + np.square(bias).sum(axis=-1))
                weight, bias = ((dtype(0.7) * part.T / size).T.astype(dtype) for part in (weight, bias))
            weight, bias = (np.nan_to_num(part, posinf=0, neginf=0) for part in (weight, bias))
        assert_sound(lambda w, b: clipped(clip, {"a.weight": w, "a.bias": b}, AXES), [weight, bias], random)


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_are_sound(dtype):
    random, paths = np.random.default_rng(6), tuple(AXES)
    penalties = L1(coefficient=0.3, parameters=paths), L2(coefficient=0.7, parameters=paths)
    for trial in range(12):
        arrays = draws(random, dtype, (2, 4, 3), (2, 3), hostile=trial % 3 > 0)
        assert_sound(lambda *w: penalty_forward(penalties, dict(zip(AXES, w, strict=True)), AXES), arrays, random)
        assert_sound(lambda *w: sum(penalty_backward(penalties, "a.weight", w[0])), arrays, random)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.99])
def test_dropout_is_sound_in_any_order(rate, dtype):
    """1 / (1 - rate) may be a factor of the mask, or of the values before or behind it, rounded before or after."""
    random = np.random.default_rng(7)
    mask = (random.random((4, 3)) < 0.5).astype(dtype)
    for trial in range(12):
        (x,) = draws(random, dtype, (4, 3), hostile=trial % 3 > 0 and dtype is not np.float16)
        assert_sound(lambda x: dropout_forward(x, mask.astype(float), rate), [x], random)
        bounded = dropout_forward(given(x, dtype), mask.astype(float), rate)
        for keep in (dtype(1 - rate), *([dtype(1) - dtype(rate)] if dtype in WIDE_DTYPES else [])):
            with np.errstate(all="ignore"):
                recip = dtype(1) / keep
                others = (mask / keep) * x, x * recip * mask, x / keep * mask, x * mask / keep, x * mask * recip
            for actual in others:
                assert budgets(bounded, actual).max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.25, 0.5, 1, 1.5, 3, 40])
def test_every_power_is_sound(exponent, dtype):
    """Of uncertain numbers too, whose uncertainty is what one operation leaves, or a tenth of the number."""
    random = np.random.default_rng(8)
    for trial in range(6):
        (x,) = draws(random, dtype, (5, 4), hostile=trial % 3 > 0)
        x = np.abs(x) + dtype(0.01)
        assert_sound(lambda x: (x * 0.7) ** exponent, [x], random)
        if dtype in WIDE_DTYPES:  # where no product of these is a whole power
            assert_sound(lambda x: 0.96 ** (x * exponent), [np.minimum(x, dtype(99.73))], random)
    value = np.abs(random.normal(size=50)) + 0.1
    for bound in (1e-3, 0.1, 0.9):
        power = Bounded(value, bound * value, precision_of(np.dtype(np.float32))) ** exponent
        for end in (value * (1 - bound), value * (1 + bound)):
            assert (np.abs(end**exponent - value**exponent) <= power.bound).all()


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_a_number_of_the_step_is_computed_in_float64_and_rounded_once(dtype):
    """Of float32 it is known to half an ulp or so, however large the step."""
    steps = np.arange(1.0, 40_000, 997)
    of_asgd = of_step(given(0.0, dtype), lambda t, eta, decay: eta / (1 + decay * (t - 1)) ** 0.75, steps, 0.1, 0.3)
    exactly = 0.1 / (1 + np.longdouble(0.3) * (steps - 1)) ** np.longdouble(0.75)
    known = of_asgd.allowance / of_asgd.magnitude
    assert (np.abs(exactly - of_asgd.value) <= of_asgd.truth_bound + 1e-15 * exactly).all()
    assert known.max() < (1.1 * 2.0**-24 if dtype is np.float32 else 64 * 2.0**-53)
    for wrong in (1 + 4 * np.finfo(dtype).eps, 1 - 4 * np.finfo(dtype).eps):
        used = budgets(of_asgd, (exactly * wrong).astype(dtype))
        assert dtype is np.float64 or (used > 1).all()


def test_a_number_of_the_step_is_not_rounded_again_in_float64():
    assert given(0.0, np.float64).in_float64(lambda t: t, 3.0).bound == 0


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_a_number_of_the_step_widens_no_float(dtype):
    """One of a single step is a float of Python; of many steps there is an array."""
    x = np.ones(3, dtype)
    assert (x * of_step(x, lambda t, eta: np.sqrt(t) * eta, 4, 0.5)).dtype == dtype
    assert of_step(x, lambda t, eta: t * eta, np.array([4, 2]), 0.5).tolist() == [2, 1]


@pytest.mark.parametrize(
    "optimizer", [Asgd(learning_rate=0.1, lambd=0.1), Adam(learning_rate=0.1), Nadam(learning_rate=0.1),
                  Radam(learning_rate=0.1)], ids=name_of,
)  # fmt: skip
@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_an_update_that_is_wrong_by_a_millionth_part_of_its_step_is_refused(optimizer, dtype):
    """In float32 by a hundredth part: near the first step 1 - beta2^t is known to a ten-thousandth only."""
    random, wrong = np.random.default_rng(9), 1e-2 if dtype is np.float32 else 1e-6
    w, g, *memory = draws(random, dtype, *[(4, 3)] * (2 + len(optimizer.state)), hostile=False)
    w, memory = 0.1 * w, [state_for(name, numbers) for name, numbers in zip(optimizer.state, memory, strict=True)]
    memory = [numbers.astype(dtype) for numbers in memory]
    for step in (0, 6, 100):
        state = {f"{name}/w": numbers for name, numbers in zip(optimizer.state, memory, strict=True)}
        bounded = update(optimizer, {"w": given(w, dtype)}, {"w": given(g, dtype)},
                         {name: given(numbers, dtype) for name, numbers in state.items()}, step)[0]["w"]  # fmt: skip
        right = update(optimizer, {"w": w}, {"w": g}, state, step)[0]["w"]
        assert budgets(bounded, right).max() <= 1
        assert (budgets(bounded, w + (right - w) * dtype(1 + wrong)) > 1).all()


def network(depth: int, kinds: tuple) -> Network:
    """Dense layers of 3 units, each followed by an activation."""
    pairs = [(Dense(name=f"d{i}", units=3), kinds[i % len(kinds)](name=f"a{i}")) for i in range(depth)]
    return Network((layer for pair in pairs for layer in pair), (3,))


def whole_backprop(network: Network, x, t, *parameters):
    """The output and all gradients, from the parameters alone."""
    numbers = dict(zip(network.parameters, parameters, strict=True))
    values, _ = forward(network.nodes, numbers, x)
    output = values[network.output]
    return output, backward(network.nodes, numbers, values, loss_backward(MEAN, output, t))[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [1, 2, 4, 6])
@pytest.mark.parametrize("kinds", [(Tanh,), (Sigmoid,), (Relu,), (Identity,), (Relu, Sigmoid, Tanh)])
def test_a_whole_backprop_is_sound_end_to_end(kinds, depth, dtype):
    random = np.random.default_rng(depth)
    shapes = [(2, 3), (2, 3), *[(3, 3), (3,)] * depth]
    for scale in (1, 30):
        arrays = [scale * array for array in draws(random, dtype, *shapes, hostile=False)]
        assert_sound(partial(whole_backprop, network(depth, kinds)), arrays, random)


# ---------------------------------------------------------------- the traps


def test_terms_that_cancel_in_every_order():
    """1e8 - 1e8 + 1 is 0 or 1 in float32; both are right, and 1000 is not."""
    terms = np.array([1e8, -1e8, 1.0], np.float32)
    bounded, product = given(terms).sum(axis=-1), given(terms[None]) @ given(np.ones((3, 1)))
    totals = {float(np.float32(a + b) + c) for a, b, c in permutations(terms)}
    assert totals == {0.0, 1.0}
    for total in totals:
        assert budgets(bounded, np.float32(total)) <= 1
        assert budgets(product, np.float32([[total]])).max() <= 1
    assert budgets(bounded, np.float32(1000)) > 1


def test_a_division_by_the_reciprocal():
    a, b = np.float32(169), np.float32(13)
    by_reciprocal = a * (np.float32(1) / b)
    assert by_reciprocal != a / b
    assert budgets(given(a) / given(b), by_reciprocal) <= 1
    assert budgets(given(a) / given(b), a / b * np.float32(1 + 5e-7)) > 1


def test_one_minus_a_constant_that_is_rounded():
    """0.999 in float32 makes 1 - 0.999 wrong by 1.3e-5 of itself: what optax computes is right for float32."""
    bounded = 1 - given(1.0) * 0.999
    assert budgets(bounded, np.float32(0.0009999871253967285)) <= 1
    assert budgets(bounded, np.float32(0.00102)) > 1


def test_a_large_integer_is_a_rounded_constant():
    """float32 does not hold 16777217."""
    assert budgets(given(16777218.0) - 16777217.0, np.float32(2)) <= 1
    assert budgets(given(16777216.0) - 16777215.0, np.float32(2)) > 1


def test_a_subnormal_constant_may_be_flushed():
    assert budgets(given(1e30) * 1e-40, np.float32(0)) <= 1
    assert budgets(given(1e30) * 1e-36, np.float32(0)) > 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "x"), [("tanh", 50.0), ("tanh", -50.0), ("sigmoid", 50.0), ("sigmoid", 800.0), ("sigmoid", -800.0)]
)
def test_saturation(kind, dtype, x):
    """A saturated derivative may vanish, by either formula; the value may not be off by 1e-5, or 40 roundings."""
    rule, back = ACTIVATIONS[kind]
    x = np.array([x], dtype)
    derivative = back(given(x, dtype), rule(given(x, dtype)), given([1.0], dtype))
    for actual in (np.zeros(1, dtype), back(x, rule(x), np.ones(1, dtype)), elsewhere(kind, x)):
        assert budgets(derivative, actual) <= 1
    assert budgets(rule(given(x, dtype)), rule(x)) <= 1
    assert budgets(rule(given(x, dtype)), rule(x) + max(1e-5, 20 * float(finfo(dtype).eps))) > 1


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_a_sigmoid_near_zero_is_not_saturated(dtype):
    """At -50 sigmoid and its derivative are 2e-22, and both are resolved."""
    x = np.array([-50.0], dtype)
    y = expit(given(x, dtype))
    for bounded in (y, ACTIVATIONS["sigmoid"][1](x, y, given([1.0], dtype))):
        assert bounded.allowance < 1e-4 * bounded.magnitude


def elsewhere(kind: str, x: np.ndarray) -> np.ndarray:
    """The derivative of an S-shaped function by its other formula."""
    with np.errstate(over="ignore"):
        return expit(x) * expit(-x) if kind == "sigmoid" else 1 / np.cosh(x) ** 2


def test_a_bias_that_is_summed_first():
    products, bias = np.full((1, 1000), 1e-4, np.float32), np.float32(1e4)
    total = bias
    for term in products[0]:
        total += term
    bounded = dense_forward(given(products), given(np.ones((1000, 1))), given([bias]))
    assert total == bias, "every product is lost"
    assert budgets(bounded, total) <= 1


@pytest.mark.parametrize("dtype", [*WIDE_DTYPES, bfloat16])
def test_subnormal_operands_and_results_may_be_flushed(dtype):
    tiny = np.array([finfo(dtype).smallest_normal / 8], dtype)
    ordinary, small = np.array([0.3], dtype), np.array([finfo(dtype).smallest_normal], dtype)
    for bounded in (given(tiny, dtype) * given([1e10], dtype), given(small, dtype) * given(ordinary, dtype)):
        assert budgets(bounded, np.zeros(1, dtype)) <= 1
    assert budgets(np.heaviside(given(tiny, dtype), 0), np.zeros(1, dtype)) <= 1
    assert budgets(given(ordinary, dtype) * given(ordinary, dtype), np.zeros(1, dtype)) > 1


def test_a_float16_is_not_flushed():
    """It is rounded to the nearest multiple of 2⁻²⁴, and its sign is known."""
    tiny = np.array([2.0**-24, 2.0**-20], np.float16)
    assert (given(tiny, np.float16).bound == 0).all()
    assert budgets(np.heaviside(given(tiny, np.float16), 0), np.ones(2)).max() <= 1
    assert (budgets(given(tiny, np.float16) * given([64.0], np.float16), np.zeros(2)) > 1).all()
    halved = given(tiny, np.float16) * given([0.5], np.float16)
    assert budgets(halved, np.array([0, 2.0**-21])).max() <= 1
    assert budgets(halved, np.array([2.0**-24, 2.0**-21])).max() <= 1
    assert (budgets(halved, np.array([2.0**-22, 2.0**-20])) > 1).all()


def test_a_float16_sum_may_leave_the_range_on_the_way():
    """It is added up in float32."""
    terms = np.array([6e4, 6e4, -6e4], np.float16)
    assert given(terms, np.float16).sum(axis=-1).bound < np.inf
    assert given(terms[:2], np.float16).sum(axis=-1).bound == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "overflow",
    [
        lambda x: x * x, lambda x: (x + x).sum(axis=-1), lambda x: x[:2].sum(axis=-1), lambda x: x[None] @ x[:, None],
        lambda x: 1 / (x - x), np.square,
    ],
)  # fmt: skip
def test_overflow_has_an_infinite_bound(overflow, dtype):
    largest = finfo(dtype).max
    bounded = overflow(given([0.9 * largest, 0.9 * largest, -0.9 * largest], dtype))
    assert (bounded.bound == np.inf).all()


def test_nan_is_never_within():
    bounded = given([1.0, np.nan]) * 2
    used = (np.abs(np.array([np.nan, 2.0]) - bounded.value) + bounded.truth_bound) / bounded.allowance
    assert not (used <= 1).any()


def test_what_has_no_rule_is_refused():
    with pytest.raises(TypeError):
        np.sin(given([1.0]))
    with pytest.raises(TypeError):
        np.multiply.reduce(given([1.0]))


def test_what_is_copied_has_no_allowance():
    assert given([1.0, 0.0, -3.0]).allowance.tolist() == [0, 0, 0]


def test_the_exact_result_is_enclosed_where_the_bound_is_cut_off():
    """Ahead of tanh, terms that cancel have left nothing certain: then nothing of the truth is claimed either."""
    row, column = np.array([[1, 1e10, -1e10]], np.float32), np.array([[0.3], [1], [1]], np.float32)
    bounded = np.tanh(given(row) @ given(column))
    with working_precision(300):
        assert_encloses(bounded, np.tanh(balls(row) @ balls(column)))
    assert (bounded.truth_bound < 2).all()


def test_the_exact_result_is_enclosed_on_either_side_of_a_kink():
    """The exact sum is 1, its float64 value 0: which side of relu it is on is not known."""
    row = np.array([[1e20, 1, -1e20]], np.float32)
    bounded = np.heaviside(given(row) @ given(np.ones((3, 1))), 0)
    for truth in (0, 1):
        assert_encloses(bounded, balls(np.array([[truth]], np.float32)))
        assert budgets(bounded, np.array([[truth]], np.float32)) <= 1


# ---------------------------------------------------------------- tests of the test


ONE_ROUNDING = {
    np.tanh: (np.tanh, 1),
    expit: (expit, 1),
    "elementary": (elementary, 1),
    np.multiply: (np.multiply, 2),
    np.subtract: (np.subtract, 2),
    np.divide: (np.divide, 2),
    np.square: (np.square, 1),
    np.add: (lambda a, b: a + (1 - b), 2),  # a difference of numbers that are close would be exact
    np.matmul: (lambda a, b: a[:, None] @ b[None], 2),
}


@pytest.mark.parametrize("what", ONE_ROUNDING, ids=str)
def test_a_rule_that_is_a_thousandth_too_narrow_is_refused(what, monkeypatch):
    formula, operands = ONE_ROUNDING[what]
    key = what, "method" if what == "elementary" else "__call__"
    random, rule = np.random.default_rng(1), RULES[key]
    arrays = [np.float32(random.uniform(1, 2, 50) * sign) for sign in (1, -1)[:operands]]

    def narrower(*arguments) -> Result:
        result = rule(*arguments)
        return Result(result.value, result.bound * 0.999)

    assert_sound(formula, arrays, random)
    monkeypatch.setitem(RULES, key, narrower)
    with pytest.raises(AssertionError):
        assert_sound(formula, arrays, random)


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_a_formula_that_is_wrong_by_a_thousandth_is_refused(dtype):
    random = np.random.default_rng(2)
    x, dy = draws(random, dtype, (50,), (50,), hostile=False)
    bounded = tanh_backward(given(x, dtype), np.tanh(given(x, dtype)), given(dy, dtype))
    assert budgets(bounded, tanh_backward(x, np.tanh(x), dy)).max() <= 1
    assert (budgets(bounded, tanh_backward(x, np.tanh(x), dy) * dtype(1.001)) > 1).all()


# ---------------------------------------------------------------- where long double is no wider


@pytest.fixture
def without_long_double(monkeypatch) -> Precision:
    """What a platform computes with whose long double is float64."""
    monkeypatch.setattr(np, "longdouble", np.float64)
    precision = precision_of(np.dtype(np.float64))
    monkeypatch.undo()
    assert precision.wider is balls
    return precision


@pytest.mark.parametrize("wrong", [1, 1 + 1e-6])
def test_balls_in_place_of_long_double_give_the_same_verdict(without_long_double, wrong):
    random = np.random.default_rng(3)
    arrays = draws(random, np.float64, (2, 3), (2, 3), *[(3, 3), (3,)] * 2, hostile=False)
    formula = partial(whole_backprop, network(2, (Tanh, Relu)))
    actual = [wrong * numbers for numbers in flat(formula(*arrays))]
    with working_precision(128):
        used = [
            [budgets(bounded, numbers).max() for bounded, numbers in zip(flat(results), actual, strict=True)]
            for precision in (precision_of(np.dtype(np.float64)), without_long_double)
            for results in [formula(*(exact(array, precision) for array in arrays))]
        ]
    np.testing.assert_allclose(*used, rtol=0.01, atol=1e-3)
    assert [budget <= 1 for budget in used[0]] == [wrong == 1] * len(actual)


def test_the_complementary_error_function_of_balls_is_one(without_long_double):
    """It is not cut to the floats that there are."""
    with working_precision(128):
        values = erfc(exact(np.array([0.3]), without_long_double)).value
        assert sizes(values - erfc(balls(np.array([0.3])))).max() < 2.0**-120


def test_as_much_is_claimed_of_balls_as_of_an_extended_precision(without_long_double):
    assert without_long_double.wider_u == 2.0**-64


def test_a_kink_that_no_precision_decides(without_long_double):
    """tanh 0.3 - tanh 0.3 is 0, and its ball never proves it: either side of relu is within, and encloses the truth."""
    with working_precision(128):
        values = np.tanh(exact(np.full((1, 2), 0.3), without_long_double))
        gate = np.heaviside(values @ exact(np.array([[1.0], [-1.0]]), without_long_double), 0) * 0.1
        for side in (0.0, 0.1):
            assert budgets(gate, np.full((1, 1), side)).max() <= 1
            assert_encloses(gate, balls(np.full((1, 1), side)))


def test_a_long_run_uses_at_most_its_allowance_at_every_step():
    """300 float32 steps of a relu network, each judged from its own numbers."""
    random = np.random.default_rng(4)
    graph = network(2, (Relu, Identity))
    shapes = graph.parameters
    inputs, targets, *parameters = draws(random, np.float32, (8, 3), (8, 3), *shapes.values(), hostile=False)
    problem = Problem(
        "run", np.dtype(np.float32), graph.layers, MEAN, Sgd(learning_rate=0.1),
        dict(zip(shapes, parameters, strict=True)),
        inputs, targets, batches=np.tile(np.arange(8), (300, 1)), recorded=np.arange(300), trained=tuple(shapes),
    )  # fmt: skip
    for step in train(problem):
        before = {path: given(values) for path, values in step.before.items()}
        after, _ = update(problem.optimizer, before, {path: given(g) for path, g in step.gradients.items()}, {}, 0)
        assert max(budgets(after[path], step.after[path]).max() for path in after) <= 1
        assert all((step.after[path] != step.before[path]).any() for path in after)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sign_costs_nothing(dtype):
    """Negation is exact, and has a rule: whoever changes a sign in a formula gets a verdict, not an error."""
    x = exact(np.array([1.5, -2.0], dtype), precision_of(dtype))
    assert (-x).value.tolist() == [-1.5, 2.0]
    assert (-(x * x)).bound.tolist() == (x * x).bound.tolist()


@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_a_number_of_float32_is_rounded_once_to_16_bits(dtype):
    """To its own bound comes u |value|, or nothing where every program finds a number of the dtype."""
    single, half = precision_of(np.dtype(np.float32)), precision_of(np.dtype(dtype))
    given = exact(np.array([1.5, 1.23456, 0.0, 1e6], np.float32), single)
    there, between, zero, large = rounded_to(given, half).bound
    assert there == zero == 0
    assert half.u * 1.23456 <= between < 1.001 * half.u * 1.23456 + half.smallest
    assert np.isinf(large) == (dtype == np.float16)
    computed = rounded_to(given * given, half).bound
    assert (computed[:2] >= (given * given).bound[:2] + half.u * np.square([1.5, 1.23456])).all()
    assert rounded_to(given, single) is given
