"""Where units are done: in worker processes, in this process, or in those of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from backproof.report.judging.outcome import Result
from backproof.report.running.cache import sources
from backproof.report.running.isolation import EMPTY, Limits, NoWorkers, Workers
from backproof.report.running.job import Done, Unit, do, new_file

PROCESSES, INLINE, DASK = "processes", "inline", "dask://"
PATIENCE = 5  # seconds until a scheduler must have answered
JOB = "backproof.report.running.job"


class UnreachableError(Exception):
    """There is no such cluster, or it can't do our work; the message says what to do."""


class Site:
    """Where the work is done.

    Attributes:
        workers: what keeps tasks in processes of their own.
        here: takes calls of `workers`, as many at a time as there are jobs.
        folder: for the runs of finished units.
        jobs: how many units are done at a time.
        ahead: how many are handed over at a time.
    """

    def __init__(self, workers: Workers | NoWorkers, here: Executor, folder: Path, jobs: int):
        self.workers, self.here, self.folder, self.jobs = workers, here, folder, jobs
        self.ahead = jobs

    def unit(self, unit: Unit) -> Future[Done]:
        """Run and judge a unit."""
        return self.here.submit(do, self.workers, unit, self.folder)

    def call(self, kind: str, function: Callable, *arguments) -> Future[Any]:
        """Do something else, in a worker of this kind."""
        return self.here.submit(self.workers.call, kind, function, *arguments)


class Cluster(Site):
    """Units without a file are done by a Dask cluster; everything else is done here."""

    def __init__(self, site: Site, there: Executor, jobs: int, limits: Limits):
        super().__init__(site.workers, site.here, site.folder, jobs)
        self.there, self.limits, self.ahead = there, limits, 2 * jobs

    def unit(self, unit: Unit) -> Future[Done]:
        """Run and judge a unit there, and take its run over."""
        if unit.file:
            return super().unit(unit)
        ours: Future[Done] = Future()
        ours.set_running_or_notify_cancel()
        theirs = self.there.submit(do_there, unit, self.limits, sources(JOB))
        theirs.add_done_callback(lambda _: self._take_over(theirs, ours))
        return ours

    def _take_over(self, theirs: Future, ours: Future[Done]) -> None:
        """Finish our future with the result of theirs, and keep the run in a file of the folder."""
        try:
            result, content = theirs.result()
            file = None if content is None else new_file(self.folder)
            if file:
                file.write_bytes(content)
            ours.set_result(Done(result, file))
        except BaseException as error:  # noqa: BLE001, whoever waits for ours is told
            ours.set_exception(error)


@contextmanager
def site(
    kind: str, jobs: int, limits: Limits, folder: Path, variables: Mapping[str, str] = EMPTY
) -> Iterator[Site]:
    """Yield the place of this kind, `processes`, `inline` or `dask://host:port`.

    Whatever happens, nothing is left running. Our backends have the variables in their
    environment, unless a cluster runs them.

    Raises:
        UnreachableError: if there is no such cluster.
    """
    if kind == INLINE:
        yield Site(NoWorkers(), Immediately(), folder, 1)
        return
    workers, here = Workers(limits, variables), ThreadPoolExecutor(jobs)
    try:
        ours = Site(workers, here, folder, jobs)
        if kind == PROCESSES:
            yield ours
        else:
            with cluster(kind) as client:
                cores = sum(client.ncores().values())
                yield Cluster(ours, client.get_executor(pure=False), cores, limits)
    finally:
        workers.stop()
        here.shutdown(cancel_futures=True)


class Immediately(Executor):
    """Does everything at once, in the thread that asks, and raises what goes wrong."""

    def submit(self, function: Callable, /, *args, **kwargs) -> Future:
        """Call the function, and return a future that is done."""
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


# ---------------------------------------------------------------- Dask


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Yield the client of a Dask cluster at `dask://host:port`.

    Raises:
        UnreachableError: if there is none, or it has no worker.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        what = "a Dask cluster needs the package distributed: pip install distributed"
        raise UnreachableError(what) from None
    where = address.removeprefix(DASK)
    try:
        client = Client(where, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UnreachableError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        if not client.ncores():
            what = f"the cluster at {address} has no worker; start one: dask worker {where}"
            raise UnreachableError(what)
        yield client


def do_there(unit: Unit, limits: Limits, expected: str) -> tuple[Result, bytes | None]:
    """Run and judge a unit on a machine of the cluster.

    Returns:
        The result, and the content of the file of the run, if there is one.
    """
    if sources(JOB) != expected:
        why = "the worker of the cluster runs other sources than these; start it in this checkout"
        return Result(unit.backend, "error", why), None
    workers = _workers_there(limits)
    result, file = do(workers, unit, Path(workers.folder.name))
    if file is None:
        return result, None
    content = file.read_bytes()
    file.unlink()
    return result, content


@cache
def _workers_there(limits: Limits) -> Workers:
    """Start the processes of this worker of the cluster, which end with it."""
    return Workers(limits)
