"""Words from a file on their way into a report: nothing in them is Markdown or HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from backproof.cases.console.terminal import cut, plain

ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# A _ inside of a word, as in a_b, and a bracket that makes no link, as in [0, 1], need no escape.
SPECIAL = re.compile(r"[\\`*<>&|$~]|(?<![^\W_])_|_(?![^\W_])|\](?=\()|!(?=\[)")
BARE_BRACKET = re.compile(r"(?<!\\)[\[\]]")
BEGINNING = re.compile(r"^([#+=-]|\[(?=.*\]:)|\d+(?=[.)](\s|$)))")


def text(words: object) -> str:
    """Escape words for Markdown, in a table too."""
    escaped = SPECIAL.sub(lambda found: ENTITIES.get(found[0], f"\\{found[0]}"), plain(words))
    return BEGINNING.sub(_escape_beginning, escaped)


def _escape_beginning(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdecimal() else f"\\{found[0]}"


def label(words: object) -> str:
    """Escape words that a link or a picture bears, in whose brackets there are no others."""
    return BARE_BRACKET.sub(r"\\\g<0>", text(words))


def code(words: object) -> str:
    """Write words as a code span."""
    content = plain(words)
    fence, space = _fence(content, 1), " " if "`" in content else ""
    return f"{fence}{space}{content}{space}{fence}"


def block(words: str) -> str:
    """Write words as a block of code; their lines stay."""
    seen = (
        "".join(x if x.isprintable() or x == "\t" else "\ufffd" for x in line)
        for line in words.splitlines()
    )
    lines = "\n".join(seen)
    fence = _fence(lines, 3)
    return f"{fence}text\n{lines}\n{fence}"


def parts(what: str, tell: Callable[..., str | Iterable[str]], *arguments) -> Iterator[str]:
    """Yield what `tell` writes, or a line that says why it is left out.

    Telling never changes a verdict, whatever goes wrong in it.
    """
    try:
        told = tell(*arguments)
        yield from [told] if isinstance(told, str) else [*told]
    except Exception as error:  # noqa: BLE001, whatever it is, everything else is told
        yield left_out(what, error)


def left_out(what: str, error: Exception) -> str:
    """Return the line in place of what could not be told."""
    why = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        why = f"it needs {error.name} (pip install {error.name})"
    return f"*{text(cut(f'{what} is left out, it could not be made: {why}', 400))}*"


def _fence(content: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", content)), default=0)
    return "`" * max(least, longest + 1)
