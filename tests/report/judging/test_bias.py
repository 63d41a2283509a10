"""Independent roundings lean to no side; a program that truncates does, though each of its numbers is certified."""

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.judging.bias import Bias, SignedErrors, largest_bias
from backproof.report.judging.judge import judge

BY_CHANCE = 6  # standard deviations that no tensor of a small case comes near to


def adam(truncates: bool):  # noqa: FBT001
    """Adam in float64, and every number rounded to float32: to the nearest, or the second moments towards zero."""

    def rounded(exact):
        nearest = exact.astype(np.float32)
        too_far = truncates & (np.abs(nearest.astype(float)) > np.abs(exact))
        return np.where(too_far, np.nextafter(nearest, np.float32(0)), nearest)

    def update(parameters, gradients, state, step):
        after, kept = {}, {}
        for path, w in parameters.items():
            g = gradients[path].astype(float)
            m, v = (state.get(f"{name}/{path}", np.zeros(w.shape)) for name in ("first_moment", "second_moment"))
            m, v = 0.9 * m.astype(float) + 0.1 * g, 0.75 * v.astype(float) + 0.25 * g * g
            move = 0.01 * m / (1 - 0.9 ** (step + 1)) / (np.sqrt(v / (1 - 0.75 ** (step + 1))) + 1e-8)
            after[path] = (w.astype(float) - move).astype(np.float32)
            kept |= {f"first_moment/{path}": m.astype(np.float32), f"second_moment/{path}": rounded(v)}
        return after, kept

    return update


@pytest.mark.parametrize("truncates", [False, True])
def test_an_optimizer_that_truncates_leans_to_one_side(problem_of, truncates):
    """Second moments are above 0, so that every error has the same sign; each is within its allowance."""
    problem = problem_of(
        "float32",
        network=[{"dense": {"units": 32}}, "tanh", {"dense": {"units": 1}}, "sigmoid"],
        parameters={f"dense{i}.weight": {"uniform": {"low": -1, "high": 1}} for i in (1, 2)}
        | {"dense1.bias": [0] * 32, "dense2.bias": [0]},
        random={"seed": 7, "generator": "pcg64"},
        training={"steps": 60, "optimizer": {"adam": {"learning_rate": 0.01, "beta2": 0.75}}},
    )
    judgement = judge(problem, numpy_reference.run_update(problem, adam(truncates)))
    assert judgement.verdict == "certified", judgement.message
    bias = judgement.bias
    if truncates:
        assert (bias.phase, bias.tensor) == ("state", "second_moment/dense1.weight")
        assert bias.mean < -0.1
        assert bias.standardised > 2 * BY_CHANCE
    else:
        assert bias.standardised < BY_CHANCE


@pytest.mark.parametrize("name", ["neuron/two_inputs", "network/three_two_one", "xor/two_four_one"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_of_small_cases_no_tensor_leans_to_one_side(name, dtype):
    problem = materialise(load(CASES / f"{name}.yaml"), dtype)
    bias = judge(problem, numpy_reference.run(problem)).bias
    assert 0 < bias.standardised < BY_CHANCE


def test_only_what_is_judged_and_has_an_allowance_counts():
    """Not steps behind the first wrong one, copies, what is out of range or undecided."""
    errors = SignedErrors("value", "hidden", 3)
    shares = np.array([[0.5, np.nan, np.inf, 0.5], [0.25, 0.25, 0.25, 0.25]])
    left_out = np.array([[False, False, False, True], [False, False, False, False]])
    errors.take(np.array([0, 1]), shares, left_out)
    errors.take(np.array([2]), np.full((1, 4), -1.0), np.zeros((1, 1), bool))
    other = SignedErrors("value", "readout", 3)
    other.take(np.array([0]), np.full((1, 4), -0.375), np.zeros((1, 1), bool))
    judged = np.array([True, True, False])
    assert errors.bias(judged) == Bias("value", "hidden", 0.3, 5)
    assert other.bias(judged).standardised == 0.75
    assert largest_bias([errors, other], judged).tensor == "readout"
    assert largest_bias([errors, other], np.array([False, True, False])).tensor == "hidden"
    assert largest_bias([errors], np.zeros(3, bool)) is None
