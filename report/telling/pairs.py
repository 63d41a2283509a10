"""How far free runs drift apart, in words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from backproof.report.judging.outcome import Comparison, Pair
from backproof.report.telling.cells import table
from backproof.report.telling.escape import text
from backproof.report.telling.sentence import all_pairs

MOST_NOTABLE = 10
PAIRS_LEGEND = (
    "The same run on two backends, each left to itself. *Within*: never outside rtol and atol "
    "(1e-9 in float64, 1e-4 in float32, 0.02 in float16, 0.06 in bfloat16, unless the case sets "
    "them). *Explained*: outside, while all steps of both runs are recorded and certified: "
    "rounding, amplified by the training itself."
)


def drift_in_short(comparisons: list[Comparison]) -> Iterator[str]:
    """Say how far free runs drift apart: the counts, and the pairs that do most."""
    pairs = all_pairs(comparisons)
    counts = Counter(pair.status for _, pair in pairs)
    told = f"{counts['within']} are within, {counts['explained']} explained"
    yield f"{PAIRS_LEGEND} Of {len(pairs)} pairs {told}, {counts['outside']} outside."
    notable = [one for one in pairs if one[1].status != "within"]
    first = sorted(notable, key=lambda one: (one[1].status != "outside", -one[1].drift.parameter))
    if first:
        yield pairs_table(first[:MOST_NOTABLE])
    if len(first) > MOST_NOTABLE:
        yield f"{len(first) - MOST_NOTABLE} more stand on the pages of their cases."


def pairs_table(pairs: list[tuple[Comparison, Pair]]) -> str:
    """Write a row for each pair."""
    rows = []
    for comparison, pair in pairs:
        row = [text(comparison.case.name), comparison.dtype, "-".join(pair.names)]
        row += [_power(pair.drift.gradient), _power(pair.drift.parameter)]
        rows.append([*row, f"{pair.drift.step:,}", pair.status])
    headers = ["case", "dtype", "pair", "max abs Δgradient", "max abs Δparameter"]
    return table(rows, [*headers, "at step", "rtol and atol"])


def _power(number: float) -> str:
    return f"{number:.1e}" if number else "0"
