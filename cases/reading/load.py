"""File → Case, every mistake as `file:line:column: message`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from backproof.cases.format.message import Place
from backproof.cases.format.schema import CASES, Case
from backproof.cases.reading.consistency import check
from backproof.cases.reading.document import Document, Refused, parse
from backproof.cases.reading.messages import tell_all
from backproof.cases.reading.partly import readable

LARGEST_FILE = 128 * 2**10
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
            raise InvalidCase([_mistake(path, "there is no such file or folder")])
        inside = (file for file in path.rglob("*") if file.suffix in SUFFIXES)
        found.update(inside if path.is_dir() else [path])
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[str | int]:
    """Return the path with its numbers as numbers: `relu_2` stands before `relu_16`."""
    return [int(run) if run.isdecimal() else run for run in re.split(r"(\d+)", path.as_posix())]


def load_all(paths: Iterable[str | Path] = ()) -> tuple[list[Case], list[Mistake]]:
    """Return the valid cases among these files and folders, and the mistakes of the others."""
    cases, mistakes, files = [], [], set()
    for path in [*paths] or [CASES]:
        try:
            files.update(find([path]))
        except InvalidCase as invalid:
            mistakes += invalid.mistakes
    backwards = sorted(files, key=_natural, reverse=True)
    each_once = {Path(os.path.realpath(file)): file for file in backwards}
    names = dict(zip(each_once.values(), names_of([*each_once]), strict=True))
    for file in sorted(names, key=_natural):
        try:
            cases.append(load(file, names[file]))
        except InvalidCase as invalid:
            mistakes += invalid.mistakes
    return cases, mistakes


def names_of(files: Sequence[Path]) -> list[str]:
    """Return the names of cases by their files.

    A shipped one has its path below `cases/`, others the shortest end of theirs that is unique.
    """
    ends = [_ends(file) for file in files]
    times = Counter(end for of_one in ends for end in of_one)
    apart = [next((end for end in of_one if times[end] == 1), of_one[-1]) for of_one in ends]
    return [_shipped(file) or name for file, name in zip(files, apart, strict=True)]


def _ends(file: Path) -> list[str]:
    """Return `b`, `a/b`, ... of `/a/b.yaml`, and then with the suffix."""
    folders = file.parts[1:-1]
    starts = [folders[i:] for i in reversed(range(len(folders) + 1))]
    ends = ["/".join([*start, last]) for last in (file.stem, file.name) for start in starts]
    return list(dict.fromkeys(ends))


def _shipped(file: Path) -> str:
    return file.relative_to(CASES).with_suffix("").as_posix() if file.is_relative_to(CASES) else ""


def load(path: str | Path, name: str = "") -> Case:
    """Read a case; it is called as its file unless a name is given.

    Raises:
        InvalidCase: with all its mistakes.
    """
    path = Path(path)
    try:
        document = parse(_text(path))
    except Refused as refused:
        raise InvalidCase([_mistake(path, refused.message, refused.position)]) from None
    case, mistakes = _case(path, document)
    mistakes += check(case)
    if mistakes:
        raise InvalidCase(_mistake(path, told, document.position(at)) for at, told in mistakes)
    case._path, case._name = path, name or _shipped(Path(os.path.realpath(path)))  # noqa: SLF001
    return case


def document_of(path: Path) -> Document:
    """Read the data of a file, and where everything stands in it.

    Raises:
        Refused: if it can't be read.
    """
    return parse(_text(path))


def _case(path: Path, document: Document) -> tuple[Case, list[tuple[Place, str]]]:
    """Return the case, or what can be read of it, and its mistakes against the schema."""
    try:
        return Case.model_validate(document.data, context={"folder": path.parent}), []
    except ValidationError as invalid:
        mistakes = [*tell_all(invalid.errors(include_url=False))]
        return readable(document.data, [place for place, _ in mistakes], path.parent), mistakes


def _text(path: Path) -> str:
    content = _content(path)
    if len(content) > LARGEST_FILE:
        raise Refused(START, "larger than 128 KiB; bigger arrays go beside it, in .npz or .csv")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        position = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise Refused(position, "not UTF-8") from None


def _content(path: Path) -> bytes:
    """Return the first bytes of a file, one more than are accepted; pipes are not opened."""
    try:
        if path.is_dir():
            raise Refused(START, "expected a file, found a folder")
        if path.exists() and not path.is_file():
            raise Refused(START, "expected a file")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, ValueError):  # ValueError: a NUL in the name
        raise Refused(START, "there is no such file") from None
    except OSError as error:
        raise Refused(START, f"cannot be read: {error.strerror}") from None


def _mistake(path: Path, message: str, position: tuple[int, int] = START) -> Mistake:
    absolute, here = path.absolute(), Path.cwd()
    shown = absolute.relative_to(here) if absolute.is_relative_to(here) else path
    return Mistake(str(shown), *position, message)
