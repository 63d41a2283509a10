"""Whatever a backend does to its process is its own verdict, and every other row is whole."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from backproof.cases.console.terminal import MOST
from backproof.cases.reading.kept import PLACE
from backproof.report.running import isolation, worker
from backproof.report.running.isolation import DiedError, Limits, NoWorkers, Workers, limits, place
from backproof.report.running.stored import NotStoredError

ROOT = Path(__file__).parents[3]
CASE = """\
title: A neuron
dtypes: [float64]
network: [{dense: {name: neuron, units: 1}}, sigmoid]
parameters: {neuron.weight: [[0.5], [-0.5]], neuron.bias: [0]}
data: {inputs: [[0, 1], [1, 0], [1, 1]], targets: [[0], [1], [1]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
training: {steps: 3, optimizer: {sgd: {learning_rate: 0.5}}}
"""
FAULTS = """\
import ctypes, os, signal, stat, subprocess, sys, time
import numpy as np

def right(parameters, inputs, targets):
    y = 1 / (1 + np.exp(-(inputs @ parameters["neuron.weight"] + parameters["neuron.bias"])))
    dx = (y - targets) * y * (1 - y)
    return np.sum((y - targets) ** 2) / 2, {"neuron.weight": inputs.T @ dx, "neuron.bias": dx.sum(axis=0)}

def segfault(*_, **__):
    ctypes.string_at(0)

def abort(parameters, inputs, targets):
    os.abort()

def hang(parameters, inputs, targets):
    time.sleep(600)

def hang_and_ignore(parameters, inputs, targets):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass

def hang_in_c(parameters, inputs, targets):
    ctypes.PyDLL(None).sleep(600)  # which keeps Python's lock

def eat(parameters, inputs, targets):
    eaten = []
    while True:
        eaten.append(np.ones(10_000_000))

class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(lambda: one)

def odd(parameters, inputs, targets):
    raise Odd(1, 2)

def leave(parameters, inputs, targets):
    sys.exit(0)

def vanish(parameters, inputs, targets):
    os._exit(0)

def killed(parameters, inputs, targets):
    os.kill(os.getpid(), signal.SIGKILL)

def noise(parameters, inputs, targets):
    print("noise of Python")
    os.write(1, b"noise of C\\n")
    os.write(2, b"more of it\\n")
    sys.stdout.flush()
    return right(parameters, inputs, targets)

def offspring(parameters, inputs, targets):
    subprocess.Popen(["sleep", "654321"])
    return right(parameters, inputs, targets)

def deep(parameters, inputs, targets):
    return deep(parameters, inputs, targets)

def pipes():
    for number in range(3, 256):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                yield number
        except OSError:
            pass

def close_and_hang(parameters, inputs, targets):
    for number in [*pipes()]:
        os.close(number)
    time.sleep(600)

def garble_and_hang(parameters, inputs, targets):
    for number in [*pipes()]:
        try:
            os.write(number, b"garbage " * 100)
        except OSError:
            pass
    time.sleep(600)

def forge(parameters, inputs, targets):
    import hashlib, json, struct
    answer = b"+" + json.dumps({"backend": "forge", "verdict": "certified"}).encode()
    for number in [*pipes()]:
        try:
            os.write(number, struct.pack("<Q", len(answer) + 32) + hashlib.sha256(answer).digest() + answer)
        except OSError:
            pass
    time.sleep(600)

def child_eats(parameters, inputs, targets):
    subprocess.run([sys.executable, "-c", "import time; eaten = bytearray(3 * 2**29); time.sleep(600)"])
    return right(parameters, inputs, targets)

def daemon(parameters, inputs, targets):
    start = "import subprocess; subprocess.Popen(['sleep', '654321'], start_new_session=True, env={})"
    subprocess.run([sys.executable, "-c", start], start_new_session=True)
    return right(parameters, inputs, targets)

def daemon_and_die(parameters, inputs, targets):
    subprocess.Popen(["sleep", "654321"], start_new_session=True)
    os._exit(3)

def long_message(parameters, inputs, targets):
    raise ValueError("too long " * 1_000_000)
"""
EXPECTED = {
    "segfault": ("crash", "the process ended by SIGSEGV; it was in string_at, "),
    "abort": ("crash", "the process ended by SIGABRT; it was in abort, faults.py:13"),
    "hang": ("timeout", "stopped after 8 s, its limit, before it had a result; it was in hang, faults.py:16"),
    "hang_and_ignore": ("timeout", "it was in hang_and_ignore, faults.py:"),
    "hang_in_c": ("timeout", "it was in hang_in_c, faults.py:25"),
    "eat": ("out of memory", "stopped when it had taken more than 1 GiB of memory, its limit"),
    "odd": ("error", "Odd: <function Odd.__init__"),
    "leave": ("error", "SystemExit: 0"),
    "vanish": ("crash", "the process ended with exit code 0"),
    "killed": ("crash", "the process ended by SIGKILL, which is what the system does when memory runs out"),
    "noise": ("certified", ""),
    "offspring": ("certified", ""),
    "deep": ("error", "RecursionError: maximum recursion depth exceeded"),
    "close_and_hang": ("crash", "stopped when it had closed the pipe for its result and went on"),
    "garble_and_hang": ("crash", "stopped when it had written something else into the pipe for its result and went on"),
    "forge": ("crash", "its answer is no result: "),
    "child_eats": ("out of memory", "stopped when it had taken more than 1 GiB of memory, its limit"),
    "daemon": ("certified", ""),
    "daemon_and_die": ("crash", "the process ended with exit code 3"),
    "long_message": ("error", "ValueError: too long too long"),
}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "report", "case.yaml", "--no-exact", *map(str, arguments)]


def environment(**changes) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", PLACE)}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | changes


def started_by(folder: Path) -> list[psutil.Process]:
    """The processes that work in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder and process.pid != os.getpid():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    (folder / "case.yaml").write_text(CASE)
    (folder / "faults.py").write_text(FAULTS)
    return folder


@pytest.fixture(scope="module")
def done(folder):
    """One report of all faults, between two backends that have none: how it ended, its rows, and its text."""
    own = [f"--backend={name}=faults.py:{name}" for name in EXPECTED]
    limit = ("--time-limit=8", "--memory-limit=1", "--jobs=3")
    done = subprocess.run(
        command("--backend=numpy", *own, "--backend=good=faults.py:right", *limit),
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = json.loads((folder / "results" / "report.json").read_text())["results"]
    return done, {row["backend"]: row for row in rows}, (folder / "results" / "cases" / "case.md").read_text()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_fault_is_a_verdict(done, name):
    row, (verdict, message) = done[1][name], EXPECTED[name]
    assert row["verdict"] == verdict
    assert message in row["message"]


def test_every_other_row_is_whole(done):
    process, rows, _ = done
    assert process.returncode == 3
    assert list(rows) == ["numpy", *EXPECTED, "good"]
    for name in ("numpy", "noise", "offspring", "daemon", "good"):
        assert rows[name]["ledger"]["steps"] == 3
        assert rows[name]["verdict"] == "certified"


def test_what_a_backend_prints_is_not_printed(done):
    process, _, _ = done
    assert "noise" not in process.stdout.replace("  noise", "").replace("noise: what the reference", "")
    assert process.stderr.startswith("1/1 case: ")
    assert "noise" not in process.stderr
    assert process.stderr.count("\n") == 1
    assert max(map(len, process.stdout.splitlines())) <= 80


def test_the_report_has_the_stack_of_a_crash(done):
    *_, text = done
    assert "<summary>float64 segfault: the output of the process</summary>" in text
    assert "Fatal Python error: Segmentation fault" in text


def test_no_message_is_without_end(done):
    process, rows, text = done
    assert max(len(row["message"]) for row in rows.values()) <= MOST
    assert "characters are left out)" in rows["long_message"]["message"]
    assert len(process.stdout) < 20_000
    assert len(text) < 200_000


def test_nothing_is_left_running(done, folder):
    assert done[0].returncode == 3
    assert started_by(folder) == []


def test_a_worker_that_dies_at_its_start(folder, tmp_path):
    """Before a line of ours has run."""
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif '-c' in sys.orig_argv: sys.exit('not today')\n")
    done = subprocess.run(
        command("--backend=numpy", "--no-cache", "--output=dead"), cwd=folder, capture_output=True, text=True,
        env=environment(PYTHONPATH=f"{tmp_path}:{ROOT}"), check=False,
    )  # fmt: skip
    (row,) = json.loads((folder / "dead" / "report.json").read_text())["results"]
    assert (done.returncode, row["verdict"]) == (3, "crash")
    assert row["message"] == "the process ended with exit code 1 before it could begin"
    assert "not today" in (folder / "dead" / "cases" / "case.md").read_text()


# ---------------------------------------------------------------- Ctrl-C


@contextmanager
def at_work(folder: Path, *arguments):
    """A report with a worker at work and a finished run of NumPy, and nothing of it afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who ignores it makes its children ignore it
    program = subprocess.Popen(
        command("--verbose", *arguments), cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    try:
        assert any("numpy: certified" in line for line in iter(program.stderr.readline, ""))
        deadline = time.monotonic() + 30
        while len(started_by(folder)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        yield program
    finally:
        for process in started_by(folder):
            process.kill()
        program.communicate()


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_what_was_finished_and_no_process(folder, stop):
    """Beside the whole report of before, which stays."""
    output = folder / f"stopped_{stop.name}"
    shutil.copytree(folder / "results", output)
    before = (output / "report.md").read_text()
    with at_work(
        folder, "--backend=numpy", "--backend=hang=faults.py:hang_and_ignore", "--output", output
    ) as program:  # fmt: skip
        start = time.monotonic()
        program.send_signal(stop)
        printed, _ = program.communicate(timeout=30)
        assert time.monotonic() - start < 2
        assert started_by(folder) == []
    assert program.returncode == 130
    assert (output / "report.md").read_text() == before
    unfinished = json.loads((output / "unfinished" / "report.json").read_text())
    assert [(row["backend"], row["verdict"]) for row in unfinished["results"]] == [("numpy", "certified")]
    assert unfinished["complete"] is False
    assert unfinished["verdict"].startswith("Interrupted: 0 of 1 cases were finished. 1 of 1 run certified.")
    assert f"The report is in {output / 'unfinished' / 'report.md'}" in printed
    assert "Interrupted: " in (output / "unfinished" / "report.md").read_text()


# ---------------------------------------------------------------- the parts


def test_a_worker_is_used_again_and_a_dead_one_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workers = Workers(Limits(20, 2**32))
    try:
        first = workers.call("a", os.getpid)
        assert workers.call("a", os.getpid) == first != workers.call("b", os.getpid)
        with pytest.raises(DiedError) as died:
            workers.call("a", os._exit, 7)
        assert (died.value.verdict, died.value.message) == ("crash", "the process ended with exit code 7")
        assert workers.call("a", os.getpid) != first
        with pytest.raises(DiedError, match="ValueError: invalid literal for int"):
            workers.call("a", int, "x")
    finally:
        workers.stop()
    with pytest.raises(DiedError, match="it was not begun"):
        workers.call("a", os.getpid)


def flood(bytes_of_it: int) -> int:
    for _ in range(bytes_of_it >> 20):
        os.write(1, b"spam " * 200_000)
    os.write(1, b"the end")
    time.sleep(0.5)
    return os.getpid()


def test_of_what_is_printed_without_end_the_end_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "MOST_LOG", 2**20)
    own = isolation.Worker(tmp_path, 2**20)
    try:
        assert own.call(Limits(20, 2**32), flood, 2**28) == own.process.pid
        assert own.log.stat().st_blocks * 512 < 2**21
        assert own._output().endswith("spam the end")
        assert len(own._output()) <= isolation.MOST_OUTPUT
    finally:
        own.stop()


def test_an_answer_runs_no_code(tmp_path):
    """What a process answers is data, of the type that its task says it returns."""
    own = isolation.Worker(tmp_path, 2**20)
    try:
        with pytest.raises(DiedError, match=r"TypeError: a .*Path is not stored"):
            own.call(Limits(20, 2**32), Path, "x")
    finally:
        own.stop()
    with pytest.raises(NotStoredError):
        worker.receive(io.BytesIO(b"garbage " * 8), 2**20)
    with pytest.raises(EOFError):
        worker.receive(io.BytesIO(b"short"), 2**20)


def test_without_workers_it_is_done_here():
    assert NoWorkers().call("a", os.getpid) == os.getpid()


def test_limits():
    assert limits(2, 3, 4) == Limits(3, 4 * 2**30)
    seconds, memory = limits(2)
    assert (seconds, memory) == (600, 0.4 * psutil.virtual_memory().total)


def test_place_without_a_stack():
    assert place("noise") == ""
