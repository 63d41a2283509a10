"""Worker processes that end with the program, however it ends."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """So many workers. A fork after JAX has started hangs, so they are spawned; after an error they are ended."""
    pool = ProcessPoolExecutor(number, multiprocessing.get_context("spawn"), initializer=_leave_interrupts_to_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
