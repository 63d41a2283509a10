"""Whatever a backend does is a verdict; and who is the odd one out."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.backends.registry import BACKENDS, DEFAULT, Unsupported
from backproof.backends.trajectory import WrongReturn
from backproof.reference.formulas import layers
from backproof.report.judging.outcome import Comparison, accuracy, attempt, pairs_of, suspect


@pytest.fixture
def install(monkeypatch):
    """Let a name of the registry stand for another `run`."""

    def install(name: str, run) -> None:
        monkeypatch.setitem(sys.modules, f"planted_{name}", SimpleNamespace(run=run))
        monkeypatch.setitem(BACKENDS, name, f"planted_{name}")

    return install


def raising(error):
    def run(_):
        raise error

    return run


LEFT_OUT = "(4,440 characters are left out)"
RAISED = f"{Path(__file__).relative_to(Path.cwd())}:{raising.__code__.co_firstlineno + 2} in run: raise error"


@pytest.mark.parametrize(
    ("run", "verdict", "message"),
    [
        (raising(ValueError("two\n  lines")), "error", f"ValueError: two lines, at {RAISED}"),
        (raising(ValueError("word " * 999)), "error", f"ValueError: {'word ' * 111}… {LEFT_OUT}, at {RAISED}"),
        (raising(SystemExit(0)), "error", f"SystemExit: 0, at {RAISED}"),
        (raising(WrongReturn("expected one, found two")), "error", "expected one, found two"),
        (raising(MemoryError()), "out of memory", "the run needs more memory than there is"),
        (raising(Unsupported("no float16")), "unsupported", "no float16"),
        (lambda _: None, "error", "AttributeError: 'NoneType' object has no attribute 'scope'"),
    ],
)
def test_a_backend_that_fails_is_a_verdict(problem_of, install, run, verdict, message):
    install("torch", run)
    result = attempt(problem_of(), "torch")
    assert (result.verdict, result.message, result.judgement) == (verdict, message, None)


CROSS_ENTROPY = {"softmax_cross_entropy": {"factor": 1, "reduction": "mean"}}
CLASSES, ONE_IS_NONE = [[1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("loss", "targets", "output", "share"),
    [
        (CROSS_ENTROPY, [0, 1, 1], [[2, 1], [-4, -3], [5, 5.5]], 1),
        (CROSS_ENTROPY, [0, 1, 1], [[2, 1], [-3, -4], [5.5, 5]], 1 / 3),
        (CROSS_ENTROPY, CLASSES, [[1, 2], [-3, -4], [5, 5.5]], 1 / 3),
        (CROSS_ENTROPY, [[0.9, 0.1], [0, 1], [0, 1]], [[2, 1], [-4, -3], [5, 5.5]], None),
        (CROSS_ENTROPY, ONE_IS_NONE, [[2, 1], [-4, -3], [5, 5.5]], None),
        (CROSS_ENTROPY, [[1, 1], [0, 1], [0, 1]], [[2, 1], [-4, -3], [5, 5.5]], None),
        (CROSS_ENTROPY, CLASSES, [[2, 1], [-4, -3], [np.nan, 5.5]], None),
        (CROSS_ENTROPY, CLASSES, [[2, 1], [-4, -3], [5, np.inf]], None),
        ({"squared_error": {"factor": 1, "reduction": "mean"}}, CLASSES, [[2, 1], [-4, -3], [5, 5.5]], None),
    ],
)
def test_accuracy_is_the_share_of_samples_in_their_class(problem_of, loss, targets, output, share):
    """No number where a target is no single class, where the loss is of none, or where an output is none."""
    parameters = {"readout.weight": [[1, 0], [0, 1]], "readout.bias": [0, 0]}
    data = {"inputs": [[0, 1], [1, 0], [1, 1]], "targets": targets}
    network = [{"dense": {"name": "readout", "units": 2}}]
    problem = problem_of(network=network, parameters=parameters, data=data, loss=loss)
    assert accuracy(problem, SimpleNamespace(final_values={"readout": np.array(output)})) == share


def test_no_accuracy_of_a_trajectory_that_is_not_whole(problem_of, install):
    """What is missing is told by the judge."""
    install("torch", lambda problem: replace(numpy_reference.run(problem), final_values={}))
    result = attempt(problem_of(), "torch")
    assert (result.verdict, result.accuracy) == ("incomplete", None)
    assert result.message == "final_values: all missing"


def test_missing_backend(problem_of, monkeypatch):
    monkeypatch.setitem(BACKENDS, "torch", "no_such_module")
    result = attempt(problem_of(), "torch")
    assert result.verdict == "missing"
    assert result.message == "the backend torch is not installed: No module named 'no_such_module'"


def test_interruption_is_not_swallowed(problem_of, install):
    install("torch", raising(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        attempt(problem_of(), "torch")


# ---------------------------------------------------------------- the odd one out


def compare(problem, names=DEFAULT) -> Comparison:
    comparison = Comparison(None, problem, [attempt(problem, name) for name in names])
    comparison.pairs = list(pairs_of(comparison))
    return comparison


def scaled(problem):
    """A framework whose gradients are 1 % too large."""
    run = numpy_reference.run(problem)
    return replace(run, gradients={path: gradient * 1.01 for path, gradient in run.gradients.items()})


def verdicts(comparison: Comparison) -> list[str]:
    return [result.verdict for result in comparison.results]


def test_wrong_reference(problem_of, monkeypatch):
    """The truth is the reference's, so it certifies itself; two frameworks that agree are the better witnesses."""
    forward, backward = layers.LAYERS["sigmoid"]
    monkeypatch.setitem(layers.LAYERS, "sigmoid", (forward, lambda x, y, dy: 1.01 * backward(x, y, dy)))
    comparison = compare(problem_of(training={"steps": 2, "optimizer": {"sgd": {"learning_rate": 0.3}}}))
    assert verdicts(comparison) == ["certified", "differs", "differs"]
    assert suspect(comparison) == (
        "torch and jax agree with each other and miss the truth (step 0, cotangent of readout at [0, 0]): "
        "suspect the reference (numpy) or the case"
    )


def spoilt(**at):
    """A framework that is wrong in one element of these tensors, given as the field's name and (path, index)."""

    def run(problem):
        right, changed = numpy_reference.run(problem), {}
        for field, (path, index) in at.items():
            tensor = getattr(right, field)[path].copy()
            tensor[index] += 1
            changed[field] = getattr(right, field) | {path: tensor}
        return replace(right, **changed)

    return run


COTANGENT = {"cotangents": ("readout", (5, 0, 0))}


@pytest.mark.parametrize(
    ("torch", "jax", "suspected"),
    [
        (COTANGENT, COTANGENT, True),
        (COTANGENT, COTANGENT | {"gradients": ("hidden.bias", (6, 0))}, True),
        (COTANGENT, COTANGENT | {"after": ("hidden.bias", (4, 0))}, False),
        (COTANGENT, {"cotangents": ("readout", (6, 0, 0))}, False),
        (COTANGENT, {"values": ("readout", (5, 0, 0))}, False),
        ({"gradients": ("hidden.bias", (5, 0))}, {"gradients": ("hidden.bias", (5, 1))}, False),
    ],
    ids=["alike", "apart later", "apart before", "at other steps", "in other phases", "in other elements"],
)
def test_agreement_counts_up_to_the_miss(problem_of, install, torch, jax, suspected):
    """Runs may drift apart after the step at which both have missed the truth, as those of chaotic training do."""
    install("torch", spoilt(**torch))
    install("jax", spoilt(**jax))
    comparison = compare(problem_of())
    assert verdicts(comparison) == ["certified", "differs", "differs"]
    assert suspect(comparison).startswith("torch and jax agree with each other and miss the truth (step 5") is suspected


@pytest.mark.parametrize("jax", [raising(ValueError), raising(Unsupported("no"))])
def test_the_reference_is_no_witness_for_itself(problem_of, install, jax):
    install("torch", scaled)
    install("jax", jax)
    assert suspect(compare(problem_of())) == (
        "only the reference (numpy) met the truth, which is its own: another backend would tell who is wrong"
    )


@pytest.mark.parametrize("name", DEFAULT)
def test_one_wrong_backend_is_named(problem_of, install, name):
    for other in DEFAULT:
        install(other, scaled if other == name else numpy_reference.run)
    comparison = compare(problem_of())
    assert verdicts(comparison).count("differs") == 1
    others = " and ".join(other for other in DEFAULT if other != name)
    assert suspect(comparison) == f"{name} is alone: {others} met the truth"


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        ("torch torch-compile", "numpy", "only the reference (numpy) met the truth, which is its own"),
        ("torch torch-compile", "numpy jax", "torch and torch-compile are alone: numpy and jax met the truth"),
        ("torch-compile", "numpy torch", "torch-compile is alone: numpy and torch met the truth"),
        ("torch torch-compile jax", "numpy", "torch, jax and torch-compile agree with each other and miss"),
        ("torch-compile jax-eager", "numpy", "torch-compile and jax-eager agree with each other and miss"),
        ("torch-compile jax", "numpy torch", ""),
    ],
)
def test_backends_of_one_framework_are_one_witness(problem_of, install, wrong, right, told):
    """They run the same formulas, so that they agree with each other says nothing against the reference."""
    for name in BACKENDS:
        install(name, scaled if name in wrong.split() else numpy_reference.run)
    names = [name for name in BACKENDS if name in f"{wrong} {right}".split()]
    suspected = suspect(compare(problem_of(), names))
    assert suspected.startswith(told)
    assert bool(suspected) is bool(told)


def test_nobody_is_suspected_without_witnesses(problem_of, install):
    """Not where all are right, and not where the others have not finished, or are wrong in their own ways."""
    for name in DEFAULT:
        install(name, numpy_reference.run)
    assert suspect(compare(problem_of())) == ""
    install("numpy", raising(ValueError))
    install("jax", raising(ValueError))
    install("torch", scaled)
    assert suspect(compare(problem_of())) == ""
    install("numpy", numpy_reference.run)
    install("jax", lambda problem: replace(numpy_reference.run(problem), loss=np.zeros(40)))
    assert suspect(compare(problem_of())) == ""
    install("jax", lambda problem: replace(numpy_reference.run(problem), gradients={}))
    assert suspect(compare(problem_of())).startswith("only the reference (numpy) met the truth")


def test_all_right_but_the_printed_number(problem_of, install):
    """Then nobody has missed the truth."""
    for name in DEFAULT:
        install(name, numpy_reference.run)
    printed = {"tensor": "loss", "step": 0, "value": "0.123", "source": "a book"}
    comparison = compare(problem_of(published=[printed]))
    assert verdicts(comparison) == ["differs"] * 3
    assert suspect(comparison).startswith("every backend is right by the formulas and misses the printed number")


def test_nobody_is_suspected_where_nothing_was_compared(problem_of):
    """Zeros alone are refused on every backend, and nobody has missed the truth."""
    comparison = compare(
        problem_of(
            network=[{"dense": {"name": "dense", "units": 1, "bias": False}}],
            parameters={"dense.weight": [[0]]}, data={"inputs": [[0]], "targets": [[0]]}, training=None,
        )
    )  # fmt: skip
    assert verdicts(comparison) == ["undecided"] * 3
    assert {result.message for result in comparison.results} == {
        "nothing was compared: no number is larger than its allowance"
    }
    assert suspect(comparison) == ""


def test_steps_that_are_not_recorded_explain_nothing(problem_of, install):
    """A backend that updates at recorded steps only is right at each of them; its drift is not called rounding."""
    problem = problem_of(record={"every": 7})
    recorded = problem.recorded

    def lazy(problem):
        short = replace(problem, batches=problem.batches[recorded], recorded=np.arange(len(recorded)))
        return replace(numpy_reference.run(short), steps=recorded)

    install("numpy", numpy_reference.run)
    install("torch", lazy)
    comparison = Comparison(None, problem, [attempt(problem, name) for name in ("numpy", "torch")])
    (pair,) = pairs_of(comparison)
    assert verdicts(comparison) == ["certified", "certified"]
    assert pair.status == "outside"


def test_an_import_that_fails_in_our_own_code_is_an_error(problem_of, tmp_path, monkeypatch):
    """It is no missing framework, which would be skipped."""
    (tmp_path / "careless.py").write_text("from backproof.cases.format.schema import Losss")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "torch", "careless")
    assert attempt(problem_of(), "torch").verdict == "error"
    (tmp_path / "careless_too.py").write_text("import backproof.cases.no_such_room")
    monkeypatch.setitem(BACKENDS, "torch", "careless_too")
    assert attempt(problem_of(), "torch").verdict == "error"
