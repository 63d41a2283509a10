"""Records that somebody got wrong, or made so that something wrong might pass: none of them is certified."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ml_dtypes import bfloat16

from backproof.backends import numpy_reference
from backproof.backends.registry import DEFAULT, backend
from backproof.backends.trajectory import seconds_of
from backproof.report.judging.judge import judge
from backproof.report.judging.outcome import Comparison, judged, pairs_of
from backproof.report.judging.structure import structure_mistakes
from backproof.report.telling.cells import cell
from backproof.report.telling.json_rows import exit_code
from backproof.report.telling.overview import summary
from backproof.report.telling.sentence import verdict_sentence

DECAY = {
    "steps": 300,
    "optimizer": {"adam": {"learning_rate": 0.1}},
    "schedule": {"step_decay": {"every": 100, "factor": 0.5}},
}


@pytest.fixture(scope="module")
def example(problem_of):
    problem = problem_of()
    return problem, numpy_reference.run(problem)


@pytest.fixture(scope="module")
def decayed(problem_of):
    """A run whose steps are more than an int8 or a uint8 can count."""
    problem = problem_of(training=DECAY)
    return problem, numpy_reference.run(problem)


def told(problem, run) -> str:
    """What is said of a record that is incomplete."""
    judgement = judge(problem, run)
    assert (judgement.verdict, judgement.where.phase, judgement.ledger.elements) == ("incomplete", "structure", 0)
    return judgement.message


def of_each(tensors: dict, change) -> dict:
    return {name: change(tensor) for name, tensor in tensors.items()}


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint64", ">i8"])
def test_steps_of_any_integers_are_those_of_the_problem(problem_of, dtype):
    """Nothing is computed from the record's own: the last of 127 steps and one is -128 in an int8."""
    problem = problem_of(training=DECAY | {"steps": 127})
    run = numpy_reference.run(problem)
    assert judge(problem, replace(run, steps=run.steps.astype(dtype))).verdict == "certified"
    faulty = replace(run, steps=run.steps.astype(dtype), learning_rates=3 * run.learning_rates)
    judgement = judge(problem, faulty)
    assert (judgement.verdict, judgement.where.phase, judgement.where.step) == ("differs", "learning rate", 0)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64"])
@pytest.mark.parametrize(
    "wrong",
    [lambda rates: 3 * rates, np.negative, lambda rates: np.roll(rates, 7), lambda rates: rates[:1] + 0 * rates],
    ids=["times 3", "negative", "late", "constant"],
)
def test_wrong_rates_are_refused_whatever_counts_the_steps(problem_of, dtype, wrong):
    problem = problem_of(training=DECAY | {"steps": 128})
    run = numpy_reference.run(problem)
    rates = np.where(np.arange(128) < 15, run.learning_rates, wrong(run.learning_rates))
    judgement = judge(problem, replace(run, steps=run.steps.astype(dtype), learning_rates=rates))
    assert (judgement.verdict, judgement.where.phase) == ("differs", "learning rate")


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (lambda steps: steps.astype(bool), "300 from False to True of dtype bool"),
        (lambda steps: steps.astype(float), "300 from 0.0 to 299.0 of dtype float64"),
        (lambda steps: steps.astype("float16"), "300 from 0.0 to 299.0 of dtype float16"),
        (lambda steps: steps.astype(str), "300 from 0 to 299 of dtype str"),
        (lambda steps: steps.astype("int8"), "300 from 0 to 43"),
        (lambda steps: steps[:, None], "300 from 0 to 299"),
        (lambda steps: steps[::-1], "300 from 299 to 0"),
        (lambda steps: steps[:0], "none"),
        (lambda _: None, "none"),
        (lambda _: [[0], [1, 2]], "a list of no numbers"),
        (lambda _: "all", "1 from all to all of dtype str"),
    ],
)
def test_steps_that_are_none(decayed, steps, found):
    problem, run = decayed
    message = told(problem, replace(run, steps=steps(run.steps)))
    assert message.startswith(f"steps: expected 300 from 0 to 299, found {found}")


# ---------------------------------------------------------------- dtypes and shapes


@pytest.mark.parametrize("field", ["gradients", "values", "after"])
def test_byte_order_is_part_of_the_dtype(example, field):
    problem, run = example
    swapped = of_each(getattr(run, field), lambda tensor: tensor.astype(">f8"))
    message = told(problem, replace(run, **{field: swapped}))
    assert "expected float64, found float64 in the other byte order (and " in message


@pytest.mark.parametrize("other", ["float32", "float16", bfloat16, "longdouble", "complex128", "int64", "O", ">f8"])
def test_a_run_in_another_dtype_is_told_in_one_line(example, other):
    problem, run = example
    changed = {
        field: of_each(tensors, lambda tensor: tensor.astype(other))
        if isinstance(tensors, dict)
        else tensors.astype(other)
        for field, tensors in vars(run).items()
        if field not in ("steps", "seconds", "scope", "borrowed", "learning_rates")
    }
    message = told(problem, replace(run, **changed))
    assert message.startswith("every array is ")
    assert message.endswith(" where float64 was asked")
    assert ";" not in message


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_loss_may_stand_in_an_axis_of_its_own(problem_of, dtype):
    """Frameworks leave a loss of shape (1,) as often as one of shape ()."""
    problem = problem_of(dtype)
    run = numpy_reference.run(problem)
    odd = replace(run, loss=run.loss[:, None], final_loss=run.final_loss.reshape(1))
    assert judge(problem, odd).verdict == "certified"
    assert "loss: expected shape (40,), found (1, 40)" in told(problem, replace(run, loss=run.loss[None]))
    odd = replace(odd, loss=odd.loss.copy())
    odd.loss[7, 0] *= 2
    assert judge(problem, odd).message.startswith("step 7, loss: found ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda _: {"cotangents": {}}, "cotangents: all missing"),
        (lambda run: {"values": {"input": run.values["input"]}}, "values: missing hidden, tanh1 and 2 more"),
        (
            lambda run: {"gradients": {"hidden.bias": run.gradients["hidden.bias"]}},
            "gradients: missing hidden.weight and readout.weight",
        ),
        (
            lambda run: {"gradients": run.gradients | {f"x{i}": run.loss for i in range(20_000)}},
            "gradients: nothing is expected of the names x0, x1 and 19998 more",
        ),
        (
            lambda run: {"cotangents": of_each(run.cotangents, lambda tensor: tensor.swapaxes(0, 1))},
            "cotangents of input: expected shape (40, 3, 2), found (3, 40, 2) (and 4 more like it)",
        ),
        (
            lambda run: {"after": of_each(run.after, lambda tensor: tensor.tolist())},
            "after of hidden.weight: expected an array, found list (and 2 more like it)",
        ),
        (
            lambda run: {"gradients": of_each(run.gradients, np.float32)},
            "gradients of hidden.weight: expected float64, found float32 (and 2 more like it)",
        ),
        (lambda run: {"values": run.loss}, "values: expected arrays by name, found a ndarray"),
        (lambda _: {"scope": np.zeros(2)}, "scope: expected layers, some or gradients, found array([0., 0.])"),
        (
            lambda _: {"loss": None, "before": {}},
            "loss: missing; before: all missing",
        ),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line(example, changes, message):
    problem, run = example
    assert told(problem, replace(run, **changes(run))) == message


# ---------------------------------------------------------------- the verdict


def test_an_incomplete_run_is_no_difference(example):
    """It has its own exit code, no budget, and is nobody's pair."""
    problem, run = example
    results = [judged(problem, "numpy", run), judged(problem, "mine", replace(run, values={}))]
    comparison = Comparison(None, problem, results)
    assert [result.verdict for result in results] == ["certified", "incomplete"]
    assert cell(results[1]) == "incomplete"
    assert list(pairs_of(comparison)) == []
    assert exit_code([comparison], invalid=False) == 3
    assert exit_code([comparison], invalid=False, fail_on="difference") == 0
    assert not results[1].judgement.missed_the_truth


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_a_wrong_number_is_a_difference(example, number):
    """A record that holds it lacks nothing."""
    problem, run = example
    assert judge(problem, replace(run, final_loss=np.array(number))).verdict == "differs"


# ---------------------------------------------------------------- padding


@pytest.fixture(scope="module")
def ragged(problem_of):
    """Batches of 2, 1, 2, 1, ... samples."""
    return problem_of(training={"steps": 8, "batch": {"size": 2}, "optimizer": {"sgd": {"learning_rate": 0.3}}})


@pytest.mark.parametrize("name", DEFAULT)
def test_backends_pad_with_zeros(ragged, name):
    run = backend(name).run(ragged)
    for tensors in (run.values, run.cotangents):
        assert all(not tensor[1::2, 1].any() for tensor in tensors.values())
        assert any(tensor[1::2, 0].any() for tensor in tensors.values())
    assert judge(ragged, run).verdict == "certified"


def test_the_samples_of_the_step_before_are_no_padding(ragged):
    """A buffer that is used again still holds them."""
    run = numpy_reference.run(ragged)
    stale = of_each(run.cotangents, np.copy)
    for tensor in stale.values():
        tensor[1::2, 1] = tensor[:-1:2, 1]
    judgement = judge(ragged, replace(run, cotangents=stale))
    assert (judgement.verdict, judgement.where.step, judgement.where.phase) == ("differs", 1, "cotangent")
    assert "should pad the record" in judgement.message


# ---------------------------------------------------------------- seconds


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (1.5, 1.5), ("2.5", 2.5), (np.float32(0.5), 0.5), (0, 0), ("nan", 0), (np.nan, 0), ("inf", 0), (-5, 0),
        ("-5", 0), ("much", 0), (None, 0), (np.zeros(2), 0), (10**400, 0), (1j, 0),
    ],
)  # fmt: skip
def test_seconds_are_a_time_or_none(example, found, seconds):
    problem, run = example
    assert seconds_of(found) == seconds
    assert judged(problem, "mine", replace(run, seconds=found)).seconds["run"] == seconds


# ---------------------------------------------------------------- whose numbers are counted


def gradients(parameters, inputs, targets):
    """The derivatives of the example's network: mean squares of a line, so that they fit in two lines."""
    weight = parameters["line.weight"]
    error = inputs @ weight - targets
    return (error**2).sum(), {"line.weight": 2 * inputs.T @ error}


LINE = {
    "network": [{"dense": {"name": "line", "units": 1, "bias": False}}],
    "parameters": {"line.weight": [[0.3], [0.7]]},
    "loss": {"squared_error": {"factor": 1, "reduction": "sum"}},
    "training": {"steps": 10, "optimizer": {"adam": {"learning_rate": 0.1}}},
}


def test_only_the_numbers_of_the_code_are_counted(problem_of):
    """Ten losses, ten gradients of two numbers, and the loss after the last step; Adam and its moments are lent."""
    problem = problem_of(**LINE)
    judgement = judge(problem, numpy_reference.run_gradients(problem, gradients))
    assert judgement.verdict == "certified"
    assert (judgement.ledger.tensors, judgement.ledger.elements) == (10 + 10 + 1, 10 * 1 + 10 * 2 + 1)
    assert judgement.where.phase in ("loss", "gradient")
    assert judgement.borrowed == ("state", "update")


def test_the_report_says_whose_numbers_it_counts(problem_of):
    problem = problem_of(**LINE)
    runs = {"numpy": numpy_reference.run(problem), "mine": numpy_reference.run_gradients(problem, gradients)}
    results = [judged(problem, name, run) for name, run in runs.items()]
    comparison = Comparison(SimpleNamespace(name="line"), problem, results)
    told = " ".join(summary([comparison]).split())
    assert told.endswith("mine: what the reference computed for it (update, state) is judged, but not counted")
    assert verdict_sentence([comparison], []).startswith(
        f"All 2 runs are certified: each of {results[0].judgement.ledger.elements + 31} numbers at 20 recorded steps"
    )


def test_what_is_borrowed_is_judged_all_the_same(problem_of):
    problem = problem_of(**LINE)
    run = numpy_reference.run_gradients(problem, gradients)
    after = {"line.weight": run.after["line.weight"].copy()}
    after["line.weight"][9] *= 1.01
    judgement = judge(problem, replace(run, after=after))
    assert (judgement.verdict, judgement.where.phase, judgement.where.step) == ("differs", "update", 9)


def test_a_run_that_borrows_everything_is_not_certified(problem_of):
    problem = problem_of(**LINE)
    everything = frozenset({"value", "loss", "cotangent", "gradient", "learning rate", "update", "state"})
    judgement = judge(problem, replace(numpy_reference.run(problem), borrowed=everything))
    told = "nothing was compared: no number of it is the run's own"
    assert (judgement.verdict, told in judgement.message) == ("undecided", True)
    assert judgement.ledger.elements == 0


def test_a_whole_run_has_no_mistakes(example, decayed):
    """Without this, an instrument that refuses everything would pass above."""
    assert [structure_mistakes(*pair) for pair in (example, decayed)] == [[], []]
    assert [judge(*pair).verdict for pair in (example, decayed)] == ["certified", "certified"]
