"""Keep finished runs, their judgements and the told cases, each under a key of all it depends on.

A run depends on what a backend may look at in its problem, on the sources of its backend and of
what that imports, on the files of the packages among these, and on the machine; a judgement on its
run and on the judge's sources. A backend of one's own is always run: nobody knows what else it
reads. What is kept is data (`stored.py`) behind its checksum, and a run is looked up together with
its own; what can't be read, or is not as it was, is done again.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from backproof.backends.registry import BACKENDS
from backproof.backends.trajectory_files import SUFFIX
from backproof.cases.fingerprint import digest_of
from backproof.cases.problem import Problem
from backproof.report.running.stored import NotStoredError, dump, load, opened, sealed
from backproof.report.telling.environment import processor

MOST_BYTES = 6 * 2**30
VARIABLES = ("ATEN", "JAX", "KMP", "MKL", "NPY", "OMP", "OPENBLAS", "PYTHONPATH", "TORCH", "XLA")
KEPT = ".kept"
PROGRAMS = "programs"  # those of JAX, by machine (`programs.py`)
OURS = re.compile(r"[0-9a-f]{40}\.(kept|safetensors)|jit_.*-[0-9a-f]{64}-cache")


class KeptRun(NamedTuple):
    """The file of a finished run, and its SHA-256."""

    file: Path
    digest: str


class Cache:
    """A folder of files that are called by their keys; `shrink` removes the least recently used."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str, kind: Any) -> Any:
        """Return what was put there, of the type `kind`; None if nothing of it can be read."""
        path = self.folder / f"{key}{KEPT}"
        with suppress(OSError, NotStoredError):
            thing = load(opened(path.read_bytes()), kind)
            _touch(path)
            return thing
        return None

    def put(self, key: str, thing: Any) -> None:
        """Keep a thing under this key; a full disk is no failure."""
        unfinished = self.folder / f".{key}.{os.getpid()}"
        try:
            unfinished.write_bytes(sealed(dump(thing)))
            unfinished.replace(self.folder / f"{key}{KEPT}")
        except OSError:
            unfinished.unlink(missing_ok=True)

    def run(self, key: str) -> KeptRun | None:
        """Return a finished run, if its file is as it was when it was kept."""
        path, digest = self.folder / f"{key}{SUFFIX}", self.get(key, str)
        if digest is None or digest != digest_of_file(path):
            return None
        _touch(path)
        return KeptRun(path, digest)

    def keep_run(self, key: str, file: Path) -> KeptRun:
        """Move the file of a finished run into the folder."""
        path, digest = self.folder / f"{key}{SUFFIX}", digest_of_file(file)
        file.replace(path)
        self.put(key, digest)
        return KeptRun(path, digest)

    def shrink(self, most: int = MOST_BYTES) -> None:
        """Remove files of ours, those used longest ago first, until the rest has `most` bytes."""
        files = []
        for path in (*self.folder.iterdir(), *self.folder.glob(f"{PROGRAMS}/*/*")):
            with suppress(OSError):  # another report has removed it
                if OURS.fullmatch(path.name):
                    files.append((path.stat().st_mtime, path.stat().st_size, path))
        too_many = sum(size for _, size, _ in files) - most
        for _, size, path in sorted(files):
            if too_many <= 0:
                return
            path.unlink(missing_ok=True)
            too_many -= size


def _touch(path: Path) -> None:
    """Note that a file was used now."""
    with suppress(OSError):
        path.touch()


def digest_of_file(path: Path) -> str | None:
    """Return the SHA-256 of a file; None if there is none."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None


# ---------------------------------------------------------------- keys


def key_of(*things: Any) -> str:
    """Return one name for all of these things together, another wherever one of them differs."""
    return digest_of(things)


def run_key(problem: Problem, backend: str) -> str | None:
    """Return the key of a run; None for backends that are not ours.

    It leaves out the published numbers and the tolerance between two runs, at which no backend
    looks. None looks at the name of the case either, but the file of a run holds it.
    """
    if backend not in BACKENDS:
        return None
    return key_of(problem.name, problem.fingerprint, backend, *code(BACKENDS[backend]))


def judgement_key(run: str, digest: str, problem: Problem) -> str:
    """Return the key of a judgement: of the run with the key `run`, whose file has this SHA-256."""
    judge = code("backproof.report.running.job")
    return key_of(run, digest, problem.published, problem.tolerance, *judge)


def code(module: str) -> tuple[str, str, str]:
    """Return what a result of a module's code depends on: sources, packages and the machine."""
    return sources(module), packages(module), machine()


@cache
def machine() -> str:
    """Return a key of the packages, Python, processor, and variables that frameworks read."""
    versions = sorted(f"{found.name} {found.version}" for found in distributions())
    variables = sorted(item for item in os.environ.items() if item[0].startswith(VARIABLES))
    system = platform.platform(), processor(), os.cpu_count()
    return key_of(versions, variables, sys.version, *system)


@cache
def sources(module: str) -> str:
    """Return a key of the text of a module, and of all of ours that it imports, anywhere in it."""
    return key_of(_texts(module))


@cache
def packages(module: str) -> str:
    """Return a key of the files of the packages that a module depends on."""
    return key_of({name: files_of(name) for name in sorted(named_packages(module))})


def named_packages(module: str) -> set[str]:
    """Return the packages that a module, and those of ours that it imports, name (`_named`)."""
    named = set().union(*map(_named, _texts(module).values()))
    return {name.partition(".")[0] for name in named} - {"backproof", *sys.stdlib_module_names}


def _texts(module: str) -> dict[str, str]:
    """Return the text of a module of ours, and of all that it imports, by name."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and (path := _file(name)):
            seen[name] = path.read_text(encoding="utf-8")
            package = name.rpartition(".")[0]  # imported before what is in it
            waiting += [package, *_named(seen[name])]
    return dict(sorted(seen.items()))


@cache
def files_of(package: str) -> str:
    """Return a key of where a package would be imported from, and of the state of its files."""
    spec = None
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
    places = [] if spec is None else spec.submodule_search_locations or [spec.origin]
    return key_of([(place, repr(sorted(_files(Path(place))))) for place in places])


def _files(place: Path) -> Iterator[tuple[str, int, int]]:
    """Yield path, size and time of a file, or of all below a folder that Python does not make."""
    if not place.is_dir():
        with suppress(OSError):
            yield str(place), place.stat().st_size, place.stat().st_mtime_ns
        return
    for entry in os.scandir(place):
        if entry.is_dir(follow_symlinks=False):
            if entry.name != "__pycache__":
                yield from _files(Path(entry.path))
        else:
            with suppress(OSError):  # a link that leads nowhere
                yield entry.path, entry.stat().st_size, entry.stat().st_mtime_ns


def _file(module: str) -> Path | None:
    """Find the file of a module of ours, importing neither it nor its packages."""
    name, *parts = module.split(".")
    paths = (
        [Path(place, *parts) for place in sys.modules["backproof"].__path__]
        if name == "backproof"
        else []
    )
    files = (file for path in paths for file in (path / "__init__.py", path.with_suffix(".py")))
    return next(filter(Path.is_file, files), None)


@cache
def _named(text: str) -> frozenset[str]:
    """Return what a module imports, anywhere in its text, and what it says in `PACKAGES`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=module, names=names):
                found |= {module, *(f"{module}.{alias.name}" for alias in names)}
            case ast.Assign(targets=[ast.Name(id="PACKAGES")], value=value):
                found |= {*ast.literal_eval(value)}
    return frozenset(found)
