"""A case is told: its runs are compared, drawn and written down; then the report of all cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from backproof.backends.trajectory_files import load_run
from backproof.cases.console.terminal import cut
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.cases.reading.load import Mistake
from backproof.reference.exact_run import BITS, ExactRun, exact_run
from backproof.report.judging.outcome import Comparison, Pair, Result, pairs_of
from backproof.report.running.job import Done
from backproof.report.telling.captions import alt_text, alt_text_of_depth
from backproof.report.telling.case_page import case_page, figure_name, shown_steps
from backproof.report.telling.cells import cell
from backproof.report.telling.curves import Curves, curves_of
from backproof.report.telling.depth import LayerGradient, gradients_by_layer
from backproof.report.telling.escape import label, left_out
from backproof.report.telling.explain import explained
from backproof.report.telling.html.page import CaseOnPage, RunRow, body_of, html_report
from backproof.report.telling.overview import DEEP, EVERY_RUN, Page, body, overview, whole_report
from backproof.report.telling.palette import looks
from backproof.report.telling.places import page_of

SECONDS_FOR_EXACT_RUN = 10.0
AT_A_STEP = ("differs", "out of range")
DEPTH_FIGURE = "figures/_gradients_by_layer.svg"

DoneByDtype = dict[str, list[Done]]


class Told(NamedTuple):
    """What telling a case leaves, as data: results and pairs by dtype, and how it is shown.

    Attributes:
        page, body: the page of the case, as Markdown and as HTML.
        layers: the gradients by layer.
        curves, figure: what the figure shows, and the figure as SVG.
    """

    results: dict[str, list[Result]]
    pairs: dict[str, list[Pair]]
    page: str
    body: str = ""
    layers: tuple[LayerGradient, ...] = ()
    curves: Curves | None = None
    figure: bytes | None = None


class Chapter(NamedTuple):
    """What is left of a case once it is told; its verdicts are without trajectories."""

    comparisons: list[Comparison]
    told: Told


# ---------------------------------------------------------------- one case


def tell_case(exact: bool, names: tuple[str, ...], case: Case, done: DoneByDtype) -> Told:  # noqa: FBT001
    """Compare what the backends left of a case, draw it, and write its page.

    Args:
        exact: make the exact runs.
        names: of all backends of the report, each of which has its look.
        case: that is told.
        done: its units.
    """
    comparisons: list[Comparison] = []
    for dtype, units in done.items():
        bits = max((other.exact.bits for other in comparisons if other.exact), default=BITS)
        comparisons.append(compared(case, dtype, units))
        comparisons[-1].exact, comparisons[-1].no_exact = _exact(
            comparisons[-1], bits if exact else None
        )
    notes: list[str] = []
    try_to = partial(_unless_it_fails, notes=notes)
    layers = tuple(try_to("the gradient size by layer", lambda: _layers(comparisons[0])) or ())
    curves = figure = None
    if figure_name(comparisons[0]) and any(comparison.whole for comparison in comparisons):
        curves = try_to("the figure", lambda: curves_of(comparisons))
        figure = curves and try_to("the figure", lambda: _drawn(curves, names))
    picture = figure and try_to("the figure", lambda: alt_text(curves))
    page = case_page(comparisons, layers, picture=picture, notes=notes)
    body = try_to("the page in HTML", lambda: body_of(page)) or ""
    without = partial(replace, trajectory=None)
    results = {one.dtype: [*map(without, one.results)] for one in comparisons}
    pairs = {one.dtype: one.pairs for one in comparisons}
    return Told(results, pairs, page, body, layers, curves, figure)


def explain_case(step: int | None, case: Case, done: DoneByDtype) -> str:
    """Write one step of every run of a case; None for the one that matters most."""
    told = (explained(compared(case, dtype, units), step) for dtype, units in done.items())
    return "\n\n\n".join(told)


def _drawn(curves: Curves, names: tuple[str, ...]) -> bytes:
    """Draw a case, which needs matplotlib."""
    from backproof.report.telling.figures import draw_run

    return draw_run(curves, looks(names))


def _drawn_depth(networks: Mapping[str, Sequence[LayerGradient]]) -> tuple[bytes, str]:
    """Draw the gradients by layer, which needs matplotlib; and say what the figure shows."""
    from backproof.report.telling.figures import draw_depth

    return draw_depth(networks), alt_text_of_depth(networks)


def _unless_it_fails(what: str, make: Callable[[], Any], notes: list[str]) -> Any:
    """Return what `make` returns; where it fails, None, and add a line on that to the notes."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001, telling never changes a verdict
        notes.append(left_out(what, error))
        return None


def compared(case: Case, dtype: str, done: list[Done]) -> Comparison:
    """Compare the runs of a case at one dtype."""
    comparison = Comparison(case, materialise(case, dtype))
    for result, file in done:
        run = load_run(file, comparison.problem) if result.judgement else None
        comparison.results.append(replace(result, trajectory=run))
    comparison.pairs = list(pairs_of(comparison))
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


def files_of(
    chapters: list[Chapter],
    mistakes: list[Mistake],
    environment: dict[str, str],
    sentence: str,
    names: tuple[str, ...],
) -> dict[str, bytes]:
    """Return the files of the report but for those for programs, by name.

    Args:
        chapters: of the cases.
        mistakes: why files are no cases.
        environment: the machine and the packages.
        sentence: the verdict.
        names: of all backends.
    """
    comparisons = [comparison for chapter in chapters for comparison in chapter.comparisons]
    files = {}
    for (first, *_), told in chapters:
        files[page_of(first.case)] = told.page.encode()
        if told.figure:
            files[figure_name(first)] = told.figure
    depth = {first.case.name: told.layers for (first, *_), told in chapters}
    deep = {name: layers for name, layers in depth.items() if len(layers) >= DEEP}
    notes: list[str] = []
    if deep:
        drawn = _unless_it_fails("the figure", lambda: _drawn_depth(deep), notes)
        if drawn:
            files[DEPTH_FIGURE] = drawn[0]
            notes = [f"![{label(drawn[1])}]({DEPTH_FIGURE})"]
    page = overview(comparisons, mistakes, deep, environment, *notes)
    failed: list[str] = []
    outside = any(pair.status == "outside" for one in comparisons for pair in one.pairs)
    well = not (mistakes or outside)
    whole = partial(html_of, chapters, page, sentence, names, files, well=well)
    html = _unless_it_fails("the report in HTML", whole, failed)
    page[""] = "\n\n".join([page[""], *failed])
    files["report.md"] = whole_report(sentence, page).encode()
    return files | ({"report.html": html} if html else {})


def html_of(
    chapters: list[Chapter],
    page: Page,
    sentence: str,
    names: tuple[str, ...],
    pictures: dict[str, bytes],
    *,
    well: bool,
) -> bytes:
    """Write all of it as one HTML file, which has a table of its own of every run."""
    cases = [_on_page(*chapter) for chapter in chapters]
    told = body(page, without=EVERY_RUN)
    return html_report(sentence, told, cases, looks(names), pictures, well=well)


def _on_page(comparisons: list[Comparison], told: Told) -> CaseOnPage:
    """Take what the HTML file shows of a case."""
    case = comparisons[0].case
    rows = [_row(one.dtype, result) for one in comparisons for result in one.results]
    return CaseOnPage(case.name, case.title, rows, told.body, told.curves, page_of(case))


def _row(dtype: str, result: Result) -> RunRow:
    """Take what the HTML file shows of a run."""
    judgement = result.judgement
    if judgement is None or judgement.only_print_missed:
        return RunRow(dtype, result.backend, cell(result), None, None, result.message)
    share, where = judgement.budget, judgement.where
    step = where.step if where and result.verdict in AT_A_STEP else None
    return RunRow(dtype, result.backend, result.verdict, share, step, result.message)
