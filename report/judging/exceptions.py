"""Tell an exception of somebody's code: its type, its message, and the line that raised it."""

from __future__ import annotations

import linecache
import os
import sysconfig
import textwrap
import traceback
from pathlib import Path

from backproof.backends.trajectory import WrongReturn
from backproof.cases.console.terminal import cut, plain

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("backends", "backproof", "cases", "reference", "report")
OURS = tuple(f"{ROOT / folder}{os.sep}" for folder in FOLDERS)
STANDARD_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
LONGEST_MESSAGE, LONGEST_LINE = 600, 120


class EndedError(Exception):
    """Tells that somebody's code would end the program, by `sys.exit` or the like: its cause."""


def told(error: BaseException) -> str:
    """Return `ValueError: why, at mine.py:12 in gradients: return inputs @ w`, on one line."""
    if isinstance(error, WrongReturn):
        return str(error)
    error = error.__cause__ if isinstance(error, EndedError) else error
    message = cut(plain(f"{type(error).__name__}: {error}"), LONGEST_MESSAGE)
    return f"{message}{_place(error)}"


def is_theirs(file: str) -> bool:
    """Return whether a file is neither ours nor a library's."""
    if "site-packages" in file or "dist-packages" in file:
        return False
    absolute = os.path.abspath(file)  # noqa: PTH100, it need not exist
    return not file.startswith((STANDARD_LIBRARY, "<")) and not absolute.startswith(OURS)


def _place(error: BaseException) -> str:
    """Return the innermost line of their code in words, empty if there is none."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_theirs(f.filename)]
    if not frames:
        return ""
    file, line, function, _ = frames[-1]
    code = linecache.getline(file, line)
    code = textwrap.shorten(code, LONGEST_LINE, placeholder=" …", break_on_hyphens=False)
    below = str(Path(file).absolute()).removeprefix(f"{Path.cwd()}{os.sep}")
    return f", at {below}:{line} in {function}: {code}".removesuffix(": ")
