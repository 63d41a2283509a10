"""Numbers that no float holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flint
from flint import arb


class Constant(NamedTuple):
    """A factor, written in front: `SQRT_HALF * x`. Its `enclosure` is a ball at the working precision.

    Floats are multiplied by the nearest float64. A kind of number that can do better says so by a method `constant`.
    """

    enclosure: Callable[[], arb]

    def __mul__(self, x):
        better = getattr(x, "constant", None)
        return (better(self.enclosure) if better else self.nearest) * x

    @property
    def nearest(self) -> float:
        """The nearest float64."""
        with flint.ctx.workprec(128):
            return float(self.enclosure())


SQRT_HALF = Constant(lambda: arb(0.5).sqrt())
SQRT_2_BY_PI = Constant(lambda: (2 / arb.pi()).sqrt())  # noqa: PLW0108, not before it is asked for
NORMAL_DENSITY = Constant(lambda: 1 / (2 * arb.pi()).sqrt())


def number_like(x, value: float):
    """A hyper-parameter for arithmetic with x: the float itself, or what x's kind of number makes of a fraction."""
    better = getattr(x, "constant", None)
    return better(lambda: arb(value)) if better and not float(value).is_integer() else value
