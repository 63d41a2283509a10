"""How one number is judged, what it is judged beside, and how many digits of the truth are told."""

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.cases.format.optimizers import Adagrad, Asgd
from backproof.reference.numbers.bounded import Bounded
from backproof.reference.numbers.precision import precision_of
from backproof.report.judging.operations import Check, checks_of_steps, digits
from tests.trial.bounds import given, uncertain

FLOAT32 = precision_of(np.dtype("float32"))


def check(actual: list, truth: Bounded) -> Check:
    return Check("value", "layer", np.array(actual, np.float32), truth, "look here")


def test_a_copy_must_be_equal():
    """It uses nothing of an allowance if it is, and is never within if it is not."""
    numbers = np.array([0.5, 0.5, 0.0, np.nan], np.float32)
    budget = check([0.5, np.nextafter(np.float32(0.5), 1), 1e-40, np.nan], given(numbers)).budget()
    assert budget[:2].tolist() == [0, np.inf]
    assert not (budget[3:] <= 1).any()


def test_a_subnormal_copy_may_be_flushed():
    tiny = np.array([1e-40, 1e-40], np.float32)
    assert (check([1e-40, 0], given(tiny)).budget() <= 1).all()


@pytest.mark.parametrize(("distance", "budget"), [(0, 0.5), (1, 1), (2, 1.5), (-1, 1), (-2, 1.5)])
def test_the_uncertainty_of_the_truth_counts_against_a_number(distance, budget):
    """Where all is uncertain the truth may be one bound away, and a right number one bound on either side of that."""
    bound = 0.25
    truth = uncertain(1, bound, undecided=True)
    assert check([1 + distance * bound], truth).budget() == pytest.approx(budget, rel=1e-15)


def test_a_number_is_described_where_it_stands():
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    truth = Bounded(numbers.astype(float), np.full((2, 3), 1e-3), FLOAT32)
    verdict, words = Check("value", "layer", numbers + 1, truth, "look here").describe(1, (2,), 999.4)
    assert (verdict, words) == ("differs", "found 6.0, expected 5 ± 0.001 (1.0e+03 times the rounding allowed)")


@pytest.mark.parametrize(
    ("truth", "allowance", "told"),
    [
        (123.456789, 0.01, "123.457"),
        (123.456789, 0.001, "123.4568"),
        (123.456789, 1.0, "123.5"),
        (-0.0123456789, 1e-5, "-0.012346"),
        (1.0, 0.1, "1"),
        (-1.0, 0.1, "-1"),
        (123.456789, 1e5, "1e+02"),
        (1 / 3, 1e-30, "0.33333333333333331"),
    ],
)
def test_as_many_digits_are_told_as_the_allowance_leaves(truth, allowance, told):
    """Down to a tenth of it; one digit at least, and 17 at most, which name a float64."""
    assert digits(truth, allowance) == told


@pytest.mark.parametrize(
    ("truth", "allowance", "told"),
    [(0.1, 0.0, "0.1"), (0.0, 0.1, "0.0"), (np.nan, 0.1, "nan"), (np.inf, 0.1, "inf"), (np.inf, 0.0, "inf")],
)
def test_a_number_without_a_scale_is_told_as_it_is(truth, allowance, told):
    """What has no allowance, and what has no logarithm."""
    assert digits(truth, allowance) == told


# ---------------------------------------------------------------- updates


@pytest.mark.parametrize("optimizer", [Asgd(learning_rate=0.1), Adagrad(learning_rate=0.1)], ids=lambda o: o.kind)
def test_only_an_average_of_the_new_parameters_is_told_behind_them(problem_of, optimizer):
    """In the order of computation: other state is what the update is computed from."""
    problem = problem_of(training={"steps": 3, "optimizer": {optimizer.kind: dict(optimizer)}})
    phases = [check.phase for check in checks_of_steps(problem, numpy_reference.run(problem))]
    updated = [phase for phase in phases if phase in ("state", "update")]
    expected = ["state"] * 3 + ["update"] * 3
    assert updated == (expected[::-1] if optimizer.kind == "asgd" else expected)


@pytest.mark.parametrize(
    ("schedule", "taken"),
    [
        ({}, "the gradient is taken"),
        ({"schedule": {"cosine_decay": {"steps": 9}}}, "the gradient and the learning rate are"),
    ],
)
def test_what_is_taken_as_recorded_is_told(problem_of, schedule, taken):
    """Of an update; a rate is judged by itself where there is a schedule."""
    problem = problem_of(training={"steps": 3, "optimizer": {"sgd": {"learning_rate": 0.1}}} | schedule)
    *_, update = checks_of_steps(problem, numpy_reference.run(problem))
    assert update.look.startswith(taken)
