"""Runs as files: saved, judged again, made by a program in C; and what is no run."""

import json
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import numpy_reference
from backends.runs import NotARun, load_run, read_header, save_run
from cases.schema import CASES, Dtype
from report.__main__ import main
from report.judge import judge

EXAMPLES = CASES.parent / "docs" / "examples"
CASE = str(CASES / "neuron" / "four_inputs.yaml")


@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_a_file_holds_every_bit_of_a_run(problem_of, tmp_path, dtype):
    schedule = {"step_decay": {"every": 3, "factor": 0.5}}
    training = {"steps": 5, "optimizer": {"adam": {"learning_rate": 0.1}}, "schedule": schedule}
    problem = problem_of(dtype, dtypes=[dtype], training=training)
    run = numpy_reference.run(problem)
    save_run(run, tmp_path / "a" / "run.safetensors", problem)
    again = load_run(tmp_path / "a" / "run.safetensors", problem)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run.safetensors"]
    for field in fields(run):
        ours, theirs = getattr(run, field.name), getattr(again, field.name)
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
            assert all(ours[name].dtype == theirs[name].dtype for name in ours)
        else:
            assert np.array_equal(ours, theirs)
    assert judge(problem, again).message == ""


@pytest.fixture
def saved(problem_of, tmp_path):
    problem = problem_of(training=None)
    path = tmp_path / "run.safetensors"
    save_run(numpy_reference.run(problem), path, problem)
    return problem, path


HEADER = {"backproof": "1", "case": "x", "dtype": "float64"}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "expected the metadata 'backproof': '1' in its header; there is no such key"),
        (HEADER | {"backproof": "2"}, "expected the metadata 'backproof': '1' in its header; found '2'"),
        (HEADER | {"case": ""}, "the metadata has no 'case'"),
        ({"backproof": "1", "case": "x"}, "the metadata has no 'dtype'"),
        (HEADER | {"scope": "all"}, "the metadata 'scope' is layers or gradients, not 'all'"),
    ],
)
def test_a_header_that_says_too_little(saved, metadata, message):
    problem, path = saved
    save_file(load_file(path), path, metadata)
    with pytest.raises(NotARun) as refused:
        load_run(path, problem)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


def test_files_that_hold_no_run(saved, tmp_path):
    problem, path = saved
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-3])
    (tmp_path / "text.safetensors").write_text("title: a case")
    for name in ("cut", "text", "none"):
        with pytest.raises(NotARun, match="no safetensors file: "):
            read_header(tmp_path / f"{name}.safetensors")
    save_file({"valeus/x": np.zeros(3)}, path, HEADER)
    with pytest.raises(NotARun, match="a run has nothing called 'valeus/x'"):
        load_run(path, problem)


def test_what_is_missing_in_a_file_is_named(saved):
    problem, path = saved
    arrays = load_file(path)
    del arrays["gradients/hidden.bias"], arrays["final_loss"]
    save_file(arrays, path, HEADER | {"seconds": "much"})
    message = judge(problem, load_run(path, problem)).message
    assert message == "gradients of hidden.bias: missing; final_loss: missing, found None in its place"


# ---------------------------------------------------------------- python -m report


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows() -> dict[str, dict]:
    found = json.loads(Path("results/report.json").read_text())["results"]
    return {f"{row['dtype']} {row['backend']}": row for row in found}


def report(*arguments) -> int:
    return main([*map(str, arguments), "--executor=inline", "--no-exact"])


def test_saved_runs_are_judged_again_without_running(monkeypatch):
    assert report(CASE, "--backend=numpy", "--save-runs") == 0
    files = sorted(path.relative_to("results").as_posix() for path in Path("results/runs").rglob("*.*"))
    assert files == [f"runs/neuron/four_inputs/{dtype}-numpy.safetensors" for dtype in ("float32", "float64")]
    monkeypatch.setattr(numpy_reference, "run", None)
    assert report("--from-runs=results", "--output=again") == 0
    assert json.loads(Path("again/report.json").read_text())["results"][0]["verdict"] == "certified"
    case = Path(CASE).read_text().replace("0.689974481128", "0.689974491128")
    Path("case.yaml").write_text(case)
    shutil.copytree("results/runs/neuron/four_inputs", "results/runs/case")
    assert report("case.yaml", "--from-runs=results") == 1
    assert "prints 0.689974491128" in rows()["float64 numpy"]["message"]


def test_a_run_that_was_not_saved_is_missing(capsys):
    assert report(CASE, "--backend=numpy", "--dtype=float64", "--save-runs") == 0
    assert report(CASE, "--from-runs=results") == 3
    assert rows()["float32 numpy"]["verdict"] == "missing"
    assert rows()["float64 numpy"]["verdict"] == "certified"
    assert report("--from-runs=nowhere") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "there is no folder nowhere/runs; --save-runs makes it"


@pytest.fixture(scope="module")
def from_c(tmp_path_factory):
    """The file that the program in C writes."""
    folder = tmp_path_factory.mktemp("c")
    compiler = shutil.which("cc") or shutil.which("gcc")
    build = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", folder / "neuron", EXAMPLES / "run.c", "-lm"]
    subprocess.run(build, check=True)
    subprocess.run([folder / "neuron", folder / "neuron.safetensors"], check=True)
    return folder / "neuron.safetensors"


def test_a_run_of_a_program_in_c_is_certified(from_c):
    assert report(f"--run=c={from_c}", "--backend=numpy") == 0
    assert list(rows()) == ["float64 numpy", "float64 c", "float32 numpy"]
    assert rows()["float64 c"]["verdict"] == "certified"
    assert rows()["float64 c"]["published"] == {"met": 3, "missed": 0}


def test_a_wrong_number_of_a_program_in_c_is_named(from_c):
    arrays = load_file(from_c)
    arrays["gradients/neuron.weight"][0, 2] *= -1
    save_file(arrays, "wrong.safetensors", HEADER | {"case": "neuron/four_inputs"})
    assert report("--run=c=wrong.safetensors", f"--run=right={from_c}", "--backend=numpy") == 1
    message = rows()["float64 c"]["message"]
    assert message.startswith("step 0, gradient of neuron.weight at [2, 0]: found ")
    assert rows()["float64 right"]["verdict"] == "certified"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run=c=none.safetensors"], "none.safetensors: no safetensors file: "),
        (["--run=c={c}", "--dtype=float64", str(CASES / "xor")], "is a run of neuron/four_inputs in float64, which is"),
        (["--run=c={c}", "--run=c={c}"], "c is given twice"),
        (["--backend=numpy", "--run=a=other.safetensors"], "a=other.safetensors is a run of neuron/five in float64"),
    ],
)
def test_runs_that_are_of_no_use(from_c, capsys, arguments, message):
    save_file(load_file(from_c), "other.safetensors", HEADER | {"case": "neuron/five"})
    assert report(*(argument.replace("{c}", str(from_c)) for argument in arguments)) == 2
    assert message in capsys.readouterr().err


BAD = [
    "--run=c", "--run=torch=x.safetensors", "--backend=mine=x", "--time-limit=0", "--memory-limit=inf",
    "--executor=spark", "--executor=dask://x y", "--jobs=0",
]  # fmt: skip


@pytest.mark.parametrize("argument", BAD)
def test_bad_arguments(argument, capsys):
    with pytest.raises(SystemExit) as stop:
        main([argument])
    assert stop.value.code == 2
    assert "error: argument" in capsys.readouterr().err
