"""What need not be done again: finished runs, their judgements and the told cases, by all that they depend on.

A run depends on the problem's content, the sources of its backend and of what that imports, the installed packages and
the machine; a judgement on its run and on the judge's sources. A backend of one's own is always run: nobody knows what
else it reads.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
import pickle
import platform
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from backends import BACKENDS, OUR_OWN
from report.environment import processor

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(".backproof_cache")
MOST_BYTES = 6 * 2**30
VARIABLES = ("ATEN", "JAX", "KMP", "MKL", "NPY", "OMP", "OPENBLAS", "TORCH", "XLA")


class Cache:
    """A folder of files that are called what they depend on; the least recently used go when it has grown too large."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")

    def get(self, key: str) -> Any:
        """What was put there; None if nothing was, or it can't be read."""
        path = self.folder / f"{key}.pickle"
        try:
            thing = pickle.loads(path.read_bytes())  # noqa: S301, we wrote it
            path.touch()
        except Exception:  # noqa: BLE001, a file of another version may fail in any way
            return None
        return thing

    def put(self, key: str, thing: Any) -> None:
        """Keep it; a full disk is no failure."""
        unfinished = self.folder / f".{key}.{os.getpid()}"
        try:
            unfinished.write_bytes(pickle.dumps(thing))
            unfinished.replace(self.folder / f"{key}.pickle")
        except OSError:
            unfinished.unlink(missing_ok=True)

    def run(self, key: str) -> Path | None:
        """The file of a finished run."""
        path = self.run_file(key)
        if not path.is_file():
            return None
        path.touch()
        return path

    def run_file(self, key: str) -> Path:
        """Where a finished run goes."""
        return self.folder / f"{key}.safetensors"

    def shrink(self, most: int = MOST_BYTES) -> None:
        """Forget what was used longest ago, until the rest is small enough."""
        kept = (path for path in self.folder.glob("*.*") if path.suffix in (".pickle", ".safetensors"))
        files = [(path.stat().st_mtime, path.stat().st_size, path) for path in kept]
        too_many = sum(size for _, size, _ in files) - most
        for _, size, path in sorted(files):
            if too_many <= 0:
                return
            path.unlink(missing_ok=True)
            too_many -= size


# ---------------------------------------------------------------- keys


def key_of(*things: Any) -> str:
    """A name for all of these things together, which differs wherever one of them does."""
    digest = hashlib.sha256()
    for piece in _pieces(things):
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()[:40]


def _pieces(thing: Any) -> Iterator[bytes]:
    """The content of a thing as bytes, in an order that is always the same."""
    yield type(thing).__name__.encode()
    match thing:
        case np.ndarray():
            yield f"{thing.dtype}{thing.shape}".encode()
            yield repr(thing.tolist()).encode() if thing.dtype.hasobject else np.ascontiguousarray(thing).tobytes()
        case BaseModel():
            yield from _pieces(sorted(thing.model_fields_set))
            yield from _pieces(dict(thing))
        case dict():
            for name, value in thing.items():
                yield from _pieces((name, value))
        case list() | tuple():
            for value in thing:
                yield from _pieces(value)
            yield b"end"
        case _ if is_dataclass(thing):
            yield from _pieces({field.name: getattr(thing, field.name) for field in fields(thing)})
        case _:
            yield repr(thing).encode()


def run_key(problem: Any, backend: str) -> str | None:
    """What a run depends on; None for backends that are not ours."""
    if backend not in BACKENDS:
        return None
    return key_of(problem, backend, sources(BACKENDS[backend]), machine())


def judgement_key(run: str) -> str:
    """What a judgement of this run depends on."""
    return key_of(run, sources("report.units"), machine())


@cache
def machine() -> str:
    """Packages, Python, processor, and the variables that the frameworks read."""
    packages = sorted(f"{found.name} {found.version}" for found in importlib.metadata.distributions())
    variables = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(VARIABLES))
    return key_of(packages, variables, sys.version, platform.platform(), processor(), os.cpu_count() or 1)


@cache
def sources(module: str) -> str:
    """The text of a module and of all of ours that it imports, anywhere in it."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and (path := _file(name)):
            seen[name] = path.read_text(encoding="utf-8")
            waiting += _imports(seen[name])
    return key_of(dict(sorted(seen.items())))


def _file(module: str) -> Path | None:
    if module.partition(".")[0] not in OUR_OWN:
        return None
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
