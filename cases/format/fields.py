"""The field types that pydantic lacks: a choice by name, arrays, parts of them, printed numbers."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from backproof.cases.format.added import REFUSED
from backproof.cases.format.concept import Concept
from backproof.cases.format.message import KEY, again, describe, hint, listed, mistake, quoted
from backproof.cases.format.words import nearest

REFERENCE = "docs/generated/reference.md"
LARGEST_FILE = 256 * 2**20
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE](\+?\d{1,2}|-\d{1,3}))?", re.ASCII)


# ---------------------------------------------------------------- one of several concepts


@dataclass(frozen=True)
class OneOf:
    """A union whose members are told apart by name: `dense: {units: 4}`.

    A name alone, `sigmoid`, will do where every setting has a default.

    Attributes:
        one, many: what a member is called, `layer`, and what all are, `layers`.
        section: of the reference page.
        members: of the union, where they are known at run time alone.
    """

    one: str
    many: str
    section: str
    members: tuple[type[Concept], ...] = ()

    def choices(self, union: Any) -> dict[str, type[Concept]]:
        """Return the members by kind."""
        return {member.kind: member for member in self.members or get_args(union) or (union,)}

    def __get_pydantic_core_schema__(self, union: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[Any, CoreSchema] = {
            kind: core_schema.no_info_before_validator_function(_content, handler(member))
            for kind, member in self.choices(union).items()
        }
        chosen = core_schema.tagged_union_schema(choices, discriminator=_kind)
        read = partial(_with_known_kind, self, list(choices))
        return core_schema.no_info_wrap_validator_function(read, chosen)

    def __get_pydantic_json_schema__(self, schema: dict, handler: GetJsonSchemaHandler) -> dict:
        choices = schema["schema"]["choices"].items()
        return {"anyOf": [form for kind, one in choices for form in _forms(kind, one, handler)]}


def _with_known_kind(
    sort: OneOf, kinds: list[str], value: Any, handler: ValidatorFunctionWrapHandler
) -> Any:
    """Read a value whose kind is one of `kinds`, or raise all that is wrong with it."""
    kind = _kind(value)
    if kind is None:
        found = f"a mapping of {len(value)} keys" if isinstance(value, dict) else describe(value)
        raise mistake(f"expected {listed(kinds)}, found {found}")
    if kind in kinds:
        return handler(value)
    near = nearest(kind, kinds)
    message = mistake(_no_such_kind(sort, kinds, near, kind), kind, KEY)
    unknown = InitErrorDetails(type=message, input=value)
    inside = _mistakes_inside(kind, near, value, handler)
    raise ValidationError.from_exception_data(sort.one, [unknown, *inside])


def _mistakes_inside(
    kind: str, near: list[str], value: Any, handler: ValidatorFunctionWrapHandler
) -> Iterator[InitErrorDetails]:
    """Yield what is wrong with settings of an unknown kind, if there is one that it may mean."""
    if len(near) != 1:
        return
    try:
        handler({near[0]: _content(value)})
    except ValidationError as invalid:
        for error in map(again, invalid.errors()):
            yield error | {"loc": (kind, *error["loc"])}


def _no_such_kind(sort: OneOf, kinds: list[str], near: list[str], found: str) -> str:
    """Say what may be meant, with links to it; or all that there is, with a link to the list."""
    if near:
        meant = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        meant = f"the {sort.many} are {', '.join(kinds[:-1])} and {kinds[-1]};"
    links = " and ".join(f"{REFERENCE}#{section}" for section in near or [sort.section])
    return "; ".join([f"there is no {sort.one} {quoted(found)}", f"{meant} see {links}", *REFUSED])


def _kind(value: Any) -> str | None:
    """Return the name in `name: {...}` or `name`; None of anything else."""
    if isinstance(value, dict) and len(value) == 1:
        return str(next(iter(value)))
    return value if isinstance(value, str) else None


def _content(value: Any) -> Any:
    return {} if isinstance(value, str) else next(iter(value.values()))


def _forms(kind: str, choice: dict, handler: GetJsonSchemaHandler) -> Iterator[dict]:
    """Yield the JSON schemas of `kind: {...}`, and of `kind` if it may stand alone."""
    content = handler(choice)
    about = handler.resolve_ref_schema(content)
    described = {"title": kind, "description": about.get("description", "")}
    yield described | _object({kind: content}, kind)
    if not about.get("required"):
        yield described | {"const": kind}


def _object(properties: dict[str, Any], required: str) -> dict[str, Any]:
    """Return the JSON schema of a mapping with these keys alone, one of which must be there."""
    keys = {"type": "object", "properties": properties, "required": [required]}
    return keys | {"additionalProperties": False}


# ---------------------------------------------------------------- arrays of numbers


def _read_array(value: Any, info: ValidationInfo) -> np.ndarray:
    """Return the float64 array that is written in nested lists, or stands in a file."""
    if isinstance(value, dict):
        return _from_file(value, (info.context or {}).get("folder", Path.cwd()))
    return _frozen(np.array(_rectangular(value, (), _number), dtype=np.float64))


def _lists_of(leaf: str) -> dict[str, Any]:
    """Return the JSON schema of nested lists."""
    return {"type": "array", "minItems": 1, "items": {"type": [leaf, "array"]}}


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, found {describe(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("the number is too large for float64") from None
    if not np.isfinite(number):
        raise ValueError(f"expected a finite number, found {value}")
    return number


def _rectangular(value: Any, inside: tuple[int, ...], leaf: Callable[[Any], Any]) -> Any:
    """Return nested lists, all rows of a level of one shape, with `leaf` applied to the elements.

    `inside` are the indices that lead to `value`, for the place of a mistake.
    """
    if not isinstance(value, list):
        try:
            return leaf(value)
        except ValueError as error:
            raise mistake(str(error), *inside) from None
    if not value:
        raise mistake("expected numbers, found an empty list", *inside)
    rows = [_rectangular(row, (*inside, i), leaf) for i, row in enumerate(value)]
    first = _shape(rows[0])
    for i, row in enumerate(rows):
        if (shape := _shape(row)) != first:
            raise mistake(f"row {i} has shape {shape}, row 0 has {first}", *inside, i)
    return rows


def _shape(rows: Any) -> tuple[int, ...]:
    return (len(rows), *_shape(rows[0])) if isinstance(rows, list) else ()


# ---------------------------------------------------------------- arrays in files


def _from_file(value: dict, folder: Path) -> np.ndarray:
    """Return the array that `{file: data.npz, array: x}` or `{file: data.csv}` names."""
    for key in value:
        if key not in ("file", "array"):
            raise mistake(f"unknown key {quoted(key)}{hint(key, ['file', 'array'])}", key, KEY)
    name = value.get("file")
    if not isinstance(name, str):
        expected = "expected the name of a file beside the case file"
        raise mistake(f"{expected}, found {describe(name)}", "file")
    path = _beside(folder, name)
    array = _read_csv(path) if path.suffix == ".csv" else _read_npz(path, value.get("array"))
    if path.suffix == ".csv" and "array" in value:
        raise mistake("a .csv file holds one array, without a name", "array", KEY)
    return _frozen(_finite(array, path.name))


def _beside(folder: Path, name: str) -> Path:
    """Return the path of a file of numbers in the folder of the case or below it."""
    try:
        path = (folder / name).resolve()
        inside, exists = path.is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError):  # a NUL, a name that is too long, a loop of links
        raise mistake(f"{quoted(name)} is no name of a file", "file") from None
    if not inside:
        raise mistake(f"{quoted(name)} lies outside the case's own folder", "file")
    if not exists:
        raise mistake(f"there is no file {quoted(name)} beside the case file", "file")
    if path.suffix not in (".npz", ".csv"):
        raise mistake(f"expected a .npz or .csv file, found {quoted(name)}", "file")
    if path.stat().st_size > LARGEST_FILE:
        raise mistake(f"{quoted(name)} is larger than 256 MiB", "file")
    return path


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of a file in float64, or raise what is wrong with its numbers."""
    if array.dtype.kind not in "iuf":
        raise mistake(f"{quoted(name)} holds {array.dtype} in place of numbers", "file")
    if not array.size:
        raise mistake(f"{quoted(name)} holds no numbers", "file")
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise mistake(f"{quoted(name)} holds numbers that are not finite", "file")
    return array


def _read_npz(path: Path, name: Any) -> np.ndarray:
    # Broken archives make zipfile and NumPy raise a dozen kinds of exception, MemoryError too.
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            array = arrays[name] if unpacked <= LARGEST_FILE and name in names else None
    except Exception as error:  # noqa: BLE001
        raise mistake(f"{quoted(path.name)} cannot be read: {_one_line(error)}", "file") from None
    if unpacked > LARGEST_FILE:
        raise mistake(f"{quoted(path.name)} unpacks to more than 256 MiB", "file")
    if not names:
        raise mistake(f"{quoted(path.name)} holds no array", "file")
    if array is None:
        raise mistake(f"expected `array` to be {listed(names)}, found {describe(name)}", "array")
    return np.asarray(array)


def _read_csv(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings(action="ignore"):  # an empty file; told in `_finite`
            return np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8")
    except (ValueError, OSError, MemoryError) as error:
        message = f"{quoted(path.name)} is no table of numbers: {_one_line(error)}"
        raise mistake(message, "file") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


FILE = _object({"file": {"type": "string"}, "array": {"type": "string"}}, "file")
ARRAY = {
    "anyOf": [_lists_of("number"), {"type": "number"}, FILE],
    "description": "Nested lists of numbers, or `{file: data.npz, array: x}` / `{file: data.csv}` "
    "beside the case file.",
}
Array = Annotated[np.ndarray, PlainValidator(_read_array), WithJsonSchema(ARRAY)]


# ---------------------------------------------------------------- parts of a tensor

SLICE = r"^[0-9]{0,9}:[0-9]{0,9}$"


def _read_part(value: Any) -> int | str:
    if (type(value) is int and value >= 0) or (isinstance(value, str) and re.match(SLICE, value)):
        return value
    expected = "expected a number from 0 on, or a part of the axis such as 1:3"
    raise mistake(f"{expected}, found {describe(value)}")


PART = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SLICE}]}
Part = Annotated[int | str, PlainValidator(_read_part), WithJsonSchema(PART)]
"""Where along an axis: a number from 0 on, or a text such as `1:3`, `:2` or `4:`, as in NumPy."""


def slices(index: Iterable[int | str]) -> tuple[int | slice, ...]:
    """Return an index as NumPy takes it: `"1:3"` becomes a slice."""
    return tuple(part if isinstance(part, int) else _slice(part) for part in index)


def _slice(text: str) -> slice:
    return slice(*(int(bound) if bound else None for bound in text.split(":")))


# ---------------------------------------------------------------- printed numbers


def _read_printed(value: Any) -> np.ndarray:
    """Return an array of the texts."""
    return _frozen(np.array(_rectangular(value, (), _printed)))


def _printed(value: Any) -> str:
    if not isinstance(value, str):
        expected = "expected a printed number in quotes, so that its digits count"
        raise ValueError(f"{expected}, found {describe(value)}")
    if not NUMBER.fullmatch(value) or not np.isfinite(float(value)):
        raise ValueError(f"expected a printed number, found {quoted(value)}")
    return value


PRINTED = {
    "anyOf": [_lists_of("string"), {"type": "string"}],
    "description": "A printed number in quotes, or nested lists of them: every digit counts, so "
    '`"0.50"` is not `"0.5"`.',
}
Printed = Annotated[np.ndarray, PlainValidator(_read_printed), WithJsonSchema(PRINTED)]
