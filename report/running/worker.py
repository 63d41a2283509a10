"""A worker process: it does the tasks that come in on its standard input, one after the other.

It ends with that input. Its answers are data (`stored.py`), each with its length and checksum: what
it works with may write into any pipe. What a task prints goes into a file, whether Python prints it
or C; so does what a crash leaves behind.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from struct import Struct
from threading import Thread
from typing import IO

from backproof.report.running.stored import NotStoredError, dump, opened, sealed

LENGTH = Struct("<Q")
WELL, NOT_WELL = b"+", b"-"
STACK_AFTER = 0.9  # of the time limit: where a task hangs is on record before it is ended
PR_SET_CHILD_SUBREAPER = 36


def main(log: str) -> None:
    """Say that it is ready, and work; ends with its standard input, whatever it is doing.

    Args:
        log: the file for what tasks print.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started it
    adopt_orphans()
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable(output)
    waiting: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_receive, args=(tasks, waiting), daemon=True).start()
    send(results, WELL + dump("ready"))
    while True:
        packed, seconds = pickle.loads(waiting.get())  # noqa: S301, from who started it
        os.truncate(log, 0)
        faulthandler.dump_traceback_later(STACK_AFTER * seconds, file=output)
        answer = _answer(packed)
        faulthandler.cancel_dump_traceback_later()
        with suppress(Exception):  # whatever has become of it
            sys.stdout.flush()
        send(results, answer)


def adopt_orphans() -> None:
    """Remain above all that is started here, a daemon too, so that it is found; on Linux alone."""
    with suppress(AttributeError, OSError, TypeError):  # Windows has no library without a name
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _receive(tasks: IO[bytes], waiting: SimpleQueue[bytes]) -> None:
    """Queue the tasks, and end the process when no more can come."""
    try:
        while True:
            waiting.put(receive(tasks))
    except (EOFError, OSError, NotStoredError):
        os._exit(0)


def _answer(packed: bytes) -> bytes:
    """Do a task; return its result or what went wrong in words, behind `WELL` or `NOT_WELL`."""
    try:
        function, arguments = pickle.loads(packed)  # noqa: S301, from the program that started it
        return WELL + dump(function(*arguments))
    except BaseException as error:  # noqa: BLE001, the program decides what becomes of it
        from backproof.report.judging.exceptions import told

        return NOT_WELL + dump(told(error))


def task(function: Callable, arguments: tuple, seconds: float) -> bytes:
    """Pack a task in two layers: if the inner can't be unpacked, the task fails, not the worker."""
    return pickle.dumps((pickle.dumps((function, arguments)), seconds))


def send(pipe: IO[bytes], content: bytes) -> None:
    """Write one message."""
    message = sealed(content)
    pipe.write(LENGTH.pack(len(message)) + message)
    pipe.flush()


def receive(pipe: IO[bytes], most: float = float("inf")) -> bytes:
    """Read one message of at most `most` bytes.

    Raises:
        EOFError: if there is none any more.
        NotStoredError: if what comes is none.
    """
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    if length > most:
        raise NotStoredError(f"a message of {length} bytes")
    return opened(pipe.read(length))
