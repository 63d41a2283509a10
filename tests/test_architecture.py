"""The arrows of the house: who may import whom, and what a command must not import to say what it can do."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import groupby
from pathlib import Path

import pytest

from backproof.backends.registry import BACKENDS, framework

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ["cases", "reference", "backends", "report", "backproof", "tests"]  # each may import from those before it
BARE = {*FOLDERS} - {"tests", "backproof"}
ADAPTER = "backproof.backends.numpy_reference"
SHARED = {
    "backproof.backends.added",
    "backproof.backends",
    "backproof.backends.recorded",
    "backproof.backends.registry",
    "backproof.backends.trajectory",
    "backproof.backends.trajectory_files",
}
PACKAGES = {"torch": {"torch"}, "jax": {"jax", "optax"}}
FRAMEWORKS = set().union(*PACKAGES.values())
ROOMS = {"report": (6, 4), "reference": (4, 4)}  # the arrows between their rooms at most, and the floors
MOST_LINES = 400


def module_name(path: Path) -> str:
    """`cases/reading/load.py` is `backproof.cases.reading.load`, `cases/__init__.py` is `backproof.cases`."""
    parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
    return ".".join(parts if parts[0] in ("backproof", "tests") else ["backproof", *parts])


FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
MODULES = {module_name(path): path for path in FILES}


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


def package(module: str) -> str:
    return module.partition(".")[0]


def folder(module: str) -> str:
    """`cases` of `backproof.cases.problem`, `backproof` of what lies in `backproof/`; empty if it is not ours."""
    if module not in MODULES:
        return ""
    return MODULES[module].relative_to(ROOT).parts[0]


def room(module: str) -> str:
    """`judging` of `backproof.report.judging.judge`, and the module itself where it lies in no room."""
    return module.split(".")[2]


OF_BACKENDS = [module for module in MODULES if folder(module) == "backends"]
MODES = {room(where): framework(name) for name, where in BACKENDS.items() if framework(name) in PACKAGES}
MODES |= {"torch_function": "torch", "jax_function": "jax"}  # which call a function of somebody's, and no backend
MODES |= {"torch_recording": "torch", "jax_recording": "jax"}  # loops of others, recorded


def framework_of(module: str) -> str:
    """`torch` for what lies in the room of the backend torch or of a mode of it; empty for what is nobody's."""
    return MODES.get(room(module), "") if module in OF_BACKENDS and module != "backproof.backends" else ""


def arrows(of: str) -> dict[str, set[str]]:
    """By room of a folder, the rooms that it imports from."""
    found = {}
    for module in (module for module in GRAPH if folder(module) == of and module != f"backproof.{of}"):
        seen = (name for name in GRAPH[module] if folder(name) == of and name != f"backproof.{of}")
        found.setdefault(room(module), set()).update({room(name) for name in seen} - {room(module)})
    return found


def floors(above: dict[str, set[str]]) -> dict[str, int]:
    """On which floor each room lies: the lowest ones import from no other."""
    height = {}
    for name in TopologicalSorter(above).static_order():
        height[name] = 1 + max((height[lower] for lower in above.get(name, ())), default=0)
    return height


def test_imports_are_found():
    """An import inside a function and one of a submodule, so that the tests below do not pass on an empty graph."""
    assert "backproof.report.running.work" in GRAPH["backproof.report.__main__"]
    assert "backproof.cases.format.schema" in GRAPH["backproof.report.judging.published"]


@pytest.mark.parametrize("module", MODULES)
def test_arrows(module):
    """tests → backproof → report → backends → reference → cases."""
    beyond = FOLDERS[FOLDERS.index(folder(module)) + 1 :]
    assert not [name for name in GRAPH[module] if folder(name) in beyond]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_by_its_bare_name(module):
    """`import backends` would load everything a second time in a checkout, and somebody else's package elsewhere."""
    assert not [name for name in GRAPH[module] if package(name) in BARE]


@pytest.mark.parametrize("of", ROOMS)
def test_rooms(of):
    """`pytest tests/test_architecture.py -k rooms -s` prints the arrows between them, from the highest floor down."""
    found, (most_arrows, most_floors) = arrows(of), ROOMS[of]
    height = floors(found)
    for floor, names in groupby(sorted(height, key=lambda name: (-height[name], name)), height.get):
        print(f"{of}, floor {floor}:", *(f"{name} → {', '.join(sorted(found[name])) or '-'};" for name in names))
    assert sum(map(len, found.values())) <= most_arrows
    assert max(height.values()) <= most_floors


@pytest.mark.parametrize("of", ["cases", "backends"])
def test_no_cycle_between_rooms(of):
    assert floors(arrows(of))


@pytest.mark.parametrize("module", OF_BACKENDS)
def test_backends_are_independent(module):
    """Only the adapter sees the reference; a framework sees itself, its modes, and what all backends share."""
    seen = {name for name in GRAPH[module] if folder(name) in ("reference", "backends")} - SHARED
    if home := framework_of(module):
        assert all(framework_of(name) == home for name in seen), seen
    else:
        assert not [name for name in seen if framework_of(name) or name == ADAPTER]
        assert module == ADAPTER or "reference" not in map(folder, seen)


@pytest.mark.parametrize("module", OF_BACKENDS)
def test_a_backend_knows_one_framework(module):
    assert {package(name) for name in GRAPH[module]} & FRAMEWORKS <= PACKAGES.get(framework_of(module), set())


def test_no_cycle():
    TopologicalSorter(GRAPH).prepare()


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module) in ("cases", "reference")])
def test_mathematics_without_frameworks(module):
    assert not {package(name) for name in GRAPH[module]} & FRAMEWORKS


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("backproof.reference.numbers")])
def test_numbers_import_nothing_of_training(module):
    ours = [name for name in GRAPH[module] if folder(name)]
    assert all(name.startswith("backproof.reference.numbers") for name in ours), ours


@pytest.mark.parametrize("path", [path for path in FILES if "tests" not in path.parts], ids=lambda path: path.name)
def test_no_file_is_longer_than_one_reads(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES


PROGRAM = """
import runpy, sys
sys.argv = [*{arguments}]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert stop.code == 0
print({{*{slow}}} & set(sys.modules), file=sys.stderr)
"""
SLOW = ("torch", "jax", "matplotlib", "scipy", "numpy", "pydantic", "ruamel.yaml", "rich", "flint")


def run(*arguments: str) -> subprocess.CompletedProcess:
    program = [sys.executable, "-c", PROGRAM.format(arguments=arguments, slow=SLOW)]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("command", ["cases", "backends", "report"])
def test_help_imports_nothing_slow(command):
    done = run(command, "--help")
    assert done.stdout.startswith(f"usage: python -m {command}")
    assert done.stderr == "set()\n"


def test_a_list_of_what_has_not_changed_imports_nothing_slow():
    first, again = (run("cases", "cases/xor") for _ in range(2))
    assert again.stdout == first.stdout
    assert again.stdout.count("\nxor/") == 5
    assert again.stderr == "set()\n"


QUICK = """
import sys, time
start = time.perf_counter()
import backproof
assert time.perf_counter() - start < 0.3
print({"torch", "jax", "numpy", "pydantic"} & set(sys.modules), *dir(backproof))
"""


def test_the_front_door_opens_at_once():
    """`import backproof` imports nothing but itself, and says what it has."""
    done = subprocess.run([sys.executable, "-c", QUICK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set() ")
    assert {"certify_case", "NotCertified"} <= {*done.stdout.split()}
