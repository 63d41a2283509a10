"""The parts of the README that a command writes, each between two marks of its own."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def readme_with(command: str, headlines: list[str]) -> str:
    """Return the README with these headlines between the marks of `make COMMAND`.

    Raises:
        LookupError: if the README has no such marks.
    """
    start, end = f"<!-- {command}: written by `make {command}` -->", f"<!-- end of {command} -->"
    block = "\n".join([start, *(f"- {headline}" for headline in headlines), end])
    text, found = re.subn(
        f"{re.escape(start)}.*?{re.escape(end)}", lambda _: block, README.read_text("utf-8"), flags=re.DOTALL
    )
    if not found:
        raise LookupError(f"{README.name} has no place for what `make {command}` writes: {start} ... {end}")
    return text
