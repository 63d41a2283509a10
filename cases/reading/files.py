"""Which files are cases, what each is called, and how a mistake in one is told; none is read."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backproof.cases.format.basics import CASES

SUFFIXES = (".yaml", ".yml")
START = (1, 1)


@dataclass(frozen=True, order=True)
class Mistake:
    """What is wrong in a file, and where; `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class InvalidCase(Exception):  # noqa: N818 (it names what was found, as in the report)
    """A case that cannot be used; `mistakes` says why, in the order of the file."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


def find(paths: Iterable[str | Path] = ()) -> list[Path]:
    """Return the case files among these files and folders, sorted; without any all shipped ones."""
    found: set[Path] = set()
    for path in [Path(path) for path in paths] or [CASES]:
        if not os.path.exists(path):  # noqa: PTH110, false too where one may not look
            raise InvalidCase([mistake_in(path, "there is no such file or folder")])
        inside = (file for file in path.rglob("*") if file.suffix in SUFFIXES)
        found.update(inside if path.is_dir() else [path])
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[str | int]:
    """Return the path with its numbers as numbers: `relu_2` stands before `relu_16`."""
    return [int(run) if run.isdecimal() else run for run in re.split(r"(\d+)", path.as_posix())]


def named(paths: Iterable[str | Path] = ()) -> tuple[dict[Path, str], list[Mistake]]:
    """Return the names of the case files by file, each once and sorted, and which paths are not."""
    mistakes: list[Mistake] = []
    files: set[Path] = set()
    for path in [*paths] or [CASES]:
        try:
            files.update(find([path]))
        except InvalidCase as invalid:
            mistakes += invalid.mistakes
    backwards = sorted(files, key=_natural, reverse=True)
    each_once = {Path(os.path.realpath(file)): file for file in backwards}
    names = dict(zip(each_once.values(), names_of([*each_once]), strict=True))
    return {file: names[file] for file in sorted(names, key=_natural)}, mistakes


def names_of(files: Sequence[Path]) -> list[str]:
    """Return the names of cases by their files.

    A shipped one has its path below `cases/`, others the shortest end of theirs that is unique.
    """
    ends = [_ends(file) for file in files]
    times = Counter(end for of_one in ends for end in of_one)
    apart = [next((end for end in of_one if times[end] == 1), of_one[-1]) for of_one in ends]
    return [shipped(file) or name for file, name in zip(files, apart, strict=True)]


def _ends(file: Path) -> list[str]:
    """Return `b`, `a/b`, ... of `/a/b.yaml`, and then with the suffix."""
    folders = file.parts[1:-1]
    starts = [folders[i:] for i in reversed(range(len(folders) + 1))]
    ends = ["/".join([*start, last]) for last in (file.stem, file.name) for start in starts]
    return list(dict.fromkeys(ends))


def shipped(file: Path) -> str:
    """Return the name of a shipped case, `xor/relu`; empty if the file is none."""
    return file.relative_to(CASES).with_suffix("").as_posix() if file.is_relative_to(CASES) else ""


def mistake_in(path: Path, message: str, position: tuple[int, int] = START) -> Mistake:
    """Return a mistake in a file, which is called as it is seen from here."""
    absolute, here = path.absolute(), Path.cwd()
    found = absolute.relative_to(here) if absolute.is_relative_to(here) else path
    return Mistake(str(found), *position, message)
