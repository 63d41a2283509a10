"""What a figure shows is plain data: every run, its steps from 0, and where it fails."""

import json
from dataclasses import replace

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.cases.format.schema import Case
from backproof.report.judging.outcome import Comparison, Result, failed, judged, pairs_of
from backproof.report.telling.curves import PANELS, POINTS, Failure, curves_of, thin
from tests.conftest import SMALL


@pytest.fixture(scope="module")
def comparisons(problem_of):
    """A right run, one that is wrong from step 12 on, one that did not run, and one without losses; at two dtypes."""
    found = []
    for dtype in ("float64", "float32"):
        problem = problem_of(dtype)
        right = numpy_reference.run(problem)
        gradients = {path: values.copy() for path, values in right.gradients.items()}
        gradients["hidden.weight"][12:] *= 2
        nothing = {"loss": None, "final_loss": None, "values": {}, "cotangents": {}, "final_values": {}}
        quiet = replace(right, scope="gradients", **nothing)
        runs = {"right": right, "wrong": replace(right, gradients=gradients), "quiet": quiet}
        comparison = Comparison(Case.model_validate(SMALL), problem)
        comparison.results = [judged(problem, name, run) for name, run in runs.items()]
        comparison.results.append(failed("none", MemoryError()))
        comparison.pairs = [*pairs_of(comparison)]
        found.append(comparison)
    return found


@pytest.fixture(scope="module")
def curves(comparisons):
    return curves_of(comparisons)


def test_every_run_is_there(curves):
    names = {panel: [(line.name, line.dtype) for line in curves.of(panel)] for panel in PANELS}
    dtypes = ("float64", "float32")
    runs = ["right", "wrong", "quiet"]
    assert names["share"] == [(name, dtype) for dtype in dtypes for name in runs]
    assert names["loss"] == [(name, dtype) for dtype in dtypes for name in runs[:2]]
    pairs = ["right-wrong", "right-quiet", "wrong-quiet"]
    assert names["drift"] == [(pair, dtype) for dtype in dtypes for pair in pairs]
    assert (curves.backends, curves.dtypes) == (runs, [*dtypes])


def test_steps_are_counted_from_0(curves):
    for line in curves.lines:
        assert (line.steps[0], line.steps[-1]) == (0, 39)
        assert len(line.steps) == len(line.values) == 40
    assert curves.last_step == 39


def test_a_failure_has_its_step_and_its_place(curves):
    found = [failure for failure in curves.failures if failure.name == "wrong"]
    assert [failure[:3] for failure in found] == [("wrong", "float64", 12), ("wrong", "float32", 12)]
    for failure in found:
        assert failure.verdict == "differs"
        assert failure.words == "step 12, gradient of hidden.weight at [0, 0]"
    assert len(curves.failures) == 2


def test_the_numbers_are_the_run_s(comparisons, curves):
    (first, *_) = curves.of("loss")
    assert first.values == [float(f"{loss:.4g}") for loss in comparisons[0].results[0].trajectory.loss]
    wrong = next(line for line in curves.of("share") if line.name == "wrong")
    assert max(wrong.values[:12]) <= 1 < wrong.values[12]


def test_it_is_json_and_small(curves):
    text = json.dumps(curves, allow_nan=False)
    assert json.loads(text)[0] == curves.case
    assert len(text) < 16 * sum(len(line.values) for line in curves.lines)


def test_what_is_not_finite_is_none(comparisons):
    """And has no digits: JSON has no infinity."""
    comparison = comparisons[0]
    result = comparison.results[0]
    loss = result.trajectory.loss.copy()
    loss[3:6] = np.inf, np.nan, -np.inf
    wild = replace(result, trajectory=replace(result.trajectory, loss=loss))
    (line, *_) = curves_of([Comparison(comparison.case, comparison.problem, [wild])]).lines
    assert line.values[3:6] == [None] * 3
    assert all(isinstance(value, float) for value in line.values[:3] + line.values[6:])


def test_where_nothing_was_judged_there_is_nothing(problem_of):
    curves = curves_of([Comparison(Case.model_validate(SMALL), problem_of(), [Result("none", "missing")])])
    assert (curves.lines, curves.failures) == ([], [])


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 1_000, 100_000])
def test_thinning_keeps_the_ends_and_the_largest(steps):
    values = np.sin(np.arange(steps) * 7.0)
    kept, largest = thin(np.arange(steps), values)
    assert len(kept) == len(largest) <= POINTS
    assert kept.tolist() == sorted({*kept.tolist()})
    if steps:
        assert (kept[0], kept[-1]) == (0, steps - 1)
        assert largest.max() == values.max()
        assert largest[0] == values[0]


def test_a_failure_says_differs_unless_told_otherwise():
    assert Failure("torch", "float32", 3, "step 3, loss").verdict == "differs"
