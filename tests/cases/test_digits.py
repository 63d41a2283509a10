"""Real data: what is said of the digits is so, and ball arithmetic proves what a run on them is judged by."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.backends.trajectory import Trajectory, cut
from backproof.cases.format.schema import CASES
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load
from backproof.reference.exact_run import exact_run
from backproof.reference.numbers.balls import balls, sizes, working_precision
from backproof.report.judging import operations
from backproof.report.judging.judge import BALL_BITS
from backproof.report.judging.operations import Check, checks_of_steps
from backproof.report.judging.outcome import accuracy
from backproof.report.running.chapter import SECONDS_FOR_EXACT_RUN

DIGITS = load(CASES / "digits" / "relu_adam.yaml")
LAST_OF_AN_EPOCH = 1797 // 32


def test_pixels_are_sixteenths_and_every_digit_is_there():
    inputs, digits = DIGITS.data.inputs, DIGITS.data.targets
    assert inputs.shape == (1797, 64)
    assert np.unique(16 * inputs).tolist() == [*range(17)]
    assert np.bincount(digits.astype(int)).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_irises_are_tenths_of_a_centimetre_and_fifty_of_each_kind():
    data = load(CASES / "iris" / "sgd.yaml").data
    np.testing.assert_allclose(10 * data.inputs, np.round(10 * data.inputs), rtol=1e-15)
    np.testing.assert_allclose(data.inputs.mean(axis=0), [5.84, 3.05, 3.76, 1.20], atol=0.01)  # as UCI has them
    assert np.bincount(data.targets.astype(int)).tolist() == [50, 50, 50]


# ---------------------------------------------------------------- balls


@pytest.fixture(scope="module", params=DIGITS.dtypes)
def run(request) -> tuple[Problem, Trajectory]:
    """The digits by the hand-written reference."""
    problem = materialise(DIGITS, request.param)
    return problem, numpy_reference.run(problem)


def sampled(problem: Problem, run: Trajectory) -> Iterator[Trajectory]:
    """Step 0, the short batch at the end of an epoch, and nine others, one by one."""
    others = np.random.default_rng(0).choice(np.arange(1, problem.steps), 9, replace=False)
    for step in [0, LAST_OF_AN_EPOCH, *others]:
        yield cut(run, np.array([step]), (problem.batches[step] >= 0).sum())


def checks_in_balls(problem: Problem, step: Trajectory, monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What the judge checks, from the same recorded numbers, with balls for truths."""
    with monkeypatch.context() as patch, working_precision(BALL_BITS):
        patch.setattr(operations, "exact", lambda values, _: balls(values))
        return [*checks_of_steps(problem, step)]


def test_every_step_is_recorded_and_digits_are_learned(run):
    problem, trajectory = run
    assert trajectory.steps.tolist() == [*range(1000)]
    assert (problem.batches[LAST_OF_AN_EPOCH] >= 0).sum() == 1797 % 32
    assert accuracy(problem, trajectory) > 0.95


def test_every_truth_is_enclosed(run, monkeypatch):
    """Each ball holds the exact result: the truth is as near to it as it claims, and the run as it may stray."""
    problem, trajectory = run
    for step in sampled(problem, trajectory):
        with working_precision(BALL_BITS), np.errstate(all="ignore"):
            judged = [*checks_of_steps(problem, step)]
        for check, proved in zip(judged, checks_in_balls(problem, step, monkeypatch), strict=True):
            assert (check.phase, check.tensor) == (proved.phase, proved.tensor)
            with working_precision(BALL_BITS):
                error, distance = (sizes(balls(x) - proved.truth) for x in (check.truth.value, check.actual))
            assert error.shape == check.actual.shape
            assert (error <= check.truth.truth_bound).all(), f"step {step.steps[0]}, {check.phase} {check.tensor}"
            assert (distance <= check.truth.allowance).all(), f"step {step.steps[0]}, {check.phase} {check.tensor}"


def test_an_exact_run_that_is_out_of_reach_is_given_up_soon():
    """A dozen steps in balls tell that a thousand take too long."""
    start = time.process_time()
    assert exact_run(materialise(DIGITS, "float32"), {0}, SECONDS_FOR_EXACT_RUN) is None
    assert time.process_time() - start < SECONDS_FOR_EXACT_RUN / 2
