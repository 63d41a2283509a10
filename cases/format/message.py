"""The words of a message about a mistake: what was found, and what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from backproof.cases.format.words import nearest

Place = tuple[int | str, ...]
"""The keys and indices that lead to a value: `("network", 0, "dense", "units")`."""

Mistakes = Iterator[tuple[Place, str]]
"""Where something is wrong, and what was expected there and found."""

KEY = "[key]"  # at the end of a path: the key itself, not its value; pydantic's word
LONGEST_QUOTE = 40


def mistake(message: str, *inside: int | str) -> PydanticCustomError:
    """Return an error with a ready message.

    Args:
        message: what was expected, and found.
        inside: leads from the field to the offending element, and with `KEY` at its end to the key.
    """
    return PydanticCustomError("mistake", "{message}", {"message": message, "inside": list(inside)})


def again(error: ErrorDetails) -> InitErrorDetails:
    """Return a caught error in the form in which errors are made, to raise it once more."""
    loc, found, about = error["loc"], error["input"], error.get("ctx", {})
    ours = error["type"] == "mistake"
    kind = PydanticCustomError("mistake", "{message}", about) if ours else error["type"]
    return InitErrorDetails(type=kind, loc=loc, input=found, ctx=about)


def quoted(text: str) -> str:
    """Return the text in quotes, on one line; of a long one whole words, if it has any."""
    if len(text) > LONGEST_QUOTE:
        words, space, _ = text[: LONGEST_QUOTE - 1].rpartition(" ")
        text = f"{words} …" if space else f"{text[: LONGEST_QUOTE - 1]}…"
    return repr(text)


def describe(value: Any) -> str:
    """Say in a message what was found: `the text 'no'`, `the number 3`, `a list`, ..."""
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
    """Return the end of a message about an unknown name: those it may mean, or all there are."""
    names = list(names)
    if near := nearest(name, names):
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; expected {listed(names)}" if names else ""


def listed(names: Iterable[str]) -> str:
    """Return the names as `a, b or c`, cut after sixteen."""
    names = list(names)
    if len(names) > 16:
        return f"{', '.join(names[:16])}, ..."
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
