"""Words of a file on their way to a terminal or a report: on one line, harmless, and cut."""

from __future__ import annotations

import textwrap

MOST, WIDTH = 2_000, 80


def plain(words: object) -> str:
    """Return the words on one line, without characters that a terminal takes for commands."""
    return printable(" ".join(str(words).split()))


def printable(words: str) -> str:
    """Return the words with every space, without characters that a terminal takes for commands."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)


def wrapped(words: object, width: int = WIDTH) -> str:
    """Return the words in lines of at most `width`, broken between words: a path can be copied."""
    return textwrap.fill(plain(words), width, break_long_words=False, break_on_hyphens=False)


def cut(words: str, most: int = MOST) -> str:
    """Return at most so many characters, cut between two words, and how many are left out."""
    if len(words) <= most:
        return words
    left_out = " … ({:,} characters are left out)"
    room = most - len(left_out.format(len(words)))
    end = words.rfind(" ", room // 2, room + 1)
    kept = words[: end if end > 0 else room]
    return kept + left_out.format(len(words) - len(kept))
