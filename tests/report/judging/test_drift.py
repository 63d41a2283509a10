"""Free-running differences: what is within rtol and atol, what rounding explains, and what is outside."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.cases.format.schema import Dtype, Tolerance
from backproof.report.judging.drift import allowed, compare
from backproof.report.judging.judge import judge
from backproof.report.judging.outcome import Comparison, Result, pairs_of


@pytest.fixture(scope="module", params=["float64", "float32"])
def example(request, problem_of):
    problem = problem_of(request.param)
    return problem, numpy_reference.run(problem)


def moved(run, field, path, at, by):
    """The run with one element moved by a share of its tensor's largest magnitude at that step."""
    tensors = {name: tensor.copy() for name, tensor in getattr(run, field).items()}
    tensors[path][at] += tensors[path].dtype.type(by * np.abs(tensors[path][at[0]]).max())
    return replace(run, **{field: tensors})


def test_equal_runs(example):
    problem, run = example
    drift = compare(problem, run, run)
    assert (drift.gradient, drift.parameter, drift.within, drift.message) == (0, 0, True, "")
    assert drift.over_steps.tolist() == [0] * 40


@pytest.mark.parametrize(("field", "decides"), [("after", True), ("gradients", False)])
@pytest.mark.parametrize(("share", "within"), [(0.9, True), (2.1, False)])
@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_default_tolerance(problem_of, dtype, field, decides, share, within):
    """rtol is that of the dtype, atol as much of the largest magnitude: together at most twice rtol of that."""
    problem = problem_of(dtype)
    run = numpy_reference.run(problem)
    rtol = {"float64": 1e-9, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.06}[problem.dtype.name]
    drift = compare(problem, moved(run, field, "hidden.weight", (31, 1, 2), share * rtol), run)
    assert drift.within is within
    assert drift.step == (31 if decides else 0)
    assert (drift.parameter if decides else drift.gradient) > 0


def test_the_cases_tolerance(example):
    problem, run = example
    far = moved(run, "after", "hidden.weight", (31, 1, 2), 0.01)
    assert not compare(problem, far, run).within
    assert compare(replace(problem, tolerance=Tolerance(rtol=0.02)), far, run).within


def test_step_where_gradients_differ_most_without_training(problem_of):
    problem = problem_of(training=None)
    run = numpy_reference.run(problem)
    assert compare(problem, moved(run, "gradients", "hidden.bias", (0, 1), 1), run).step == 0


@pytest.mark.parametrize(
    ("tolerance", "limits"),
    [
        (Tolerance(rtol=0.25), [[1.25, 1.0, 2.0], [0.0, 0.0, 0.0]]),
        (Tolerance(rtol=0.25, atol=0.5), [[0.75, 0.5, 1.5], [0.5, 0.5, 0.5]]),
        (Tolerance(rtol=0.0), [[0.0] * 3] * 2),
    ],
)
def test_allowed(tolerance, limits):
    """atol + rtol |desired|; unless it is given, atol is rtol times the largest magnitude of the tensor at the step."""
    desired = np.array([[1.0, 0.0, -4.0], [0.0, 0.0, 0.0]], np.float32)
    assert allowed(desired, tolerance).tolist() == limits


def test_a_limit_that_is_not_finite_allows_nothing():
    desired = np.array([[np.inf, 1.0], [np.nan, 1.0], [1e300, 1.0]])
    assert np.isnan(allowed(desired, Tolerance(rtol=1e9))).all()
    assert np.isnan(allowed(desired, Tolerance(rtol=1e9, atol=1.0))).tolist() == [[True, False]] * 3


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["after", "gradients"])
@pytest.mark.parametrize("tolerance", [None, Tolerance(rtol=0.0, atol=np.finfo(float).max)])
def test_what_is_not_finite_is_never_within(example, number, field, tolerance):
    """On either side, on both, and as the first run of a pair or as the second."""
    problem, run = example
    problem = replace(problem, tolerance=tolerance)
    spoilt = moved(run, field, "hidden.bias", (7, 1), number)
    for pair in ((spoilt, run), (run, spoilt), (spoilt, spoilt)):
        drift = compare(problem, *pair)
        assert not drift.within
        assert drift.message.startswith(f"step 7, {'update' if field == 'after' else 'gradient'} of hidden.bias at [1]")
        assert not np.isfinite(drift.parameter if field == "after" else drift.gradient)
    assert compare(problem, spoilt, run).step == (7 if field == "after" else 0)


# ---------------------------------------------------------------- the first reason, in words


def zeros_like(tensors):
    return {name: np.zeros_like(tensor) for name, tensor in tensors.items()}


def test_the_first_element_outside_is_told(problem_of):
    """The earliest step first; at one step the gradients before the parameters, and the tensors in their order."""
    problem = problem_of(tolerance={"float64": {"rtol": 0.0, "atol": 0.25}})
    run = numpy_reference.run(problem)
    zeros = replace(run, gradients=zeros_like(run.gradients), after=zeros_like(run.after))
    gradients, after = zeros_like(run.gradients), zeros_like(run.after)
    after["hidden.bias"][3, 0] = 0.25
    after["hidden.weight"][7, 1, 2] = gradients["hidden.weight"][8, 0, 0] = 0.75
    gradients["hidden.bias"][7, 1] = gradients["readout.weight"][7, 0, 0] = 0.75
    far = replace(zeros, gradients=gradients, after=after)
    drift = compare(problem, far, zeros, ("torch", "jax"))
    assert drift.message == "step 7, gradient of hidden.bias at [1]: torch has 0.75, jax 0.0: 0.75 apart, 0.25 allowed"
    assert str(drift) == (
        f"{drift.message}; parameters differ by up to 7.5e-01, gradients by up to 7.5e-01, most at step 7"
    )
    assert drift.outside == 7
    assert (drift.within_up_to(6), drift.within_up_to(7)) == (True, False)
    within = compare(problem, zeros, zeros)
    assert within.within_up_to(39)
    assert str(within).startswith("parameters differ by up to 0.0e+00")


def test_structure_comes_before_numbers(example):
    """The run that is not whole is named, on either side, and there are no numbers: nothing was compared."""
    problem, run = example
    broken = replace(moved(run, "after", "hidden.bias", (7, 1), np.nan), loss=None)
    for pair, name in (((broken, run), "torch"), ((run, broken), "jax")):
        drift = compare(problem, *pair, ("torch", "jax"))
        assert drift.message == f"{name}: loss: missing"
        assert not drift.within_up_to(0)
        assert np.isnan([drift.gradient, drift.parameter, *drift.over_steps]).all()
        assert len(drift.over_steps) == 40


# ---------------------------------------------------------------- what is made of it


@pytest.mark.parametrize(
    ("share", "verdict", "tolerance", "status"),
    [
        (0, "certified", None, "within"),
        (0.01, "certified", None, "explained"),
        (0.01, "certified", Tolerance(rtol=1e-9), "outside"),
        (0.01, "certified", Tolerance(rtol=0.02), "within"),
        (0.01, "differs", None, "outside"),
    ],
)
def test_status(example, share, verdict, tolerance, status):
    """Rounding explains a drift only between certified runs, and only if the case has not set a tolerance itself."""
    problem, run = example
    problem = replace(problem, tolerance=tolerance)
    other = moved(run, "after", "hidden.weight", (31, 1, 2), share)
    results = [
        Result("numpy", "certified", trajectory=run, judgement=judge(problem, run)),
        Result("torch", verdict, trajectory=other, judgement=judge(problem, run)),
    ]
    (pair,) = pairs_of(Comparison(None, problem, results))
    assert (pair.names, pair.status) == (("numpy", "torch"), status)


def test_a_run_that_is_not_whole_is_outside(example):
    """Of both; but it is no difference of two runs: its own verdict says that it is incomplete."""
    problem, run = example
    broken = replace(run, gradients={})
    drift = compare(problem, run, broken, ("numpy", "torch"))
    assert (drift.within, drift.message) == (False, "torch: gradients: all missing")
    results = [
        Result("numpy", "certified", trajectory=run, judgement=judge(problem, run)),
        Result("torch", "incomplete", trajectory=broken, judgement=judge(problem, broken)),
    ]
    assert list(pairs_of(Comparison(None, problem, results))) == []


def test_runs_that_cannot_be_compared(example):
    """A run that has left the range of its dtype, and one that did not finish."""
    problem, run = example
    results = [
        Result("numpy", "certified", trajectory=run, judgement=judge(problem, run)),
        Result("jax", "out of range", trajectory=run, judgement=judge(problem, run)),
        Result("other", "error"),
    ]
    assert list(pairs_of(Comparison(None, problem, results))) == []
