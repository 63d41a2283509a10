"""The order of work: run a case, judge it, draw it, write its section, and let its trajectories go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cases.load import Mistake
from cases.problem import materialise
from cases.schema import Case
from reference.proof import BITS, exact_run
from report.depth import LayerGradient, gradients_by_layer
from report.figures import draw_depth, draw_run
from report.markdown import DEEP, whole_report
from report.run import Comparison, attempt, pairs_of
from report.section import case_section, figure_name, shown_steps

SECONDS_FOR_EXACT_RUN = 8.0


class Story:
    """Collects the report while the cases run, one after the other."""

    def __init__(self, output: Path, *, exact: bool = True):
        self.output, self.exact = output, exact
        self.comparisons: list[Comparison] = []
        self.sections: list[str] = []
        self.depth: dict[str, list[LayerGradient]] = {}
        self._case: list[Comparison] = []
        self._done = 0
        (output / "figures").mkdir(parents=True, exist_ok=True)
        for stale in (output / "figures").glob("*.svg"):
            stale.unlink()

    def run(self, case: Case, dtype: str, names: list[str], tell: Callable[[str, int], None]) -> None:
        """Run a case at one dtype on these backends; `tell` hears what is next and how many runs are done."""
        comparison = Comparison(case, materialise(case, dtype))
        for name in names:
            tell(f"{case.name} {dtype} {name}", self._done)
            comparison.results.append(attempt(comparison.problem, name))
            self._done += 1
        comparison.pairs = list(pairs_of(comparison))
        if self.exact and any(result.verdict == "certified" for result in comparison.results):
            tell(f"{case.name} {dtype} exact", self._done)
            bits = max((other.exact.bits for other in self._case if other.exact), default=BITS)
            comparison.exact = exact_run(comparison.problem, {*shown_steps(comparison)}, SECONDS_FOR_EXACT_RUN, bits)
        self._case.append(comparison)

    def close_case(self) -> None:
        """Write and draw the case that was run, and let go of what takes memory."""
        group, self._case = self._case, []
        if not group:
            return
        layers = _layers(group[0])
        self.sections.append(case_section(group, layers))
        if (figure := figure_name(group[0])) and any(comparison.finished for comparison in group):
            draw_run(self.output / figure, group)
        if len(layers) > 1:
            self.depth[group[0].case.name] = layers
        for comparison in group:
            comparison.exact = None
            for result in comparison.results:
                result.trajectory = None
        self.comparisons += group

    def write(self, mistakes: list[Mistake], environment: dict[str, str]) -> None:
        """Write `report.md` and the figure that compares the cases."""
        if deep := {name: layers for name, layers in self.depth.items() if len(layers) >= DEEP}:
            draw_depth(self.output / "figures" / "depth.svg", deep)
        report = whole_report(self.comparisons, self.sections, mistakes, self.depth, environment)
        (self.output / "report.md").write_text(report, encoding="utf-8")


def _layers(comparison: Comparison) -> list[LayerGradient]:
    """The gradients by layer of a certified run; none where the last layer has no gradient to compare with."""
    certified = [result.trajectory for result in comparison.whole if result.verdict == "certified"]
    runs = [run for run in certified if run.scope == "layers"]
    layers = gradients_by_layer(comparison.problem, runs[0]) if runs else []
    return layers if layers and layers[-1].cotangent else []
