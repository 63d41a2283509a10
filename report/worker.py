"""A worker process: it does the tasks that come in on its standard input, one after the other, until that ends.

What a task prints goes into a file, whether Python prints it or C; so does what a crash leaves behind.
"""

from __future__ import annotations

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
from typing import Any, BinaryIO

LENGTH = Struct("<Q")
STACK_AFTER = 0.9  # of the time limit: where a task hangs is on record before it is ended


def main(log: str) -> None:
    """Say that it is ready, and work; ends with its standard input, whatever it is doing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started it
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(output, stream)
    faulthandler.enable(output)
    waiting: SimpleQueue = SimpleQueue()
    Thread(target=_receive, args=(tasks, waiting), daemon=True).start()
    send(results, "ready")
    while True:
        packed, seconds = waiting.get()
        os.truncate(log, 0)
        faulthandler.dump_traceback_later(STACK_AFTER * seconds, file=output)
        result = _done(packed)
        faulthandler.cancel_dump_traceback_later()
        with suppress(Exception):  # whatever has become of it
            sys.stdout.flush()
        send(results, result)


def _receive(tasks: BinaryIO, waiting: SimpleQueue) -> None:
    try:
        while True:
            waiting.put(receive(tasks))
    except (EOFError, OSError):
        os._exit(0)


def _done(packed: bytes) -> tuple[bool, Any]:
    """Whether the task went well, and its result, or what went wrong in words, for that can always be sent."""
    try:
        function, arguments = pickle.loads(packed)  # noqa: S301, from the program that started it
        return True, function(*arguments)
    except BaseException as error:  # noqa: BLE001, the program decides what becomes of it
        from report.exceptions import told

        return False, told(error)


def pack(function: Callable, *arguments) -> bytes:
    """A task, which a worker unpacks by itself: what can't be unpacked there is its failure, not its end."""
    return pickle.dumps((function, arguments))


def send(pipe: BinaryIO, thing: Any) -> None:
    """Write one thing."""
    content = pickle.dumps(thing)
    pipe.write(LENGTH.pack(len(content)) + content)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """Read one thing.

    Raises:
        EOFError: if there is none any more.
    """
    length = pipe.read(LENGTH.size)
    content = pipe.read(LENGTH.unpack(length)[0]) if len(length) == LENGTH.size else b""
    if not content:
        raise EOFError
    return pickle.loads(content)  # noqa: S301, between processes of one program
