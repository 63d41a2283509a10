"""Balls hold what they claim to hold, and the exact trajectory is one."""

from dataclasses import replace

import flint
import numpy as np
import pytest
from flint import arb
from scipy.special import expit

from backproof.cases.format.layers.activations import Relu, Sigmoid
from backproof.cases.format.layers.dense import Dense
from backproof.cases.format.losses import SquaredError
from backproof.cases.format.optimizers import Sgd
from backproof.cases.problem import Problem
from backproof.reference import exact_run as runs
from backproof.reference.exact_run import BITS, RADIUS, exact_run
from backproof.reference.numbers.balls import Balls, balls, floats, radius, working_precision
from backproof.reference.training import train

# ---------------------------------------------------------------- balls


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_balls_of_floats_are_exact(dtype):
    """Of long double too, whose last bits no float64 holds."""
    values = np.array([1 / dtype(3), -np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal, 65504, 0])
    if dtype is np.longdouble:
        values = np.array([1 / dtype(3), -np.exp(dtype(100)), 1 + np.finfo(dtype).eps])
    with working_precision(BITS):
        numbers = balls(values)
        assert radius(numbers) == 0
        for number, value in zip(numbers, values, strict=True):
            numerator, denominator = map(int, value.as_integer_ratio())
            assert number * denominator == numerator


def test_balls_of_what_is_not_finite():
    infinite, nan = balls(np.array([np.inf, np.nan], np.longdouble))
    assert infinite == arb("inf")
    assert nan.is_nan()


def test_balls_are_taken_as_they_are():
    """As an object array too: a third has no float."""
    numbers = balls(np.array([1.0])) / 3
    assert balls(numbers) is numbers
    assert balls(numbers.view(np.ndarray))[0] is numbers[0]


def test_working_precision_is_restored():
    before = flint.ctx.prec
    with working_precision(before + 100):
        with working_precision(2 * before):
            assert flint.ctx.prec == 2 * before
        assert flint.ctx.prec == before + 100
    assert flint.ctx.prec == before


def test_working_precision_is_restored_after_an_error():
    before = flint.ctx.prec
    with pytest.raises(ZeroDivisionError), working_precision(before + 100):
        _ = 1 / 0
    assert flint.ctx.prec == before


STRADDLING = [(0.0, 1e-3), (1e-3, 1e-2), (-1e-3, 1e-2), (2.0, 3.0), (-2.0, 3.0)]


@pytest.mark.parametrize("ball", STRADDLING, ids=str)
@pytest.mark.parametrize(
    ("function", "other"), [(np.heaviside, (0,)), (np.heaviside, (1,)), (np.maximum, (0,)), (expit, ()), (np.tanh, ())]
)
def test_a_function_of_a_ball_holds_its_value_at_every_point(function, other, ball):
    """At zero, on either side and at both ends, whatever the sign of the midpoint."""
    middle, size = ball
    with working_precision(100):
        result = function(np.array([arb(middle, size)], object).view(Balls), *other)[0]
    for point in {0.0, middle, *np.linspace(middle - size, middle + size, 21)}:
        desired = arb(float(function(point, *other)), 1e-15)
        assert result.overlaps(desired)
        assert function not in {np.heaviside, np.maximum} or result.contains(arb(float(function(point, *other))))


def test_heaviside_away_from_zero_is_certain():
    numbers = np.array([arb(-2, 1), arb(2, 1), arb(0)], object).view(Balls)
    assert floats(np.heaviside(numbers, 0)).tolist() == [0, 1, 0]
    assert radius(np.heaviside(numbers, 0)) == 0


def test_heaviside_at_zero_is_what_is_asked_for():
    assert floats(np.heaviside(balls(np.zeros(2)), 1)).tolist() == [1, 1]


@pytest.mark.parametrize("ball", [arb(0, 1), arb("nan")], ids=str)
def test_heaviside_of_an_unknown_sign_is_0_or_1(ball):
    """It holds both, and nothing far beyond."""
    (result,) = np.heaviside(np.array([ball], object).view(Balls), 0)
    assert result.contains(arb(0))
    assert result.contains(arb(1))
    assert arb(0.5, 0.501).contains(result)


def test_comparisons_are_plain():
    result = balls(np.array([1.0, 3.0])) < balls(np.array([2.0, 2.0]))
    assert not isinstance(result, Balls)
    assert result.tolist() == [True, False]


# ---------------------------------------------------------------- the exact trajectory


LINEAR = {"readout.weight": (2, 1), "readout.bias": (1,)}


def xor(steps: int, activation=Sigmoid, learning_rate: float = 0.5, dtype=np.float64) -> Problem:
    """XOR by a 2-4-1 network."""
    random = np.random.default_rng(0)
    layers = (
        Dense(name="hidden", units=4), activation(name="a"), Dense(name="readout", units=1), activation(name="b")
    )  # fmt: skip
    shapes = {"hidden.weight": (2, 4), "hidden.bias": (4,), "readout.weight": (4, 1), "readout.bias": (1,)}
    return Problem(
        "xor", np.dtype(dtype), layers, SquaredError(factor=0.5, reduction="sum"), Sgd(learning_rate=learning_rate),
        {path: random.normal(size=shape).astype(dtype) for path, shape in shapes.items()},
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype), np.array([[0], [1], [1], [0]], dtype),
        batches=np.tile(np.arange(4), (steps, 1)), recorded=np.arange(steps), trained=tuple(shapes),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run():
    return exact_run(xor(120), {0, 7, 119}, seconds=60)


def test_an_exact_run_keeps_the_steps_asked_for(run):
    assert run.bits == BITS
    assert run.steps.keys() == {0, 7, 119}


def test_an_exact_run_is_exact_to_20_digits(run):
    last = run.steps[119]
    for values in (*last.after.values(), *last.gradients.values(), *last.values.values(), *last.cotangents.values()):
        assert radius(values) < RADIUS


def test_exact_runs_of_different_precision_overlap(run):
    """Two enclosures of the same numbers have these in common, and the finer one is the smaller."""
    finer = exact_run(xor(120), {119}, seconds=60, bits=1000)
    for path, values in run.steps[119].after.items():
        others = finer.steps[119].after[path]
        assert all(ball.overlaps(other) for ball, other in zip(values.ravel(), others.ravel(), strict=True))
        assert radius(others) < radius(values)


@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 4), (np.float64, 12)])
def test_a_float_run_stays_some_digits_close(dtype, digits):
    problem = xor(120, dtype=dtype)
    with working_precision(BITS):
        truth = exact_run(problem, {119}, seconds=60).steps[119].after
    *_, last = train(problem)
    for path, values in last.after.items():
        np.testing.assert_allclose(values, floats(truth[path]), rtol=10.0**-digits, atol=10.0**-digits)


def test_the_precision_grows_until_it_suffices():
    """64 bits don't prove 1e-20, 576 do."""
    run = exact_run(xor(20), {19}, seconds=60, bits=64)
    assert run.bits == 64 + BITS
    assert radius(run.steps[19].after["hidden.weight"]) < RADIUS


def diverging(steps: int) -> Problem:
    """A linear neuron: every step multiplies the error by thousands."""
    problem = replace(xor(steps, learning_rate=1000.0), layers=(Dense(name="readout", units=1),))
    return replace(problem, parameters={path: np.ones(shape) for path, shape in LINEAR.items()}, trained=tuple(LINEAR))


def test_a_diverging_run_needs_more_than_the_first_512_bits():
    """It is noticed on the way, and more bits are taken."""
    run = exact_run(diverging(120), {119}, seconds=60)
    assert run.bits > BITS
    assert radius(run.steps[119].after["readout.weight"]) < RADIUS


@pytest.mark.parametrize("bits", [64, BITS])
def test_no_exact_run_in_no_time(bits):
    assert exact_run(xor(50), {0}, seconds=-1, bits=bits) is None


def test_an_exact_run_through_a_kink():
    """relu of exactly 0: the ball has no radius there, and the derivative is 0."""
    run = exact_run(xor(30, activation=Relu, learning_rate=0.01), {29}, seconds=60)
    assert radius(run.steps[29].after["hidden.weight"]) < RADIUS


def test_the_precision_is_restored_after_an_exact_run():
    before = flint.ctx.prec
    assert exact_run(xor(5), {0}, seconds=-1) is None
    exact_run(xor(5), {0}, seconds=60)
    assert flint.ctx.prec == before


# ---------------------------------------------------------------- how long an exact run may take


class Clock:
    """Processor time that passes by half a second a step, and the steps of every attempt."""

    def __init__(self, monkeypatch):
        self.now, self.attempts = 2.0, []
        monkeypatch.setattr(runs.time, "process_time", lambda: self.now)
        monkeypatch.setattr(runs, "train", self.train)

    def train(self, problem: Problem, number, real):
        self.attempts.append(0)
        for step in train(problem, number, real):
            self.now += 0.5
            self.attempts[-1] += 1
            yield step


@pytest.mark.parametrize(("seconds", "steps"), [(2.5, 7), (5, 12), (14.5, 12), (15, 30), (500, 30)])
def test_an_exact_run_that_would_take_too_long_is_given_up(monkeypatch, seconds, steps):
    """At the deadline, or as soon as ten steps tell that it will not be met: 30 steps take 15 seconds."""
    clock = Clock(monkeypatch)
    run = exact_run(xor(30), {29}, seconds=seconds)
    assert clock.attempts == [steps]
    assert (run is None) == (seconds < 15)


def test_a_second_attempt_has_the_rest_of_the_time(monkeypatch):
    """15 seconds are gone when 64 bits have not sufficed."""
    clock = Clock(monkeypatch)
    assert exact_run(xor(30), {29}, seconds=22.5, bits=64) is None
    assert clock.attempts == [30, 12]


def test_an_attempt_whose_balls_are_too_wide_is_given_up_within_a_hundred_steps(monkeypatch):
    """They are looked at rarely enough to cost little, and where a step is kept."""
    clock = Clock(monkeypatch)
    assert exact_run(xor(150), {149}, seconds=1000, bits=64).bits == 64 + BITS
    assert exact_run(xor(150), {30, 149}, seconds=1000, bits=64).bits == 64 + BITS
    assert clock.attempts == [100, 150, 31, 150]


def test_a_diverging_attempt_is_given_up_at_the_next_hundred(monkeypatch):
    """2,048 bits last for more than a hundred steps, and for less than two hundred."""
    clock = Clock(monkeypatch)
    exact_run(diverging(250), {249}, seconds=1000, bits=4 * BITS)
    assert clock.attempts[0] == 200
