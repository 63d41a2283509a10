"""How each of the project's commands ends: interrupted, or with nobody left to read, without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

INTERRUPTED, BROKEN_PIPE = 130, 141


def run_command(command: Callable[[], int]) -> int:
    """The exit code of `command`."""
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails too
        return BROKEN_PIPE
    return code
