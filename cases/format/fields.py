"""The three field types that pydantic lacks: a choice by name, an array of numbers, and printed numbers."""

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
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from backproof.cases.format.added import REFUSED
from backproof.cases.format.words import nearest

KEY = "[key]"  # at the end of a path: the key itself, not its value; pydantic's word
REFERENCE = "docs/generated/reference.md"
LARGEST_FILE = 256 * 2**20
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE](\+?\d{1,2}|-\d{1,3}))?", re.ASCII)


# ---------------------------------------------------------------- the words of a message


def mistake(message: str, *inside: int | str) -> PydanticCustomError:
    """An error with a ready message; `inside` leads from the field to the offending element (and `KEY` to its key)."""
    return PydanticCustomError("mistake", "{message}", {"message": message, "inside": list(inside)})


def again(error: ErrorDetails) -> InitErrorDetails:
    """An error as it is made."""
    ours = error["type"] == "mistake"
    kind = PydanticCustomError("mistake", "{message}", error["ctx"]) if ours else error["type"]
    return InitErrorDetails(
        type=kind, loc=error["loc"], input=error["input"], ctx=error.get("ctx", {})
    )


def quoted(text: str) -> str:
    """The text in quotes, on one line, cut if it is long."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def describe(value: Any) -> str:
    """What was found, for a message: `the text 'no'`, `the number 3`, `a list`, ..."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {quoted(value)}"
        case []:
            return "an empty list"
        case list():
            return "a list"
        case _:
            return "a mapping" if isinstance(value, dict) else type(value).__name__


def hint(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the valid ones that may be meant, or all of them."""
    names = list(names)
    if near := nearest(name, names):
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; expected {listed(names)}" if names else ""


def listed(names: Iterable[str]) -> str:
    """`a, b or c`, cut after sixteen."""
    names = list(names)
    if len(names) > 16:
        return f"{', '.join(names[:16])}, ..."
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


# ---------------------------------------------------------------- one of several concepts


@dataclass(frozen=True)
class OneOf:
    """A union whose members are told apart by name: `dense: {units: 4}`, or `sigmoid` where nothing need be said.

    Attributes:
        one, many: what a member is called, `layer`, and what all are, `layers`.
        section: of the reference page.
    """

    one: str
    many: str
    section: str

    def __get_pydantic_core_schema__(
        self, union: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        choices = {
            model.kind: core_schema.no_info_before_validator_function(_content, handler(model))
            for model in get_args(union) or (union,)
        }
        chosen = core_schema.tagged_union_schema(choices, discriminator=_kind)
        return core_schema.no_info_wrap_validator_function(
            partial(_with_known_kind, self, list(choices)), chosen
        )

    def __get_pydantic_json_schema__(self, schema: dict, handler: GetJsonSchemaHandler) -> dict:
        choices = schema["schema"]["choices"]
        return {
            "anyOf": [
                form for kind, choice in choices.items() for form in _forms(kind, choice, handler)
            ]
        }


def _with_known_kind(
    sort: OneOf, kinds: list[str], value: Any, handler: ValidatorFunctionWrapHandler
) -> Any:
    kind = _kind(value)
    if kind is None:
        found = f"a mapping of {len(value)} keys" if isinstance(value, dict) else describe(value)
        raise mistake(f"expected {listed(kinds)}, found {found}")
    if kind in kinds:
        return handler(value)
    unknown = mistake(_no_such_kind(sort, kinds, kind), kind, KEY)
    inside = _mistakes_inside(kind, nearest(kind, kinds), value, handler)
    raise ValidationError.from_exception_data(
        sort.one, [InitErrorDetails(type=unknown, input=value), *inside]
    )


def _mistakes_inside(
    kind: str, near: list[str], value: Any, handler: ValidatorFunctionWrapHandler
) -> Iterator[InitErrorDetails]:
    """What is wrong with the settings of an unknown kind, read as those of the only one that may be meant."""
    if len(near) != 1:
        return
    try:
        handler({near[0]: _content(value)})
    except ValidationError as invalid:
        for error in map(again, invalid.errors()):
            yield error | {"loc": (kind, *error["loc"])}


def _no_such_kind(sort: OneOf, kinds: list[str], found: str) -> str:
    """What may be meant, with a link to it; or all that there is, with a link to the list."""
    if near := nearest(found, kinds):
        meant, sections = f"did you mean {' or '.join(map(repr, near))}?", near
    else:
        meant, sections = (
            f"the {sort.many} are {', '.join(kinds[:-1])} and {kinds[-1]};",
            [sort.section],
        )
    links = " and ".join(f"{REFERENCE}#{section}" for section in sections)
    return "; ".join([f"there is no {sort.one} {quoted(found)}", f"{meant} see {links}", *REFUSED])


def _kind(value: Any) -> str | None:
    if isinstance(value, dict) and len(value) == 1:
        return str(next(iter(value)))
    return value if isinstance(value, str) else None


def _content(value: Any) -> Any:
    return {} if isinstance(value, str) else next(iter(value.values()))


def _forms(kind: str, choice: dict, handler: GetJsonSchemaHandler) -> Iterator[dict]:
    content = handler(choice)
    about = handler.resolve_ref_schema(content)
    described = {"title": kind, "description": about.get("description", "")}
    only = {
        "type": "object",
        "properties": {kind: content},
        "required": [kind],
        "additionalProperties": False,
    }
    yield {**described, **only}
    if not about.get("required"):
        yield {**described, "const": kind}


# ---------------------------------------------------------------- arrays of numbers


class _ArrayField:
    """Nested lists of numbers, or `{file: data.npz, array: x}` / `{file: data.csv}` beside the case file."""

    def __get_pydantic_core_schema__(
        self, _: Any, __: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(_read_array)

    def __get_pydantic_json_schema__(self, _: dict, __: GetJsonSchemaHandler) -> dict:
        file = {
            "type": "object",
            "properties": {"file": {"type": "string"}, "array": {"type": "string"}},
            "required": ["file"],
            "additionalProperties": False,
        }
        numbers = {"type": "array", "minItems": 1, "items": {"type": ["number", "array"]}}
        return {"anyOf": [numbers, {"type": "number"}, file], "description": _ArrayField.__doc__}


def _read_array(value: Any, info: ValidationInfo) -> np.ndarray:
    if isinstance(value, dict):
        return _from_file(value, (info.context or {}).get("folder", Path.cwd()))
    return _frozen(np.array(_rectangular(value, (), _is_number), dtype=np.float64))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _is_number(value: Any) -> float:
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
    """Nested lists in which all rows of a level have one shape, with `leaf` applied to the elements."""
    if not isinstance(value, list):
        try:
            return leaf(value)
        except ValueError as error:
            raise mistake(str(error), *inside) from None
    if not value:
        raise mistake("expected numbers, found an empty list", *inside)
    rows = [_rectangular(row, (*inside, i), leaf) for i, row in enumerate(value)]
    for i, row in enumerate(rows):
        if _shape(row) != _shape(rows[0]):
            raise mistake(
                f"row {i} has shape {_shape(row)}, row 0 has {_shape(rows[0])}", *inside, i
            )
    return rows


def _shape(rows: Any) -> tuple[int, ...]:
    return (len(rows), *_shape(rows[0])) if isinstance(rows, list) else ()


# ---------------------------------------------------------------- arrays in files


def _from_file(value: dict, folder: Path) -> np.ndarray:
    for key in value:
        if key not in ("file", "array"):
            raise mistake(f"unknown key {quoted(key)}{hint(key, ['file', 'array'])}", key, KEY)
    if not isinstance(value.get("file"), str):
        raise mistake(
            f"expected the name of a file beside the case file, found {describe(value.get('file'))}",
            "file",
        )
    path = _beside(folder, value["file"])
    array = _read_csv(path) if path.suffix == ".csv" else _read_npz(path, value.get("array"))
    if path.suffix == ".csv" and "array" in value:
        raise mistake("a .csv file holds one array, without a name", "array", KEY)
    return _frozen(_finite(array, path.name))


def _beside(folder: Path, name: str) -> Path:
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
    # Broken archives make zipfile and NumPy raise a dozen kinds of exception, MemoryError among them.
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
        raise mistake(
            f"{quoted(path.name)} is no table of numbers: {_one_line(error)}", "file"
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


Array = Annotated[np.ndarray, _ArrayField()]


# ---------------------------------------------------------------- parts of a tensor

SLICE = r"^[0-9]{0,9}:[0-9]{0,9}$"


class _PartField:
    """Where along an axis: a number from 0 on, or a text such as `1:3`, `:2` or `4:`, as in NumPy."""

    def __get_pydantic_core_schema__(
        self, _: Any, __: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_part)

    def __get_pydantic_json_schema__(self, _: dict, __: GetJsonSchemaHandler) -> dict:
        return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SLICE}]}


def _read_part(value: Any) -> int | str:
    if (type(value) is int and value >= 0) or (isinstance(value, str) and re.match(SLICE, value)):
        return value
    raise mistake(
        f"expected a number from 0 on, or a part of the axis such as 1:3, found {describe(value)}"
    )


Part = Annotated[int | str, _PartField()]


def slices(index: Iterable[int | str]) -> tuple[int | slice, ...]:
    """An index as NumPy takes it; `"1:3"` is a slice."""
    return tuple(part if isinstance(part, int) else _slice(part) for part in index)


def _slice(text: str) -> slice:
    return slice(*(int(bound) if bound else None for bound in text.split(":")))


# ---------------------------------------------------------------- printed numbers


class _PrintedField:
    """A printed number in quotes, or nested lists of them: every digit counts, so `"0.50"` is not `"0.5"`."""

    def __get_pydantic_core_schema__(
        self, _: Any, __: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_printed)

    def __get_pydantic_json_schema__(self, _: dict, __: GetJsonSchemaHandler) -> dict:
        numbers = {"type": "array", "minItems": 1, "items": {"type": ["string", "array"]}}
        return {"anyOf": [numbers, {"type": "string"}], "description": _PrintedField.__doc__}


def _read_printed(value: Any) -> np.ndarray:
    return _frozen(np.array(_rectangular(value, (), _is_printed)))


def _is_printed(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(
            f"expected a printed number in quotes, so that its digits count, found {describe(value)}"
        )
    if not NUMBER.fullmatch(value) or not np.isfinite(float(value)):
        raise ValueError(f"expected a printed number, found {quoted(value)}")
    return value


Printed = Annotated[np.ndarray, _PrintedField()]
