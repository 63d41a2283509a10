"""The order of work: run a case, judge it, draw it, write its section, and let its trajectories go."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cases.load import Mistake
from cases.problem import materialise
from cases.schema import Case
from reference.proof import BITS, exact_run
from report.depth import LayerGradient, gradients_by_layer
from report.figures import draw_depth, draw_run
from report.markdown import DEEP, whole_report
from report.processes import processes
from report.run import Comparison, attempt, pairs_of
from report.section import case_section, figure_name, shown_steps

SECONDS_FOR_EXACT_RUN = 10.0


class Plan(NamedTuple):
    """What to do with every case: at these dtypes of its own, on these backends, with the exact run or without."""

    dtypes: tuple[str, ...]
    backends: tuple[str, ...]
    exact: bool
    output: Path


class Chapter(NamedTuple):
    """What is left of a case once it is told: verdicts without trajectories, its section, its gradients by layer."""

    comparisons: list[Comparison]
    section: str
    layers: list[LayerGradient]


def tell_cases(plan: Plan, cases: list[Case], jobs: int) -> Iterator[Chapter]:
    """The chapters of the cases, in order, by so many processes; a single one is this process itself."""
    tell = partial(tell_case, plan)
    if jobs == 1:
        yield from map(tell, cases)
        return
    with processes(jobs) as pool:
        yield from pool.map(tell, cases)


def tell_case(plan: Plan, case: Case) -> Chapter:
    """Run a case at its dtypes on the backends, draw it, and write its section."""
    comparisons: list[Comparison] = []
    for dtype in (dtype for dtype in case.dtypes if dtype in plan.dtypes):
        bits = max((other.exact.bits for other in comparisons if other.exact), default=BITS)
        comparisons.append(_compare(plan, case, dtype, bits))
    if not comparisons:
        return Chapter([], "", [])
    layers = _layers(comparisons[0])
    section = case_section(comparisons, layers)
    if (figure := figure_name(comparisons[0])) and any(comparison.finished for comparison in comparisons):
        draw_run(plan.output / figure, comparisons)
    for comparison in comparisons:
        comparison.exact = None
        for result in comparison.results:
            result.trajectory = None
    return Chapter(comparisons, section, layers)


def _compare(plan: Plan, case: Case, dtype: str, bits: int) -> Comparison:
    comparison = Comparison(case, materialise(case, dtype))
    comparison.results = [attempt(comparison.problem, name) for name in plan.backends]
    comparison.pairs = list(pairs_of(comparison))
    if plan.exact and any(result.verdict == "certified" for result in comparison.results):
        comparison.exact = exact_run(comparison.problem, {*shown_steps(comparison)}, SECONDS_FOR_EXACT_RUN, bits)
    return comparison


def _layers(comparison: Comparison) -> list[LayerGradient]:
    """The gradients by layer of a certified run; none where the last layer has no gradient to compare with."""
    certified = [result.trajectory for result in comparison.whole if result.verdict == "certified"]
    runs = [run for run in certified if run.has_layers]
    layers = gradients_by_layer(comparison.problem, runs[0]) if runs else []
    return layers if layers and layers[-1].cotangent else []


def prepare(output: Path) -> None:
    """Make the folders, without figures of an earlier report."""
    (output / "figures").mkdir(parents=True, exist_ok=True)
    for stale in (output / "figures").glob("*.svg"):
        stale.unlink()


def write_story(output: Path, chapters: list[Chapter], mistakes: list[Mistake], environment: dict[str, str]) -> None:
    """Write `report.md` and the figure that compares the cases."""
    comparisons = [comparison for chapter in chapters for comparison in chapter.comparisons]
    depth = {chapter.comparisons[0].case.name: chapter.layers for chapter in chapters if len(chapter.layers) > 1}
    if deep := {name: layers for name, layers in depth.items() if len(layers) >= DEEP}:
        draw_depth(output / "figures" / "_gradients_by_layer.svg", deep)
    report = whole_report(comparisons, [chapter.section for chapter in chapters], mistakes, depth, environment)
    (output / "report.md").write_text(report, encoding="utf-8")
