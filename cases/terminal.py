"""Words of a file on their way to a terminal or into a report: on one line, without commands, and not without end."""

from __future__ import annotations

MOST = 2_000


def plain(words: object) -> str:
    """On one line, without characters that a terminal takes for commands."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(str(words).split()))


def cut(words: str, most: int = MOST) -> str:
    """At most so many characters, cut between two words where there are any, and how many are left out."""
    if len(words) <= most:
        return words
    left_out = " … ({:,} characters are left out)"
    room = most - len(left_out.format(len(words)))
    end = words.rfind(" ", room // 2, room + 1)
    kept = words[: end if end > 0 else room]
    return kept + left_out.format(len(words) - len(kept))
