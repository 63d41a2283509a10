"""The order of work: units are run and judged some at a time, and each case is told at its end."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from backproof.backends.registry import label
from backproof.cases.console.terminal import wrapped
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.report.judging.outcome import Comparison, Result
from backproof.report.running.cache import Cache, code, judgement_key, key_of, run_key
from backproof.report.running.chapter import Chapter, DoneByDtype, Told, explain_case, tell_case
from backproof.report.running.isolation import JUDGE, DiedError
from backproof.report.running.job import Done, Unit
from backproof.report.running.order import PATIENCE, choose, cost, in_order_of_work
from backproof.report.running.plan import Plan
from backproof.report.running.settings import Settings, Started
from backproof.report.running.sites import Site
from backproof.report.running.stored import dump
from backproof.report.telling.case_page import case_page
from backproof.report.telling.places import saved_run
from backproof.report.telling.progress import Progress

# The verdicts that the same run would come to again.
KEPT = {"certified", "differs", "undecided", "out of range", "unsupported"}


@dataclass
class _Open:
    """A case of which some units are not done yet, or which is not told."""

    number: int
    case: Case
    units: list[Unit]
    done: dict[int, Done] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    since: float = 0.0

    @cached_property
    def cost(self) -> float:
        """What a unit of it was thought to cost."""
        return cost(self.case)

    def done_by_dtype(self) -> DoneByDtype:
        """Return what is done, in the order of the units."""
        found: DoneByDtype = {}
        for position, done in sorted(self.done.items()):
            found.setdefault(self.units[position].dtype, []).append(done)
        return found

    def chapter(self, told: Told) -> Chapter:
        """Return the chapter with what came of it at each dtype."""
        comparisons = [
            Comparison(self.case, materialise(self.case, dtype), found, told.pairs.get(dtype, []))
            for dtype, found in told.results.items()
        ]
        return Chapter(comparisons, told)


@dataclass
class _Task(Started):
    """What is pending, and what is done when it is not any more."""

    finish: Callable[[Future], _Open] = field(kw_only=True)


class Work:
    """The units of all cases, done some at a time; a case is told as soon as its units are done.

    Attributes:
        cases: those that have units, in the order of the report.
        told: the chapters, by the number of their case.
        settings: of the backends.
    """

    def __init__(
        self,
        plan: Plan,
        cases: list[Case],
        site: Site,
        cache: Cache | None,
        progress: Progress | None = None,
    ):
        self.plan, self.site, self.cache = plan, site, cache
        self.progress = progress or Progress(0)
        opened = (_Open(number, case, [*plan.units(case)]) for number, case in enumerate(cases))
        self.cases = [one for one in opened if one.units]
        self.told: dict[int, Chapter] = {}
        self.pending: dict[Future, _Task] = {}
        self.workers: Counter[str] = Counter()  # how many of a kind were at work at a time
        self.settings = Settings(plan.backends, site, cache)

    def do(self) -> None:
        """Do it all."""
        order = in_order_of_work(self.cases)
        waiting = [(one, position) for one in order for position in range(len(one.units))]
        patient = True
        while waiting or self.pending:
            while (at := self._choose(waiting, patient)) is not None:
                self._next(self._begin(*waiting.pop(at)))
                patient = True
            futures = {*self.pending, *self.settings.unanswered()}
            done, _ = wait(futures, PATIENCE if waiting else None, FIRST_COMPLETED)
            patient = bool(done)
            for future in done & self.pending.keys():
                self._next(self.pending.pop(future).finish(future))
        wait(self.settings.unanswered())

    def running(self) -> list[tuple[tuple[str, ...], float]]:
        """Return what is at work now, by what it is called, and for how many seconds."""
        now = time.monotonic()
        tasks = [*self.settings.tasks.items(), *self.pending.copy().items()]
        at_work = [task for future, task in tasks if future.running()]
        for task in at_work:
            task.since = task.since or now
        return [(task.name, now - task.since) for task in at_work]

    def done(self) -> tuple[int, int]:
        """Return how many units are done, and how many there are."""
        return sum(len(one.done) for one in self.cases), sum(len(one.units) for one in self.cases)

    def share(self) -> float:
        """Return the share of the work that is done, by what it was thought to cost."""
        total = sum(one.cost * len(one.units) for one in self.cases)
        return sum(one.cost * len(one.done) for one in self.cases) / total

    # ------------------------------------------------------------ units

    def _choose(self, waiting: list[tuple[_Open, int]], patient: bool) -> int | None:  # noqa: FBT001
        """Return which of the waiting units is begun now; None if none is."""
        starting = self.settings.starting()
        if JUDGE in starting or len(self.pending) + len(starting) >= self.site.ahead:
            return None
        units = [(one.units[position], one.cost) for one, position in waiting]
        wanted = [(JUDGE if unit.file else unit.backend, cost) for unit, cost in units]
        busy = Counter(task.kind for task in self.pending.values())
        idle = {kind for kind, _ in wanted if busy[kind] < max(self.workers[kind], 1)}
        return choose(wanted, idle - starting, starting, patient)

    def _submit(self, task: _Task, future: Future) -> None:
        """Note what is pending."""
        self.pending[future] = task
        busy = sum(other.kind == task.kind for other in self.pending.values())
        self.workers[task.kind] = max(self.workers[task.kind], busy)

    def _begin(self, one: _Open, position: int) -> _Open:
        """Begin a unit, unless it need not be done again or can't be."""
        one.since = one.since or time.monotonic()
        unit = one.units[position]
        found = self._found(one, position)
        if isinstance(found, Done):
            return self._done(one, position, found, kept=True)
        kind = JUDGE if found.file else unit.backend
        task = _Task(unit.name, kind, finish=partial(self._finish, one, position))
        self._submit(task, self.site.unit(found))
        return one

    def _found(self, one: _Open, position: int) -> Done | Unit:
        """Return what came of a unit before, or what is left to be done of it."""
        unit = one.units[position]
        if unit.file and not unit.file.is_file():
            return Done(Result(label(unit.backend), "missing", f"there is no run {unit.file}"))
        if unit.file or not self.cache:
            return unit
        problem = materialise(unit.case, unit.dtype)
        run = run_key(problem, unit.backend)
        if run is None:
            return unit
        kept = self.cache.run(run)
        file, digest = kept or (None, "")
        key = judgement_key(run, digest, problem)
        result = self.cache.get(key, Result)
        if result and (file or result.judgement is None):
            one.keys[position] = key
            return Done(result, file)
        one.keys[position] = run
        return unit._replace(file=file)

    def _finish(self, one: _Open, position: int, future: Future[Done]) -> _Open:
        """Keep what came of a unit."""
        unit = one.units[position]
        try:
            done = future.result()
        except Exception as error:  # noqa: BLE001, a cluster may lose a unit in many ways
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            done = Done(Result(label(unit.backend), "error", why))
        run = one.keys.pop(position, None)
        if run and done.result.verdict in KEPT:
            file, digest = self.cache.keep_run(run, done.file) if done.file else (None, "")
            done = done._replace(file=file)
            key = judgement_key(run, digest, materialise(one.case, unit.dtype))
            self.cache.put(key, done.result)
            one.keys[position] = key
        return self._done(one, position, done)

    def _done(self, one: _Open, position: int, done: Done, *, kept: bool = False) -> _Open:
        """Note what came of a unit."""
        one.done[position] = done
        self.progress.unit(one.units[position].name, done.result, kept=kept)
        return one

    # ------------------------------------------------------------ telling

    def _next(self, one: _Open) -> None:
        """Begin to tell a case whose units are done, and show one that is told."""
        if one.number not in self.told and len(one.done) == len(one.units):
            self._tell(one)
        if one.number in self.told:
            seconds = time.monotonic() - one.since
            self.progress.case(self.told[one.number].comparisons, seconds)

    def _tell(self, one: _Open) -> None:
        """Tell a case: at once, if it has been told before."""
        key = None
        if len(one.keys) == len(one.units):
            keys = [one.keys[position] for position in range(len(one.units))]
            parts = code("backproof.report.running.chapter")
            key = key_of(self.plan.exact, self.plan.names, dump(one.case), keys, *parts)
            told = self.cache.get(key, Told)
            if told and {*told.results} == {unit.dtype for unit in one.units}:
                self.told[one.number] = one.chapter(told)
                return
        what = self.plan.exact, self.plan.names, one.case, one.done_by_dtype()
        future = self.site.call(JUDGE, tell_case, *what)
        self._submit(
            _Task((one.case.name, "compared"), JUDGE, finish=partial(self._told, one, key)), future
        )

    def _told(self, one: _Open, key: str | None, future: Future[Told]) -> _Open:
        """Keep how a case was told."""
        try:
            told = future.result()
            if key:
                self.cache.put(key, told)
            self.told[one.number] = one.chapter(told)
        except DiedError as death:
            self.told[one.number] = _untold(one, death)
        return one

    def unfinished(self) -> list[Chapter]:
        """Return the chapters of cases that are not told, with the verdicts that there are."""
        return [_untold(one) for one in self.cases if one.done and one.number not in self.told]

    def described(self) -> list[dict[str, str]]:
        """Return what each backend says of itself, if it has, and which runs were given."""
        runs = ((run.name, f"the run in {run.file}") for run in self.plan.runs)
        given = [{"backend": name, "packages": what} for name, what in runs]
        return [*self.settings.told(), *given]

    def explained(self, step: int | None) -> Iterator[str]:
        """Yield one step of the runs of each case, for the terminal."""
        for one in self.cases:
            told = self.site.call(JUDGE, explain_case, step, one.case, one.done_by_dtype())
            try:
                yield told.result()
            except DiedError as death:
                yield wrapped(f"{one.case.name} can't be explained: {death.message}")

    def save_runs(self, output: Path) -> None:
        """Leave the runs beside the report, where `--from-runs` looks for them."""
        for one in self.cases:
            for position, done in one.done.items():
                unit = one.units[position]
                saved = saved_run(output, one.case, unit.dtype, unit.backend)
                if done.file is None:
                    saved.unlink(missing_ok=True)
                elif done.file != saved:
                    saved.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(done.file, saved)


def _untold(one: _Open, death: DiedError | None = None) -> Chapter:
    """Return the chapter of a case that is not told: what is done of it.

    Where it could not be told, `death` says why, and takes the place of every run's certificate.
    """

    def result(done: Done) -> Result:
        if not (death and done.file) or done.result.verdict != "certified":
            return done.result
        why = f"judged, but not compared with the others: {death.message}"
        return Result(done.result.backend, death.verdict, why, output=death.output)

    results = {dtype: [*map(result, done)] for dtype, done in one.done_by_dtype().items()}
    comparisons, told = one.chapter(Told(results, {}, ""))
    return Chapter(comparisons, told._replace(page=case_page(comparisons, [])))
