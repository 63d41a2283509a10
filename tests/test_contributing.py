"""What CONTRIBUTING shows is enough: its diffs add an activation and a layer that the whole house accepts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
PROGRAM = """
import json, sys
from backproof.cases.__main__ import json_schema
from backproof.cases.format.schema import CASES
from backproof.cases.reading.load import load
from backproof.cases.problem import materialise
from backproof.report.judging.outcome import attempt
from tests.trial.mutants import MUTANTS
from tests.trial.oracle import method_of, prove, subjects
from tests.trial.planting import outcome

kind, case = sys.argv[1], load(CASES / f"{sys.argv[2]}.yaml")
proved = [subject for subject in subjects() if subject.what.startswith(f"{kind} ")]
print(json.dumps({
    "verdicts": {attempt(materialise(case, "float64"), name).verdict for name in ("numpy", "torch", "jax")},
    "listed": kind in [form["title"] for form in json_schema()["properties"]["network"]["items"]["anyOf"]],
    "proofs": {(method_of(subject), proof.agrees) for subject in proved for proof in prove(subject, "series")},
    "blamed": [outcome(one, "float64").blamed for one in MUTANTS if one.name.startswith(f"{kind}: ")],
    "shipped": [layer.kind for layer in case.network].count(kind),
}, default=sorted))
"""
ADDED = [("square_relu", "activations/piecewise", 15), ("depthwise_convolution", "shapes/positions", 90)]


@pytest.mark.parametrize(("kind", "case", "most"), ADDED)
def test_a_layer_is_added_as_the_guide_says(tmp_path, kind, case, most):
    """On a copy: certified on every backend, proved, on trial, in the schema and in a shipped case; and clean."""
    diffs = re.findall(r"^```diff\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (diff,) = (diff for diff in diffs if f'+    "{kind}"' in diff)
    assert 0 < len(re.findall(r"^\+(?!\+\+ ).", diff, re.MULTILINE)) < most
    for name in ("backends", "backproof", "cases", "reference", "report", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run(*command: str, given: str = "") -> str:
        environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}  # the copy is no repository
        options = {"cwd": tmp_path, "env": environment, "capture_output": True, "encoding": "utf-8"}
        done = subprocess.run(command, input=given, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "apply", "-", given=diff)
    changed = re.findall(r"^\+\+\+ b/(\S+\.py)$", diff, re.MULTILINE)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", *changed)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", *changed)
    assert json.loads(run(sys.executable, "-c", PROGRAM, kind, case)) == {
        "verdicts": ["certified"], "listed": True, "proofs": [["series", True]], "blamed": [True], "shipped": 1,
    }  # fmt: skip
