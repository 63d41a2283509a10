"""The order of work: run a case, judge it, draw it, write its section, let its trajectories go."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from backproof.backends.registry import BACKENDS, describe, label
from backproof.backends.trajectory_files import Header, load_run
from backproof.cases.console.terminal import cut
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.cases.reading.load import Mistake
from backproof.reference.exact_run import BITS, ExactRun, exact_run
from backproof.report.judging.outcome import Comparison, Pair, Result, pairs_of
from backproof.report.running.cache import (
    Cache,
    judgement_key,
    key_of,
    machine,
    packages,
    run_key,
    sources,
)
from backproof.report.running.isolation import JUDGE, DiedError
from backproof.report.running.job import Done, Unit
from backproof.report.running.saved_runs import Saved
from backproof.report.running.sites import Site
from backproof.report.running.stored import dump
from backproof.report.telling.case_section import case_section, figure_name, shown_steps
from backproof.report.telling.depth import LayerGradient, gradients_by_layer
from backproof.report.telling.escape import left_out
from backproof.report.telling.overview import DEEP, whole_report
from backproof.report.telling.places import saved_run

SECONDS_FOR_EXACT_RUN = 10.0
KEPT = (
    "certified",
    "differs",
    "undecided",
    "out of range",
    "unsupported",
)  # what the same run would come to again
DEPTH_FIGURE = "figures/_gradients_by_layer.svg"


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
    runs: tuple[tuple[str, Header, Path], ...] = ()
    saved: Saved | None = None

    def units(self, case: Case) -> Iterator[Unit]:
        """Yield the units of a case, in the order of the report."""
        for dtype in (dtype for dtype in case.dtypes if dtype in self.dtypes):
            for name in self.backends:
                yield Unit(case, dtype, name, self.saved and self.saved.of(case, dtype, name))
            for name, header, file in self.runs:
                if (header.case, header.dtype) == (case.name, dtype):
                    yield Unit(case, dtype, name, file)


class Chapter(NamedTuple):
    """What is left of a case once it is told; its verdicts are without trajectories."""

    comparisons: list[Comparison]
    section: str
    layers: list[LayerGradient]
    figure: bytes | None = None


class Told(NamedTuple):
    """What telling a case leaves, as data: results and pairs by dtype, and the rest."""

    results: dict[str, list[Result]]
    pairs: dict[str, list[Pair]]
    section: str
    layers: list[LayerGradient]
    figure: bytes | None = None


# ---------------------------------------------------------------- all cases


@dataclass
class _Open:
    """A case of which some units are not done yet, or which is not told."""

    number: int
    case: Case
    units: list[Unit]
    done: dict[int, Done] = field(default_factory=dict)
    keys: dict[int, str | None] = field(default_factory=dict)

    def comparisons(
        self, results: dict[str, list[Result]], pairs: dict[str, list[Pair]]
    ) -> list[Comparison]:
        """Return what came of it at each dtype."""
        return [
            Comparison(self.case, materialise(self.case, dtype), found, pairs.get(dtype, []))
            for dtype, found in results.items()
        ]


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
        pending: dict[Future, Any] = {}
        while waiting or pending:
            while waiting and len(pending) < 2 * self.site.jobs:
                one, position = waiting.popleft()
                if future := self._begin(one, position):
                    pending[future] = partial(self._finish, one, position)
                if chapter := self._next(one, pending):
                    yield chapter
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                one = pending.pop(future)(future)
                if one.number in self.told:
                    yield self.told[one.number]
                elif chapter := self._next(one, pending):
                    yield chapter

    # ------------------------------------------------------------ units

    def _begin(self, one: _Open, position: int) -> Future | None:
        """Begin a unit, unless it need not be done again or can't be."""
        unit = one.units[position]
        if unit.file is None and self.cache:
            problem = materialise(unit.case, unit.dtype)
            run = run_key(problem, unit.backend)
            kept = run and self.cache.run(run)
            key = run and judgement_key(run, kept.digest if kept else "", problem)
            result = key and self.cache.get(key, Result)
            if result and (kept or result.judgement is None):
                one.keys[position], one.done[position] = key, Done(result, kept and kept.file)
                return None
            one.keys[position] = run
            unit = unit._replace(file=kept.file if kept else None)
        elif unit.file and not unit.file.is_file():
            missing = Result(label(unit.backend), "missing", f"there is no run {unit.file}")
            one.done[position] = Done(missing)
            return None
        return self.site.unit(unit)

    def _finish(self, one: _Open, position: int, future: Future[Done]) -> _Open:
        """Keep what came of a unit."""
        try:
            done = future.result()
        except Exception as error:  # noqa: BLE001, a cluster may lose a unit in many ways
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            done = Done(Result(label(one.units[position].backend), "error", why))
        run = one.keys.get(position)
        if run and done.result.verdict in KEPT:
            kept = done.file and self.cache.keep_run(run, done.file)
            done = done._replace(file=kept and kept.file)
            key = judgement_key(
                run, kept.digest if kept else "", materialise(one.case, one.units[position].dtype)
            )
            self.cache.put(key, done.result)
            one.keys[position] = key
        else:
            one.keys[position] = None
        one.done[position] = done
        return one

    # ------------------------------------------------------------ telling

    def _next(self, one: _Open, pending: dict) -> Chapter | None:
        """Yield the chapter of a case that is told; begin to tell one whose units are done."""
        if len(one.done) < len(one.units):
            return None
        keys = [one.keys.get(position) for position in range(len(one.units))]
        story = "backproof.report.running.campaign"
        parts = self.plan.exact, dump(one.case), keys, sources(story), packages(story), machine()
        key = key_of(*parts) if all(keys) else None
        told = key and self.cache.get(key, Told)
        if told and {*told.results} == {unit.dtype for unit in one.units}:
            self.told[one.number] = _chapter(one, told)
            return self.told[one.number]
        done: dict[str, list[Done]] = {}
        for position, unit in enumerate(one.units):
            done.setdefault(unit.dtype, []).append(one.done[position])
        future = self.site.call(JUDGE, tell_case, self.plan.exact, one.case, done)
        pending[future] = partial(self._told, one, done, key)
        return None

    def _told(
        self, one: _Open, done: dict[str, list[Done]], key: str | None, future: Future[Told]
    ) -> _Open:
        """Keep how a case was told."""
        try:
            told = future.result()
            if key:
                self.cache.put(key, told)
            self.told[one.number] = _chapter(one, told)
        except DiedError as death:
            self.told[one.number] = _untold(one, done, death)
        return one

    def unfinished(self) -> list[Chapter]:
        """Return the chapters of cases that are not told, with the verdicts that there are."""
        return [
            _verdicts_alone(one) for one in self.cases if one.done and one.number not in self.told
        ]

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
    keys = {
        name: key_of("settings", name, *_settings(BACKENDS[name]))
        if cache and name in BACKENDS
        else None
        for name in plan.backends
    }
    rows = {name: cache.get(key, dict[str, str]) for name, key in keys.items() if key}
    asked = {name: site.call(name, describe, name) for name in plan.backends if not rows.get(name)}
    for name, future in asked.items():
        try:
            rows[name] = future.result()
            if keys[name]:
                cache.put(keys[name], rows[name])
        except DiedError as death:
            rows[name] = {"backend": label(name), "packages": death.message}
    given = [{"backend": name, "packages": f"the run in {file}"} for name, _, file in plan.runs]
    return [*(rows[name] | {"backend": label(name)} for name in plan.backends), *given]


def _settings(module: str) -> tuple[str, ...]:
    """What the settings of a backend depend on."""
    return sources(module), packages(module), machine()


# ---------------------------------------------------------------- one case


def _chapter(one: _Open, told: Told) -> Chapter:
    """Return the chapter of a case that was told."""
    return Chapter(
        one.comparisons(told.results, told.pairs), told.section, told.layers, told.figure
    )


def tell_case(exact: bool, case: Case, done: dict[str, list[Done]]) -> Told:  # noqa: FBT001
    """Compare what the backends left of a case, draw it, and write its section."""
    comparisons: list[Comparison] = []
    for dtype, units in done.items():
        bits = max((other.exact.bits for other in comparisons if other.exact), default=BITS)
        comparisons.append(_compare(case, dtype, units, bits if exact else None))
    notes: list[str] = []
    layers = _unless_it_fails("the gradient size by layer", notes, _layers, comparisons[0]) or []
    figure = None
    if figure_name(comparisons[0]) and any(comparison.whole for comparison in comparisons):
        figure = _unless_it_fails("the figure", notes, _figure, comparisons)
    section = case_section(comparisons, layers, figure=figure is not None, notes=notes)
    results = {
        one.dtype: [replace(result, trajectory=None) for result in one.results]
        for one in comparisons
    }
    return Told(results, {one.dtype: one.pairs for one in comparisons}, section, layers, figure)


def _figure(comparisons: list[Comparison]) -> bytes:
    from backproof.report.telling.figures import draw_run

    return draw_run(comparisons)


def _unless_it_fails(what: str, notes: list[str], make: Callable, *arguments) -> Any:
    """Return what `make` returns; where it fails, None, and add a line on that to the notes."""
    try:
        return make(*arguments)
    except Exception as error:  # noqa: BLE001, whatever it is, everything else is told
        notes.append(left_out(what, error))
        return None


def _compare(case: Case, dtype: str, done: list[Done], bits: int | None) -> Comparison:
    """Compare the runs of a case at one dtype; `bits` are those of the exact run, if it is made."""
    comparison = Comparison(case, materialise(case, dtype))
    comparison.results = [
        replace(
            unit.result,
            trajectory=unit.result.judgement and load_run(unit.file, comparison.problem),
        )
        for unit in done
    ]
    comparison.pairs = list(pairs_of(comparison))
    comparison.exact, comparison.no_exact = _exact(comparison, bits)
    return comparison


def _exact(comparison: Comparison, bits: int | None) -> tuple[ExactRun | None, str]:
    """Return the exact run, or None and why there is none."""
    if bits is None:
        return None, "it was not asked for (--no-exact)"
    if all(result.verdict != "certified" for result in comparison.results):
        return None, "no run is certified"
    try:
        exact = exact_run(
            comparison.problem, {*shown_steps(comparison)}, SECONDS_FOR_EXACT_RUN, bits
        )
    except Exception as error:  # noqa: BLE001, telling never changes a verdict
        return None, cut(f"it failed: {type(error).__name__}: {error}", 400)
    return exact, "" if exact else "it takes too long here"


def _untold(one: _Open, done: dict[str, list[Done]], death: DiedError) -> Chapter:
    """Return the chapter of a case that is not told: what is done of it.

    Where it could not be told, `death` says why, and takes the place of every verdict on a run.
    """
    why = f"judged, but not compared with the others: {death.message}"
    results = {
        dtype: [
            Result(unit.result.backend, death.verdict, why, output=death.output)
            if unit.file
            else unit.result
            for unit in units
        ]
        for dtype, units in done.items()
    }
    return _of_results(one, results)


def _verdicts_alone(one: _Open) -> Chapter:
    results: dict[str, list[Result]] = {}
    for position, done in sorted(one.done.items()):
        results.setdefault(one.units[position].dtype, []).append(done.result)
    return _of_results(one, results)


def _of_results(one: _Open, results: dict[str, list[Result]]) -> Chapter:
    comparisons = one.comparisons(results, {})
    return Chapter(comparisons, case_section(comparisons, []), [])


def _layers(comparison: Comparison) -> list[LayerGradient]:
    """Return the gradients by layer of a certified run.

    There are none where the last layer has no gradient to compare with.
    """
    certified = [result.trajectory for result in comparison.whole if result.verdict == "certified"]
    runs = [run for run in certified if run.has_layers]
    layers = gradients_by_layer(comparison.problem, runs[0]) if runs else []
    return layers if layers and layers[-1].cotangent else []


# ---------------------------------------------------------------- the whole


def story(
    chapters: list[Chapter],
    mistakes: list[Mistake],
    environment: dict[str, str],
    unfinished: str = "",
) -> dict[str, bytes]:
    """Return the files of the report but for the JSON, by name.

    Args:
        chapters: of the cases.
        mistakes: why files are no cases.
        environment: the machine and the packages.
        unfinished: what is missing in the report; empty if nothing is.
    """
    comparisons = [comparison for chapter in chapters for comparison in chapter.comparisons]
    depth = {
        chapter.comparisons[0].case.name: chapter.layers
        for chapter in chapters
        if len(chapter.layers) > 1
    }
    files = {
        figure_name(chapter.comparisons[0]): chapter.figure
        for chapter in chapters
        if chapter.figure
    }
    notes: list[str] = []
    deep = {name: layers for name, layers in depth.items() if len(layers) >= DEEP}
    if deep and (picture := _unless_it_fails("the figure", notes, _depth_figure, deep)):
        files[DEPTH_FIGURE] = picture
        notes = [f"![]({DEPTH_FIGURE})"]
    sections = [chapter.section for chapter in chapters]
    report = whole_report(comparisons, sections, mistakes, depth, environment, unfinished, *notes)
    return files | {"report.md": report.encode()}


def _depth_figure(networks: dict[str, list[LayerGradient]]) -> bytes:
    from backproof.report.telling.figures import draw_depth

    return draw_depth(networks)
