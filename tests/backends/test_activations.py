"""Every activation on every backend over its whole range: tails, saturation, all magnitudes, and its kinks."""

import jax
import numpy as np
import pytest
import torch.nn.functional as F  # noqa: N812, the name everyone uses

from backproof.backends.jax_autograd import activations as of_jax
from backproof.backends.registry import DEFAULT, backend
from backproof.backends.torch_autograd import activations as of_torch
from backproof.cases.format.layers.activations import Celu, Gelu, HardSigmoid, HardTanh, LeakyRelu, Softplus
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem, materialise
from backproof.reference.formulas.activations import softsign_backward
from backproof.reference.numbers.bounded import Bounded
from backproof.report.judging.judge import judge
from tests.trial.bounds import SMALLEST_NORMAL, given
from tests.trial.oracle import activations, name_of
from tests.trial.planting import run_planted

UNITS = 6
KINKS = [-6.0, -3.0, -1.0, -0.0, 0.0, 1.0, 3.0, 6.0]


def inputs(dtype: str) -> np.ndarray:
    """Where it bends, where it is flat, and magnitudes down to 1e-30; (samples, 6)."""
    random = np.random.default_rng(0)
    small = 10 ** random.uniform(-30, 0, 1200) * random.choice([-1, 1], 1200)
    bent, flat, far = (random.uniform(-reach, reach, 1200) for reach in (8, 40, 85))
    around = np.concatenate([np.nextafter(np.array(KINKS, dtype), side) for side in np.array([-9, 9], dtype)])
    every = np.concatenate([small, bent, flat, far, KINKS, around]).astype(dtype)
    return every[: every.size // UNITS * UNITS].reshape(-1, UNITS)


def over_its_range(layer, dtype: str) -> Problem:
    """One layer behind a dense one that copies its input."""
    x = inputs(dtype).astype(float)
    slopes = {
        f"{layer.name}.{name}": np.full(shape, 0.3).tolist() for name, shape in layer.parameters((UNITS,)).items()
    }
    case = {
        "title": "an activation over its range",
        "dtypes": [dtype],
        "network": [
            {"dense": {"name": "copy", "units": UNITS, "bias": False}},
            {layer.kind: {"name": layer.name} | layer.settings | {key: getattr(layer, key) for key in layer.shaping}},
        ],
        "parameters": {"copy.weight": np.eye(UNITS).tolist(), **slopes},
        "data": {"inputs": x.tolist(), "targets": np.random.default_rng(1).normal(size=x.shape).tolist()},
        "loss": {"squared_error": {"factor": 0.3, "reduction": "sum"}},
    }  # fmt: skip
    return materialise(Case.model_validate(case), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", DEFAULT)
@pytest.mark.parametrize("layer", activations(), ids=name_of)
def test_an_activation_is_certified_over_its_range(layer, name, dtype):
    problem = over_its_range(layer, dtype)
    judgement = judge(problem, backend(name).run(problem))
    assert judgement.message == ""
    assert judgement.ledger.resolved > problem.inputs.size


def renamed(x, slope):
    """JAX's own, which calls its setting otherwise."""
    return jax.nn.leaky_relu(x, negative_slope=slope)


NOT_USED = [  # docs/frameworks.md
    ("torch", Gelu(name="a"), of_torch.gelu, F.gelu, "value"),
    ("torch", Softplus(name="a"), of_torch.softplus, F.softplus, "value"),
    ("torch", HardSigmoid(name="a"), of_torch.hard_sigmoid, F.hardsigmoid, "cotangent"),
    ("torch", Celu(name="a", alpha=0.7), of_torch.celu, F.celu, "cotangent"),
    ("jax", LeakyRelu(name="a"), of_jax.leaky_relu, renamed, "cotangent"),
    ("jax", HardTanh(name="a"), of_jax.hard_tanh, jax.nn.hard_tanh, "cotangent"),
]


@pytest.mark.parametrize(
    ("name", "layer", "used", "own", "phase"), NOT_USED, ids=lambda value: getattr(value, "kind", "")
)
def test_the_framework_s_own_function_is_refused(name, layer, used, own, phase):
    """Where the backend composes a function, the framework's own has another meaning, or wrong digits, in float64."""
    problem = over_its_range(layer, "float64")
    where = judge(problem, run_planted(problem, name, used, lambda _: own)).where
    assert (where.phase, where.tensor) == (phase, "a" if phase == "value" else "copy")


def backward_of_softsign(x: float, dy: float) -> Bounded:
    """Of one number, as it is judged."""
    return softsign_backward(given([x]), given([x / (1 + x)]), given([dy]))


def test_a_flushed_part_of_softsign_is_allowed_for():
    """Found by a random scenario: JAX flushes dy / (1 + |x|)² before it multiplies by x; dy / (1 + |x|) is left."""
    x, dy = np.float32(600), np.float32(-4e-33)
    truth = backward_of_softsign(x, dy)
    assert abs(dy / (1 + x) ** 2) < SMALLEST_NORMAL
    off = abs(dy / (1 + x) - truth.value)
    assert off <= truth.allowance < 1.1 * off


def test_no_more_than_the_flushed_part_of_softsign_is_allowed_for():
    """The smallest normal number times 1 + |x|; nothing for the division, of 0."""
    np.testing.assert_allclose(backward_of_softsign(1, 0).bound, [2 * SMALLEST_NORMAL], rtol=1e-6)
