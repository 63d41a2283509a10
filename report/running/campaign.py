"""The order of work: run a case, judge it, tell it, let its trajectories go."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from backproof.backends.registry import BACKENDS, describe, label
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.report.judging.outcome import Comparison, Result
from backproof.report.running.cache import Cache, code, judgement_key, key_of, run_key
from backproof.report.running.chapter import Chapter, DoneByDtype, Told, explain_case, tell_case
from backproof.report.running.isolation import JUDGE, DiedError
from backproof.report.running.job import Done, Unit
from backproof.report.running.saved_runs import Given, Saved
from backproof.report.running.sites import Site
from backproof.report.running.stored import dump
from backproof.report.telling.case_page import case_page
from backproof.report.telling.places import saved_run

# The verdicts that the same run would come to again.
KEPT = {"certified", "differs", "undecided", "out of range", "unsupported"}


class Plan(NamedTuple):
    """What to do with every case.

    Attributes:
        dtypes: those of the case that are among these.
        backends: what to run.
        exact: make the exact runs in ball arithmetic too.
        runs: runs that somebody else made.
        saved: the runs of an earlier report, which are judged in place of new ones.
    """

    dtypes: tuple[str, ...]
    backends: tuple[str, ...]
    exact: bool = True
    runs: tuple[Given, ...] = ()
    saved: Saved | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What the backends and the runs are called."""
        return *map(label, self.backends), *dict.fromkeys(run.name for run in self.runs)

    def units(self, case: Case) -> Iterator[Unit]:
        """Yield the units of a case, in the order of the report."""
        for dtype in (dtype for dtype in case.dtypes if dtype in self.dtypes):
            for name in self.backends:
                file = self.saved.of(case, dtype, name) if self.saved else None
                yield Unit(case, dtype, name, file)
            for run in self.runs:
                if (run.header.case, run.header.dtype) == (case.name, dtype):
                    yield Unit(case, dtype, run.name, run.file)


# ---------------------------------------------------------------- all cases


@dataclass
class _Open:
    """A case of which some units are not done yet, or which is not told."""

    number: int
    case: Case
    units: list[Unit]
    done: dict[int, Done] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)

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


class Work:
    """The units of all cases, done some at a time; a case is told as soon as its units are done."""

    def __init__(self, plan: Plan, cases: list[Case], site: Site, cache: Cache | None):
        self.plan, self.site, self.cache = plan, site, cache
        opened = (_Open(number, case, [*plan.units(case)]) for number, case in enumerate(cases))
        self.cases = [one for one in opened if one.units]
        self.told: dict[int, Chapter] = {}

    def chapters(self) -> Iterator[Chapter]:
        """Yield the chapters as they are finished; `told` has them by the number of their case."""
        waiting = deque((one, position) for one in self.cases for position in range(len(one.units)))
        pending: dict[Future, Callable[[Future], _Open]] = {}
        while waiting or pending:
            while waiting and len(pending) < 2 * self.site.jobs:
                one, position = waiting.popleft()
                if future := self._begin(one, position):
                    pending[future] = partial(self._finish, one, position)
                yield from self._next(one, pending)
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                one = pending.pop(future)(future)
                yield from self._next(one, pending)

    # ------------------------------------------------------------ units

    def _begin(self, one: _Open, position: int) -> Future[Done] | None:
        """Begin a unit, unless it need not be done again or can't be."""
        unit = one.units[position]
        if unit.file and not unit.file.is_file():
            missing = Result(label(unit.backend), "missing", f"there is no run {unit.file}")
            one.done[position] = Done(missing)
            return None
        if unit.file or not self.cache:
            return self.site.unit(unit)
        problem = materialise(unit.case, unit.dtype)
        run = run_key(problem, unit.backend)
        if run is None:
            return self.site.unit(unit)
        kept = self.cache.run(run)
        file, digest = kept or (None, "")
        key = judgement_key(run, digest, problem)
        result = self.cache.get(key, Result)
        if result and (file or result.judgement is None):
            one.keys[position], one.done[position] = key, Done(result, file)
            return None
        one.keys[position] = run
        return self.site.unit(unit._replace(file=file))

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
        one.done[position] = done
        return one

    # ------------------------------------------------------------ telling

    def _next(self, one: _Open, pending: dict[Future, Callable]) -> Iterator[Chapter]:
        """Yield the chapter of a case that is told; begin to tell one whose units are done."""
        if one.number not in self.told and len(one.done) == len(one.units):
            self._tell(one, pending)
        if one.number in self.told:
            yield self.told[one.number]

    def _tell(self, one: _Open, pending: dict[Future, Callable]) -> None:
        """Tell a case: at once, if it has been told before."""
        key = None
        if len(one.keys) == len(one.units):
            keys = [one.keys[position] for position in range(len(one.units))]
            parts = code("backproof.report.running.campaign")
            key = key_of(self.plan.exact, self.plan.names, dump(one.case), keys, *parts)
            told = self.cache.get(key, Told)
            if told and {*told.results} == {unit.dtype for unit in one.units}:
                self.told[one.number] = one.chapter(told)
                return
        told = self.plan.exact, self.plan.names, one.case, one.done_by_dtype()
        future = self.site.call(JUDGE, tell_case, *told)
        pending[future] = partial(self._told, one, key)

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

    def explained(self, step: int | None) -> Iterator[str]:
        """Yield one step of the runs of each case, for the terminal."""
        for one in self.cases:
            yield self.site.call(JUDGE, explain_case, step, one.case, one.done_by_dtype()).result()

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


def descriptions(plan: Plan, site: Site, cache: Cache | None) -> list[dict[str, str]]:
    """Return what each backend says of itself, in its own process; and which runs were given."""
    ours = [name for name in plan.backends if cache and name in BACKENDS]
    keys = {name: key_of("settings", name, *code(BACKENDS[name])) for name in ours}
    rows = {name: cache.get(key, dict[str, str]) for name, key in keys.items()}
    asked = {name: site.call(name, describe, name) for name in plan.backends if not rows.get(name)}
    for name, future in asked.items():
        try:
            rows[name] = future.result()
            if name in keys:
                cache.put(keys[name], rows[name])
        except DiedError as death:
            rows[name] = {"backend": label(name), "packages": death.message}
    given = [{"backend": run.name, "packages": f"the run in {run.file}"} for run in plan.runs]
    return [*(rows[name] | {"backend": label(name)} for name in plan.backends), *given]


# ---------------------------------------------------------------- one case


def _untold(one: _Open, death: DiedError | None = None) -> Chapter:
    """Return the chapter of a case that is not told: what is done of it.

    Where it could not be told, `death` says why, and takes the place of every verdict on a run.
    """

    def result(done: Done) -> Result:
        if not (death and done.file):
            return done.result
        why = f"judged, but not compared with the others: {death.message}"
        return Result(done.result.backend, death.verdict, why, output=death.output)

    results = {dtype: [*map(result, done)] for dtype, done in one.done_by_dtype().items()}
    comparisons, told = one.chapter(Told(results, {}, ""))
    return Chapter(comparisons, told._replace(page=case_page(comparisons, [])))
