"""Results as bytes, and back by their types: data alone, of which nothing is ever run.

Dataclasses, named tuples and the concepts of a case become JSON objects with their fields, arrays
their bytes. What is read must have exactly the fields and types of the class that is asked for, so
that whatever else lies there is refused.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BaseModel

SEAL = hashlib.sha256().digest_size
NUMBERS_AND_TEXT = "biufcU"
PLAIN = {bool: (bool,), int: (int,), float: (int, float), str: (str,), NoneType: (NoneType,)}


class NotStoredError(Exception):
    """The bytes hold nothing of the kind that was asked for."""


def dump(thing: Any) -> bytes:
    """Return a thing as bytes.

    Raises:
        TypeError: if it, or something in it, has no form.
    """
    return json.dumps(_data(thing)).encode()


def load(content: bytes, kind: Any) -> Any:
    """Return the thing that `dump` has made bytes of; `kind` is its class or another type hint.

    Raises:
        NotStoredError: if there is no such thing in them.
    """
    try:
        return _thing(json.loads(content), kind)
    except Exception as error:  # noqa: BLE001, what somebody else wrote may fail in any way
        raise NotStoredError(f"{type(error).__name__}: {error}") from None


def sealed(content: bytes) -> bytes:
    """Return the content behind its SHA-256."""
    return hashlib.sha256(content).digest() + content


def opened(content: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        NotStoredError: if it is not as it was.
    """
    if content[:SEAL] != hashlib.sha256(content[SEAL:]).digest():
        raise NotStoredError("the content does not have its checksum")
    return content[SEAL:]


def returned_by(function: Callable) -> Any:
    """Return the type that a function says it returns; `Any`, all that JSON has, if it doesn't."""
    with suppress(TypeError, NameError):  # it is of C
        return get_type_hints(function).get("return", Any)
    return Any


# ---------------------------------------------------------------- to data


def _data(thing: Any) -> Any:
    """Turn a thing into what JSON has words for."""
    match thing:
        case None | bool() | int() | float() | str():
            return thing
        case bytes():
            return b64encode(thing).decode()
        case np.ndarray():
            dtype = thing.dtype.name if thing.dtype.kind == "V" else thing.dtype.str
            return {"dtype": dtype, "shape": list(thing.shape), "bytes": _data(thing.tobytes())}
        case np.generic():
            return _data(thing.item())
        case BaseModel():
            return {name: _data(value) for name, value in thing if name in thing.model_fields_set}
        case dict():
            return [[_data(name), _data(value)] for name, value in thing.items()]
        case tuple() if hasattr(thing, "_fields"):
            return dict(zip(thing._fields, map(_data, thing), strict=True))
        case list() | tuple():
            return [_data(value) for value in thing]
        case _ if is_dataclass(thing):
            return {field.name: _data(getattr(thing, field.name)) for field in fields(thing)}
    raise TypeError(f"a {type(thing).__name__} is not stored")


# ---------------------------------------------------------------- from data


def _thing(data: Any, kind: Any) -> Any:
    """Turn the data back into a thing of this kind; raise an exception where they are none."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _thing(data, arguments[0])
    if origin in (Union, UnionType):
        return _first_that_fits(data, arguments)
    if origin is Literal:
        return _checked(data, data in arguments, kind)
    if origin in (list, tuple, dict):
        return _collection(_checked(data, isinstance(data, list), kind), origin, arguments)
    if kind in PLAIN:
        return _checked(data, type(data) in PLAIN[kind], kind)
    if kind is Any:
        return data
    if kind is bytes:
        return b64decode(data, validate=True)
    if kind is np.ndarray:  # a hint that NumPy's own numbers have too
        return np.array(data) if type(data) in (int, float) else _array(**data)
    return _object(data, kind)


def _checked(data: Any, fits: bool, kind: Any) -> Any:  # noqa: FBT001
    """Return the data if they fit."""
    if not fits:
        raise ValueError(f"expected {kind}, found {type(data).__name__}")
    return data


def _first_that_fits(data: Any, kinds: tuple) -> Any:
    """Return a thing of the first of these kinds that the data are of."""
    for kind in kinds:
        with suppress(TypeError, ValueError, KeyError, AttributeError):
            return _thing(data, kind)
    raise ValueError(f"expected one of {kinds}")


def _collection(data: list, origin: type, kinds: tuple) -> list | tuple | dict:
    """Return a list, tuple or dict of things of these kinds."""
    if origin is dict:
        return {_thing(name, kinds[0]): _thing(value, kinds[1]) for name, value in data}
    if origin is list or kinds[1:] == (...,):
        return origin(_thing(value, kinds[0]) for value in data)
    return tuple(_thing(value, kind) for value, kind in zip(data, kinds, strict=True))


def _array(dtype: str, shape: list[int], bytes: str) -> np.ndarray:  # noqa: A002
    """Return the array of this shape, whose bytes are in base 64."""
    kind = np.dtype(dtype)
    if kind.kind not in NUMBERS_AND_TEXT and kind.name != "bfloat16":
        raise ValueError(f"an array of {dtype} is not read")
    return np.frombuffer(b64decode(bytes, validate=True), kind).reshape(shape)


def _object(data: Any, kind: type) -> Any:
    """Return a named tuple, a dataclass or a concept of a case, with its fields and no other."""
    hints = _hints(kind)
    if issubclass(kind, BaseModel):
        values = {name: _thing(value, hints[name]) for name, value in data.items()}
        return kind.model_construct({*values}, **values)
    if data.keys() != hints.keys():
        raise ValueError(f"expected the fields of {kind.__name__}, found {', '.join(data)}")
    return kind(**{name: _thing(value, hints[name]) for name, value in data.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Return the types of the fields of a class."""
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return get_type_hints(kind, include_extras=True)
