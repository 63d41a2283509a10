"""How each of the project's commands ends: interrupted or unread, it prints no traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CANNOT_PRINT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
INSTALLED = (Path(__file__).parents[2] / "pytest_plugin.py").is_file()  # and no checkout


def as_called(command: str) -> str:
    """Return how a command is called: `python -m report` in a checkout, else `backproof report`."""
    return f"backproof {command}" if INSTALLED else f"python -m {command}"


def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit code, also where it is interrupted or can't print."""
    open_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        say("interrupted", error=True)
        return INTERRUPTED
    except BrokenPipeError:
        mute(sys.stdout)
        return BROKEN_PIPE
    except OSError as error:
        mute(sys.stdout)
        say(f"cannot write to standard output: {error.strerror}", error=True)
        return CANNOT_PRINT
    return code


def say(words: str, *, error: bool = False) -> None:
    """Print for whoever reads it; that it can't be printed changes nothing."""
    print(words, file=Heedless(sys.stderr if error else sys.stdout), flush=True)


class Heedless:
    """A stream that loses what can't be printed, for libraries that print and would fail."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, words: str) -> int:
        """Print the words, or lose them."""
        with _muted_on_failure(self._stream):
            self._stream.write(words)
        return len(words)

    def flush(self) -> None:
        """Hand over what was printed, or lose it."""
        with _muted_on_failure(self._stream):
            self._stream.flush()


@contextmanager
def _muted_on_failure(stream) -> Iterator[None]:
    try:
        yield
    except OSError:
        mute(stream)


def mute(stream) -> None:
    """Send nowhere what is printed from now on, which would fail at the exit again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def open_streams() -> None:
    """Open what was closed before the program began, for the next file would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            opened = os.fdopen(number, "w", -1, "utf-8", "backslashreplace", closefd=False)
            setattr(sys, name, opened)
