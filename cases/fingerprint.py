"""What a run depends on, as one short text: a file of a run knows its problem by it, whatever the case is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
from pydantic import BaseModel

from backproof.cases.problem import Problem

OF_THE_JUDGE = ("name", "published", "tolerance")  # a run is the same without them
DIGITS = 40


def fingerprint(problem: Problem) -> str:
    """Name everything that a run of this problem depends on: it differs wherever one number or setting does.

    What only the judge and the report need (the case's name, published numbers, a tolerance) has no part in it. What a
    case leaves out and what it leaves at its default are no parts either: a new setting changes no old fingerprint.
    """
    parts = {part.name: getattr(problem, part.name) for part in fields(problem) if part.name not in OF_THE_JUDGE}
    parts["network"] = parts.pop("layers")
    return digest_of({name: part for name, part in parts.items() if not _is_nothing(part)})


def digest_of(thing: Any) -> str:
    """Name a thing by its content: numbers, texts, arrays, concepts, and mappings (in any order) and lists of them."""
    digest = hashlib.sha256()
    for piece in _pieces(thing):
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()[:DIGITS]


def _is_nothing(part: Any) -> bool:
    return part is None or (isinstance(part, tuple | dict) and not part)


def _pieces(thing: Any) -> Iterator[bytes]:
    """The content of a thing as bytes, in an order that is always the same."""
    match thing:
        case np.ndarray():
            yield f"{thing.dtype.name} {thing.shape}".encode()
            yield thing.tobytes()
        case BaseModel():
            yield type(thing).__name__.encode()
            yield from _pieces({name: value for name, value in thing if not _is_default(thing, name, value)})
        case dict():
            yield b"dict"
            for name in sorted(thing):
                yield from _pieces((name, thing[name]))
            yield b"end"
        case list() | tuple():
            yield b"list"
            for value in thing:
                yield from _pieces(value)
            yield b"end"
        case np.dtype():
            yield thing.name.encode()
        case _:
            yield repr(thing).encode()


def _is_default(thing: BaseModel, name: str, value: Any) -> bool:
    return not isinstance(value, np.ndarray) and value == type(thing).model_fields[name].default
