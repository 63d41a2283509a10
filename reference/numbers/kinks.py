"""The kinks that a computation meets, and who decides on which side of each it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Kink:
    """Numbers at a kink: where their side is uncertain, and the signs that make a difference there.

    The signs of `numbers.value` are the likely sides.
    """

    numbers: Any
    uncertain: np.ndarray
    signs: tuple[float, ...]

    @property
    def depth(self) -> int:
        """How many kinks are passed on the way to it."""
        return self.numbers.passed


class Kinks:
    """The kinks that a computation meets, in the order in which it meets them, certain ones too.

    `sides` tells which signs to take at a kink, the how-manieth it is; none without it. What is
    taken is exact.
    """

    def __init__(self, sides: Callable[[int, Kink], np.ndarray | float | None] = lambda *_: None):
        self.met: list[Kink] = []
        self.sides = sides

    def meet(self, kink: Kink) -> np.ndarray | float | None:
        """Return the signs to take there. The same numbers are the same kink."""
        same = (place for place, seen in enumerate(self.met) if seen.numbers is kink.numbers)
        place = next(same, len(self.met))
        if place == len(self.met):
            self.met.append(kink)
        return self.sides(place, kink)
