"""Processes of their own for what may crash, hang or eat the memory: whatever happens in one is a verdict.

A worker is a plain subprocess (`worker.py`): multiprocessing lets nobody inside a Dask worker start one, and the pools
over it wait for a worker that ended with exit code 0. Limits are kept from outside, so that code that holds Python's
lock, ignores signals or allocates in C is ended as well; its own subprocesses end with it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

import psutil

from report import worker

SECONDS, POLL, START = 600.0, 0.05, 60.0
SHARE_OF_MEMORY, GIB = 0.8, 2**30
MOST_OUTPUT = 4_000
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from report.worker import main; main(sys.argv[2])"


class Limits(NamedTuple):
    """What a task may take: wall time in seconds, and bytes of memory."""

    seconds: float
    memory: float


def limits(jobs: int, seconds: float | None = None, gib: float | None = None) -> Limits:
    """What is given; or else ten minutes, and a fair share of four fifths of the machine's memory."""
    memory = gib * GIB if gib else SHARE_OF_MEMORY * psutil.virtual_memory().total / jobs
    return Limits(seconds or SECONDS, memory)


class DiedError(Exception):
    """A worker did not finish its task: the verdict, why in words, and what it left on its output."""

    def __init__(self, verdict: str, message: str, output: str = ""):
        super().__init__(message)
        self.verdict, self.message, self.output = verdict, message, output


class Worker:
    """One worker process, which is at work on at most one task."""

    def __init__(self, folder: Path):
        log, name = tempfile.mkstemp(suffix=".log", dir=folder)
        self.log = Path(name)
        command = [sys.executable, "-c", BOOT, _json(sys.path), name]
        self.process = subprocess.Popen(  # noqa: S603, Python itself
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        os.close(log)
        self.results: SimpleQueue = SimpleQueue()
        self.collector = Thread(target=self._collect, daemon=True)
        self.collector.start()
        self.started = False

    def _collect(self) -> None:
        try:
            while True:
                self.results.put(worker.receive(self.process.stdout))
        except Exception:  # noqa: BLE001, the end of the pipe, or what is no result any more
            self.results.put(None)

    def call(self, limits: Limits, function: Callable, *arguments) -> Any:
        """The result of a task.

        Raises:
            DiedError: if there is none.
        """
        if not self.started:
            self._result(START, limits.memory, "it began its work")
            self.started = True
        try:
            worker.send(self.process.stdin, (worker.pack(function, *arguments), limits.seconds))
        except OSError:
            raise self._death() from None
        well, result = self._result(limits.seconds, limits.memory, "it had a result")
        if not well:
            raise DiedError("error", result, self._output())
        return result

    def _result(self, seconds: float, memory: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                result = self.results.get(timeout=POLL)
            except Empty:
                self._check(deadline, seconds, memory, what)
                continue
            if result is None:
                raise self._death()
            return result

    def _check(self, deadline: float, seconds: float, memory: float, what: str) -> None:
        if self._memory() > memory:
            message = f"stopped when it had taken more than {memory / GIB:.3g} GiB of memory, its limit"
            raise DiedError("out of memory", message, self._output())
        if time.monotonic() > deadline:
            output = self._output()
            raise DiedError("timeout", f"stopped after {seconds:g} s, its limit, before {what}{place(output)}", output)

    def _memory(self) -> int:
        try:
            return psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def _death(self) -> DiedError:
        code, output = self.process.wait(), self._output()
        when = "" if self.started else " before it could begin"
        return DiedError("crash", f"the process ended {_how(code)}{when}{place(output)}", output)

    def _output(self) -> str:
        """The end of what it printed."""
        return self.log.read_bytes()[-MOST_OUTPUT:].decode("utf-8", "replace").strip() if self.log.exists() else ""

    def stop(self) -> None:
        """End it at once, with everything that it started."""
        with suppress(OSError):  # it has ended
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.wait()
        self.collector.join()
        self.process.stdout.close()
        with suppress(OSError):
            self.process.stdin.close()
        self.log.unlink(missing_ok=True)


class Workers:
    """Worker processes by what they work with, so that two frameworks never share one; started when they are needed."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.folder = tempfile.TemporaryDirectory(prefix="backproof-")
        self.lock, self.stopped = Lock(), False
        self.idle: dict[str, list[Worker]] = {}
        self.all: set[Worker] = set()

    def call(self, kind: str, function: Callable, *arguments) -> Any:
        """The result of a task in a worker of this kind.

        Raises:
            DiedError: if there is none; the worker is ended, and the next task has a new one.
        """
        own = self._take(kind)
        try:
            result = own.call(self.limits, function, *arguments)
        except BaseException:
            self._end(own)
            raise
        with self.lock:
            self.idle.setdefault(kind, []).append(own)
        return result

    def _take(self, kind: str) -> Worker:
        with self.lock:
            if self.stopped:
                raise DiedError("interrupted", "it was not begun")
            if self.idle.get(kind):
                return self.idle[kind].pop()
            own = Worker(Path(self.folder.name))
            self.all.add(own)
            return own

    def _end(self, own: Worker) -> None:
        with self.lock:
            self.all.discard(own)
        own.stop()

    def stop(self) -> None:
        """End all of them, and begin no other."""
        with self.lock:
            self.stopped, workers = True, [*self.all]
        for own in workers:
            own.stop()
        self.folder.cleanup()


class NoWorkers:
    """Everything in this process, without any protection: for debuggers."""

    @staticmethod
    def call(_: str, function: Callable, *arguments) -> Any:
        """The result of the task."""
        return function(*arguments)

    def stop(self) -> None:
        """There is nothing to end."""


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", which is what the system does when memory runs out" if name == "SIGKILL" else ""
    return f"by {name}{hint}"


STACK = re.compile(
    r"^(Current thread|Thread) .*most recent call first\):\n +File \"(.+)\", line (\d+) in (\S+)", re.MULTILINE
)


def place(output: str) -> str:
    """Where it was, by the innermost line of the stack that crashed, or of the oldest thread; empty without a stack."""
    stacks = STACK.findall(output)
    if not stacks:
        return ""
    _, file, line, function = next((stack for stack in stacks if stack[0].startswith("Current")), stacks[-1])
    return f"; it was in {function}, {file.removeprefix(f'{Path.cwd()}{os.sep}')}:{line}"


def _json(strings: list[str]) -> str:
    import json

    return json.dumps(strings)
