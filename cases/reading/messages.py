"""A mistake that pydantic found, in this project's words: what was expected, found, and a hint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from backproof.cases.format.concept import NAME, Concept
from backproof.cases.format.fields import NUMBER
from backproof.cases.format.message import KEY, Mistakes, Place, describe, hint, listed, quoted
from backproof.cases.format.schema import Case, Tie
from backproof.cases.format.words import elsewhere

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SPOKEN_BOOLEANS = dict.fromkeys(("no", "off", "false"), "false")
SPOKEN_BOOLEANS |= dict.fromkeys(("yes", "on", "true"), "true")


def tell_all(errors: list[ErrorDetails]) -> Mistakes:
    """Yield path and message of all errors, but of lists too short as their entries are wrong."""
    for error in errors:
        if not (error["type"] == "too_short" and error["input"]):
            yield tell(error)


def tell(error: ErrorDetails) -> tuple[Place, str]:
    """Return the path of a pydantic error, and the message."""
    path = error["loc"]
    if error["type"] == "mistake":
        return (*path, *error["ctx"]["inside"]), error["ctx"]["message"]
    if error["type"] == "extra_forbidden":
        path = (*path, KEY)
    if error["type"] in MESSAGES:
        return path, MESSAGES[error["type"]](error)
    return path, f"{error['msg']}, found {describe(error['input'])}"


# ---------------------------------------------------------------- keys


def _unknown_key(error: ErrorDetails) -> str:
    *above, key = map(str, error["loc"])
    concept = _concept(above)
    meant = elsewhere(concept.kind, key) or hint(key, concept.model_fields)
    return f"unknown key {quoted(key)}{meant}"


def _expected_mapping(error: ErrorDetails) -> str:
    names = listed(_concept(error["loc"]).model_fields)
    return f"expected a mapping with the keys {names}, found {describe(error['input'])}"


def _concept(path: list | tuple) -> type[Concept]:
    """Return the innermost concept on a path, whose keys are called what they hold."""
    concepts = {concept.kind: concept for concept in _concepts(Concept)} | {"tied": Tie}
    return next((concepts[name] for name in reversed(path) if name in concepts), Case)


def _concepts(base: type[Concept]) -> Iterator[type[Concept]]:
    """Yield all classes derived from `base`."""
    for concept in base.__subclasses__():
        yield concept
        yield from _concepts(concept)


# ---------------------------------------------------------------- values


def _expected(what: str) -> Callable[[ErrorDetails], str]:
    """Return a message; `{limit}` in `what` becomes the limit that the value is beyond."""

    def told(error: ErrorDetails) -> str:
        numbers = [each for each in error.get("ctx", {}).values() if isinstance(each, int | float)]
        expected = what.format(limit=numbers[0] if numbers else None)
        found = error["input"]
        return f"expected {expected}, found {describe(found)}{_remedy(what, found)}"

    return told


def _remedy(what: str, found: Any) -> str:
    """Return the end of a message: what to write in place of a value of the wrong type."""
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
    if error["ctx"]["pattern"] == NAME:
        return "a name of letters, digits and _, or several joined by ."
    return "one line without control characters"
