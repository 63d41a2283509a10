"""Words from a file on their way into a report: they are shown as they are, and nothing in them is Markdown or HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from backproof.cases.console.terminal import cut, plain

ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# A single _ inside of a word, as in a_b, and a bracket that makes no link, as in [0, 1], need no escape.
SPECIAL = re.compile(r"[\\`*<>&|$~]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|!(?=\[)")
BEGINNING = re.compile(r"^([#+=-]|\d+(?=[.)](\s|$)))")


def text(words: object) -> str:
    """For Markdown, in a table too."""
    escaped = SPECIAL.sub(lambda found: ENTITIES.get(found[0], f"\\{found[0]}"), plain(words))
    return BEGINNING.sub(
        lambda found: f"{found[0]}\\" if found[0].isdecimal() else f"\\{found[0]}", escaped
    )


def code(words: object) -> str:
    """As a code span."""
    content, fence = plain(words), _fence(plain(words), 1)
    space = " " if "`" in content else ""
    return f"{fence}{space}{content}{space}{fence}"


def block(words: str) -> str:
    """As a block of code; its lines stay."""
    lines = "\n".join(
        "".join(x if x.isprintable() or x == "\t" else "\ufffd" for x in y)
        for y in words.splitlines()
    )
    fence = _fence(lines, 3)
    return f"{fence}text\n{lines}\n{fence}"


def parts(
    what: str, tell: Callable[..., str | Iterable[str]], *arguments, **settings
) -> Iterator[str]:
    """What `tell` writes; or a line that says why it is left out, for telling never changes a verdict."""
    try:
        told = tell(*arguments, **settings)
        yield from [told] if isinstance(told, str) else [*told]
    except Exception as error:  # noqa: BLE001, whatever it is, everything else is told
        yield left_out(what, error)


def left_out(what: str, error: Exception) -> str:
    """The line in place of what could not be told."""
    why = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        why = f"it needs {error.name} (pip install {error.name})"
    return f"*{text(cut(f'{what} is left out, it could not be made: {why}', 400))}*"


def _fence(content: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", content)), default=0)
    return "`" * max(least, longest + 1)
