"""Each schedule against torch.optim.lr_scheduler and optax, far beyond its end, and within the allowance of a rate."""

import warnings
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import torch
from flint import arb

from backproof.backends import jax_autograd, numpy_reference, torch_autograd
from backproof.backends.jax_autograd.schedules import schedule_of
from backproof.backends.torch_autograd.schedules import last_change, scheduler_of
from backproof.cases.format.optimizers import (
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    OneCycle,
    Sgd,
    StepDecay,
    WarmUp,
)
from backproof.reference.formulas.schedules import factor, learning_rates
from backproof.reference.numbers.balls import working_precision
from backproof.report.judging.judge import judge
from backproof.report.judging.operations import Check, rate_check
from tests.backends.test_optimizers import name_of

RATE = 0.3
MOST_USED = 0.15  # of the allowance, by torch's schedulers

SCHEDULES = [
    StepDecay(every=7, factor=0.97), StepDecay(every=1, factor=0.5), ExponentialDecay(factor=0.999),
    ExponentialDecay(factor=0.5), LinearDecay(steps=5000), LinearDecay(steps=7, end=0.1), CosineDecay(steps=5000),
    CosineDecay(steps=5000, end=0.1), CosineDecay(steps=3), OneCycle(rise=2000, fall=3000),
    OneCycle(rise=1, fall=2, start=1.0, end=0.5), WarmUp(steps=5000), WarmUp(steps=5000, start=0.01),
    WarmUp(steps=3, start=0.1, then={"step_decay": {"every": 9, "factor": 0.3}}),
    WarmUp(steps=1000, start=0.1, then={"exponential_decay": {"factor": 0.999}}),
    WarmUp(steps=1000, then={"linear_decay": {"steps": 3000, "end": 0.01}}),
    WarmUp(steps=1000, start=1 / 3, then={"cosine_decay": {"steps": 3000}}),
]  # fmt: skip
ONE_OF_EACH = list({schedule.kind: schedule for schedule in SCHEDULES}.values())


every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
each_kind = pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=name_of)


def of_torch(schedule, steps: int) -> np.ndarray:
    """What torch's scheduler makes of the learning rate, step after step, as the backend calls it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    rates = []
    with warnings.catch_warnings(action="ignore"):  # the optimizer makes no step
        scheduler = scheduler_of(schedule, optimizer)
        for number in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            if number < last_change(schedule):
                scheduler.step()
    return np.array(rates)


def of_optax(schedule, steps: int) -> np.ndarray:
    return np.asarray(jax.vmap(schedule_of(schedule, RATE))(np.arange(steps)))


def of_floats(schedule, steps: int) -> np.ndarray:
    return np.array([RATE * factor(schedule, k, float) for k in range(steps)])


def check_of(problem, rates: np.ndarray) -> Check:
    """Of these learning rates of the first steps; its truth is made of balls."""
    return rate_check(problem, SimpleNamespace(steps=np.arange(len(rates)), learning_rates=rates))


def used(problem, rates: np.ndarray) -> float:
    """The largest budget of them."""
    with working_precision(128):
        return check_of(problem, rates).budget().max()


@pytest.fixture
def scheduled(problem_of):
    """A problem of so many steps that follows a schedule."""

    def make(schedule, steps: int = 12, dtype: str = "float64", **changes):
        settings = dict(schedule) | ({"then": {schedule.then.kind: dict(schedule.then)}} if then(schedule) else {})
        training = {"steps": steps, "optimizer": {"sgd": {"learning_rate": RATE}}} | changes
        return problem_of(dtype, training=training | {"schedule": {schedule.kind: settings}})

    return make


def then(schedule):
    return getattr(schedule, "then", None)


# ---------------------------------------------------------------- by the equations


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (StepDecay(every=2, factor=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        (ExponentialDecay(factor=0.5), [1, 0.5, 0.25, 0.125]),
        (LinearDecay(steps=4, end=0.5), [1, 0.875, 0.75, 0.625, 0.5, 0.5, 0.5]),
        (LinearDecay(steps=2), [1, 0.5, 0, 0]),
        (CosineDecay(steps=4, end=0.5), [1, 0.5 + 0.25 * (1 + 0.5**0.5), 0.75, 0.75 - 0.25 * 0.5**0.5, 0.5, 0.5]),
        (OneCycle(rise=2, fall=2, start=0.5, end=0.25), [0.5, 0.75, 1, 0.625, 0.25, 0.25]),
        (WarmUp(steps=4), [0, 0.25, 0.5, 0.75, 1, 1, 1]),
        (WarmUp(steps=2, start=0.5), [0.5, 0.75, 1, 1]),
        (WarmUp(steps=2, then={"linear_decay": {"steps": 2, "end": 0.5}}), [0, 0.5, 1, 0.75, 0.5, 0.5]),
    ],
)
def test_the_factors_of_the_first_steps(schedule, factors):
    np.testing.assert_allclose([factor(schedule, k, float) for k in range(len(factors))], factors, rtol=1e-15)


@every_schedule
def test_the_reference_is_torch(scheduled, schedule):
    """Over 10,000 steps, most of them beyond the end, in which torch goes from rate to rate."""
    theirs, ours = of_torch(schedule, 10_000), of_floats(schedule, 10_000)
    np.testing.assert_allclose(theirs, ours, rtol=1e-11, atol=1e-12 * RATE)
    assert used(scheduled(schedule), theirs) <= MOST_USED


@every_schedule
def test_the_reference_is_optax(scheduled, schedule):
    theirs = of_optax(schedule, 6000)
    assert theirs.dtype == np.float64
    np.testing.assert_allclose(theirs, of_floats(schedule, 6000), rtol=1e-12, atol=1e-14 * RATE)
    assert used(scheduled(schedule), theirs) <= 1


@every_schedule
def test_floats_are_as_exact_as_balls_prove(scheduled, schedule):
    problem = scheduled(schedule, steps=6000)
    rates = np.array(learning_rates(problem, range(problem.steps)))
    assert np.array_equal(rates, of_floats(schedule, 6000))
    assert used(problem, rates) <= MOST_USED
    with working_precision(128):
        balls = learning_rates(problem, range(0, 6000, 97), arb)
        for ball, rate in zip(balls, rates[::97], strict=True):
            assert float(ball.rad()) < 1e-30
            assert abs(float(ball) - rate) <= 1e-14 * RATE


# ---------------------------------------------------------------- what is allowed, and what is not


@each_kind
@pytest.mark.parametrize("wrong", [1 + 1e-9, 1 - 1e-9, np.nan, np.inf, -1])
def test_a_wrong_rate_is_refused(scheduled, schedule, wrong):
    """At one step of a thousand."""
    rates = of_floats(schedule, 1000)
    rates[2] *= wrong
    assert rates[2] != 0
    assert not used(scheduled(schedule), rates) <= 1


@each_kind
def test_a_schedule_that_is_a_step_late_is_refused(scheduled, schedule):
    rates = of_floats(schedule, 1000)
    assert used(scheduled(schedule), rates) <= 1
    assert not used(scheduled(schedule), np.append(rates[0], rates[:-1])) <= 1


@pytest.mark.parametrize("schedule", [StepDecay(every=1, factor=0.5), ExponentialDecay(factor=0.5)], ids=name_of)
def test_a_rate_that_has_faded_is_resolved(scheduled, schedule):
    """2e-91 in place of 1e-91 is refused, and so is 0."""
    for wrong in (2, 0, 1 + 1e-12):
        rates = of_floats(schedule, 400)
        rates[300] *= wrong
        assert not used(scheduled(schedule), rates) <= 1


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (StepDecay(every=3, factor=0.5), [RATE, RATE / 2, RATE / 8]),
        (StepDecay(every=3, factor=1e-200), [RATE, RATE * 1e-200, 0]),
        (CosineDecay(steps=10), [RATE] * 3),
    ],
    ids=["fading", "underflowing", "added to"],
)
def test_a_rate_may_be_rounded_eight_times_a_step(scheduled, schedule, rates):
    """By half an ulp of the rate each time, or of the largest one where it is added to; and flushed at last."""
    steps, smallest = np.array([0, 3, 9]), float(np.finfo(np.float64).smallest_normal)
    with working_precision(128):
        bound = check_of(scheduled(schedule), np.ones(10)).truth.bound[steps]
    np.testing.assert_allclose(bound, 8 * (steps + 1) * 2.0**-53 * rates + smallest, rtol=1e-15, atol=0)


# ---------------------------------------------------------------- whole runs


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", [numpy_reference, torch_autograd], ids=lambda module: module.__name__)
@each_kind
def test_a_scheduled_run_is_certified(scheduled, schedule, backend, dtype):
    problem = scheduled(schedule, dtype=dtype)
    run = backend.run(problem)
    assert run.learning_rates.dtype == np.float64
    assert judge(problem, run).message == ""


def test_a_scheduled_run_of_jax_is_certified(scheduled):
    """The rates on record are those of its scan, some steps of which are not recorded."""
    problem = scheduled(SCHEDULES[-1], dtype="float32")
    run = jax_autograd.run(problem)
    assert run.learning_rates.dtype == np.float64
    assert judge(problem, run).message == ""


def test_without_a_schedule_there_are_no_rates(problem_of):
    problem = problem_of(training={"steps": 3, "optimizer": {"sgd": dict(Sgd(learning_rate=0.1))}})
    assert learning_rates(problem, range(3)) is None
    assert numpy_reference.run(problem).learning_rates is None
