"""`certify_case` does what `--backend mine=…` does, as one line of any test."""

import numpy as np
import pytest

import backproof
from backproof import certify
from backproof.report.judging.judge import Judgement
from tests.report.running.test_isolation import CASE


@pytest.fixture
def case(tmp_path):
    """A neuron with a sigmoid."""
    path = tmp_path / "neuron.yaml"
    path.write_text(CASE)
    return path


def right(parameters, inputs, targets):
    y = 1 / (1 + np.exp(-(inputs @ parameters["neuron.weight"] + parameters["neuron.bias"])))
    dx = (y - targets) * y * (1 - y)
    return np.sum((y - targets) ** 2) / 2, {"neuron.weight": inputs.T @ dx, "neuron.bias": dx.sum(axis=0)}


def wrong(parameters, inputs, targets):
    loss, gradients = right(parameters, inputs, targets)
    return loss, gradients | {"neuron.bias": 2 * gradients["neuron.bias"]}


def test_a_right_function_is_certified(case):
    found = backproof.certify_case(case, right)
    assert [*found] == ["float64-mine"]
    assert isinstance(found["float64-mine"], Judgement)


def test_a_wrong_one_is_told_in_the_words_of_the_judge(case):
    with pytest.raises(backproof.NotCertified, match="mine: differs\n  step 0, gradient of neuron"):
        backproof.certify_case(case, wrong)
    assert issubclass(backproof.NotCertified, AssertionError)


@pytest.mark.parametrize("name", ["mine", "other"])
def test_a_function_in_a_file(case, tmp_path, name):
    file = tmp_path / "own.py"
    file.write_text("def gradients(parameters, inputs, targets):\n    return 0.0, parameters\n")
    place = f"{file}:gradients" if name == "mine" else f"{name}={file}:gradients"
    with pytest.raises(backproof.NotCertified, match=f"neuron float64 {name}: differs"):
        backproof.certify_case(case, place)


def test_a_backend_by_its_name(case):
    assert [*backproof.certify_case(case, "numpy")] == ["float64-numpy"]


def test_one_that_is_asked_for_must_be_there(case, monkeypatch):
    """While the others may be missing."""
    from backproof.backends.registry import BACKENDS

    for name in ("torch", "jax"):
        monkeypatch.setitem(BACKENDS, name, "no_such_module")
    assert [*backproof.certify_case(case)] == ["float64-numpy"]
    with pytest.raises(backproof.NotCertified, match="neuron float64 torch: missing"):
        backproof.certify_case(case, "torch")


def test_nothing_judged_is_nothing_certified(case, monkeypatch):
    monkeypatch.setattr(certify, "DEFAULT", ())
    with pytest.raises(backproof.NotCertified, match="nothing was judged: no backend ran it"):
        backproof.certify_case(case)


def test_two_runs_outside_the_tolerance(case):
    text = CASE.replace("steps: 3", "steps: 300").replace("float64]", "float32]").replace("sigmoid", "tanh")
    case.write_text(f"{text}tolerance: {{float32: {{rtol: 0, atol: 0}}}}\n")
    with pytest.raises(backproof.NotCertified, match=r"neuron float32 .*: outside the case's tolerance"):
        backproof.certify_case(case)


def test_an_exception_of_the_function_comes_out(case):
    with pytest.raises(ZeroDivisionError):
        backproof.certify_case(case, lambda parameters, inputs, targets: (1 / (len(inputs) - 3), parameters, targets))


def test_what_takes_something_else_is_told(case):
    with pytest.raises(backproof.NotCertified, match="mine: error\n  expected a function of"):
        backproof.certify_case(case, lambda x, y: (x, y))


def test_what_is_no_case(case):
    case.write_text(CASE.replace("sigmoid", "sigmod"))
    with pytest.raises(backproof.InvalidCase, match=r"neuron\.yaml:3:46: there is no layer 'sigmod'"):
        backproof.certify_case(case, right)


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="'backproof' has no attribute 'certify_everything'"):
        backproof.certify_everything  # noqa: B018
    assert all(getattr(backproof, name) is not None for name in backproof.__all__)
