"""What was found of case files that are valid, kept for when they are listed again.

To read a case takes pydantic, NumPy and a parser of YAML; to see that nothing has changed takes a
hash. What is found depends on the text of the file, on the sources in `cases/`, on Python and the
packages that they read it with, and, where a text may name a file of numbers, on those beside it.
A file with a mistake is never kept, so that it is read, and its mistakes are told, every time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from backproof.cases.format.basics import CASES

PLACE = "BACKPROOF_CACHE"
FILE, MOST = "cases.json", 5_000
LARGEST = 2**17
PACKAGES = ("numpy", "pydantic", "ruamel.yaml")
GROUPS = ("backproof.layers", "backproof.losses", "backproof.optimizers")
NUMBERS = (".csv", ".npz")

Row = tuple[str, ...]


def cache_folder() -> Path:
    """Return where finished work is kept: `$BACKPROOF_CACHE`, or a folder among the user's caches.

    Raises:
        RuntimeError: if the user has no home.
    """
    if place := os.environ.get(PLACE):
        return Path(place).expanduser()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (caches if caches.is_absolute() else Path.home() / ".cache") / "backproof"


class Kept:
    """Rows of strings by the state of a case file; `save` leaves them for the next program.

    Where packages add kinds to the format nothing is kept: nobody knows what else these read.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.key, self.changed = _reader(), False
        with suppress(OSError, RuntimeError, ValueError, AttributeError, TypeError):
            found = json.loads((cache_folder() / FILE).read_text(encoding="utf-8"))
            self.rows = {name: tuple(map(str, row)) for name, row in found.items()}

    def state(self, file: Path) -> str:
        """Return a key of all that is found of a file depends on; empty if it can't be kept."""
        with suppress(OSError, ValueError):
            if self.key and file.is_file() and file.stat().st_size <= LARGEST:
                content = file.read_bytes()
                return _key(self.key, content, *_beside(file.parent, content))
        return ""

    def get(self, state: str) -> Row | None:
        """Return what was found of a file in this state."""
        return self.rows.get(state)

    def put(self, state: str, row: Row) -> None:
        """Note what was found of a file in this state."""
        if state:
            self.rows[state], self.changed = row, True

    def save(self) -> None:
        """Leave the latest rows, if there is a new one; that it fails is no failure."""
        if not self.changed:
            return
        latest = dict([*self.rows.items()][-MOST:])
        with suppress(OSError, RuntimeError):
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = folder / f".{FILE}.{os.getpid()}"
            unfinished.write_text(json.dumps(latest), encoding="utf-8")
            unfinished.replace(folder / FILE)


def _key(*things: Any) -> str:
    """Return a key of all of these things together."""
    return hashlib.sha256(repr(things).encode()).hexdigest()


def _reader() -> str:
    """Return a key of what reads a case; empty where packages of others take part in it."""
    entries = importlib.metadata.entry_points()
    if any(entries.select(group=group) for group in GROUPS):
        return ""
    texts = [path.read_bytes() for path in sorted(CASES.rglob("*.py"))]
    return _key(sys.version, *map(importlib.metadata.version, PACKAGES), *texts)


def _beside(folder: Path, content: bytes) -> list[tuple[str, int, int]]:
    """Return name, size and time of the files of numbers that the text of a case may name."""
    if not re.search(rb"\bfile\b", content) and b"\\" not in content:  # an escaped key
        return []
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in NUMBERS]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found]
