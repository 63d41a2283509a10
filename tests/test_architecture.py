"""The arrows of the house: who may import whom, and what a command must not import to say what it can do."""

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from backproof.backends.registry import BACKENDS, framework

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["cases", "reference", "backends", "report", "tests"]  # each may import from those before it
ADAPTER = "backproof.backends.numpy_reference"


def module_name(path: Path) -> str:
    """`cases/reading/load.py` is `backproof.cases.reading.load`, `cases/__init__.py` is `cases`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def imports(module: str) -> set[str]:
    """Everything that a module imports, anywhere in its text: inside functions and type-checking blocks too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & MODULES.keys()) or {node.module}
    return found


GRAPH = {module: imports(module) for module in MODULES}


def folder(module: str) -> str:
    return module.partition(".")[0]


def test_imports_are_found():
    """An import inside a function and one of a submodule, so that the tests below do not pass on an empty graph."""
    assert "backproof.report.running.campaign" in GRAPH["backproof.report.__main__"]
    assert "backproof.cases.format.schema" in GRAPH["backproof.report.judging.published"]


@pytest.mark.parametrize("module", MODULES)
def test_arrows(module):
    """tests → report → backends → reference → cases."""
    beyond = FOLDERS[FOLDERS.index(folder(module)) + 1 :]
    assert not [name for name in GRAPH[module] if folder(name) in beyond]


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module) == "backends"])
def test_backends_are_independent(module):
    """Only the adapter sees the reference, and no backend sees another one but that of its own framework."""
    own = {name for name in BACKENDS if BACKENDS[name] == module}
    modes = {BACKENDS[framework(name)] for name in own}
    seen = {name for name in GRAPH[module] if folder(name) == "reference" or name in BACKENDS.values()}
    assert all((module == ADAPTER and folder(name) == "reference") or name in modes for name in seen), seen


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_knows_one_framework(name):
    """A mode takes the tables of its framework, and imports no other one."""
    packages = {"torch": {"torch"}, "jax": {"jax", "optax"}}.get(framework(name), set())
    seen = GRAPH[BACKENDS[name]]
    assert {folder(module) for module in seen} & {"torch", "jax", "optax"} <= packages
    assert name == framework(name) or BACKENDS[framework(name)] in seen


def test_no_cycle():
    TopologicalSorter(GRAPH).prepare()


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module) in ("cases", "reference")])
def test_mathematics_without_frameworks(module):
    assert not {folder(name) for name in GRAPH[module]} & {"torch", "jax", "optax"}


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("backproof.reference.numbers")])
def test_numbers_import_nothing_of_training(module):
    ours = [name for name in GRAPH[module] if folder(name) in FOLDERS]
    assert all(name.startswith("backproof.reference.numbers") for name in ours), ours


def test_nothing_generic_is_installed():
    """`pip install .` brings the dependencies; no package called `cases` or `report` lands in site-packages."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert settings == {"packages": [], "py-modules": []}


@pytest.mark.parametrize("command", ["cases", "backends", "report"])
def test_help_imports_no_framework(command):
    program = f"""
import runpy, sys
sys.argv = ["{command}", "--help"]
try:
    runpy.run_module("{command}", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert stop.code == 0
print({{"torch", "jax", "matplotlib"}} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python -m {command}")
    assert done.stderr == "set()\n"
