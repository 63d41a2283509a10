"""The judge certifies what is right, refuses every planted fault, and blames the right step, phase and element."""

import re
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from backproof.backends import numpy_reference
from backproof.backends.registry import DEFAULT, backend
from backproof.backends.trajectory import Trajectory
from backproof.cases.format.optimizers import Momentum
from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.reference.formulas import layers
from backproof.report.judging import following
from backproof.report.judging import judge as judge_module
from backproof.report.judging.judge import Ledger, Resolution, cut, judge
from backproof.report.judging.kinks import decided_checks
from backproof.report.judging.operations import checks_of_steps
from tests.trial.planting import gradients_only

LATE = 37
VALUES = ["hidden", "tanh1", "readout", "sigmoid1"]
PARAMETERS = ["hidden.weight", "hidden.bias", "readout.weight"]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_end_to_end_out_of_range(problem_of, activation):
    """A preactivation that may overflow is not forgotten behind an activation that is bounded."""
    largest = float(np.finfo("float32").max)
    problem = problem_of(
        "float32",
        network=[{"dense": {"units": 1, "bias": False}}, activation, {"dense": {"units": 1, "bias": False}}],
        parameters={"dense1.weight": [[2], [-2]], "dense2.weight": [[1]]},
        data={"inputs": [[0.6 * largest, 0.6 * largest]], "targets": [[0]]},
        training=None,
    )
    run = gradients_only(problem, backend("numpy").run(problem))
    assert judge(problem, run).verdict == "out of range"


@pytest.fixture(scope="module", params=["float64", "float32"])
def example(request, problem_of):
    """A problem and a right run of it."""
    problem = problem_of(request.param)
    return problem, numpy_reference.run(problem)


def changed(run: Trajectory, field: str, name: str | None, change) -> Trajectory:
    """The run with one tensor replaced by what `change` makes of a copy of it, in place or as result."""
    tensors = getattr(run, field)
    tensor = np.array(tensors if name is None else tensors[name])
    result = change(tensor)
    result = tensor if result is None else result
    return replace(run, **{field: result if name is None else tensors | {name: result}})


def planted(at, value):
    """A change of one element to `value`, which may be a function of what stands there."""

    def change(tensor):
        tensor[at] = value(tensor[at]) if callable(value) else value

    return change


def refused(problem, run, verdict: str = "differs"):
    """Judge a faulty run: the finding that it is refused for."""
    judgement = judge(problem, run)
    assert judgement.verdict == verdict, judgement.message
    return judgement.where


def place(finding) -> tuple:
    return finding.step, finding.phase, finding.tensor, finding.index


# ---------------------------------------------------------------- what is right


def test_right_run_is_certified(example):
    problem, run = example
    judgement = judge(problem, run)
    assert (judgement.verdict, judgement.message) == ("certified", "")
    assert 0 < judgement.budget <= 1
    assert judgement.budget == pytest.approx(judgement.budgets.max())
    assert judgement.resolution.relative < 1e3 * np.finfo(problem.dtype).eps


def test_ledger_counts_everything(example):
    """A step has 4 values, a loss, 5 cotangents, 3 gradients and 3 updates; the end has 4 values and a loss."""
    ledger = judge(*example).ledger
    of_values, of_cotangents, of_parameters = 3 * (3 + 3 + 1 + 1), 3 * (2 + 3 + 3 + 1 + 1), 6 + 3 + 3
    assert ledger.steps == 40
    assert ledger.tensors == 40 * (4 + 1 + 5 + 3 + 3) + 5
    assert ledger.elements == 40 * (of_values + 1 + of_cotangents + 2 * of_parameters) + of_values + 1
    assert ledger.resolved <= ledger.elements


# ---------------------------------------------------------------- what is not there, or too much

STRUCTURE = {
    "missing tensor": ("gradients", lambda tensors: tensors.pop("readout.weight"), "gradients of readout.weight: mis"),
    "extra tensor": ("gradients", lambda tensors: tensors.update(x=np.zeros(40)), "gradients of x: nothing of that n"),
    "None": ("gradients", lambda tensors: tensors.update({"hidden.bias": None}), "gradients of hidden.bias: missing"),
    "a list": ("after", lambda tensors: tensors.update({"hidden.bias": [0]}), "expected an array, found list"),
    "no final values": ("final_values", dict.clear, "final_values: all missing"),
    "shape (3,) for (3, 1)": (
        "gradients",
        lambda tensors: tensors.update({"readout.weight": tensors["readout.weight"][..., 0]}),
        "expected shape (40, 3, 1), found (40, 3)",
    ),
    "one step too many": (
        "after",
        lambda tensors: tensors.update({"hidden.bias": np.append(tensors["hidden.bias"], [[0, 0, 0]], axis=0)}),
        "expected shape (40, 3), found (41, 3)",
    ),
    "state of an optimizer without": (
        "state_after",
        lambda tensors: tensors.update(m=np.zeros(40)),
        "state_after of m",
    ),
}


@pytest.mark.parametrize(("field", "change", "message"), STRUCTURE.values(), ids=STRUCTURE)
def test_structure(example, field, change, message):
    problem, run = example
    tensors = dict(getattr(run, field))
    change(tensors)
    judgement = judge(problem, replace(run, **{field: tensors}))
    assert (judgement.verdict, judgement.where.phase) == ("incomplete", "structure")
    assert message in judgement.message
    assert judgement.ledger.elements == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": None}, "loss: missing"),
        ({"gradients": None}, "gradients: all missing"),
        ({"steps": None}, "steps: expected 40 from 0 to 39"),
        ({"scope": "nothing"}, "scope: expected layers, some or gradients, found 'nothing'"),
        ({"scope": "gradients"}, "values: nothing is expected of the names input, hidden and 3 more"),
    ],
    ids=lambda changes: "-".join(changes) if isinstance(changes, dict) else None,
)
def test_structure_of_fields(example, changes, message):
    problem, run = example
    assert message in refused(problem, replace(run, **changes), "incomplete").message


def test_dtype(example):
    """float32 where float64 was asked, and the other way round."""
    problem, run = example
    (other,) = {np.dtype("float64"), np.dtype("float32")} - {problem.dtype}
    wrong = changed(run, "gradients", "hidden.bias", lambda tensor: tensor.astype(other))
    assert f"hidden.bias: expected {problem.dtype}, found {other}" in refused(problem, wrong, "incomplete").message


def test_truncated_run(example):
    problem, run = example
    finding = refused(problem, cut(run, np.arange(10), 3), "incomplete")
    assert finding.message == "steps: expected 40 from 0 to 39, found 10 from 0 to 9"


# ---------------------------------------------------------------- one wrong number

TENSORS = [
    *(("value", "values", name) for name in VALUES),
    ("loss", "loss", None),
    *(("cotangent", "cotangents", name) for name in ["input", *VALUES]),
    *(("gradient", "gradients", path) for path in PARAMETERS),
    *(("update", "after", path) for path in PARAMETERS),
]


@pytest.mark.parametrize(("phase", "field", "name"), TENSORS, ids=lambda part: part or "loss")
def test_off_by_four_allowances(example, phase, field, name):
    """The last element of one tensor at one late step, four allowances from its truth."""
    problem, run = example
    tensor = name or "loss"
    (check,) = [check for check in checks_of_steps(problem, run) if (check.phase, check.tensor) == (phase, tensor)]
    index = tuple(n - 1 for n in check.actual.shape[1:])
    at = (LATE, *index)
    off = problem.dtype.type(check.truth.value[at] + 4 * check.truth.allowance[at])
    finding = refused(problem, changed(run, field, name, planted(at, off)))
    assert place(finding) == (LATE, phase, tensor, index)
    assert 2 < finding.budget < 6
    assert f"found {off!s}, expected " in finding.message
    assert "look at the " in finding.message


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("phase", "field", "name"), TENSORS, ids=lambda part: part or "loss")
def test_not_finite(example, phase, field, name, number):
    problem, run = example
    index = () if name is None else (0,) * (getattr(run, field)[name].ndim - 1)
    finding = refused(problem, changed(run, field, name, planted((LATE, *index), number)))
    assert place(finding) == (LATE, phase, name or "loss", index)
    assert f"found {number}" in finding.message


@pytest.mark.parametrize(
    ("field", "name", "expected"),
    [
        ("final_values", "tanh1", (40, "value", "tanh1", (1, 2))),
        ("final_values", "sigmoid1", (40, "value", "sigmoid1", (2, 0))),
        ("final_loss", None, (40, "loss", "loss", ())),
    ],
)
@pytest.mark.parametrize("wrong", [lambda number: number * 1.001, lambda _: np.nan], ids=["0.1 %", "nan"])
def test_final(example, field, name, expected, wrong):
    problem, run = example
    finding = refused(problem, changed(run, field, name, planted(expected[-1], wrong)))
    assert place(finding) == expected


# ---------------------------------------------------------------- what must be equal to the bit


def one_ulp(number):
    return np.nextafter(number, number.dtype.type(np.inf))


COPIES = {
    "initial parameters": (
        ("before", "hidden.weight", planted((0, 1, 2), one_ulp)),
        (0, "start", "hidden.weight", (1, 2)),
        "but the case from -1.1",
    ),
    "between two steps": (
        ("before", "readout.weight", planted((LATE, 1, 0), one_ulp)),
        (LATE, "continuity", "readout.weight", (1, 0)),
        "but the step before it left",
    ),
    "the samples at the end": (
        ("final_values", "input", planted((2, 1), 0)),
        (40, "value", "input", (2, 1)),
        "saw the input 0.0, but its batch holds 1.0",
    ),
    "the batch": (
        ("values", "input", planted(LATE, lambda rows: rows[::-1].copy())),
        (LATE, "value", "input", (0, 0)),
        "saw the input 1.0, but its batch holds 0.0",
    ),
}


@pytest.mark.parametrize(("change", "expected", "message"), COPIES.values(), ids=COPIES)
def test_copies(example, change, expected, message):
    problem, run = example
    finding = refused(problem, changed(run, *change))
    assert place(finding) == expected
    assert message in finding.message


def test_update_where_none_is_asked_for(problem_of):
    problem = problem_of(training=None)
    run = numpy_reference.run(problem)
    assert judge(problem, run).verdict == "certified"
    finding = refused(problem, changed(run, "after", "hidden.bias", planted((0, 2), one_ulp)))
    assert place(finding) == (0, "update", "hidden.bias", (2,))
    assert "no update is asked for" in finding.message


# ---------------------------------------------------------------- wrong programs


@pytest.mark.parametrize("factor", [1.0, 1e-6])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_all_gradients_five_times(problem_of, dtype, factor):
    """At any magnitude; the last layer's gradient is computed first."""
    problem = problem_of(dtype, loss={"squared_error": {"factor": factor, "reduction": "sum"}})
    run = numpy_reference.run(problem)
    five = replace(run, gradients={path: 5 * gradient for path, gradient in run.gradients.items()})
    assert place(refused(problem, five))[:3] == (0, "gradient", "readout.weight")


def test_errors_that_cancel_in_a_mean(example):
    def shift(gradient):
        gradient[LATE, 0, :2] += gradient.dtype.type(1e-5) * np.array([1, -1], gradient.dtype)

    problem, run = example
    finding = refused(problem, changed(run, "gradients", "hidden.weight", shift))
    assert place(finding) == (LATE, "gradient", "hidden.weight", (0, 0))


def test_one_flipped_sign(example):
    problem, run = example
    finding = refused(problem, changed(run, "gradients", "hidden.bias", planted((LATE, 1), np.negative)))
    assert place(finding) == (LATE, "gradient", "hidden.bias", (1,))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_element_in_ten_thousand(problem_of, dtype):
    inputs = np.random.default_rng(0).normal(size=(4, 100))
    problem = problem_of(
        dtype,
        network=[{"dense": {"name": "wide", "units": 100, "bias": False}}],
        parameters={"wide.weight": {"normal": {"mean": 0, "std": 1}}},
        random={"generator": "pcg64", "seed": 1},
        data={"inputs": inputs.tolist(), "targets": (inputs > 0).astype(float).tolist()},
        training=None,
    )
    run = numpy_reference.run(problem)
    assert judge(problem, run).verdict == "certified"
    wrong = changed(run, "gradients", "wide.weight", planted((0, 57, 91), lambda number: number + 0.05))
    assert place(refused(problem, wrong)) == (0, "gradient", "wide.weight", (57, 91))


def test_skipped_update(example):
    """The program left one step's parameters as they were, and went on from there."""
    problem, run = example
    skipped = {path: after.copy() for path, after in run.after.items()}
    before = {path: values.copy() for path, values in run.before.items()}
    for path in PARAMETERS:
        skipped[path][20] = before[path][21] = before[path][20]
    finding = refused(problem, replace(run, after=skipped, before=before))
    assert place(finding)[:3] == (20, "update", "hidden.weight")


RULES = {
    "sigmoid 0.1 % too steep": ("sigmoid", 1, lambda _, y, dy: 1.001 * dy * y * (1 - y), ("cotangent", "readout")),
    "tanh by the identity's rule": ("tanh", 1, lambda _x, _y, dy: dy, ("cotangent", "hidden")),
    "tanh 1e-5 too large": ("tanh", 0, lambda x: np.tanh(x) * (1 + 1e-5), ("value", "tanh1")),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("activation", "which", "rule", "expected"), RULES.values(), ids=RULES)
def test_wrong_rule(monkeypatch, problem_of, dtype, activation, which, rule, expected):
    """A whole run by a wrong rule is consistent in itself, and yet refused where the rule is used first."""
    rules = list(layers.LAYERS[activation])
    rules[which] = rule
    problem = problem_of(dtype)
    with monkeypatch.context() as patch:
        patch.setitem(layers.LAYERS, activation, tuple(rules))
        run = numpy_reference.run(problem)
    finding = refused(problem, run)
    assert (finding.step, finding.phase, finding.tensor) == (0, *expected)


def test_relu_mask_at_an_exact_zero(monkeypatch, problem_of):
    """`x >= 0` in place of `x > 0`: without biases, the sample (0, 0) lies on the kink."""
    problem = problem_of(
        network=[
            {"dense": {"name": "hidden", "units": 3, "bias": False}},
            "relu",
            {"dense": {"name": "readout", "units": 1, "bias": False}},
        ],
        parameters={"hidden.weight": [[0.5, 0.3, 0.9], [0.1, 0.6, 1.1]], "readout.weight": [[1.2], [-0.5], [0.7]]},
        data={"inputs": [[1, 1], [0, 0]], "targets": [[0], [1]]},
    )
    assert judge(problem, numpy_reference.run(problem)).verdict == "certified"
    forward, _ = layers.LAYERS["relu"]
    with monkeypatch.context() as patch:
        patch.setitem(layers.LAYERS, "relu", (forward, lambda x, _, dy: dy * (x >= 0)))
        run = numpy_reference.run(problem)
    finding = refused(problem, run)
    assert place(finding) == (0, "cotangent", "hidden", (1, 0))
    assert "look at the backward pass of the relu layer relu1" in finding.message


@pytest.mark.parametrize("name", DEFAULT)
def test_depth_costs_no_resolution(name):
    """Sixteen tanh layers of width 32 in float32: 1e-5 of one element of the first layer's gradient is seen."""
    problem = materialise(load(CASES / "depth" / "tanh_16_wide.yaml"), "float32")
    run = backend(name).run(problem)
    assert judge(problem, run).verdict == "certified"
    largest = np.unravel_index(np.abs(run.gradients["dense1.weight"][2]).argmax(), (8, 32))
    wrong = changed(
        run, "gradients", "dense1.weight", planted((2, *largest), lambda number: number * np.float32(1 + 1e-5))
    )
    assert place(refused(problem, wrong)) == (2, "gradient", "dense1.weight", largest)


# ---------------------------------------------------------------- ragged batches


@pytest.fixture(scope="module")
def ragged(problem_of):
    """Batches of two of three samples: every odd step has one sample and one row of padding."""
    problem = problem_of(
        loss={"squared_error": {"factor": 1, "reduction": "mean"}},
        training={"steps": 8, "batch": {"size": 2}, "optimizer": {"sgd": {"learning_rate": 0.3}}},
    )
    assert problem.batches[:2].tolist() == [[0, 1], [2, -1]]
    return problem, numpy_reference.run(problem)


@pytest.mark.parametrize("number", [np.nan, 1e300, -np.inf, 1.0])
@pytest.mark.parametrize(("phase", "field"), [("value", "values"), ("cotangent", "cotangents")])
def test_padding_is_zero(ragged, phase, field, number):
    """Of every layer; nothing that stands there is used by the step."""
    problem, run = ragged
    for name in ["input", *VALUES]:
        finding = refused(problem, changed(run, field, name, planted((3, 1, 0), number)))
        assert place(finding) == (3, phase, name, (1, 0))
        assert f"found {number} where 0.0 should pad the record" in finding.message


@pytest.mark.parametrize("field", ["values", "cotangents"])
def test_padding_may_be_a_negative_zero(ragged, field):
    """A program that masks what it has computed multiplies by 0."""
    problem, run = ragged
    for name in VALUES if field == "values" else ["input", *VALUES]:
        run = changed(run, field, name, planted((slice(1, None, 2), 1), -0.0))
    assert judge(problem, run).verdict == "certified"


def test_a_sample_in_the_place_of_padding(ragged):
    """A batch that is too large is named where its samples are, not by the gradients that they spoil."""
    problem, run = ragged
    finding = refused(problem, changed(run, "values", "input", planted((3, 1), problem.inputs[0])))
    assert place(finding)[:3] == (3, "value", "input")
    assert "saw one more sample than its batch has" in finding.message


@pytest.mark.parametrize("step", [4, 5])
def test_fault_in_a_ragged_run(ragged, step):
    problem, run = ragged
    finding = refused(problem, changed(run, "cotangents", "tanh1", planted((step, 0, 1), 1.0)))
    assert place(finding) == (step, "cotangent", "tanh1", (0, 1))


# ---------------------------------------------------------------- what an optimizer remembers


@pytest.fixture
def remembering(example):
    """A right run of an optimizer with a state."""
    problem, _ = example
    problem = replace(problem, optimizer=Momentum(learning_rate=0.1, momentum=0.9))
    return problem, numpy_reference.run(problem)


def test_a_state_is_judged(remembering):
    """Three more tensors a step."""
    judgement = judge(*remembering)
    assert judgement.verdict == "certified", judgement.message
    assert judgement.ledger.tensors == 40 * (4 + 1 + 5 + 3 + 3 + 3) + 5


@pytest.mark.parametrize(("field", "phase"), [("state_after", "state"), ("state_before", "continuity")])
def test_a_wrong_state(remembering, field, phase):
    problem, run = remembering
    wrong = changed(run, field, "velocity/hidden.bias", planted((LATE, 1), lambda number: number * 1.01))
    assert place(refused(problem, wrong)) == (LATE, phase, "velocity/hidden.bias", (1,))


def test_a_state_that_does_not_start_where_the_optimizer_does(remembering):
    problem, run = remembering
    finding = refused(problem, changed(run, "state_before", "velocity/hidden.bias", planted((0, 2), one_ulp)))
    assert place(finding) == (0, "start", "velocity/hidden.bias", (2,))
    assert finding.message.startswith("the run starts from a state of ")
    assert finding.message.endswith(", but the optimizer from 0.0")


# ---------------------------------------------------------------- nothing compared, and end to end


@pytest.mark.parametrize("activation", [[], ["identity"]], ids=["", "with a copy"])
def test_nothing_is_resolved(problem_of, activation):
    """Zeros alone are right, and prove nothing."""
    problem = problem_of(
        network=[{"dense": {"name": "dense", "units": 1, "bias": False}}, *activation],
        parameters={"dense.weight": [[0]]},
        data={"inputs": [[0]], "targets": [[0]]},
    )
    judgement = judge(problem, numpy_reference.run(problem))
    assert (judgement.verdict, judgement.where.step, judgement.ledger.resolved) == ("undecided", 0, 0)
    assert judgement.message == "nothing was compared: no number is larger than its allowance"
    assert (judgement.only_print_missed, judgement.missed_the_truth) == (False, False)


def test_end_to_end(example):
    problem, run = example
    judgement = judge(problem, gradients_only(problem, run))
    assert (judgement.verdict, judgement.scope) == ("certified", "gradients"), judgement.message
    assert judge(problem, run).resolution.relative < judgement.resolution.relative < 1e-3
    wrong = changed(run, "gradients", "hidden.bias", lambda gradient: gradient * 10)
    finding = refused(problem, gradients_only(problem, wrong))
    assert place(finding)[:3] == (0, "gradient", "hidden.bias")
    assert "only gradients are recorded" in finding.message


def test_a_wrong_output_is_seen_end_to_end(example):
    """At the end, where the loss is computed from what is on record."""
    problem, run = example
    wrong = changed(run, "final_values", "sigmoid1", planted((2, 0), lambda number: number * 1.01))
    assert place(refused(problem, gradients_only(problem, wrong))) == (40, "value", "sigmoid1", (2, 0))


# ---------------------------------------------------------------- runs that leave the range of their dtype


@pytest.fixture(scope="module", params=["float64", "float32"])
def diverging(request, problem_of):
    """A linear neuron whose learning rate is too large: the loss grows about 1e8 times a step."""
    problem = problem_of(
        request.param,
        network=[{"dense": {"name": "neuron", "units": 1, "bias": False}}, "identity"],
        parameters={"neuron.weight": [[1], [2]]},
        training={"steps": 60, "optimizer": {"sgd": {"learning_rate": 1e4}}},
    )
    return problem, numpy_reference.run(problem)


def test_out_of_range(diverging):
    """The verdict names the first step that overflows, and counts what was judged up to there."""
    problem, run = diverging
    finding = refused(problem, run, "out of range")
    overflow = int(np.flatnonzero(~np.isfinite(run.loss))[0])
    assert (finding.step, finding.phase) == (overflow, "loss")
    assert finding.message.endswith(f"leaves the range of {problem.dtype}")
    judgement = judge(problem, run)
    assert judgement.ledger.steps == overflow + 1
    assert not judgement.missed_the_truth


def test_fault_before_the_overflow(diverging):
    problem, run = diverging
    wrong = changed(run, "gradients", "neuron.weight", planted((1, 0, 0), lambda number: number * 1.01))
    assert place(refused(problem, wrong)) == (1, "gradient", "neuron.weight", (0, 0))


# ---------------------------------------------------------------- published numbers


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"tensor": "loss", "step": 3, "value": "0.9"}, "a book prints 0.9 for loss at step 3, the run has 0.0"),
        ({"tensor": "parameter/hidden.bias", "step": 0, "index": [0], "value": "0.10", "wrong": "a slip"}, "meets it"),
    ],
)
def test_published_number(problem_of, entry, message):
    """A number that is missed, and one that is met although it is marked as wrong at its source."""
    problem = problem_of(published=[entry | {"source": "a book"}])
    finding = refused(problem, numpy_reference.run(problem))
    assert place(finding) == (entry["step"], "published number", entry["tensor"], ())
    assert message in finding.message


@pytest.mark.parametrize(("first", "second"), [("bias", "weight"), ("weight", "bias")])
def test_the_first_missed_number_is_told(problem_of, first, second):
    """Not one that is met before it, one that is known as wrong at its source, or another missed one."""
    entries = [("bias", {"value": "0.10"}), ("bias", {"value": "0.2", "wrong": "a slip"})]
    entries += [(first, {"value": "0.8"}), (second, {"value": "0.7"})]
    index = {"bias": [0], "weight": [0, 0]}
    published = [
        {"tensor": f"parameter/hidden.{name}", "step": 0, "index": index[name], "source": "a book"} | entry
        for name, entry in entries
    ]
    problem = problem_of(published=published)
    judgement = judge(problem, numpy_reference.run(problem))
    assert "prints 0.8 for" in judgement.message
    assert judgement.where.tensor == f"parameter/hidden.{first}"
    assert (judgement.only_print_missed, judgement.missed_the_truth) == (True, False)


# ---------------------------------------------------------------- what is told


def test_a_right_run_misses_nothing(example):
    judgement = judge(*example)
    assert (judgement.only_print_missed, judgement.missed_the_truth) == (False, False)


def test_a_wrong_run_misses_the_truth(example):
    problem, run = example
    judgement = judge(problem, changed(run, "gradients", "hidden.bias", planted((LATE, 1), np.negative)))
    assert (judgement.only_print_missed, judgement.missed_the_truth) == (False, True)


@pytest.mark.parametrize(
    ("field", "name", "at", "words"),
    [
        ("loss", None, LATE, "step 37, loss: found 7.0, expected "),
        ("cotangents", "tanh1", (LATE, 0, 1), "step 37, cotangent of tanh1 at [0, 1]: found 7.0, expected "),
        ("before", "hidden.bias", (0, 2), "step 0, start of hidden.bias at [2]: the run starts from 7.0, but the case"),
        ("final_loss", None, (), "step 40, loss: found 7.0, expected "),
    ],
)
def test_a_message_begins_with_the_place(example, field, name, at, words):
    problem, run = example
    assert judge(problem, changed(run, field, name, planted(at, 7))).message.startswith(words)


def test_what_has_no_place_is_told_without_one(example):
    """A trajectory that is not whole is not judged at all."""
    problem, run = example
    judgement = judge(problem, replace(run, final_loss=None))
    assert judgement.message == "final_loss: missing"
    assert (judgement.where.step, judgement.resolution) == (0, Resolution())
    assert np.isnan(judgement.budget)
    assert judgement.ledger == Ledger(steps=0, tensors=0, elements=0, resolved=0)
    assert len(judgement.budgets) == 0


def test_a_known_mistake_is_hinted_at(example):
    problem, run = example
    twice = changed(run, "gradients", "hidden.bias", lambda gradient: 2 * gradient)
    assert "; this is what " in judge(problem, twice).message


def test_a_finding_does_not_change(example):
    finding = judge(*example).where
    with pytest.raises(FrozenInstanceError):
        finding.step = 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("before", "hidden.weight"), ("before", "hidden.bias")], (0, "start", "hidden.weight", (0, 0))),
        ([("gradients", "hidden.weight"), ("values", "sigmoid1")], (0, "value", "sigmoid1", (0, 0))),
        ([("values", "input"), ("before", "hidden.weight")], (0, "start", "hidden.weight", (0, 0))),
    ],
)
def test_the_first_of_two_faults_of_a_step_is_told(example, changes, expected):
    """In the order of computation, and of the case: not of the alphabet."""
    problem, run = example
    for field, name in changes:
        run = changed(run, field, name, planted((0,) * getattr(run, field)[name].ndim, 7))
    assert place(refused(problem, run)) == expected


def test_a_wrong_batch_is_told_before_a_wrong_start(example):
    """Of one late step: what it saw, then what it started from."""
    problem, run = example
    run = changed(run, "before", "hidden.bias", planted((LATE, 0), 7))
    run = changed(run, "values", "input", planted((LATE, 0, 0), 7))
    assert place(refused(problem, run)) == (LATE, "value", "input", (0, 0))


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize(("allowances", "verdict"), [(0.5, "certified"), (1.5, "differs")])
def test_the_allowance_is_the_limit(example, allowances, verdict):
    problem, run = example
    (check,) = [check for check in checks_of_steps(problem, run) if check[:2] == ("gradient", "hidden.bias")]
    off = check.truth.value[LATE, 1] + allowances * check.truth.allowance[LATE, 1]
    judgement = judge(problem, changed(run, "gradients", "hidden.bias", planted((LATE, 1), problem.dtype.type(off))))
    assert judgement.verdict == verdict


def test_every_recorded_step_has_its_largest_budget(example):
    judgement = judge(*example)
    assert judgement.budgets.shape == (40,)
    assert ((judgement.budgets > 0) & (judgement.budgets < 1)).all()
    assert judgement.budget == judgement.budgets[judgement.where.step] or judgement.where.step == 40


def test_the_resolution_is_that_of_the_worst_gradient(example):
    """Its largest allowance relative to its largest element, at the step where that is worst."""
    problem, run = example
    gradients = [check.truth for check in checks_of_steps(problem, run) if check.phase == "gradient"]
    axes = [tuple(range(1, truth.value.ndim)) for truth in gradients]
    worst = max(
        (truth.allowance.max(axis=axis) / truth.magnitude.max(axis=axis)).max()
        for truth, axis in zip(gradients, axes, strict=True)
    )
    resolution = judge(problem, run).resolution
    assert (resolution.relative, resolution.absolute) == (pytest.approx(worst, rel=1e-12), 0.0)
    assert 0 < resolution.median < resolution.relative


def test_a_subnormal_copy_that_is_flushed_uses_all_of_its_allowance(problem_of):
    """And no more: a budget of exactly 1 is within."""
    problem = problem_of(
        "float32",
        network=[{"dense": {"name": "neuron", "units": 1, "bias": False}}, "identity"],
        parameters={"neuron.weight": [[1e-40]]},
        data={"inputs": [[1]], "targets": [[0.5]]},
        training=None,
    )
    run = numpy_reference.run(problem)
    assert 0 < run.values["neuron"] < np.finfo(np.float32).smallest_normal
    judgement = judge(problem, changed(run, "values", "identity1", planted((0, 0, 0), 0)))
    assert (judgement.verdict, judgement.budget) == ("certified", 1)
    assert judgement.where.place == "step 0, value of identity1 at [0, 0]"


@pytest.mark.parametrize(("elements", "steps"), [(36, 4), (26, 2), (9, 1), (8, 1)])
def test_a_long_run_is_judged_in_blocks(example, monkeypatch, elements, steps):
    """Of as many steps as fit: three samples by three units each, and one step at least. They change no verdict."""
    sizes, whole = [], judge(*example)

    def counted(problem, block):
        sizes.append(len(block.steps))
        return decided_checks(problem, block)

    monkeypatch.setattr(following, "ELEMENTS_AT_A_TIME", elements)
    monkeypatch.setattr(judge_module, "decided_checks", counted)
    in_blocks = judge(*example)
    assert sizes == [steps] * (40 // steps)
    assert (in_blocks.verdict, in_blocks.ledger, in_blocks.where) == (whole.verdict, whole.ledger, whole.where)


@pytest.mark.parametrize(("samples", "units", "steps"), [(1, 3, 40), (512, 64, 1), (128, 64, 4)])
def test_a_block_fits_well_in_memory(problem_of, monkeypatch, samples, units, steps):
    """A small network is judged at a stroke, of a large one no tensor of a block exceeds 32,768 numbers."""
    sizes = []

    def counted(problem, block):
        sizes.append(len(block.steps))
        return decided_checks(problem, block)

    problem = problem_of(
        network=[{"dense": {"name": "wide", "units": units, "bias": False}}],
        parameters={"wide.weight": np.full((1, units), 0.1).tolist()},
        data={"inputs": [[0.5]] * samples, "targets": [[0.25] * units] * samples},
        training={"steps": 40, "optimizer": {"sgd": {"learning_rate": 1e-6}}},
    )
    monkeypatch.setattr(judge_module, "decided_checks", counted)
    assert judge(problem, numpy_reference.run(problem)).verdict == "certified"
    assert max(sizes) <= steps
    assert samples > 1 or sizes == [40]


def test_the_judge_computes_in_one_thread(example, monkeypatch):
    """However many its caller has: a process a core is at work, and sums keep their order."""
    threads = []

    def watched(problem, block):
        threads.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return decided_checks(problem, block)

    monkeypatch.setattr(judge_module, "decided_checks", watched)
    with threadpool_limits(2):
        judge(*example)
    assert set(threads) <= {1}


def test_of_equal_budgets_the_first_is_told(problem_of, monkeypatch):
    """Of a run that stands still, in blocks of one step."""
    monkeypatch.setattr(following, "ELEMENTS_AT_A_TIME", 1)
    problem = problem_of(training={"steps": 3, "optimizer": {"sgd": {"learning_rate": 1e-300}}})
    judgement = judge(problem, numpy_reference.run(problem))
    assert judgement.budgets.tolist() == [judgement.budget] * 3
    assert judgement.where.step == 0


def test_steps_between_records_are_not_missed(problem_of):
    """Every tenth step is recorded: none starts from what the recorded one before it left."""
    problem = problem_of(record={"every": 10})
    assert problem.recorded.tolist() == [0, 10, 20, 30, 39]
    assert judge(problem, numpy_reference.run(problem)).verdict == "certified"


def test_a_judgement_says_in_a_line_what_it_is(example):
    problem, run = example
    assert re.fullmatch(
        r"certified, [\d,]+ numbers of 40 steps; the largest error is 0\.\d\d of the rounding allowed \(step \d+, .*\)",
        repr(judge(problem, run)),
    )
    wrong = judge(problem, replace(run, gradients={path: 2 * array for path, array in run.gradients.items()}))
    assert repr(wrong).startswith(f"differs, {wrong.ledger.elements:,} numbers of 1 steps; step 0, gradient of ")
