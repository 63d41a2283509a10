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


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_proves_no_print_wrong(look_up, number):
    """That the run misses it says nothing of the source."""

    def spoilt(run):
        return replace(run, loss=np.full_like(run.loss, number))

    found = look_up(spoilt, value="5", wrong="a slip of the pen")
    assert (found.status, "the run has " in found.message) == ("missed", True)


# ---------------------------------------------------------------- sums of steps, lesser dtypes, metrics


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        ({"steps": 2, "value": "4.140625"}, "met"),
        ({"steps": 2, "value": "4.1406250"}, "met"),
        ({"steps": 2, "value": "4.1406251"}, "missed"),
        ({"steps": 2, "value": "2.0703125", "scale": 0.5}, "met"),
        ({"steps": 2, "value": "4"}, "met"),
        ({"steps": 2, "value": "4.0"}, "missed"),
        ({"steps": 1, "step": 1, "value": "0.140625"}, "met"),
        ({"steps": 2, "tensor": "gradient/neuron.weight", "value": ["9.5", "14.25"]}, "met"),
        ({"steps": 2, "tensor": "gradient/neuron.weight", "value": "14.25", "index": [1]}, "met"),
        ({"steps": 2, "tensor": "update/neuron.weight", "value": ["-0.296875", "-0.4453125"]}, "met"),
        ({"steps": 2, "tensor": "output", "value": "14.375"}, "met"),
        ({"steps": 2, "value": "5", "wrong": "one epoch too many"}, "wrong at its source"),
        ({"steps": 2, "value": "4.140625", "wrong": "one epoch too many"}, "missed"),
    ],
)
def test_a_sum_over_steps(look_up, entry, status):
    assert look_up(**entry).status == status


@pytest.mark.parametrize(
    ("dtype", "printed", "computed_in", "status"),
    [
        ("float64", "6.3751", None, "missed"),
        ("float64", "6.375100", "float32", "met"),
        ("float64", "6.375100", "float64", "missed"),
        ("float64", "6.377000", "float32", "missed"),
        ("float32", "6.375100", None, "met"),
        ("float32", "6.375100", "float64", "met"),
    ],
)
def test_computed_in_a_lesser_dtype(look_up, dtype, printed, computed_in, status):
    """Twice 1e-4 of it are within; the run's own dtype is never narrowed."""
    assert look_up(dtype=dtype, tensor="output", step=1, value=printed, computed_in=computed_in).status == status


@pytest.mark.parametrize(("rtol", "status"), [(1e-12, "missed"), (1e-7, "met")])
def test_the_cases_own_tolerance_may_be_narrower(problem_of, rtol, status):
    entry = {"tensor": "output", "step": 1, "value": "6.3750000100", "source": "a book"}
    problem = problem_of(published=[entry], tolerance={"float64": {"rtol": rtol}}, **EXACT)
    assert compare_published(problem, numpy_reference.run(problem))[0].status == status


CLASSES = {
    "network": [{"dense": {"name": "logits", "units": 2, "bias": False}}],
    "parameters": {"logits.weight": [[1, 0.5]]},
    "data": {"inputs": [[1], [-1], [2]], "targets": [0, 1, 1]},
    "loss": {"softmax_cross_entropy": {"factor": 1, "reduction": "mean"}},
    "training": {"steps": 3, "batch": {"size": 2}, "optimizer": {"sgd": {"learning_rate": 1e-3}}},
}


@pytest.mark.parametrize(
    ("step", "value", "more", "status"),
    [
        (0, "1", {}, "met"), (0, "0.5", {}, "missed"), (1, "0", {}, "met"), (1, "1", {}, "missed"),
        (3, "0.667", {}, "met"), (3, "66.67", {"scale": 100}, "met"), (3, "0.66", {}, "missed"),
        (0, "2", {"steps": 3}, "met"), (0, "3", {"steps": 3}, "missed"),
    ],
)  # fmt: skip
def test_accuracy(problem_of, step, value, more, status):
    """Of the samples of a batch, of which the second has one; after the last step, of all three."""
    entry = {"tensor": "accuracy", "step": step, "value": value, "source": "a book"} | more
    problem = problem_of(published=[entry], **CLASSES)
    run = numpy_reference.run(problem)
    assert compare_published(problem, run)[0].status == status
    last = {"logits": run.final_values["logits"]}
    gradients = replace(run, scope="gradients", values={}, cotangents={}, final_values=last)
    assert compare_published(problem, gradients)[0].status == (status if step == 3 else "not recorded")


@pytest.mark.parametrize("value", ["1", "0.67"])
def test_an_output_that_is_not_finite_has_no_accuracy(problem_of, value):
    """NumPy takes NaN for the largest number, which may be the one at the class."""
    entry = {"tensor": "accuracy", "step": 3, "value": value, "source": "a book"}
    problem = problem_of(published=[entry], **CLASSES)
    run = numpy_reference.run(problem)
    output = np.where([[1, 0], [0, 1], [0, 1]], np.nan, run.final_values["logits"])
    (number,) = compare_published(problem, replace(run, final_values={"logits": output}))
    assert number.status == "missed"


@pytest.mark.parametrize(
    ("step", "value", "status"),
    [(0, "2", "met"), (0, "-2", "missed"), (1, "0.375", "met"), (1, "0.36", "missed"), (2, "0.0703125", "met")],
)
def test_absolute_error(look_up, step, value, status):
    assert look_up(tensor="absolute_error", step=step, value=value).status == status


def test_an_absolute_error_is_a_mean_over_outputs_and_samples(problem_of):
    entry = {"tensor": "absolute_error", "step": 0, "value": "1.25", "source": "a book"}
    network = [{"dense": {"name": "pair", "units": 2, "bias": False}}]
    data = {"inputs": [[1], [2]], "targets": [[0, 1], [2, 7]]}
    changes = {"network": network, "parameters": {"pair.weight": [[1, 2]]}, "data": data, "training": None}
    problem = problem_of(published=[entry], **changes)
    assert compare_published(problem, numpy_reference.run(problem))[0].status == "met"


def test_the_first_of_several_misses_is_told(problem_of):
    """At its own step, in its own words."""
    entries = [{"tensor": "loss", "step": step, "value": "9", "source": f"page {step}"} for step in (0, 1)]
    problem = problem_of("float64", published=entries, **EXACT)
    judgement = judge(problem, numpy_reference.run(problem))
    assert (judgement.verdict, judgement.where.step) == ("differs", 0)
    assert "page 0 prints 9 for loss at step 0" in judgement.message
