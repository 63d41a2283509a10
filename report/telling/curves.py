"""What the figures of a case show, as data: SVG and HTML are drawn from the same numbers."""

from __future__ import annotations

from typing import NamedTuple

PANELS = ("loss", "share", "drift")


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
    """Where a run first fails: the step, and the place in words."""

    name: str
    dtype: str
    step: int
    words: str


class Curves(NamedTuple):
    """All that the figure of a case shows."""

    case: str
    lines: list[Line]
    failures: list[Failure]


def curves_of(comparisons):
    return Curves(comparisons[0].case.name, [], [])


def alt_text(curves):
    return curves.case
