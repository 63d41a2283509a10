"""Every loss on every backend: small and large outputs, exact fits, kinks, and each way to take a mean."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from backproof.backends.registry import DEFAULT, backend
from backproof.cases.format.losses import GaussianNll
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem, materialise
from backproof.reference.formulas.losses import loss_backward
from backproof.report.judging.judge import judge
from tests.trial.bounds import SMALLEST_NORMAL, given
from tests.trial.oracle import criteria, name_of, targets_for
from tests.trial.planting import gradients_only

SAMPLES, OUTPUTS = 400, 2


EVERY_MEAN = ("squared_error", "softmax_cross_entropy", "cosine")  # of the others one
REPRESENTATIVE = [loss for loss in criteria() if loss.kind in EVERY_MEAN or loss.reduction == "mean"]


def outputs(dtype: str) -> np.ndarray:
    """Ordinary numbers, saturated ones, magnitudes down to 1e-30, and whole numbers; (samples, 2)."""
    random, quarter = np.random.default_rng(0), SAMPLES * OUTPUTS // 4
    small = 10 ** random.uniform(-30, 0, quarter) * random.choice([-1, 1], quarter)
    ordinary, far = random.normal(size=quarter), random.uniform(-60, 60, quarter)
    return np.concatenate([small, ordinary, far, random.integers(-2, 3, quarter)]).astype(dtype).reshape(-1, OUTPUTS)


def with_loss(loss, dtype: str) -> Problem:
    """The outputs from a dense layer that copies its input, behind it a sigmoid where probabilities are asked for."""
    y = outputs(dtype)
    targets = targets_for(loss, np.round(2 * np.random.default_rng(1).normal(size=y.shape)) / 2 + 0.5)
    if loss.kind == "absolute_error":
        targets[::3] = y[::3]
    if loss.kind == "cosine":
        y, targets = (rows + (abs(rows) < 1e-9).all(axis=1, keepdims=True) for rows in (y, targets))
    if loss.kind in ("binary_cross_entropy", "poisson", "gaussian_nll"):
        y = y.clip(-8, 8)  # where exponentials make the first step a leap
    last = ["sigmoid"] if loss.kind == "binary_cross_entropy" else []
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in loss if value is not None}
    case = {
        "title": "a loss",
        "dtypes": [dtype],
        "network": [{"dense": {"name": "copy", "units": OUTPUTS, "bias": False}}, *last],
        "parameters": {"copy.weight": np.eye(OUTPUTS).tolist()},
        "data": {"inputs": y.astype(float).tolist(), "targets": targets.tolist()},
        "loss": {loss.kind: settings},
        "training": {"epochs": 1, "batch": {"size": 7}, "optimizer": {"sgd": {"learning_rate": 1e-9}}},
    }
    return materialise(Case.model_validate(case), dtype)


@pytest.mark.parametrize(("name", "dtype"), [*product(("numpy", "torch"), ("float64", "float32")), ("jax", "float32")])
@pytest.mark.parametrize("loss", REPRESENTATIVE, ids=name_of)
def test_a_loss_is_certified(loss, name, dtype):
    """JAX takes a second to compile each; in float64 it runs the cases."""
    problem = with_loss(loss, dtype)
    judgement = judge(problem, backend(name).run(problem))
    assert judgement.message == ""
    assert judgement.ledger.resolved > problem.inputs.size


@pytest.mark.parametrize(("reduction", "number"), [("sum", 1), ("batch_mean", 3), ("mean", 6)])
def test_a_flushed_part_of_the_gaussian_derivative_is_allowed_for(reduction, number):
    """Found by a random scenario: JAX multiplies factor / 2 and exp(-s) first, which it flushes, and then m - t."""
    loss = GaussianNll(factor=0.136, reduction=reduction)
    share = loss.factor / (2 * number)
    s = math.log(share / (0.95 * SMALLEST_NORMAL))
    y, t = (np.array([row] * 3, np.float32) for row in ([77, 78, s, s], [1, 1]))
    truth = loss_backward(loss, given(y), given(t))
    means, allowance = truth.value[:, :2], truth.allowance[:, :2]
    assert share * math.exp(-y[0, 2]) < SMALLEST_NORMAL < means.min()
    assert (allowance >= means).all()
    assert (allowance < 1.2 * means).all()


def saturated(dtype: str, targets: list[float]) -> Problem:
    """Sigmoids whose values are all but 0, all but 1, and in every dtype 0 or 1, with a target each."""
    case = {
        "title": "saturated",
        "dtypes": [dtype],
        "network": [{"dense": {"name": "copy", "units": 6, "bias": False}}, "sigmoid"],
        "parameters": {"copy.weight": [[-50, -5, 0, 5, 40, 800]]},
        "data": {"inputs": [[1]], "targets": [targets]},
        "loss": {"binary_cross_entropy": {"factor": 1, "reduction": "mean"}},
        "training": {"steps": 2, "optimizer": {"sgd": {"learning_rate": 0.1}}},
    }
    return materialise(Case.model_validate(case), dtype)


@pytest.mark.parametrize("name", DEFAULT)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("targets", [[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [1, 0.3, 0.5, 1.5, 1, 1]])
def test_a_saturated_cross_entropy_is_judged(name, dtype, targets):
    """Where the class is the certain one, 0 log 0 = 0 and its derivative is that of the other term; end to end too."""
    problem = saturated(dtype, targets)
    run = backend(name).run(problem)
    assert run.values["sigmoid1"][0, 0, -1] == 1
    np.testing.assert_allclose(run.cotangents["sigmoid1"][0, 0, -1], -1 / 6, rtol=1e-6)
    for scope in (run, gradients_only(problem, run)):
        assert judge(problem, scope).message == ""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_clamping_makes_of_a_saturated_cross_entropy_is_refused(dtype):
    """torch's own derivative is 0 at y = t = 1, where -1 / y is -1; one of 0 log 0 in floats is NaN."""
    problem = saturated(dtype, [1] * 6)
    run = backend("numpy").run(problem)
    for wrong in (0, np.nan):
        cotangents = run.cotangents | {"sigmoid1": run.cotangents["sigmoid1"].copy()}
        cotangents["sigmoid1"][0, 0, -1] = wrong
        where = judge(problem, replace(run, cotangents=cotangents)).where
        assert (where.phase, where.tensor, where.index) == ("cotangent", "sigmoid1", (0, 5))


def test_a_certain_class_that_is_the_wrong_one_is_out_of_range():
    """-log 0 is infinite."""
    problem = saturated("float32", [1, 1, 1, 1, 1, 0])
    assert judge(problem, backend("numpy").run(problem)).verdict == "out of range"
