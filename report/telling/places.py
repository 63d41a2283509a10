"""Where the files of a case go in the folder of a report: a place of its own for each case."""

from __future__ import annotations

import hashlib
from pathlib import Path

from backproof.backends.registry import label
from backproof.backends.trajectory_files import SUFFIX
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise

LONGEST = 200  # bytes of a file's name
DIGITS = 8


def figure_of(case: Case) -> str:
    """Return the file of its figure: `figures/xor-two_four_one.svg`."""
    return f"figures/{_flat(case)}.svg"


def page_of(case: Case) -> str:
    """Return the file of its page: `cases/xor-two_four_one.md`."""
    return f"cases/{_flat(case)}.md"


def _flat(case: Case) -> str:
    """Return a name for files of the case in one folder: `xor-two_four_one`."""
    name = _escaped(case).replace("-", "~-").replace("/", "-")
    return _short(f"~{name}" if name.startswith("_") else name)


def runs_of(folder: Path, case: Case) -> Path:
    """Return the folder of its runs, below `runs` in the folder of a report."""
    return folder.joinpath("runs", *map(_part, _escaped(case).split("/")))


def _escaped(case: Case) -> str:
    """Return the name of the case, in which a single `~` marks what is not of the name."""
    return case.name.replace("~", "~~")


def saved_run(folder: Path, case: Case, dtype: str, name: str) -> Path:
    """Return where a run is saved; the fingerprint tells apart cases that have had one name."""
    problem = "" if case.is_shipped else f".{materialise(case, dtype).fingerprint[:DIGITS]}"
    return runs_of(folder, case) / f"{dtype}{problem}-{label(name)}{SUFFIX}"


def _part(part: str) -> str:
    """Return one folder on the way, which leads down."""
    return f"~{part}" if part in ("", ".", "..") else _short(part)


def _short(name: str) -> str:
    """Return a name for a file: of what is too long, or no text, its beginning and its SHA-256."""
    content = name.encode("utf-8", "surrogateescape")
    text = content.decode("utf-8", "replace")
    if len(content) <= LONGEST and text == name:
        return name
    beginning = text.encode()[: LONGEST // 2].decode("utf-8", "ignore")
    return f"{beginning}~{hashlib.sha256(content).hexdigest()[:16]}"
