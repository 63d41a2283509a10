"""What CONTRIBUTING shows is enough: its diffs add an activation and a layer that the whole house accepts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
PROGRAM = """
import json, sys
from backproof.cases.format.json_schema import json_schema
from backproof.cases.format.schema import CASES
from backproof.cases.reading.load import load
from backproof.cases.problem import materialise
from backproof.report.judging.outcome import attempt
from tests.trial.mutants import MUTANTS
from tests.trial.oracle import method_of, prove, subjects
from tests.trial.planting import outcome

def found(kind, case):
    case = load(CASES / f"{case}.yaml")
    proved = [subject for subject in subjects() if subject.what.startswith(f"{kind} ")]
    return {
        "verdicts": {attempt(materialise(case, "float64"), name).verdict for name in ("numpy", "torch", "jax")},
        "listed": kind in [form["title"] for form in json_schema()["properties"]["network"]["items"]["anyOf"]],
        "proofs": {(method_of(subject), proof.agrees) for subject in proved for proof in prove(subject, "series")},
        "blamed": [outcome(one, "float64").blamed for one in MUTANTS if one.name.startswith(f"{kind}: ")],
        "shipped": [layer.kind for layer in case.network].count(kind),
    }

print(json.dumps([found(*pair.split("=")) for pair in sys.argv[1:]], default=sorted))
"""
ADDED = [("square_relu", "activations/piecewise", 15), ("depthwise_convolution", "shapes/positions", 90)]


def test_layers_are_added_as_the_guide_says(tmp_path):
    """On a copy: certified on every backend, proved, on trial, in the schema and in a shipped case; and clean."""
    diffs = re.findall(r"^```diff\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for name in ("backends", "backproof", "cases", "reference", "report", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run(*command: str, given: str = "") -> str:
        environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}  # the copy is no repository
        options = {"cwd": tmp_path, "env": environment, "capture_output": True, "encoding": "utf-8"}
        done = subprocess.run(command, input=given, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for diff, (kind, _, most) in zip(diffs, ADDED, strict=True):
        assert f'+    "{kind}"' in diff
        assert 0 < len(re.findall(r"^\+(?!\+\+ ).", diff, re.MULTILINE)) < most
        run("git", "apply", "-", given=diff)
    changed = {file for diff in diffs for file in re.findall(r"^\+\+\+ b/(\S+\.py)$", diff, re.MULTILINE)}
    run(sys.executable, "-m", "ruff", "check", "--no-cache", *sorted(changed))
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", *sorted(changed))
    pairs = [f"{kind}={case}" for kind, case, _ in ADDED]
    accepted = {"verdicts": ["certified"], "listed": True, "proofs": [["series", True]], "blamed": [True], "shipped": 1}
    assert json.loads(run(sys.executable, "-c", PROGRAM, *pairs)) == [accepted] * len(ADDED)
