"""Numbers printed elsewhere: met to their last digit, missed, wrong at their source, or not recorded."""

from dataclasses import replace

import numpy as np
import pytest

from backends import numpy_reference
from report.judge import judge
from report.published import compare_published

EXACT = {
    "network": [{"dense": {"name": "neuron", "units": 1, "bias": False}}, "identity"],
    "parameters": {"neuron.weight": [[1], [2]]},
    "data": {"inputs": [[2, 3]], "targets": [[6]]},
    "loss": {"squared_error": {"factor": 1, "reduction": "sum"}},
    "training": {"steps": 2, "optimizer": {"sgd": {"learning_rate": 0.03125}}},
}


@pytest.fixture
def look_up(problem_of):
    """Compare one published number with a run whose numbers are exact in binary, after a change of the run."""

    def compare(change=lambda run: run, dtype="float64", **entry):
        entry = {"tensor": "loss", "step": 0, "value": "4", "source": "a book"} | entry
        problem = problem_of(dtype, published=[entry], **EXACT)
        (number,) = compare_published(problem, change(numpy_reference.run(problem)))
        return number

    return compare


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("tensor", "step", "value", "more"),
    [
        ("loss", 0, "4", {}),
        ("loss", 1, "0.140625", {}),
        ("loss", 2, "0.00494384765625", {}),
        ("output", 0, [["8"]], {}),
        ("output", 1, "6.375", {}),
        ("output", 2, "6.0703125", {}),
        ("value/input", 0, ["2", "3"], {}),
        ("value/neuron", 1, "6.375", {}),
        ("cotangent/identity1", 0, "4", {}),
        ("cotangent/identity1", 0, "-4", {"scale": -1}),
        ("cotangent/input", 0, [["4", "8"]], {}),
        ("gradient/neuron.weight", 0, [["8"], ["12"]], {}),
        ("gradient/neuron.weight", 0, "12", {"index": [1]}),
        ("parameter/neuron.weight", 0, ["1", "2"], {}),
        ("parameter/neuron.weight", 1, ["0.75", "1.625"], {}),
        ("parameter/neuron.weight", 2, "0.703125", {"index": [0, 0]}),
        ("update/neuron.weight", 0, ["-0.25", "-0.375"], {}),
        ("update/neuron.weight", 1, "-0.0703125", {"index": [1]}),
    ],
)
def test_every_tensor_can_be_quoted(look_up, dtype, tensor, step, value, more):
    """Step k is before its update, step 2 after both; the number before is what the case prints."""
    assert look_up(dtype=dtype, tensor=tensor, step=step, value=value, **more).status == "met"
    wrong = np.vectorize(lambda number: f"{float(number) * 1.01 + 0.01:.12f}")(value).tolist()
    assert look_up(dtype=dtype, tensor=tensor, step=step, value=wrong, **more).status == "missed"


@pytest.mark.parametrize(
    ("printed", "status"),
    [("6.38", "met"), ("6.37", "met"), ("6.39", "missed"), ("6.36", "missed"), ("6.4", "met"), ("6", "met"),
     ("64e-1", "met"), ("6.40", "missed"), ("6.375000001", "met"), ("6.3750001", "missed")],
)  # fmt: skip
def test_every_printed_digit_counts(look_up, printed, status):
    """6.375 is met within half a unit of the last printed place, plus rtol 1e-9."""
    assert look_up(tensor="output", step=1, value=printed).status == status


def test_the_cases_tolerance_counts(look_up, problem_of):
    entry = {"tensor": "output", "step": 1, "value": "6.3750001", "source": "a book"}
    problem = problem_of(published=[entry], tolerance={"float64": {"rtol": 1e-7}}, **EXACT)
    assert compare_published(problem, numpy_reference.run(problem))[0].status == "met"
    assert look_up(**entry).status == "missed"


def test_miss_names_the_worst_place_and_the_source(look_up):
    number = look_up(tensor="gradient/neuron.weight", value=["8", "12.5"])
    assert number.message == "a book prints 12.5 for gradient/neuron.weight at step 0; the run has 12"


@pytest.mark.parametrize(
    ("value", "status", "message"),
    [("5", "wrong at its source", ""), ("4", "missed", "is marked as wrong at its source, but the run meets it")],
)
def test_wrong_at_its_source(look_up, value, status, message):
    number = look_up(value=value, wrong="a slip of the pen")
    assert number.status == status
    assert message in number.message


def test_not_recorded(look_up):
    def gradients_only(run):
        return replace(run, scope="gradients", values={}, cotangents={})

    assert look_up(gradients_only, tensor="value/neuron", value="8").status == "not recorded"
    assert look_up(gradients_only, tensor="gradient/neuron.weight", value=["8", "12"]).status == "met"


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_nothing_is_met_beside_a_number_that_is_not_finite(look_up, number):
    """An infinite tensor must not make its tolerance infinite."""

    def spoilt(run):
        return replace(run, gradients={"neuron.weight": np.full_like(run.gradients["neuron.weight"], number)})

    assert look_up(spoilt, tensor="gradient/neuron.weight", value=["8", "12"]).status == "missed"


def test_the_first_of_several_misses_is_told(problem_of):
    """At its own step, in its own words."""
    entries = [{"tensor": "loss", "step": step, "value": "9", "source": f"page {step}"} for step in (0, 1)]
    problem = problem_of("float64", published=entries, **EXACT)
    judgement = judge(problem, numpy_reference.run(problem))
    assert (judgement.verdict, judgement.where.step) == ("differs", 0)
    assert "page 0 prints 9 for loss at step 0" in judgement.message
