"""Words of a file on their way to a terminal or into a report: on one line, without commands, and not without end."""

from __future__ import annotations

import textwrap

MOST, WIDTH = 2_000, 80


def plain(words: object) -> str:
    """On one line, without characters that a terminal takes for commands."""
    return printable(" ".join(str(words).split()))


def printable(words: str) -> str:
    """With every space, but without characters that a terminal takes for commands."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)


def wrapped(words: object, width: int = WIDTH) -> str:
    """In lines of at most so many characters, broken between words alone: a path or a name can be copied."""
    return textwrap.fill(plain(words), width, break_long_words=False, break_on_hyphens=False)


def cut(words: str, most: int = MOST) -> str:
    """At most so many characters, cut between two words where there are any, and how many are left out."""
    if len(words) <= most:
        return words
    left_out = " … ({:,} characters are left out)"
    room = most - len(left_out.format(len(words)))
    end = words.rfind(" ", room // 2, room + 1)
    kept = words[: end if end > 0 else room]
    return kept + left_out.format(len(words) - len(kept))
