"""A problem as a file: it holds all that a run depends on, and a program that knows nothing else trains it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from backproof.__main__ import main
from backproof.backends import numpy_reference
from backproof.backends.trajectory import flat
from backproof.backends.trajectory_files import load_run
from backproof.cases.fingerprint import digest_of
from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.__main__ import main as report
from backproof.report.judging.judge import judge

ROOT = CASES.parent
EXAMPLE = ROOT / "docs" / "examples" / "train_a_problem.py"
CHOSEN = (
    "xor/mini_batches", "iris/momentum", "sharing/dropout_drawn", "sharing/tied", "sharing/frozen_layer",
    "sharing/penalties", "schedules/one_cycle", "optimizers/rprop", "clipping/norm", "shapes/graph", "losses/hinge",
    "published/d2l_momentum", "neuron/four_inputs",
)  # fmt: skip


def exported(case: str, path, *options: str) -> tuple[dict, dict]:
    """The arrays of a problem's file, and its texts."""
    assert main(["export", str(CASES / f"{case}.yaml"), "-o", str(path), *options]) == 0
    with safe_open(path, framework="np") as file:
        return load_file(path), file.metadata()


@pytest.mark.parametrize("case", CHOSEN)
def test_it_holds_all_that_a_run_depends_on(case, tmp_path):
    """Bit for bit, and the settings as JSON; what a run must hold is what our own runs do hold."""
    arrays, texts = exported(case, tmp_path / "problem.safetensors")
    problem = materialise(load(CASES / f"{case}.yaml"), texts["dtype"])
    given = {name: getattr(problem, name) for name in ("inputs", "targets", "batches", "recorded")}
    for group in ("parameters", "masks", "buffers"):
        given |= {f"{group}/{path}": array for path, array in getattr(problem, group).items()}
    assert digest_of(arrays) == digest_of(given)
    settings = json.loads(texts["settings"])
    assert [layer["name"] for layer in settings["network"]] == [node.name for node in problem.network]
    for name in ("loss", "optimizer", "schedule", "clip"):
        concept = getattr(problem, name)
        assert settings[name] == (concept and json.loads(concept.model_dump_json()) | {"kind": concept.kind})
    assert settings["tied"].keys() == problem.tied.keys()
    run = {name: (tuple(shape), dtype) for name, shape, dtype in json.loads(texts["run"])}
    ours = flat(numpy_reference.run(problem))
    del ours["steps"]
    assert run == {name: (array.shape, array.dtype.name) for name, array in ours.items()}
    metadata = {"backproof": "1", "case": problem.name, "problem": problem.fingerprint, "dtype": problem.dtype.name}
    assert json.loads(texts["run_metadata"]) == metadata


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", ["xor/mini_batches", "depth/tanh_16_wide", "network/chain"])
def test_a_program_of_its_own_trains_it_and_is_certified(case, dtype, tmp_path):
    problem, run = tmp_path / "problem.safetensors", tmp_path / "run.safetensors"
    exported(case, problem, "--dtype", dtype)
    subprocess.run([sys.executable, EXAMPLE, problem, run], check=True)
    there = materialise(load(CASES / f"{case}.yaml"), dtype)
    judgement = judge(there, load_run(run, there))
    assert (judgement.verdict, judgement.scope, judgement.message) == ("certified", "layers", "")


def test_the_commands_of_its_page(tmp_path, monkeypatch, capsys):
    """As they stand in docs/problems.md; the last one judges the run that the second one leaves."""
    page = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    lines = [line.split() for line in page.split("\n\n")[2].splitlines()]
    of_export, of_training, of_report = ([str(ROOT / w) if "/" in w else w for w in line] for line in lines)
    assert of_export[:4] == ["python", "-m", "backproof", "export"]
    assert of_report[:3] == ["python", "-m", "report"]
    monkeypatch.chdir(tmp_path)
    assert main(of_export[3:]) == 0
    assert "--dtype float64 --run mine=run.safetensors" in capsys.readouterr().out
    subprocess.run([sys.executable, *of_training[1:]], check=True)
    assert report([*of_report[3:], "--backend", "numpy", "--no-exact", "--quiet", "--output", "results"]) == 0
    assert "All 2 runs are certified" in capsys.readouterr().out


def test_a_case_that_cannot_leave_is_refused_in_words(tmp_path, capsys):
    case, there = str(CASES / "digits" / "relu_adam.yaml"), str(tmp_path / "problem.safetensors")
    refused = {
        ("--dtype", "float16", "-o", there): "digits/relu_adam is not of float16: its dtypes are float64, float32",
        ("-o", str(tmp_path / "problem.npz")): "expected a name that ends in .safetensors, found",
        ("-o", str(tmp_path / "nowhere" / "problem.safetensors")): "cannot write",
    }
    for options, words in refused.items():
        assert main(["export", case, *options]) == 2
        assert words in " ".join(capsys.readouterr().err.split())
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("title: none\n")
    assert main(["export", str(wrong), "-o", there]) == 2
    assert f"{wrong}:1:1: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


def test_a_problem_is_no_run(tmp_path, capsys):
    problem = tmp_path / "problem.safetensors"
    exported("neuron/four_inputs", problem)
    assert report(["--run", f"mine={problem}", "--output", str(tmp_path / "results")]) == 2
    assert "expected the metadata 'backproof': '1' in its header" in " ".join(capsys.readouterr().err.split())
    assert np.ndim(load_file(problem)["batches"]) == 2
