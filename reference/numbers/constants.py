"""Numbers that no float holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flint
import numpy as np
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


def number_like(x, value):
    """A hyper-parameter for arithmetic with x: the float itself, or what x's kind of number makes of a fraction.

    There may be an array of them. A number of such a kind stays as it is.
    """
    better = getattr(x, "constant", None)
    if better is None or hasattr(value, "constant") or np.array_equal(value, np.floor(value)):
        return value
    return better(lambda: _balls(value))


_balls = np.frompyfunc(arb, 1, 1)


def flushed_with(x, factor: float):
    """x, of which a program multiplies the factor first, and may flush the product before what follows it."""
    better = getattr(x, "flushed_with", None)
    return better(factor) if better else x


def of_step(x, formula: Callable, t, *settings: float):
    """A number that depends on the number t of an update and on settings alone, for arithmetic with x.

    Programs compute it in float64 and round it once.
    """
    better = getattr(x, "in_float64", None)
    if better:
        return better(formula, t, *settings)
    result = formula(t, *settings)
    return result if np.ndim(result) else float(result)
