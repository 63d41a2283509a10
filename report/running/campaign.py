"""What there is to do for a case, and how it is told: compared, drawn, and its section written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from backproof.backends.trajectory_files import load_run
from backproof.cases.console.terminal import cut
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.cases.reading.load import Mistake
from backproof.reference.exact_run import BITS, ExactRun, exact_run
from backproof.report.judging.outcome import Comparison, Pair, Result, pairs_of
from backproof.report.running.job import Done, Unit
from backproof.report.running.saved_runs import Given, Saved
from backproof.report.telling.case_section import case_section, figure_name, shown_steps
from backproof.report.telling.depth import LayerGradient, gradients_by_layer
from backproof.report.telling.escape import left_out
from backproof.report.telling.overview import DEEP, whole_report

SECONDS_FOR_EXACT_RUN = 10.0
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


# ---------------------------------------------------------------- one case


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
        figure = _unless_it_fails("the figure", notes, lambda: _figures().draw_run(comparisons))
    section = case_section(comparisons, layers, figure=figure is not None, notes=notes)
    without = partial(replace, trajectory=None)
    results = {one.dtype: [*map(without, one.results)] for one in comparisons}
    return Told(results, {one.dtype: one.pairs for one in comparisons}, section, layers, figure)


def _figures() -> ModuleType:
    """Import the module that draws, which needs matplotlib."""
    from backproof.report.telling import figures

    return figures


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
        picture = _unless_it_fails("the figure", notes, lambda: _figures().draw_depth(deep))
        if picture:
            files[DEPTH_FIGURE] = picture
            notes = [f"![]({DEPTH_FIGURE})"]
    sections = [chapter.told.section for chapter in chapters]
    report = whole_report(comparisons, sections, mistakes, depth, environment, unfinished, *notes)
    return files | {"report.md": report.encode()}
