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
from backproof.backends.trajectory_files import load_run
from backproof.cases.console.terminal import cut
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.cases.reading.load import Mistake
from backproof.reference.exact_run import BITS, ExactRun, exact_run
from backproof.report.judging.outcome import Comparison, Pair, Result, pairs_of
from backproof.report.running.cache import Cache, code, judgement_key, key_of, run_key
from backproof.report.running.isolation import JUDGE, DiedError
from backproof.report.running.job import Done, Unit
from backproof.report.running.saved_runs import Given, Saved
from backproof.report.running.sites import Site
from backproof.report.running.stored import dump
from backproof.report.telling.case_section import case_section, figure_name, shown_steps
from backproof.report.telling.curves import curves_of
from backproof.report.telling.depth import LayerGradient, gradients_by_layer
from backproof.report.telling.escape import left_out
from backproof.report.telling.overview import DEEP, whole_report
from backproof.report.telling.palette import Look, looks
from backproof.report.telling.places import saved_run

SECONDS_FOR_EXACT_RUN = 10.0
# The verdicts that the same run would come to again.
KEPT = {"certified", "differs", "undecided", "out of range", "unsupported"}
DEPTH_FIGURE = "figures/_gradients_by_layer.svg"

DoneByDtype = dict[str, list[Done]]


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

    def units(self, case: Case) -> Iterator[Unit]:
        """Yield the units of a case, in the order of the report."""
        for dtype in (dtype for dtype in case.dtypes if dtype in self.dtypes):
            for name in self.backends:
                file = self.saved.of(case, dtype, name) if self.saved else None
                yield Unit(case, dtype, name, file)
            for run in self.runs:
                if (run.header.case, run.header.dtype) == (case.name, dtype):
                    yield Unit(case, dtype, run.name, run.file)


class Told(NamedTuple):
    """What telling a case leaves, as data: results and pairs by dtype, and the rest."""

    results: dict[str, list[Result]]
    pairs: dict[str, list[Pair]]
    section: str
    layers: list[LayerGradient]
    figure: bytes | None = None


class Chapter(NamedTuple):
    """What is left of a case once it is told; its verdicts are without trajectories."""

    comparisons: list[Comparison]
    told: Told


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
            key = key_of(self.plan.exact, dump(one.case), keys, *parts)
            told = self.cache.get(key, Told)
            if told and {*told.results} == {unit.dtype for unit in one.units}:
                self.told[one.number] = one.chapter(told)
                return
        future = self.site.call(JUDGE, tell_case, self.plan.exact, one.case, one.done_by_dtype())
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
    comparisons, told = one.chapter(Told(results, {}, "", []))
    return Chapter(comparisons, told._replace(section=case_section(comparisons, [])))


def tell_case(exact: bool, case: Case, done: DoneByDtype) -> Told:  # noqa: FBT001
    """Compare what the backends left of a case, draw it, and write its section."""
    comparisons: list[Comparison] = []
    for dtype, units in done.items():
        bits = max((other.exact.bits for other in comparisons if other.exact), default=BITS)
        comparisons.append(_compare(case, dtype, units, bits if exact else None))
    notes: list[str] = []
    make_layers = partial(_layers, comparisons[0])
    layers = _unless_it_fails("the gradient size by layer", notes, make_layers) or []
    figure = None
    if figure_name(comparisons[0]) and any(comparison.whole for comparison in comparisons):
        names = (result.backend for result in comparisons[0].results)
        draw = partial(_draw_run, comparisons, looks(names))
        figure = _unless_it_fails("the figure", notes, draw)
    section = case_section(comparisons, layers, figure=figure is not None, notes=notes)
    without = partial(replace, trajectory=None)
    results = {one.dtype: [*map(without, one.results)] for one in comparisons}
    return Told(results, {one.dtype: one.pairs for one in comparisons}, section, layers, figure)


def _draw_run(comparisons: list[Comparison], drawn: dict[str, Look]) -> bytes:
    """Draw a case, which needs matplotlib."""
    from backproof.report.telling import figures

    return figures.draw_run(curves_of(comparisons), drawn)


def _draw_depth(networks: dict[str, list[LayerGradient]]) -> bytes:
    """Draw the gradients by layer, which needs matplotlib."""
    from backproof.report.telling import depth_figure

    return depth_figure.draw_depth(networks)


def _unless_it_fails(what: str, notes: list[str], make: Callable[[], Any]) -> Any:
    """Return what `make` returns; where it fails, None, and add a line on that to the notes."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001, telling never changes a verdict
        notes.append(left_out(what, error))
        return None


def _compare(case: Case, dtype: str, done: list[Done], bits: int | None) -> Comparison:
    """Compare the runs of a case at one dtype; `bits` are those of the exact run, if it is made."""
    comparison = Comparison(case, materialise(case, dtype))
    for result, file in done:
        run = load_run(file, comparison.problem) if result.judgement else None
        comparison.results.append(replace(result, trajectory=run))
    comparison.pairs = list(pairs_of(comparison))
    comparison.exact, comparison.no_exact = _exact(comparison, bits)
    return comparison


def _exact(comparison: Comparison, bits: int | None) -> tuple[ExactRun | None, str]:
    """Return the exact run, or None and why there is none."""
    if bits is None:
        return None, "it was not asked for (--no-exact)"
    if all(result.verdict != "certified" for result in comparison.results):
        return None, "no run is certified"
    steps = {*shown_steps(comparison)}
    try:
        exact = exact_run(comparison.problem, steps, SECONDS_FOR_EXACT_RUN, bits)
    except Exception as error:  # noqa: BLE001, telling never changes a verdict
        return None, cut(f"it failed: {type(error).__name__}: {error}", 400)
    return exact, "" if exact else "it takes too long here"


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
    chapters: list[Chapter], mistakes: list[Mistake], environment: dict[str, str], unfinished: str
) -> dict[str, bytes]:
    """Return the files of the report but for the JSON, by name.

    Args:
        chapters: of the cases.
        mistakes: why files are no cases.
        environment: the machine and the packages.
        unfinished: what is missing in the report; empty if nothing is.
    """
    comparisons = [comparison for chapter in chapters for comparison in chapter.comparisons]
    files, depth = {}, {}
    for (first, *_), told in chapters:
        if told.figure:
            files[figure_name(first)] = told.figure
        if len(told.layers) > 1:
            depth[first.case.name] = told.layers
    notes: list[str] = []
    deep = {name: layers for name, layers in depth.items() if len(layers) >= DEEP}
    if deep:
        picture = _unless_it_fails("the figure", notes, partial(_draw_depth, deep))
        if picture:
            files[DEPTH_FIGURE] = picture
            notes = [f"![]({DEPTH_FIGURE})"]
    sections = [chapter.told.section for chapter in chapters]
    report = whole_report(comparisons, sections, mistakes, depth, environment, unfinished, *notes)
    return files | {"report.md": report.encode()}
