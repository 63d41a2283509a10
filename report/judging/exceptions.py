"""An exception of somebody's code in words: its type and its message, and the line of that code where it was raised."""

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
    """Somebody's code would end the program, by `sys.exit` or the like, which is the cause of this."""


def told(error: BaseException) -> str:
    """`ValueError: why, at mine.py:12 in gradients: return inputs @ w`, on one line, which ends at a word."""
    if isinstance(error, WrongReturn):
        return str(error)
    error = error.__cause__ if isinstance(error, EndedError) else error
    message = cut(plain(f"{type(error).__name__}: {error}"), LONGEST_MESSAGE)
    return f"{message}{_place(error)}"


def is_theirs(file: str) -> bool:
    """The file is neither ours nor a library's."""
    libraries = (
        "site-packages" in file
        or "dist-packages" in file
        or file.startswith((STANDARD_LIBRARY, "<"))
    )
    return not libraries and not os.path.abspath(file).startswith(OURS)  # noqa: PTH100, it need not exist


def _place(error: BaseException) -> str:
    """The innermost line of their code, if there is one."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if is_theirs(frame.filename)
    ]
    if not frames:
        return ""
    file, line, function, _ = frames[-1]
    code = textwrap.shorten(
        linecache.getline(file, line), LONGEST_LINE, placeholder=" …", break_on_hyphens=False
    )
    return f", at {_short(file)}:{line} in {function}: {code}".removesuffix(": ")


def _short(file: str) -> str:
    """The path from here, where the file is below."""
    return str(Path(file).absolute()).removeprefix(f"{Path.cwd()}{os.sep}")
