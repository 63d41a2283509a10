"""The wheel brings one name, and all of it works in a folder that has packages called `report` and `cases` itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.report.running.test_isolation import CASE

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("backends", "backproof", "cases", "reference", "report")
FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
NOT_OURS = "raise AssertionError('this package is somebody else\\'s')\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without a network."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(output)]
    subprocess.run([*PIP, "wheel", *options, str(source)], check=True)
    (file,) = output.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that the wheel is installed into."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)], check=True)
    return folder


@pytest.fixture
def run(installed, tmp_path):
    """Run a command in somebody's folder, where only the installed wheel is found."""
    for name in ("report", "cases"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(NOT_OURS)
    (tmp_path / "mine.yaml").write_text(CASE)

    def run(*command: str, first: str = "") -> subprocess.CompletedProcess:
        path = os.pathsep.join(filter(None, (first, str(installed))))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
        options = {"cwd": tmp_path, "env": environment | {"PYTHONPATH": path}, "capture_output": True, "text": True}
        return subprocess.run(command, check=False, **options)

    return run


def test_it_holds_everything_under_one_name(wheel):
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"backproof"}
    kinds = (".py", ".yaml", ".json", ".npz", ".csv", ".typed", ".html", ".css", ".js", ".txt")
    ours = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    paths = (path.relative_to(ROOT).as_posix() for path in ours)
    wanted = {path if path.startswith("backproof/") else f"backproof/{path}" for path in paths}
    assert wanted - names == set()


def test_the_report(run, installed, tmp_path):
    done = run(f"{installed}/bin/backproof", "report", "mine.yaml", "--backend=numpy", "--no-exact")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("1/1 mine: 1 of 1 certified, ")
    assert "certified" in done.stdout
    environment = json.loads((tmp_path / "results" / "report.json").read_text())["environment"]
    assert environment["command"] == "backproof report mine.yaml --backend=numpy --no-exact"


@pytest.mark.parametrize(("command", "word"), [("cases", "A neuron"), ("backends", "jax-eager")])
def test_the_other_commands(run, installed, command, word):
    arguments = ["mine.yaml"] if command == "cases" else []
    done = run(f"{installed}/bin/backproof", command, *arguments)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert word in done.stdout


def test_a_command_is_called_as_it_was(run):
    assert run(sys.executable, "-m", "backproof", "report", "--help").stdout.startswith("usage: backproof report")
    assert run(sys.executable, "-m", "backproof").returncode == 2


def test_the_plugin_registers_itself(run, tmp_path):
    """And collects the cases of the folders that the project names."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nbackproof_cases = scenarios\n")
    for name in ("scenarios", "others"):
        (tmp_path / name).mkdir()
        shutil.copy(tmp_path / "mine.yaml", tmp_path / name / "one.yaml")
    done = run(sys.executable, "-m", "pytest", "-v", "--backproof-backend=numpy")
    assert done.returncode == 0, done.stdout
    assert "scenarios/one.yaml::float64-numpy PASSED" in done.stdout
    assert "1 passed" in done.stdout


def test_the_plugin_imports_nothing_until_there_is_a_case(run, tmp_path):
    heavy = '{"numpy", "pydantic", "torch", "jax"} & set(sys.modules)'
    (tmp_path / "test_nothing.py").write_text(f"import sys\n\ndef test():\n    assert not {heavy}\n")
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "test_nothing.py")
    assert done.returncode == 0, done.stdout


def test_a_case_is_certified_in_one_line(run):
    done = run(sys.executable, "-c", "import backproof; print(*backproof.certify_case('mine.yaml'))")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert done.stdout.split() == ["float64-numpy", "float64-torch", "float64-jax"]


def test_a_missing_framework_is_a_verdict(run, installed, tmp_path):
    """And without matplotlib the report has no figure, but says so."""
    for name in ("torch", "jax", "matplotlib"):
        (tmp_path / "absent" / name).mkdir(parents=True)
        words = f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        (tmp_path / "absent" / name / "__init__.py").write_text(words)
    absent = str(tmp_path / "absent")
    done = run(f"{installed}/bin/backproof", "report", "mine.yaml", "--no-exact", "--no-cache", first=absent)
    assert done.returncode == 3
    assert done.stderr.startswith("1/1 mine: float64 torch missing, float64 jax missing, 1 of 3 certified, ")
    rows = json.loads((tmp_path / "results" / "report.json").read_text())["results"]
    assert [row["verdict"] for row in rows] == ["certified", "missing", "missing"]
    page = (tmp_path / "results" / "cases" / "mine.md").read_text()
    assert "the figure is left out, it could not be made: it needs matplotlib" in page
    certify = "import backproof; print(*backproof.certify_case('mine.yaml'))"
    assert run(sys.executable, "-c", certify, first=absent).stdout.split() == ["float64-numpy"]
