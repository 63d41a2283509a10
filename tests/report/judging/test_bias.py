"""Independent roundings lean to no side; a program that truncates does, though each of its numbers is certified.

Nothing is noted of correct programs: 40 random scenarios are run here, and as many as one likes by

    BACKPROOF_SCENARIOS=2000 python -m pytest tests/report/judging/test_bias.py -k random
"""

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as profile
from ml_dtypes import bfloat16

from backproof.backends import numpy_reference
from backproof.cases.format.schema import CASES, Case
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.reference.numbers.bounded import exact
from backproof.reference.numbers.precision import precision_of
from backproof.report.judging.bias import Bias, SignedErrors, biased, largest_bias
from backproof.report.judging.judge import judge
from backproof.report.judging.operations import Check
from tests.trial.scenarios import Scenarios, scenarios

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
    assert not biased([errors, other], judged)
    assert other.bias(judged).standardised == 0.75
    assert largest_bias([errors, other], judged).tensor == "readout"
    assert largest_bias([errors, other], np.array([False, True, False])).tensor == "hidden"
    assert largest_bias([errors], np.zeros(3, bool)) is None


# ---------------------------------------------------------------- what is noted

HEADS, QUERIES, WIDTH = 2, 256, 8


def towards(numbers: np.ndarray, above: bool) -> np.ndarray:  # noqa: FBT001
    """Numbers of float32, rounded to bfloat16: up, or to the nearest."""
    nearest = numbers.astype(bfloat16)
    return np.where(above & (nearest < numbers), np.nextafter(nearest, bfloat16(np.inf)), nearest).astype(bfloat16)


def attention(upwards: bool) -> list[Check]:  # noqa: FBT001
    """The backward pass of two heads of attention, from the output to the queries, part by part.

    delta = rowsum(dO ∘ O), dS = P ∘ (dP - delta), dQ = dS K, each from what is recorded before it (arXiv 2510.04212).
    """
    draw = np.random.default_rng(2510).standard_normal
    o, do = (draw((1, HEADS, QUERIES, WIDTH)).astype(bfloat16) for _ in range(2))
    dp, k = draw((1, HEADS, QUERIES, QUERIES)).astype(bfloat16), draw((1, HEADS, QUERIES, WIDTH)).astype(bfloat16)
    scores = np.exp(draw((1, HEADS, QUERIES, QUERIES)))
    p = (scores / scores.sum(axis=-1, keepdims=True)).astype(bfloat16)
    delta = towards((do * o).astype(np.float32).sum(axis=-1), upwards)
    ds = p * (dp - delta[..., None])
    dq = (ds.astype(np.float32) @ k.astype(np.float32)).astype(bfloat16)
    bounded = partial(exact, precision=precision_of(np.dtype(bfloat16)))
    truths = {
        "delta": (delta, (bounded(do) * bounded(o)).sum(axis=-1)),
        "dS": (ds, bounded(p) * (bounded(dp) - bounded(delta)[..., None])),
        "dQ": (dq, bounded(ds) @ bounded(k)),
    }
    return [Check("cotangent", name, actual, truth, "") for name, (actual, truth) in truths.items()]


@pytest.mark.parametrize("upwards", [False, True])
def test_attention_whose_delta_is_rounded_one_way_is_noted(upwards):
    """Each of its numbers is certified; it speaks of the first tensor that leans, and of no other."""
    taken = []
    for check in attention(upwards):
        budget, errors = check.compared()
        assert budget.max() <= 1
        signed = SignedErrors(check.phase, check.tensor, 1)
        with np.errstate(invalid="ignore"):
            shares = (errors / check.truth.allowance).reshape(1, -1)
        signed.take(np.array([0]), shares, np.zeros((1, 1), bool), check.truth)
        taken.append(signed)
    noted = biased(taken, np.array([True]))
    assert [bias.tensor for bias in noted] == (["delta"] if upwards else [])
    if upwards:
        assert noted[0].leaning > 8
        assert "biased: the errors of cotangent of delta lean up, on average by 0.1" in str(noted[0])


def test_a_run_that_truncates_is_certified_and_noted(problem_of):
    """The cotangent of the inputs of a dense layer, rounded down; nothing is computed from it."""
    problem = wide_problem(problem_of, "float32", np.random.default_rng(0).standard_normal((12, 96)))
    run = numpy_reference.run(problem)
    exactly = run.cotangents["a"].astype(float) @ run.before["a.weight"].astype(float).mT
    nearest = exactly.astype(np.float32)
    down = np.where(nearest > exactly, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    judgement = judge(problem, replace(run, cotangents=run.cotangents | {"input": down}))
    assert judgement.verdict == "certified", judgement.message
    assert [(one.phase, one.tensor) for one in judgement.biased] == [("cotangent", "input")]
    assert judgement.message.startswith("biased: the errors of cotangent of input lean down, on average by ")
    assert judge(problem, run).message == ""


INPUTS = {
    "any": lambda rng, shape: rng.standard_normal(shape),
    "features that are 1": lambda rng, shape: np.hstack([np.ones((shape[0], shape[1] - 2)), rng.random((shape[0], 2))]),
    "bits": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "one sample again and again": lambda rng, shape: np.tile(rng.standard_normal((1, shape[1])), (shape[0], 1)),
    "pixels": lambda rng, shape: rng.integers(0, 17, shape) / 16,
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_nothing_is_noted_of_wide_layers(problem_of, dtype, kind):
    """Where roundings could be alike: data on a grid, samples that are equal, a bias in all of them."""
    problem = wide_problem(problem_of, dtype, INPUTS[kind](np.random.default_rng(1), (12, 50)))
    judgement = judge(problem, numpy_reference.run(problem))
    assert judgement.verdict == "certified", judgement.message
    assert not judgement.biased


def wide_problem(problem_of, dtype: str, inputs: np.ndarray):
    """A network of 96 units a layer, whose numbers are of nothing but products and sums."""
    shapes = ("a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias")
    layers = [{"dense": {"name": name, "units": units}} for name, units in (("a", 96), ("b", 96), ("c", 4))]
    targets = np.random.default_rng(2).random((len(inputs), 4))
    return problem_of(
        dtype,
        network=[layers[0], "relu", layers[1], "relu", layers[2]],
        parameters={path: {"uniform": {"low": -0.1, "high": 0.1}} for path in shapes},
        random={"seed": 1, "generator": "pcg64"},
        data={"inputs": inputs.tolist(), "targets": targets.tolist()},
        loss={"squared_error": {"reduction": "mean"}},
        training={"steps": 5, "optimizer": {"sgd": {"learning_rate": 0.01}}},
    )


@seed(0)
@profile(
    max_examples=int(os.environ.get("BACKPROOF_SCENARIOS", "40")), database=None, deadline=None,
    phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(scenarios(most=1))
def test_nothing_is_noted_of_random_scenarios(drawn: Scenarios):
    """A correct program leans by chance alone, whatever it trains."""
    (case,) = drawn.cases
    problem = materialise(Case.model_validate(case), case["dtypes"][0])
    assert not judge(problem, numpy_reference.run(problem)).biased


def test_one_rounding_that_is_in_many_numbers_tells_nothing():
    """A setting, a function, a factor of a whole row: only what is rounded number by number can be told apart."""
    draw, single = np.random.default_rng(0).standard_normal, precision_of(np.dtype("float32"))
    x, w = (exact(draw(shape).astype(np.float32), single) for shape in ((1, 2, 9), (1, 9, 9)))
    same = exact(np.full((1, 2, 9), 0.3, np.float32), single)
    apart = (x @ w, x + x[:, :1], (x * x).sum(axis=-1), x * x, 0.5 * x, x / 4, np.maximum(x, 0))
    sums = (x * x).sum(axis=-1)[..., None]
    shared = (0.1 * x, x / 3, np.tanh(x), (x @ w) @ w, x * sums, x.mean(axis=-1), same @ w, same * same + x)
    assert max(number.alike for number in apart) == 1
    assert min(number.alike for number in shared) > 2
