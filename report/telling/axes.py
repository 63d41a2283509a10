"""The axes of a figure: where numbers lie, which ticks there are, and which lines coincide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
from matplotlib.ticker import MaxNLocator

MARKERS = 6  # on a line
TOGETHER = 0.004  # of the height of a panel: half the width of a line

Numbers = Iterable[float | None]


class Axis(Protocol):
    """One axis of a panel."""

    def places(self, values: Numbers) -> np.ndarray:
        """Return where values lie between its ends, 0 to 1; NaN where they can't be drawn."""
        ...

    def ticks(self) -> dict[float, str]:
        """Return its ticks, and how each is written."""
        ...


class Linear(NamedTuple):
    """An axis of numbers between two ends."""

    low: float
    high: float

    def places(self, values: Numbers) -> np.ndarray:
        """Return where values lie between its ends."""
        return (np.array([*values], np.float64) - self.low) / (self.high - self.low)

    def ticks(self) -> dict[float, str]:
        """Return some five round numbers."""
        found = MaxNLocator(5).tick_values(self.low, self.high)
        found = np.where(np.abs(found) < 1e-9 * np.abs(found).max(), 0, found).tolist()
        return {tick: number(tick) for tick in found if self.low <= tick <= self.high}


class Powers(NamedTuple):
    """An axis of positive numbers between two powers of ten."""

    low: int
    high: int

    def places(self, values: Numbers) -> np.ndarray:
        """Return where the logarithms of values lie between its ends."""
        found = np.array([*values], np.float64)
        found = np.log10(found, where=found > 0, out=np.full(found.shape, np.nan))
        return (found - self.low) / (self.high - self.low)

    def ticks(self) -> dict[float, str]:
        """Return some six powers of ten: `1e-3`, and 1."""
        apart = -(-(self.high - self.low) // 6)
        powers = range(-(-self.low // apart) * apart, self.high + 1, apart)
        return {10.0**power: f"1e{power}" if power else "1" for power in powers}


class Steps(NamedTuple):
    """The axis of steps, from 0 to the last one; of more than ten by their logarithm."""

    last: int

    def places(self, values: Numbers) -> np.ndarray:
        """Return where steps lie, with a margin on both sides."""
        ends = np.array([0, max(self.last, 1)])
        found, end = (self._along(np.array([*x], np.float64)) for x in (values, ends))
        return 0.02 + 0.96 * found / end[1]

    def _along(self, steps: np.ndarray) -> np.ndarray:
        """Return the distance from step 0: half a decade to step 1, and from there decades."""
        if self.last < 10:
            return steps
        return np.where(steps < 1, steps / 2, 0.5 + np.log10(np.maximum(steps, 1)))

    def ticks(self) -> dict[float, str]:
        """Return the steps 0, 1, 10, 100, ..., of few also some between them."""
        if self.last < 10:
            found = [*range(0, self.last + 1, 1 + self.last // 6)]
        else:
            digits = (1, 2, 5) if self.last < 200 else (1,)
            powers = range(0, len(str(self.last)), 1 if self.last < 100_000 else 2)
            found = [0, *(digit * 10**power for power in powers for digit in digits)]
        return {step: f"{step:,}" for step in found if step <= self.last}


class Nothing(NamedTuple):
    """An axis of what is not there."""

    def places(self, values: Numbers) -> np.ndarray:
        """Return that nothing can be drawn."""
        return np.full(len([*values]), np.nan)

    def ticks(self) -> dict[float, str]:
        """Return none."""
        return {}


def powers_over(values: list[float]) -> Axis:
    """Return the axis by powers of ten on which all positive ones of some values lie."""
    if not any(value > 0 for value in values):
        return Nothing()
    known = np.log10([value for value in values if value > 0])
    low, high = int(np.floor(known.min())), int(np.ceil(known.max()))
    return Powers(low, max(high, low + 1))


def linear_over(values: list[float]) -> Axis:
    """Return the axis on which all of some values lie."""
    if not values:
        return Nothing()
    low, high = min(values), max(values)
    margin = (high - low) / 20 or abs(high) / 20 or 1
    return Linear(low - margin, high + margin)


def number(value: float) -> str:
    """Write a number, with powers of ten as everywhere: `0.25`, `5e-7`."""
    digits, _, power = f"{value:.6g}".partition("e")
    return f"{digits}e{int(power)}" if power else digits


# ---------------------------------------------------------------- lines


def on_one_line(places: list[np.ndarray]) -> list[list[int]]:
    """Group lines that lie on one another to the eye.

    Args:
        places: of each line on its axis, 0 to 1; one that is shorter may lie on a longer one.

    Returns:
        the numbers of the lines, each in the group of the first that it lies on.
    """
    groups: list[list[int]] = []
    for position, one in enumerate(places):
        group = next((group for group in groups if _together(places[group[0]], one)), None)
        if group is None:
            groups.append([position])
        else:
            group.append(position)
    return groups


def _together(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two lines lie on one another as far as the shorter one goes."""
    length = min(len(one), len(other))
    return np.allclose(one[:length], other[:length], rtol=0, atol=TOGETHER, equal_nan=True)


def marked_at(number: int, of: int, places: np.ndarray) -> dict[str, Any]:
    """Return where and how the `number`th `of` some lines has its markers: none hides another's.

    Of many points each line takes others; of few ones all, in rings around each other.

    Args:
        number: of the line.
        of: how many lines there are.
        places: (points,) of its points on the axis across, 0 to 1.
    """
    if len(places) < 2 * of:
        return {"markersize": 3.5 + 8 * (of - 1 - number) / max(of - 1, 1), "fillstyle": "none"}
    wanted = (np.arange(MARKERS) + (number + 0.5) / of) / MARKERS
    found = np.searchsorted(places, wanted).clip(max=len(places) - 1)
    return {"markevery": np.unique(found).tolist()}
