"""Every backward formula against the definition of the derivative, and formulas that take every kind of number."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from backproof.cases.format.layers.table import KINDS
from backproof.reference.formulas import activations as activations_by_hand
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.formulas.dense import dense_backward, dense_forward
from backproof.reference.formulas.layers import layer_backward, layer_forward
from backproof.reference.formulas.losses import loss_backward, loss_forward
from backproof.reference.numbers.balls import Balls, balls, floats, radius, working_precision
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.functions import extended_erfc as erfc_of_any_precision
from backproof.reference.numbers.precision import precision_of
from tests.trial.oracle import (
    QUOTIENT,
    Subject,
    activations,
    criteria,
    every_setting,
    name_of,
    network_of,
    outputs_for,
    prove,
    rules_of,
    targets_for,
)  # fmt: skip

BITS = 400
FLOATS = [np.float32, np.float64, np.longdouble]
LEADING = [(), (2,), (2, 3)]
POSITIONS = [(), (3,), (2, 3)]


def draw(*shapes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape) for shape in shapes]


# ---------------------------------------------------------------- the definition of the derivative


def assert_derivatives(function, arguments: list[np.ndarray], gradients) -> None:
    """gradients(*arguments) are the derivatives of the scalar function(*arguments) by each argument, to 20 digits."""
    subject = Subject(
        "", {str(i): argument for i, argument in enumerate(arguments)}, None,
        lambda numbers: function(*numbers.values()),
        lambda numbers: dict(zip(numbers, gradients(*numbers.values()), strict=True)),
    )  # fmt: skip
    assert [proof for proof in prove(subject, QUOTIENT) if not proof.agrees] == []


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize(("samples", "inputs", "units", "bias"), [(1, 1, 1, False), (3, 2, 4, True), (2, 3, 1, True)])
def test_dense(samples, inputs, units, bias, leading, positions):
    rows = (*leading, samples, *positions)
    shapes = [(*rows, inputs), (*leading, inputs, units), (*leading, units)][: 3 if bias else 2]
    *arguments, dy = draw(*shapes, (*rows, units))
    assert_derivatives(
        lambda *numbers: (dense_forward(*numbers) * dy).sum(),
        arguments,
        lambda x, *parameters: dense_backward(x, None, balls(dy), *parameters),
    )


@pytest.mark.parametrize("positions", POSITIONS[:2])
@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize("layer", activations(), ids=name_of)
def test_activation(layer, leading, positions):
    value, derivatives = rules_of(layer)
    own, of_x = [(*leading, *shape) for shape in layer.parameters((2,)).values()], (*leading, 3, *positions, 2)
    *arguments, dy = draw(of_x, *own, of_x)
    assert_derivatives(
        lambda *numbers: (value(*numbers) * dy).sum(), [3 * arguments[0], *arguments[1:]],
        lambda *numbers: derivatives(*numbers, balls(dy)),
    )  # fmt: skip


@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize("loss", criteria(), ids=name_of)
def test_loss(loss, leading):
    """With leading axes every one of the losses has its own derivative, which is also that of their sum."""
    y, t = draw((*leading, 3, 2), (*leading, 3, 2))
    y, t = outputs_for(loss, y), balls(targets_for(loss, t))
    assert_derivatives(lambda y: np.sum(loss_forward(loss, y, t)), [y], lambda y: [loss_backward(loss, y, t)])


def test_the_definition_refuses_a_derivative_that_is_wrong_by_1e_18():
    rule, back = ACTIVATIONS["tanh"]
    with working_precision(BITS):
        wrong = 1 + balls(np.array(2.0**-60))
    with pytest.raises(AssertionError):
        assert_derivatives(
            lambda x: rule(x).sum(), draw((2, 2)), lambda x: [back(x, rule(x), balls(np.ones((2, 2)))) * wrong]
        )


# ---------------------------------------------------------------- kinks


@pytest.mark.parametrize(
    "number", [*FLOATS, balls, lambda x: exact(np.asarray(x, np.float32), precision_of("float32"))]
)
def test_relu_at_and_around_its_kink(number):
    """relu'(0) = 0, as the schema says; and -0 is 0."""
    x = number(np.array([-1.0, -0.0, 0.0, 2.0**-100, 1.0]))
    rule, back = ACTIVATIONS["relu"]
    dx = back(x, rule(x), x * 0 + 5)
    assert floats(getattr(rule(x), "value", rule(x))).tolist() == [0, 0, 0, 2.0**-100, 1]
    assert floats(getattr(dx, "value", dx)).tolist() == [0, 0, 0, 5, 5]


# ---------------------------------------------------------------- every kind of number


LAYERS = [
    layer.model_copy(update={"name": f"layer{i}"})
    for i, layer in enumerate(layer for kind in KINDS.values() for layer in every_setting(kind))
]
SAMPLES, SAMPLE = 4, (2,)
NETWORKS = {layer.name: network_of(layer, SAMPLE) for layer in LAYERS if not network_of(layer, SAMPLE).misfits}


def everything(numbers: dict) -> list:
    """All results of every layer and loss for these numbers."""
    results = []
    for network in NETWORKS.values():
        *copies, _ = network.layers
        values = numbers | {copy.name: numbers[f"x{i}"] for i, copy in enumerate(copies)}
        for node in network.nodes[len(copies) :]:
            values[node.name], _ = layer_forward(node, values)
        for node in network.nodes[len(copies) :]:
            derivatives = layer_backward(node, values, values[node.name], numbers[f"dy {node.name}"])
            results += [values[node.name], *(derivative for _, derivative in derivatives)]
    for loss in criteria():
        y, t = numbers[f"y {loss.kind}"], numbers[f"t {loss.kind}"]
        results += [loss_forward(loss, y, t), loss_backward(loss, y, t)]
    return results


def shapes_of_all() -> dict[str, tuple[int, ...]]:
    """The shapes of all that is drawn."""
    shapes = {f"x{i}": (SAMPLES, *SAMPLE) for i in range(max(layer.takes for layer in LAYERS))}
    for network in NETWORKS.values():
        shapes |= network.parameters | {path: shape for path, (shape, _) in network.buffers.items()}
        shapes |= {path: (SAMPLES, *shape) for path, shape in network.masks.items()}
        shapes |= {f"dy {node.name}": (SAMPLES, *node.shape) for node in network.nodes}
    return shapes


def numbers(number, leading: tuple[int, ...] = ()) -> dict:
    shapes = shapes_of_all()
    arrays = draw(*((*leading, *shape) for shape in shapes.values()), seed=1)
    arrays = dict(zip(shapes, arrays, strict=True))
    for loss in criteria():
        arrays |= {f"y {loss.kind}": outputs_for(loss, arrays["x0"]), f"t {loss.kind}": targets_for(loss, arrays["x1"])}
    return {name: number(array) for name, array in arrays.items()}


@pytest.fixture
def extended_erfc(monkeypatch):
    """SciPy has no erfc of long double."""
    monkeypatch.setattr(activations_by_hand, "erfc", erfc_of_any_precision)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.usefixtures("extended_erfc")
def test_floats_keep_their_dtype(dtype):
    for result in everything(numbers(lambda array: array.astype(dtype))):
        assert result.dtype == dtype


def test_all_kinds_of_number_agree():
    kinds = [np.asarray, balls, lambda array: exact(array, precision_of(np.float64))]
    plain, *others = (everything(numbers(number)) for number in kinds)
    for results, kind in zip(others, (Balls, Bounded), strict=True):
        for result, desired in zip(results, plain, strict=True):
            assert isinstance(result, kind | np.longdouble)
            np.testing.assert_allclose(floats(getattr(result, "value", result)), desired, rtol=1e-13, atol=1e-15)


def test_balls_have_small_radii():
    with working_precision(BITS):
        assert max(radius(np.asarray(result).view(Balls)) for result in everything(numbers(balls))) < 1e-100


@pytest.mark.parametrize("kind", [np.asarray, balls, lambda array: exact(array, precision_of(np.float64))])
def test_leading_axes_are_a_loop(kind):
    stacked = numbers(kind, leading=(2, 3))
    for at in product(range(2), range(3)):
        alone = everything({name: array[at] for name, array in stacked.items()})
        for together, result in zip(everything(stacked), alone, strict=True):
            read = partial(getattr, together[at]) if isinstance(result, Bounded) else lambda _, x=together[at]: x
            for part in ("value", "bound") if isinstance(result, Bounded) else ("",):
                desired = getattr(result, part) if part else result
                np.testing.assert_allclose(floats(read(part)), floats(desired), rtol=1e-14, atol=1e-300)
