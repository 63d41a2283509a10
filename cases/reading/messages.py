"""A mistake that pydantic found, told in this project's words: what was expected, what was found, and a hint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from backproof.cases.format.concept import NAME, Concept
from backproof.cases.format.fields import KEY, NUMBER, describe, hint, listed, quoted
from backproof.cases.format.schema import Case, Tie
from backproof.cases.format.words import elsewhere

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from backproof.cases.reading.document import Place

SPOKEN_BOOLEANS = {
    "no": "false",
    "off": "false",
    "false": "false",
    "yes": "true",
    "on": "true",
    "true": "true",
}


def tell_all(errors: list[ErrorDetails]) -> Iterator[tuple[Place, str]]:
    """All of them, but for those that say that a list is too short because its entries are wrong."""
    return (
        tell(error) for error in errors if not (error["type"] == "too_short" and error["input"])
    )


def tell(error: ErrorDetails) -> tuple[Place, str]:
    """The path of a pydantic error, and the message."""
    path = error["loc"]
    if error["type"] == "mistake":
        return (*path, *error["ctx"]["inside"]), error["ctx"]["message"]
    if error["type"] == "extra_forbidden":
        path = (*path, KEY)
    return path, MESSAGES.get(error["type"], _otherwise)(error)


def _otherwise(error: ErrorDetails) -> str:
    return f"{error['msg']}, found {describe(error['input'])}"


# ---------------------------------------------------------------- keys


def _unknown_key(error: ErrorDetails) -> str:
    *above, key = error["loc"]
    concept = _concept(above)
    return f"unknown key {quoted(key)}{elsewhere(concept.kind, key) or hint(key, concept.model_fields)}"


def _expected_mapping(error: ErrorDetails) -> str:
    names = listed(_concept(error["loc"]).model_fields)
    return f"expected a mapping with the keys {names}, found {describe(error['input'])}"


def _concept(path: list | tuple) -> type[Concept]:
    """The innermost concept on the way: keys are called what the concepts that they hold are called."""
    concepts = {concept.kind: concept for concept in _concepts(Concept)} | {"tied": Tie}
    return next((concepts[name] for name in reversed(path) if name in concepts), Case)


def _concepts(base: type[Concept]) -> Iterator[type[Concept]]:
    for concept in base.__subclasses__():
        yield concept
        yield from _concepts(concept)


# ---------------------------------------------------------------- values


def _expected(what: str) -> Callable[[ErrorDetails], str]:
    """A message; `{limit}` in `what` becomes the limit that the value is beyond."""

    def told(error: ErrorDetails) -> str:
        limit = next(
            (value for value in error.get("ctx", {}).values() if isinstance(value, int | float)),
            None,
        )
        return f"expected {what.format(limit=limit)}, found {describe(error['input'])}{_remedy(what, error['input'])}"

    return told


def _remedy(what: str, found: Any) -> str:
    """What to write in place of a value of the wrong type."""
    if what == "true or false" and str(found).lower() in SPOKEN_BOOLEANS:
        return f"; write {SPOKEN_BOOLEANS[str(found).lower()]}, without quotes"
    if what.endswith("number") and isinstance(found, str) and NUMBER.fullmatch(found):
        return "; write it without quotes"
    if what == "text" and not isinstance(found, list | dict | None):
        return "; put it in quotes"
    if what == "a list" and isinstance(found, str) and re.fullmatch(NAME, found):
        return f"; in brackets it is one, [{found}]"
    return ""


def _expected_literal(error: ErrorDetails) -> str:
    names = re.findall(r"'([^']*)'", error["ctx"]["expected"])
    found = error["input"]
    if not isinstance(found, str):
        return f"expected {listed(names)}, found {describe(found)}"
    return f"unknown {describe(found).removeprefix('the text ')}{hint(found, names)}"


MESSAGES: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda error: f"missing key {error['loc'][-1]!r}",
    "extra_forbidden": _unknown_key,
    "model_type": _expected_mapping,
    "dict_type": _expected("a mapping"),
    "list_type": _expected("a list"),
    "tuple_type": _expected("a list"),
    "too_short": _expected("at least {limit} entry"),
    "literal_error": _expected_literal,
    "bool_type": _expected("true or false"),
    "int_type": _expected("a whole number"),
    "float_type": _expected("a number"),
    "finite_number": _expected("a finite number"),
    "greater_than": _expected("a number above {limit:g}"),
    "greater_than_equal": _expected("at least {limit:g}"),
    "less_than": _expected("a number below {limit:g}"),
    "less_than_equal": _expected("at most {limit}"),
    "string_type": _expected("text"),
    "string_unicode": _expected("text of whole characters"),
    "string_too_short": _expected("at least {limit} character"),
    "string_too_long": _expected("at most {limit} characters"),
    "string_pattern_mismatch": lambda error: _expected(_pattern(error))(error),
}


def _pattern(error: ErrorDetails) -> str:
    is_name = error["ctx"]["pattern"] == NAME
    return (
        "a name of letters, digits and _, or several joined by ."
        if is_name
        else "one line without control characters"
    )
