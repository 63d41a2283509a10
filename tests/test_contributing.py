"""What CONTRIBUTING shows is enough: its diff adds an activation that the whole house accepts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
CASE = """\
title: With the new activation
dtypes: [float64]
network: [dense: {{name: hidden, units: 3}}, {kind}, dense: {{name: readout, units: 1}}]
parameters:
  hidden.weight: [[0.5, -0.3, 0.9], [0.1, 0.6, -1.1]]
  hidden.bias: [0.1, -0.2, 0]
  readout.weight: [[1.2], [-0.5], [0.7]]
  readout.bias: [0.1]
data: {{inputs: [[0, 0], [0, 1], [1, 0.3], [1, 1]], targets: [[0.1], [0.9], [0.4], [0.6]]}}
loss: {{squared_error: {{factor: 0.5, reduction: sum}}}}
"""
PROGRAM = """
import json, sys
from backproof.cases.__main__ import json_schema
from backproof.cases.reading.load import load
from backproof.cases.problem import materialise
from backproof.report.judging.outcome import attempt
from tests.trial.activation_mutants import ACTIVATION_MUTANTS
from tests.trial.oracle import method_of, prove, subjects
from tests.trial.planting import outcome

kind, case = sys.argv[1], load("new.yaml")
proved = [subject for subject in subjects() if subject.what == f"{kind} layer"]
print(json.dumps({
    "verdicts": {attempt(materialise(case, "float64"), name).verdict for name in ("numpy", "torch", "jax")},
    "listed": [form["title"] for form in json_schema()["properties"]["network"]["items"]["anyOf"]].count(kind),
    "proofs": {(method_of(subject), proof.agrees) for subject in proved for proof in prove(subject, "series")},
    "blamed": [outcome(one, "float64").blamed for one in ACTIVATION_MUTANTS if one.name.startswith(f"{kind}: ")],
    "shipped": [layer.kind for layer in load("cases/activations/piecewise.yaml").network].count(kind),
}, default=sorted))
"""


def test_an_activation_is_added_as_the_guide_says(tmp_path):
    """On a copy: certified on every backend, proved, on trial, in the schema and in a shipped case; and clean."""
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    added = re.findall(r"^\+(?!\+\+ )(.*)$", diff, re.MULTILINE)
    assert 0 < len(added) < 15
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
    (kind,) = re.findall(r'^ +"(\w+)": \(', "\n".join(added), re.MULTILINE)
    (tmp_path / "new.yaml").write_text(CASE.format(kind=kind), encoding="utf-8")
    assert json.loads(run(sys.executable, "-c", PROGRAM, kind)) == {
        "verdicts": ["certified"], "listed": 2, "proofs": [["series", True]], "blamed": [True], "shipped": 1,
    }  # fmt: skip
