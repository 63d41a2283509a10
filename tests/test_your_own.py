"""Somebody's own code as a backend: functions in files, packages, a file to begin with, the examples of the docs."""

import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import backends
from backends import __main__ as command
from backends import backend, chosen, describe, known, numpy_reference
from cases.load import load
from cases.problem import materialise
from cases.schema import CASES
from report.__main__ import main
from report.run import attempt

EXAMPLES = CASES.parent / "docs" / "examples"
RIGHT = """\
import numpy as np

def gradients(parameters, inputs, targets):
    h = np.tanh(inputs @ parameters["hidden.weight"] + parameters["hidden.bias"])
    y = 1 / (1 + np.exp(-(h @ parameters["readout.weight"])))
    dy = (y - targets) * y * (1 - y)
    dh = dy @ parameters["readout.weight"].T * (1 - h * h)
    found = {"hidden.weight": inputs.T @ dh, "hidden.bias": dh.sum(axis=0), "readout.weight": h.T @ dy}
    return np.sum((y - targets) ** 2) / 2, found
"""


@pytest.fixture
def own(tmp_path, problem_of):
    """Judge a function of a file with this text, on the small problem."""

    def judge(text: str, function: str = "gradients", **changes):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return attempt(problem_of(**changes), f"mine={path}:{function}")

    return judge


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_gradients_are_certified_end_to_end(tmp_path, problem_of, dtype):
    (tmp_path / "mine.py").write_text(RIGHT)
    result = attempt(problem_of(dtype), f"mine={tmp_path / 'mine.py'}:gradients")
    assert (result.backend, result.verdict, result.message) == ("mine", "certified", "")
    assert result.judgement.scope == "gradients"
    assert result.judgement.ledger.steps == 40
    assert result.judgement.resolution.relative < {"float64": 1e-11, "float32": 1e-3}[dtype]


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("dh = dy @", "dh = -dy @", "step 0, gradient of hidden.weight"),
        ("h.T @ dy}", "-h.T @ dy}", "step 0, gradient of readout.weight"),
        ("(1 - h * h)", "(1 - h * h) * (1 + 1e-9)", "step 0, gradient of hidden.weight"),
        ("** 2) / 2", "** 2)", "step 0, loss"),
    ],
)
def test_wrong_gradients_are_named(own, right, wrong, where):
    result = own(RIGHT.replace(right, wrong))
    assert result.verdict == "differs"
    assert result.message.startswith(where)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def gradients(parameters, inputs, targets): return 1", "expected (loss, gradients), the gradients in a dict"),
        ("def gradients(parameters, inputs, targets): return 1.0, {}", "gradient of hidden.weight: missing; gradient"),
        (RIGHT.replace("h.T @ dy}", "h.T @ dy, 'x': h}"), "gradient of x: nothing of that name is trained"),
        (
            RIGHT.replace("h.T @ dy}", "(h.T @ dy).T}"),
            "of shape (3, 1), found float64 of shape (1, 3)",
        ),
        (RIGHT.replace("h.T @ dy}", "np.float32(h.T @ dy)}"), "shape (3, 1), found float32 of shape (3, 1)"),
        (RIGHT.replace("h.T @ dy}", "[1, 2, 3]}"), "expected float64 of shape (3, 1), found a list"),
        ("def gradients(x): return x.no_such_thing", "AttributeError"),
        ("def gradients(x, y): return 1", "expected a function (parameters, inputs, targets) or (problem), found"),
        ("def gradient(a, b, c): pass", "has no function 'gradients'; did you mean 'gradient'?"),
        ("x = 1", "has no function 'gradients'; it has no function"),
        ("def gradients(problem): return 3", "run(problem) returns a Trajectory or a mapping, not a int"),
        ("def gradients(problem): return {'valeus/x': 3}", "a run has nothing called 'valeus/x'; expected steps, loss"),
        ("import", "SyntaxError: invalid syntax"),
    ],
)
def test_what_a_function_gets_wrong_is_told(own, text, message):
    result = own(text)
    assert result.verdict == "error"
    assert message in result.message


def test_a_module_that_is_missing_is_no_traceback(own):
    result = own("import no_such_module")
    assert (result.verdict, result.message) == (
        "missing", "the backend mine is not installed: No module named 'no_such_module'",
    )  # fmt: skip


def test_a_function_may_keep_its_arrays_and_write_into_its_arguments(own):
    text = RIGHT.replace("    return np", "    parameters['hidden.bias'][:] = 9; inputs[:] = 9\n    return np")
    text += "\nkept = {}\nonce = gradients\ndef gradients(p, x, t):\n    loss, found = once(p, x, t)\n"
    text += "    for k, v in found.items():\n        kept.setdefault(k, v.copy())[...] = v\n    return loss, kept\n"
    assert own(text).verdict == "certified"


def test_dropout_is_unsupported(own):
    network = [{"dense": {"name": "a", "units": 1, "bias": False}}, {"dropout": {"rate": 0.5}}]
    changes = {"parameters": {"a.weight": [[1], [1]]}, "random": {"generator": "pcg64", "seed": 0}}
    result = own(RIGHT, network=network, **changes)
    assert result.verdict == "unsupported"
    assert "is not given masks of dropout" in result.message


@pytest.mark.parametrize("nested", [True, False])
def test_a_mapping_is_a_run(problem_of, tmp_path, monkeypatch, nested):
    """Named like a trajectory's fields, or like the arrays of a file."""
    call = "vars(numpy_reference.run(problem))" if nested else "flat(numpy_reference.run(problem))"
    text = (
        f"from backends import numpy_reference\nfrom backends.trajectory import flat\ndef run(problem): return {call}"
    )
    (tmp_path / "package_of_mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    result = attempt(problem_of(), "mine=package_of_mine:run")
    assert (result.verdict, result.message, result.judgement.scope) == ("certified", "", "layers")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorflow", "unknown backend 'tensorflow'; expected numpy, torch, jax"),
        ("mine=", "expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION, found ''"),
        ("mine=x.py", "expected FILE.py:FUNCTION"),
        ("mine=x.py:f", "there is no file x.py"),
        ("mine=x/y:f", "expected a file that ends in .py, or a module, found 'x/y'"),
        ("torch=x.py:f", "torch is the name of another backend"),
        ("1|x=x.py:f", "a name begins with a letter"),
    ],
)
def test_what_names_no_backend(text, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", "\\(").replace("|", "\\|")):
        chosen(text)


def test_packages_add_backends(monkeypatch, problem_of, tmp_path):
    """By entry points, modules and functions; none can take the place of ours."""
    (tmp_path / "added_module.py").write_text("from backends.numpy_reference import PACKAGES, run, settings")
    (tmp_path / "added_function.py").write_text(RIGHT)
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        SimpleNamespace(name="added", value="added_module"),
        SimpleNamespace(name="other", value="added_function:gradients"),
        SimpleNamespace(name="torch", value="added_module"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries * (group == "backproof.backends"))
    assert list(known()) == [*backends.BACKENDS, "added", "other"]
    assert known()["torch"] == "backends.torch_autograd"
    assert backend("added").run is numpy_reference.run
    assert attempt(problem_of(), "added").verdict == "certified"
    assert attempt(problem_of(), "other").judgement.scope == "gradients"
    assert describe("added")["threads"] == "1"
    assert describe("other") == {"backend": "other", "packages": "added_function:gradients",
                                 "function": "added_function:gradients"}  # fmt: skip


def test_a_file_of_ones_own_is_described_by_its_content(tmp_path):
    (tmp_path / "mine.py").write_text("")
    row = describe(f"mine={tmp_path / 'mine.py'}:f")
    assert row == {"backend": "mine", "packages": f"{tmp_path / 'mine.py'}:f (SHA-256 e3b0c44298fc)"}


# ---------------------------------------------------------------- the template


@pytest.mark.parametrize("case", ["network/three_two_one", "digits/relu_adam", "sharing/tied", "sharing/frozen_layer"])
def test_the_template_runs_and_fails_until_it_is_filled_in(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    path = CASES / f"{case}.yaml"
    assert command.main(["--new", "mine.py", str(path)]) == 0
    assert f"python -m report {path} --backend mine=mine.py:gradients" in capsys.readouterr().out
    text = Path("mine.py").read_text(encoding="utf-8")
    loaded = load(path)
    for name, shape in loaded.trained_shapes().items():
        assert f'"{name}": np.zeros_like(' in text
        assert f'= parameters["{name}"]  # {shape}' in text
    short = loaded.model_copy(update={"training": None, "published": []})
    result = attempt(materialise(short, "float64"), "mine=mine.py:gradients")
    assert result.verdict == "differs"
    assert result.message.startswith("step 0, loss: found 0.0")


def test_the_template_overwrites_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("precious")
    case = str(CASES / "network" / "three_two_one.yaml")
    assert command.main(["--new", "mine.py", case]) == 2
    assert Path("mine.py").read_text() == "precious"
    assert command.main(["--new", "mine.txt", case]) == 2
    assert command.main(["--new", "new.py", str(CASES / "sharing" / "dropout_drawn.yaml")]) == 2
    assert command.main(["--new", "new.py", "no_such.yaml"]) == 2
    assert command.main(["--new", "no/such/folder.py", case]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mine.py is there already, and stays as it is"
    assert lines[1] == "expected a name that ends in .py, found mine.txt"
    assert "has dropout, whose masks gradients() is not given" in lines[2]
    assert lines[3] == "no_such.yaml:1:1: there is no such file"
    assert lines[4] == "cannot write no/such/folder.py: No such file or directory"


# ---------------------------------------------------------------- the examples of the docs


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("case", "place", "scope"),
    [
        ("network/three_two_one", "three_two_one.py:gradients", "gradients"),
        ("xor/three_four_one", "three_four_one.py:gradients", "gradients"),
        ("xor/relu", "autograd_backend.py:run", "layers"),
        ("depth/tanh_16_wide", "autograd_backend.py:run", "layers"),
        ("network/chain", "autograd_backend.py:run", "layers"),
    ],
)
def test_the_examples_are_certified(case, place, scope, dtype):
    result = attempt(materialise(load(CASES / f"{case}.yaml"), dtype), f"mine={EXAMPLES / place}")
    assert (result.verdict, result.message) == ("certified", "")
    assert result.judgement.scope == scope
    assert len((EXAMPLES / "autograd_backend.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("case", ["xor/sequential_batches", "optimizers/adam", "sharing/skip"])
def test_the_example_refuses_what_it_does_not_know(case):
    result = attempt(materialise(load(CASES / f"{case}.yaml"), "float64"), f"a={EXAMPLES}/autograd_backend.py:run")
    assert result.verdict == "unsupported"


@pytest.mark.parametrize(
    ("example", "case", "right", "where"),
    [
        ("three_two_one", "network", "np.dot(inputs.T, hidden", "gradient of hidden.weight"),
        ("three_two_one", "network", "np.dot(hidden_layer_output.T", "gradient of readout.weight"),
        ("three_four_one", "xor", "np.dot(Xj.T", "gradient of readout.weight"),
    ],
)  # fmt: skip
def test_one_changed_sign_is_refused_with_its_tensor(tmp_path, example, case, right, where):
    text = (EXAMPLES / f"{example}.py").read_text()
    assert text.count(right) == 1
    (tmp_path / "mine.py").write_text(text.replace(right, f"-{right}"))
    problem = materialise(load(CASES / case / f"{example}.yaml"), "float64")
    result = attempt(problem, f"mine={tmp_path / 'mine.py'}:gradients")
    assert result.verdict == "differs"
    assert result.message.startswith(f"step 0, {where}")


def test_the_report_prints_the_resolution(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = f"--backend=mine={EXAMPLES / 'three_two_one.py'}:gradients"
    case = str(CASES / "network" / "three_two_one.yaml")
    assert main([case, own, "--executor=inline", "--no-exact"]) == 0
    printed = capsys.readouterr().out
    assert "(2e-14)*" in printed
    assert "* judged end to end, from gradients alone" in printed
    rows = json.loads(Path("results/report.json").read_text())["results"]
    assert [row["backend"] for row in rows] == ["mine", "mine"]
    assert np.isfinite(rows[0]["resolution"])
