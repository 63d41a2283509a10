"""What the figures of a case show, as data: SVG and HTML are drawn from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from backproof.report.judging.outcome import Comparison

PANELS = ("loss", "share", "drift")
POINTS = 160


class Line(NamedTuple):
    """One line of a figure.

    Attributes:
        panel: `loss`, `share` (the largest share of the rounding allowed) or `drift` (the largest
            difference of a parameter between two runs).
        name: the backend's label, or the pair's, `numpy-torch`.
        dtype: of the case.
        steps: counted from 0, thinned to some hundred.
        values: at these steps, each the largest since the one before; None where not finite.
    """

    panel: str
    name: str
    dtype: str
    steps: list[int]
    values: list[float | None]


class Failure(NamedTuple):
    """Where a run first fails: the step, the place in words, and the verdict for it."""

    name: str
    dtype: str
    step: int
    words: str
    verdict: str = "differs"


class Curves(NamedTuple):
    """All that the figure of a case shows."""

    case: str
    lines: list[Line]
    failures: list[Failure]

    def of(self, panel: str) -> list[Line]:
        """Return the lines of one panel."""
        return [line for line in self.lines if line.panel == panel]

    @property
    def backends(self) -> list[str]:
        """The names of all runs."""
        return [*dict.fromkeys(line.name for line in self.lines if line.panel != "drift")]

    @property
    def dtypes(self) -> list[str]:
        """Those of all lines."""
        return [*dict.fromkeys(line.dtype for line in self.lines)]

    @property
    def last_step(self) -> int:
        """The last one that is recorded."""
        return max((line.steps[-1] for line in self.lines), default=0)


def curves_of(comparisons: list[Comparison]) -> Curves:
    """Return what the figure of a case shows, at all its dtypes; its runs are at hand."""
    lines = [line for comparison in comparisons for line in _lines(comparison)]
    failures = [failure for comparison in comparisons for failure in _failures(comparison)]
    return Curves(comparisons[0].case.name, lines, failures)


def _lines(comparison: Comparison) -> Iterator[Line]:
    """Yield the lines of one dtype: losses where they are recorded, shares, and drifts."""
    steps, dtype = comparison.problem.recorded, comparison.dtype
    for result in comparison.whole:
        if (loss := result.trajectory.loss) is not None:
            yield _line("loss", result.backend, dtype, steps, loss)
        yield _line("share", result.backend, dtype, steps, result.judgement.budgets)
    for pair in comparison.pairs:
        yield _line("drift", "-".join(pair.names), dtype, steps, pair.drift.over_steps)


def _line(panel: str, name: str, dtype: str, steps: np.ndarray, values: np.ndarray) -> Line:
    """Return a line of plain numbers with four digits; steps and values are (R,)."""
    kept, largest = thin(steps, np.asarray(values, np.float64))
    rounded = [float(f"{x:.4g}") if math.isfinite(x) else None for x in largest.tolist()]
    return Line(panel, name, dtype, kept.tolist(), rounded)


def _failures(comparison: Comparison) -> Iterator[Failure]:
    """Yield where each run first fails whose steps were judged."""
    for result in comparison.whole:
        where = result.judgement.where
        if result.verdict != "certified" and where:
            words = where.place if where.tensor else where.message
            yield Failure(result.backend, comparison.dtype, where.step, words, result.verdict)


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some hundred points at most, spaced by the logarithm; both are (R,).

    Each has the largest value since the one before.
    """
    if len(steps) == 0:
        return steps, values
    edges = np.unique(np.geomspace(1, len(steps), POINTS).astype(int))
    starts = np.concatenate([[0], edges[:-1]])
    return steps[edges - 1], np.fmax.reduceat(values, starts)


def known(lines: Iterable[Line]) -> list[float]:
    """Return all finite values of some lines."""
    return [value for line in lines for value in line.values if value is not None]
