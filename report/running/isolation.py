"""Processes of their own for what may crash, hang or eat the memory: what happens is a verdict.

A worker is a plain subprocess (`worker.py`): multiprocessing lets nobody inside a Dask worker start
one, and the pools over it wait for a worker that ended with exit code 0. Limits are kept from
outside, so that code that holds Python's lock, ignores signals or allocates in C is ended as well.
Its own subprocesses count as it does and end with it, also those that have left it: they are below
it, or bear its mark in their environment. Its answers are data (`stored.py`).
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any, NamedTuple

import psutil

from backproof.backends.registry import BACKENDS
from backproof.report.running import worker
from backproof.report.running.stored import NotStoredError, load, returned_by

JUDGE = "judge"  # the kind of the workers in which no code runs but ours
SECONDS, POLL, START, GRACE, LOOK = 600.0, 0.05, 60.0, 1.0, 0.25
SHARE_OF_MEMORY, GIB = 0.8, 2**30
MOST_OUTPUT, MOST_LOG = 4_000, 2**24
MOST_OF_A_BACKEND, MOST_OF_OURS = 2**20, 2**31  # bytes of an answer
BLOCK, PAGE, HOLE = 512, 4096, 1 | 2  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
MARK, ROUNDS = "BACKPROOF_WORKER", 5
EMPTY: Mapping[str, str] = MappingProxyType({})
BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from backproof.report.running.worker import main; main(sys.argv[2])"
)
STACK = re.compile(
    r"^(Current thread|Thread) .*most recent call first\):\n +File \"(.+)\", line (\d+) in (\S+)",
    re.MULTILINE,
)


class Limits(NamedTuple):
    """What a task may take: wall time in seconds, and bytes of memory."""

    seconds: float
    memory: float


def limits(jobs: int, seconds: float | None = None, gib: float | None = None) -> Limits:
    """Return the limits of a task; by default ten minutes, and a job's share of 80 % of memory."""
    memory = gib * GIB if gib else SHARE_OF_MEMORY * psutil.virtual_memory().total / jobs
    return Limits(seconds or SECONDS, memory)


class DiedError(Exception):
    """A worker did not finish its task: the verdict, why in words, and what it has printed."""

    def __init__(self, verdict: str, message: str, output: str = ""):
        super().__init__(message)
        self.verdict, self.message, self.output = verdict, message, output


class Worker:
    """A worker process, at work on at most one task; its answers are of at most `most` bytes."""

    def __init__(self, folder: Path, most: int, variables: Mapping[str, str] = EMPTY):
        log, name = tempfile.mkstemp(suffix=".log", dir=folder)
        self.log, self.most, self.mark = Path(name), most, uuid.uuid4().hex
        self.process = subprocess.Popen(  # noqa: S603, Python itself
            [sys.executable, "-c", BOOT, json.dumps(sys.path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=os.environ | {**variables, MARK: self.mark},
        )
        os.close(log)
        self.family = Family(self.process.pid)
        self.answers: SimpleQueue[bytes | Exception] = SimpleQueue()
        self.collector = self.sender = Thread(target=self._collect, daemon=True)
        self.collector.start()
        self.started = False

    def _collect(self) -> None:
        """Queue the answers, and after them the exception that ends them."""
        try:
            while True:
                self.answers.put(worker.receive(self.process.stdout, self.most))
        except Exception as end:  # noqa: BLE001, the end of the pipe, or what is no answer any more
            self.answers.put(end)

    def call(self, limits: Limits, function: Callable, *arguments) -> Any:
        """Return the result of a task, of the type that the function says it returns.

        Raises:
            DiedError: if there is none.
        """
        if not self.started:
            self._answer(START, limits.memory, "it began its work")
            self.started = True
        task = worker.task(function, arguments, limits.seconds)
        self.sender = Thread(target=self._send, args=(task,), daemon=True)  # it may have to wait
        self.sender.start()
        answer = self._answer(limits.seconds, limits.memory, "it had a result")
        how, content = answer[:1], answer[1:]
        try:
            result = load(content, returned_by(function) if how == worker.WELL else str)
        except NotStoredError as reason:
            raise self._died("crash", f"its answer is no result: {reason}") from None
        if how != worker.WELL:
            raise self._died("error", result)
        return result

    def _send(self, task: bytes) -> None:
        """Send a task, which takes until the worker reads it."""
        with suppress(OSError, ValueError):  # it has ended, which is told by the end of its answers
            worker.send(self.process.stdin, task)

    def _answer(self, seconds: float, memory: float, what: str) -> bytes:
        """Wait for the next answer, within the limits; raise DiedError if none comes."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.answers.get(timeout=POLL)
            except Empty:
                if self.process.poll() is not None and self.answers.empty():
                    raise self._death(EOFError()) from None
                self._check(deadline, seconds, memory, what)
                continue
            if isinstance(answer, Exception):
                raise self._death(answer)
            return answer

    def _check(self, deadline: float, seconds: float, memory: float, what: str) -> None:
        """Shorten the log, and raise DiedError if the worker is beyond a limit."""
        self._shorten_log()
        if self.family.memory(memory) > memory:
            taken = f"more than {memory / GIB:.3g} GiB of memory, its limit"
            raise self._died("out of memory", f"stopped when it had taken {taken}")
        if time.monotonic() > deadline:
            when = f"before {what}{place(self._output())}"
            raise self._died("timeout", f"stopped after {seconds:g} s, its limit, {when}")

    def _death(self, end: Exception) -> DiedError:
        """Return what is told where no answer can come any more."""
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            closed = isinstance(end, EOFError)
            done = "closed the pipe" if closed else "written something else into the pipe"
            return self._died("crash", f"stopped when it had {done} for its result and went on")
        when = "" if self.started else " before it could begin"
        where = place(self._output())
        return self._died("crash", f"the process ended {_how(code)}{when}{where}")

    def _died(self, verdict: str, message: str) -> DiedError:
        """Return the error with what was printed."""
        return DiedError(verdict, message, self._output())

    def _output(self) -> str:
        """Return the end of what was printed."""
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - MOST_OUTPUT))
            return file.read(MOST_OUTPUT).decode("utf-8", "replace").strip()
        return ""

    def _shorten_log(self) -> None:
        """Give back the room of all but the end of a log that has grown too long, while in use.

        Where that is not possible it begins anew, and what is written meanwhile is lost.
        """
        with suppress(OSError), self.log.open("r+b") as file:
            status = os.fstat(file.fileno())
            if getattr(status, "st_blocks", status.st_size / BLOCK) * BLOCK > MOST_LOG:
                end = (status.st_size - MOST_OUTPUT) // PAGE * PAGE
                if not _dig(file.fileno(), end):
                    file.truncate(0)

    def stop(self) -> None:
        """End it at once, with everything that it started."""
        self.family.end()
        with suppress(OSError):  # it has ended
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.wait()
        end_marked(self.mark)
        pipes = (self.collector, self.process.stdout), (self.sender, self.process.stdin)
        for thread, pipe in pipes:
            thread.join(GRACE)
            with suppress(OSError):
                if not thread.is_alive():  # or else it is at work with it
                    pipe.close()
        with suppress(OSError):  # Windows keeps a file that somebody has open
            self.log.unlink()


def _dig(file: int, length: int) -> bool:
    """Turn the beginning of a file into a hole, which takes no room; return whether that worked.

    Linux can do it, on most file systems.
    """
    start, end = ctypes.c_int64(0), ctypes.c_int64(length)
    with suppress(AttributeError, OSError, TypeError):
        return ctypes.CDLL(None).fallocate(file, HOLE, start, end) == 0
    return False


class Family:
    """A process and all that it has started, as far as they were seen."""

    def __init__(self, number: int):
        self.head = psutil.Process(number)
        self.seen: set[psutil.Process] = set()
        self.looked = 0.0

    def memory(self, limit: float) -> int:
        """Return the bytes that they take together.

        What several of them share is counted once where the sum would be above the limit.
        """
        if time.monotonic() > self.looked + LOOK:
            self._look()
        taken = self._sum(lambda process: process.memory_info().rss)
        return taken if taken <= limit or not self.seen else self._sum(_own_memory)

    def _look(self) -> None:
        """Note the processes that are below the head now, or were and are running."""
        self.looked = time.monotonic()
        with suppress(psutil.Error):
            children = {*self.head.children(recursive=True)}
            self.seen = children | {process for process in self.seen if process.is_running()}

    def _sum(self, memory: Callable[[psutil.Process], int]) -> int:
        """Add up the memory of those that are still there."""
        total = 0
        for process in (self.head, *self.seen):
            with suppress(psutil.Error):
                total += memory(process)
        return total

    def end(self) -> None:
        """End all but the head, which is halted before, so that it starts no other."""
        with suppress(psutil.Error):
            self.head.suspend()
        for _ in range(ROUNDS):
            self._look()
            living = [process for process in self.seen if _lives(process)]
            if not living:
                return
            for process in living:
                with suppress(psutil.Error):
                    process.kill()
            time.sleep(POLL)


def _lives(process: psutil.Process) -> bool:
    """Return whether a process is there and no zombie."""
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _own_memory(process: psutil.Process) -> int:
    """Return its memory in bytes, with its share of what it has in common with others."""
    found = process.memory_full_info()
    return getattr(found, "pss", found.uss)


def end_marked(mark: str) -> None:
    """End the processes with the mark of a worker, which may have left the place below it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                process.kill()


class Workers:
    """Worker processes by their kind, so that two frameworks never share one; started on demand.

    Those of our backends have these variables in their environment.
    """

    def __init__(self, limits: Limits, variables: Mapping[str, str] = EMPTY):
        self.limits, self.variables = limits, variables
        self.folder = tempfile.TemporaryDirectory(prefix="backproof-", ignore_cleanup_errors=True)
        self.lock, self.stopped = Lock(), False
        self.idle: dict[str, list[Worker]] = {}
        self.all: set[Worker] = set()

    def call(self, kind: str, function: Callable, *arguments) -> Any:
        """Return the result of a task in a worker of this kind.

        Raises:
            DiedError: if there is none; the worker is ended, and the next task has a new one.
        """
        own = self._take(kind)
        try:
            result = own.call(self.limits, function, *arguments)
        except BaseException:
            with self.lock:
                self.all.discard(own)
            own.stop()
            raise
        with self.lock:
            self.idle.setdefault(kind, []).append(own)
        return result

    def _take(self, kind: str) -> Worker:
        """Return an idle worker of this kind, or a new one."""
        with self.lock:
            if self.stopped:
                raise DiedError("interrupted", "it was not begun")
            if self.idle.get(kind):
                return self.idle[kind].pop()
            most = MOST_OF_OURS if kind == JUDGE else MOST_OF_A_BACKEND
            variables = self.variables if kind in BACKENDS else EMPTY
            own = Worker(Path(self.folder.name), most, variables)
            self.all.add(own)
            return own

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
        """Return the result of the task."""
        return function(*arguments)


def _how(code: int) -> str:
    """Say in words how a process ended, by its exit code."""
    if code >= 0:
        return f"with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", which is what the system does when memory runs out" if name == "SIGKILL" else ""
    return f"by {name}{hint}"


def place(output: str) -> str:
    """Say where a process was, by the stack in its output; empty without one.

    It is the innermost line of the stack that crashed, or else of the oldest thread.
    """
    stacks = STACK.findall(output)
    if not stacks:
        return ""
    crashed = (stack for stack in stacks if stack[0].startswith("Current"))
    _, file, line, function = next(crashed, stacks[-1])
    return f"; it was in {function}, {file.removeprefix(f'{Path.cwd()}{os.sep}')}:{line}"
