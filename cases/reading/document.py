"""Text → plain data, and where in the text each key and value stands.

The accepted YAML is small: one document of mappings, lists and plain scalars, with no anchors,
aliases or tags, so that a file means what it shows and costs what it weighs. Scalars follow the
core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), whatever a `%YAML` directive
says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from backproof.cases.format.message import KEY, Place, describe, quoted

DEEPEST = 32
LONGEST_NUMBER = 100

Position = tuple[int, int]
"""Line and column, both from 1."""

NOTHING = ("", "~", "null", "Null", "NULL")
SCALARS: list[tuple[re.Pattern[str], Callable[[str], Any]]] = [
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (
        re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        lambda text: float(text.replace(".", "")),
    ),
]


class Refused(Exception):  # noqa: N818 (it says what became of the text)
    """A text that cannot be read as plain data: why, and where."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.position, self.message = position, message


@dataclass
class Document:
    """The data of a text, and the positions of its values and of the keys that hold them."""

    data: Any = None
    values: dict[Place, Position] = field(default_factory=dict)
    keys: dict[Place, Position] = field(default_factory=dict)

    def position(self, path: Place) -> Position:
        """Return where `path` leads to; components that are not in the text are passed over."""
        found: Place = ()
        for component in path:
            if (*found, component) in self.values:
                found = (*found, component)
        at_key = path[-1:] == (KEY,) and found in self.keys
        return self.keys[found] if at_key else self.values[found]


def parse(text: str) -> Document:
    """Read one YAML document, or raise `Refused`."""
    document, events = Document(), _events(text)
    event = next(events)
    if isinstance(event, yaml.StreamEndEvent):
        raise Refused((1, 1), "the file is empty")
    document.data = _value(next(events), events, (), document)
    for event in events:
        if not isinstance(event, yaml.DocumentEndEvent | yaml.StreamEndEvent):
            raise Refused(_position(event), "expected one document, found a second one")
    return document


# ---------------------------------------------------------------- events


def _events(text: str) -> Iterator[Any]:
    """Yield what ruamel.yaml finds in the text; raise its errors as `Refused`, in one line."""
    end = (1, 1)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            end = (event.end_mark.line + 1, event.end_mark.column + 1)
            if not isinstance(event, yaml.StreamStartEvent):
                yield event
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else end
        _refuse_syntax(position, ", ".join(filter(None, [error.context, error.problem])))
    except ReaderError as error:
        before = text[: error.position]
        position = (before.count("\n") + 1, error.position - before.rfind("\n"))
        _refuse_syntax(position, f"the character U+{error.character:04X} is not allowed")
    except (YAMLError, ValueError, OverflowError) as error:
        # the last two: an escape beyond Unicode's last character
        _refuse_syntax(end, str(error))


def _refuse_syntax(position: Position, problem: str) -> NoReturn:
    raise Refused(position, f"not valid YAML: {' '.join(problem.split())}") from None


def _position(event: yaml.Event) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


# ---------------------------------------------------------------- values


def _value(event: Any, events: Iterator[Any], path: Place, document: Document) -> Any:
    """Return the value that starts with `event`. The depth is checked, so the recursion ends."""
    _refuse_references(event)
    document.values[path] = _position(event)
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, document.keys.get(path))
    if len(path) >= DEEPEST:
        raise Refused(_position(event), f"nested deeper than {DEEPEST} levels")
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(events, path, document)
    items = _until(yaml.SequenceEndEvent, events)
    return [_value(item, events, (*path, i), document) for i, item in enumerate(items)]


def _mapping(events: Iterator[Any], path: Place, document: Document) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for event in _until(yaml.MappingEndEvent, events):
        key = _key(event)
        if key in mapping:
            line, _ = document.keys[(*path, key)]
            raise Refused(_position(event), f"the key {quoted(key)} stands here and in line {line}")
        document.keys[(*path, key)] = _position(event)
        mapping[key] = _value(next(events), events, (*path, key), document)
    return mapping


def _key(event: Any) -> str:
    _refuse_references(event)
    if not isinstance(event, yaml.ScalarEvent):
        raise Refused(_position(event), "expected a name as key, found a list or mapping")
    key = _scalar(event)
    if not isinstance(key, str):
        raise Refused(_position(event), f"expected a name as key, found {describe(key)}")
    return key


def _until(end: type[yaml.Event], events: Iterator[Any]) -> Iterator[Any]:
    return takewhile(lambda event: not isinstance(event, end), events)


def _refuse_references(event: Any) -> None:
    references = "aliases" if isinstance(event, yaml.AliasEvent) else "anchors"
    for what, found in ((references, event.anchor), ("tags", getattr(event, "tag", None))):
        if found is not None:
            raise Refused(_position(event), f"{what} are not allowed, found {quoted(found)}")


def _scalar(event: yaml.ScalarEvent, key: Position | None = None) -> Any:
    """Return what a scalar means; `key` is where its key stands, if it is a value."""
    (plain, _), text, position = event.implicit, event.value, _position(event)
    if plain and text in NOTHING:
        raise Refused(key or position, "nothing is written here; give a value, or leave it out")
    read = plain and next((read for pattern, read in SCALARS if pattern.fullmatch(text)), None)
    if not read:
        return text
    if len(text) > LONGEST_NUMBER:
        message = f"a number of {len(text)} characters; at most {LONGEST_NUMBER} are read"
        raise Refused(position, message)
    number = read(text)
    if isinstance(number, float) and math.isinf(number) and "inf" not in text.lower():
        raise Refused(position, f"the number {text} is too large for float64")
    return number
