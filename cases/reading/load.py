"""File → Case, every mistake as `file:line:column: message`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from backproof.cases.format.message import Place
from backproof.cases.format.schema import Case
from backproof.cases.reading.consistency import check
from backproof.cases.reading.document import Document, Refused, parse
from backproof.cases.reading.files import (
    START,
    InvalidCase,
    Mistake,
    mistake_in,
    named,
    shipped,
)
from backproof.cases.reading.messages import tell_all
from backproof.cases.reading.partly import readable

LARGEST_FILE = 128 * 2**10


def load_all(paths: Iterable[str | Path] = ()) -> tuple[list[Case], list[Mistake]]:
    """Return the valid cases among these files and folders, and the mistakes of the others."""
    names, mistakes = named(paths)
    cases = []
    for file, name in names.items():
        try:
            cases.append(load(file, name))
        except InvalidCase as invalid:
            mistakes += invalid.mistakes
    return cases, mistakes


def load(path: str | Path, name: str = "") -> Case:
    """Read a case; it is called as its file unless a name is given.

    Raises:
        InvalidCase: with all its mistakes.
    """
    path = Path(path)
    try:
        document = parse(_text(path))
    except Refused as refused:
        raise InvalidCase([mistake_in(path, refused.message, refused.position)]) from None
    case, mistakes = _case(path, document)
    mistakes += check(case)
    if mistakes:
        raise InvalidCase(mistake_in(path, told, document.position(at)) for at, told in mistakes)
    case._path, case._name = path, name or shipped(Path(os.path.realpath(path)))  # noqa: SLF001
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
