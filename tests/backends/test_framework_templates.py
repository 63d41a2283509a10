"""A file that trains a case in PyTorch or JAX is certified as it stands, or says what is to be filled in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backproof.backends import __main__ as command
from backproof.backends.users_template import template
from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.judging.outcome import attempt

BOTH = ("torch", "jax")
WHOLE = (
    "xor/relu", "sharing/tied", "sharing/frozen_layer", "sharing/penalties", "sharing/dropout_drawn",
    "shapes/positions", "activations/gated", "optimizers/adam", "schedules/one_cycle", "clipping/norm",
)  # fmt: skip


def written(tmp_path, monkeypatch, case: str, kind: str) -> str:
    """The text of a new file `mine.py`."""
    monkeypatch.chdir(tmp_path)
    assert command.main(["--new", "mine.py", str(CASES / f"{case}.yaml"), f"--{kind}"]) == 0
    return Path("mine.py").read_text(encoding="utf-8")


def beginning_of(case: str, dtype: str):
    """The first steps of a case."""
    problem = materialise(load(CASES / f"{case}.yaml"), dtype)
    steps = min(problem.steps, 5)
    return replace(problem, batches=problem.batches[:steps], recorded=np.arange(steps), published=())


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("case", WHOLE)
def test_a_loop_of_a_framework_is_certified_as_it_stands(tmp_path, monkeypatch, capsys, case, kind):
    """It records everything: each operation is judged by itself, and there is nothing that is not recorded."""
    assert "TODO" not in written(tmp_path, monkeypatch, case, kind)
    assert "It trains the case: change it, and judge it:" in capsys.readouterr().out
    result = attempt(beginning_of(case, "float32"), "mine=mine.py:run")
    assert (result.verdict, result.message) == ("certified", "")
    assert result.judgement.scope == "layers"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_torch_trains_in_every_dtype(tmp_path, monkeypatch, dtype):
    written(tmp_path, monkeypatch, "xor/mini_batches", "torch")
    result = attempt(beginning_of("xor/mini_batches", dtype), "mine=mine.py:run")
    assert (result.verdict, result.message) == ("certified", "")


def test_jax_says_that_it_rounds_sums_of_16_bits(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, "optimizers/adam", "jax")
    result = attempt(beginning_of("optimizers/adam", "bfloat16"), "mine=mine.py:run")
    assert (result.verdict, result.message) == ("unsupported", "JAX rounds a sum of 16-bit numbers after every term")


@pytest.mark.parametrize(
    ("case", "kind", "todo"),
    [
        ("losses/gaussian", "torch", "the terms of the gaussian_nll loss of y and t"),
        ("losses/cross_entropy", "jax", "the terms of the softmax_cross_entropy loss of y and t"),
        ("optimizers/lion", "torch", "the lion optimizer"),
        ("optimizers/rmsprop", "jax", "the rmsprop optimizer"),
        ("schedules/warm_up", "torch", "the warm_up schedule of 0.05"),
    ],
)
def test_what_is_to_be_filled_in_is_one_todo(tmp_path, monkeypatch, capsys, case, kind, todo):
    text = written(tmp_path, monkeypatch, case, kind)
    assert f"TODO: {todo}." in text.partition("import")[0]
    assert text.count(f"todo({todo!r})") == 1
    assert "Fill it in, and judge it:" in capsys.readouterr().out
    result = attempt(beginning_of(case, "float64"), "mine=mine.py:run")
    assert result.verdict == "error"
    assert f"NotImplementedError: TODO: {todo}" in result.message


def test_a_mistake_in_such_a_loop_is_named(tmp_path, monkeypatch):
    text = written(tmp_path, monkeypatch, "xor/relu", "torch")
    assert text.count("model.zero_grad()") == 1
    Path("mine.py").write_text(text.replace("model.zero_grad()", "pass"), encoding="utf-8")
    result = attempt(beginning_of("xor/relu", "float64"), "mine=mine.py:run")
    assert result.verdict == "differs"
    assert "step 1, gradient of " in result.message


def test_an_optimizer_alone_can_be_written_for_any_case(tmp_path, monkeypatch, capsys):
    """It leaves the parameters as they are; filled in, it is certified."""
    text = written(tmp_path, monkeypatch, "xor/relu", "optimizer")
    assert ":update" in capsys.readouterr().out
    problem = beginning_of("xor/relu", "float64")
    result = attempt(problem, "mine=mine.py:update")
    assert (result.verdict, result.judgement.where.phase) == ("differs", "update")
    rate = problem.optimizer.learning_rate
    for path in problem.trained:
        name = path.replace(".", "_")
        text = text.replace(f'"{path}": {name},', f'"{path}": {name} - {rate} * gradient_{name},')
    Path("filled.py").write_text(text, encoding="utf-8")
    assert attempt(problem, "mine=filled.py:update").verdict == "certified"


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    case = str(CASES / "losses" / "hinge.yaml")
    no_training = next(path for path in sorted(CASES.rglob("*.yaml")) if load(path).training is None)
    assert command.main(["--new", "mine.py", str(no_training), "--optimizer"]) == 2
    assert "trains nothing, so it has no optimizer" in capsys.readouterr().err
    for arguments in (["--torch"], ["--new", "mine.py", case, "--torch", "--jax"]):
        with pytest.raises(SystemExit, match="2"):
            command.main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("path", sorted(CASES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_it_is_python_for_every_case(path, kind):
    text = template(load(path), path, Path("mine.py"), kind)
    compile(text, "mine.py", "exec")
    assert max(map(len, text.splitlines())) < 200
