"""The content of a thing as one short text: the same where numbers, texts and settings are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import BaseModel

DIGITS = 40


def digest_of(thing: Any) -> str:
    """Return a name of a thing by its content.

    It is of numbers, texts, arrays, concepts, and mappings (in any order) and lists of these. What
    a concept leaves out and what it leaves at its default are the same: a new setting changes no
    old name.
    """
    digest = hashlib.sha256()
    for piece in _pieces(thing):
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()[:DIGITS]


def _pieces(thing: Any) -> Iterator[bytes]:
    """Yield the content of a thing as bytes, in an order that is always the same."""
    match thing:
        case np.ndarray():
            yield f"{thing.dtype.name} {thing.shape}".encode()
            yield thing.tobytes()
        case BaseModel():
            yield type(thing).__name__.encode()
            said = {name: value for name, value in thing if not _is_default(thing, name, value)}
            yield from _pieces(said)
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
