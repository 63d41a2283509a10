"""A package of one's own adds layers, a loss and an optimizer: read, run on three backends, judged, and blamed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "support" / "extension"


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to be changed."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "package"))


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (package, ROOT)))}
    options = {"env": environment, "cwd": package, "capture_output": True, "text": True}
    return subprocess.run([sys.executable, "-m", "backproof", *arguments], check=False, **options)


def report(package: Path, *arguments: str) -> tuple[int, list[dict]]:
    done = run(package, "report", "--executor", "inline", "--output", "results", *arguments)
    assert not done.stderr or "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads((package / "results" / "report.json").read_text())["results"]


def changed(package: Path, module: str, old: str, new: str) -> None:
    file = package / "more_layers" / f"{module}.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_all_backends_are_certified(package):
    """Layers with two inputs, buffers, parts and positions, a loss and an optimizer; most derivatives are derived."""
    code, results = report(package, "case.yaml", "positions.yaml", "--dtype", "float64")
    assert {(row["case"], row["backend"]) for row in results} == {
        (case, backend) for case in ("case", "positions") for backend in ("numpy", "torch", "jax")
    }
    assert {row["verdict"] for row in results} == {"certified"}
    assert code == 0


@pytest.mark.parametrize(
    ("module", "old", "new", "where"),
    [
        ("gate", "a * torch.sigmoid(b", "a.detach() * torch.sigmoid(b", ("cotangent", "tanh1")),
        ("scored", "return x @ weight", "return x @ weight.T", ("value", "attention.scores")),
        ("centre", "(1 - momentum) * m.detach()", "momentum * m.detach()", ("buffer", "centre1.mean")),
        ("half_momentum", "torch_step = jax_step = step", (
            "def torch_step(optimizer, w, g, t, velocity):\n"
            "    v = velocity + g\n"
            "    return optimizer.learning_rate * v, (v,)\n\n\njax_step = step"
        ), ("state", "velocity/hidden.weight")),
    ],
)  # fmt: skip
def test_a_mistake_in_a_framework_is_named(package, module, old, new, where):
    changed(package, module, old, new)
    _, results = report(package, "case.yaml", "--backend", "torch", "--dtype", "float64")
    (row,) = results
    assert row["verdict"] == "differs"
    assert (row["where"]["phase"], row["where"]["tensor"]) == where


def test_a_framework_that_lacks_it_is_unsupported(package):
    changed(package, "gate", "def torch_forward", "def torch_backward")
    _, results = report(package, "case.yaml", "--backend", "torch", "--dtype", "float64")
    assert [row["verdict"] for row in results] == ["unsupported"]
    assert "gate" in results[0]["message"]


def test_its_mistakes_have_places(package):
    (package / "wrong.yaml").write_text((package / "case.yaml").read_text().replace("by: hidden", "by: readout"))
    done = run(package, "cases", "wrong.yaml")
    assert done.returncode == 2
    assert "wrong.yaml:7:" in done.stderr
    assert "readout" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("class Gate(LayerConcept)", "class Relu(LayerConcept)", "there is a relu already"),
        ("class Gate(LayerConcept)", "class Gate", "expected one subclass of LayerConcept in it, found 0"),
        ("import numpy as np", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_what_cannot_be_added_is_told_in_a_line(package, old, new, told):
    changed(package, "gate", old, new)
    done = run(package, "cases", "case.yaml")
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "more_layers.gate" in done.stderr


ALONE = """
import numpy as np, torch, backproof
x, w = torch.linspace(-1, 1, 60).reshape(5, 3, 4), torch.linspace(-1, 1, 16).reshape(4, 4)
backproof.certify_layer("scored", lambda x, w: x * torch.sigmoid(x @ w), {"x": x, "weight": w}, hostile=True)
values = {"a": x, "b": x / 10, "sharpness": w[0]}
backproof.certify_layer("gate", lambda a, b, s: a * torch.sigmoid(b * s), values)
before = lambda x: torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]
backproof.certify_layer("causal_mean", lambda x: (x + before(x)) / 2, {"x": x}, hostile=True)
backproof.certify_loss("quartic", lambda y, t: ((y - t) ** 4).sum(), {"y": x, "t": x * x}, reduction="sum")
step = lambda w, g, v: (w - 0.1 * (v / 2 + g), v / 2 + g)
inputs = {"parameter": w, "gradient": w * w, "velocity": w}
backproof.certify_update("half_momentum", step, inputs, learning_rate=0.1)
for wrong in (lambda x, w: x * torch.sigmoid(x @ w.T), lambda x, w: x * torch.sigmoid(x.detach() @ w)):
    try:
        backproof.certify_layer("scored", wrong, {"x": x, "weight": w})
    except backproof.NotCertified as refused:
        print(str(refused).partition(":")[2].partition(" at ")[0])
try:
    backproof.certify_layer("centre", lambda x: x, {"x": w})
except ValueError as unfit:
    print(unfit)
"""


def test_what_is_added_is_certified_alone(package):
    """Parts, several values, a loss and an optimizer; a layer with buffers says why not."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (package, ROOT)))}
    done = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    first, second, third = done.stdout.splitlines()
    assert (first, second) == (" value of y", " cotangent of x")
    assert third.startswith("centre: it remembers mean from step to step: judge it in a run")
