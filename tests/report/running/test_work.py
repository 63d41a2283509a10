"""The work on all cases: what is at work, and what backends say of themselves meanwhile."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from backproof.cases.format.schema import CASES
from backproof.cases.reading.load import load
from backproof.report.running.isolation import JUDGE, DiedError, NoWorkers
from backproof.report.running.plan import Plan
from backproof.report.running.sites import Site
from backproof.report.running.work import Work


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as here:
        yield here


class Slow:
    """Workers that answer when they are let."""

    def __init__(self):
        self.let = Event()

    def call(self, kind: str, function, *arguments):
        assert self.let.wait(30)
        if kind == "jax":
            raise DiedError("missing", "there is no jax")
        return True if kind == JUDGE else function(*arguments)


def test_the_work_is_not_over_before_every_backend_has_told_its_settings(threads, tmp_path):
    slow = Slow()
    work = Work(Plan(("float64",), ("numpy", "jax")), [], Site(slow, threads, tmp_path, 2), None)
    assert work.described() == []
    while len(work.running()) < 2:
        time.sleep(0.01)
    assert {name for name, _ in work.running()} == {(JUDGE, "started"), ("numpy", "started")}
    slow.let.set()
    work.do()
    numpy, jax = work.described()
    assert "threads" in numpy
    assert jax == {"backend": "jax", "packages": "there is no jax"}


def test_all_is_done_and_counted(tmp_path):
    with ThreadPoolExecutor(1) as here:
        cases = [load(CASES / "neuron" / f"{name}.yaml") for name in ("slope", "slope_relu")]
        work = Work(
            Plan(("float64",), ("numpy",), exact=False), cases, Site(NoWorkers(), here, Path(tmp_path), 1), None
        )
        assert (work.done(), work.share()) == ((0, 2), 0)
        work.do()
    assert (work.done(), work.share()) == ((2, 2), 1)
    assert [*work.told] == [0, 1]
    assert work.running() == []
