"""The units of a report on a real cluster of two workers, one of which is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from backproof.cases.reading.kept import PLACE

ROOT = Path(__file__).parents[3]
CASE = """\
title: A neuron
dtypes: [float64, float32]
network: [{dense: {name: neuron, units: 1}}, sigmoid]
parameters: {neuron.weight: [[0.5], [-0.5]], neuron.bias: [0]}
data: {inputs: [[0, 1], [1, 0], [1, 1]], targets: [[0], [1], [1]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
training: {steps: 3, optimizer: {sgd: {learning_rate: %s}}}
"""
SLOW = """\
import os, time
from backproof.backends import numpy_reference

def run(problem):
    with open("begun", "a") as file:
        file.write(f"{problem.name} {problem.dtype}\\n")
    time.sleep(0.5)
    return numpy_reference.run(problem)

def crash(problem):
    os.abort()
"""
CASES = 3


def environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", PLACE)}
    return kept | {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h"}


@contextmanager
def program(*arguments, **options):
    """A program that is ended with everything that it started."""
    process = subprocess.Popen(arguments, env=environment(), start_new_session=True, **options)
    try:
        yield process
    finally:
        for child in _family(process):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()


def _family(process: subprocess.Popen) -> list:
    with suppress(psutil.NoSuchProcess):
        return [*psutil.Process(process.pid).children(recursive=True), process]
    return [process]


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    for number in range(CASES):
        (folder / f"case{number}.yaml").write_text(CASE % (0.1 + number))
    (folder / "slow.py").write_text(SLOW)
    return folder


@pytest.fixture(scope="module")
def scheduler(folder):
    """The address of a scheduler with two workers, one of which the last test kills."""
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = (sys.executable, "-m", "dask")
    file = folder / "scheduler.json"
    one = ("worker", "--scheduler-file", file, "--nthreads", "1", "--no-dashboard")
    with (
        program(*dask, "scheduler", "--port", "0", "--scheduler-file", file, "--no-dashboard", **quiet),
        program(*dask, *one, **quiet) as first,
        program(*dask, *one, **quiet),
    ):
        address = json.loads(until(lambda: file.exists() and file.read_text()))["address"]
        _wait_for_workers(address)
        yield address.removeprefix("tcp://"), first


def _wait_for_workers(address: str) -> None:
    wait = f"from distributed import Client; c = Client({address!r}); c.wait_for_workers(2, 60); c.close()"
    subprocess.run([sys.executable, "-c", wait], env=environment(), check=True, capture_output=True)


def command(address: str, *arguments: str) -> list[str]:
    cluster = f"--executor=dask://{address}"
    return [sys.executable, "-m", "report", ".", "--no-exact", cluster, *arguments]


def test_a_campaign_is_done_by_the_cluster(scheduler, folder):
    address, _ = scheduler
    campaign = [sys.executable, "-m", "tests.trial.fuzz", "2", "--examples=1", f"--executor=dask://{address}"]
    done = subprocess.run(campaign, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "random scenarios certified on each of numpy, torch, jax" in done.stdout
    assert "0 false alarms" in done.stdout


IMPATIENT = (
    "from backproof.report.running import sites; sites.PATIENCE = 1; "
    "from backproof.report.__main__ import main; exit(main())"
)


def test_no_cluster(folder):
    program, arguments = [sys.executable, "-c", IMPATIENT], command("localhost:1", "--backend=numpy")[3:]
    done = subprocess.run(
        [*program, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no Dask scheduler answers at dask://localhost:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_of_the_cluster_that_is_killed_loses_nothing(scheduler, folder):
    address, first = scheduler
    own = ("--backend=numpy", "--backend=slow=slow.py:run", "--backend=bad=slow.py:crash")
    with program(*command(address, *own), cwd=folder, stdout=subprocess.PIPE, text=True) as report:
        begun = folder / "begun"
        until(lambda: begun.exists() and len(begun.read_text().splitlines()) >= 2)
        for process in [*psutil.Process(first.pid).children(recursive=True), first]:
            process.send_signal(signal.SIGKILL)
        assert report.communicate(timeout=120)[0].count("certified") >= CASES
    rows = json.loads((folder / "results" / "report.json").read_text())["results"]
    units = [(row["case"], row["dtype"], row["backend"]) for row in rows]
    assert len(units) == len({*units}) == CASES * 2 * 3
    for row in rows:
        if row["backend"] == "bad":
            assert (row["verdict"], row["message"][:33]) == ("crash", "the process ended by SIGABRT; it ")
        else:
            assert (row["verdict"], row["ledger"]["steps"]) == ("certified", 3)
    assert len((folder / "begun").read_text().splitlines()) >= CASES * 2
