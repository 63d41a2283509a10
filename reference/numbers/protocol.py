"""The hints that formulas give to numbers, and how a kind of number takes them.

A formula is written once and computed with every kind of number. Where programs round it in ways
that the formula does not show, it says so by one of the functions below. A plain array of floats
passes through them unchanged, or is computed with as it stands; a kind of number that can do better
says so by a method:

| the formula says | the number's method |
|---|---|
| `elementary(x)` | `x.elementary()` |
| `in_any_order(x)` | `x.in_any_order()` |
| `flushed_with(x, c)` | `x.flushed_with(c)` |
| `by_any_form(x, *forms)` | `x.by_any_form(forms)`: the first result, as far off as the widest |
| `number_like(x, value)`, `Constant * x` | `x.constant(enclosure)`: a rounded number |
| `of_step(x, formula, t, ...)` | `x.in_float64(formula, t, ...)` |
| `first_largest(x, axis)` | `x.first_largest(axis)`: 0 or 1, an interval in doubt |
| `scatter_add(x, ...)` of `sums.py` | `x.scatter_add(...)` |

The side of a kink needs no method: `positive(x)` is a ufunc, which every kind has a rule for. The
rules of bounds are derived in docs/tolerance.md: elementary functions, sums, flushing and constants
in *The allowance*, forms in *Which forms a bound covers*, sides and the first largest in *Kinks*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flint
import numpy as np
from flint import arb

# ---------------------------------------------------------------- how programs round


def elementary(x):
    """Say that x is an elementary function in its own right, which has many forms in programs.

    A derivative such as 1 - tanh² x = (1 - y)(1 + y) = 1 / cosh² x is one.
    """
    better = getattr(x, "elementary", None)
    return better() if better else x


def in_any_order(x):
    """Say that x is the first term of a sum that programs add up in any order."""
    better = getattr(x, "in_any_order", None)
    return better() if better else x


def flushed_with(x, factor):
    """Say that a program multiplies by `factor` before the rest of x, and may flush that."""
    better = getattr(x, "flushed_with", None)
    return better(factor) if better else x


# ---------------------------------------------------------------- sides of a kink


def positive(x):
    """1 where x > 0, else 0: the side of a kink."""
    return np.heaviside(x, 0)


def first_largest(x, axis: int):
    """Return 1 at the first of the largest numbers along an axis, else 0, of the shape of x."""
    better = getattr(x, "first_largest", None)
    if better:
        return better(axis)
    first = np.expand_dims(np.asarray(x).argmax(axis=axis), axis)
    hot = np.zeros(x.shape, x.dtype)
    np.put_along_axis(hot, first, 1, axis)
    return hot.view(type(x))


# ---------------------------------------------------------------- numbers that no float holds


class Constant(NamedTuple):
    """A factor that no float holds, written in front: `SQRT_HALF * x`.

    Its `enclosure` makes a ball at the working precision. Floats are multiplied by the nearest
    float64.
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
TWO_BY_SQRT_PI = Constant(lambda: 2 / arb.pi().sqrt())


def number_like(x, value):
    """Make a number for arithmetic with x: what x's kind of number makes of a fraction.

    A whole number, a number of such a kind, and floats beside floats stay as they are. There may be
    an array of them.
    """
    better = getattr(x, "constant", None)
    if better is None or hasattr(value, "constant") or np.array_equal(value, np.floor(value)):
        return value
    return better(lambda: _balls(value))


_balls = np.frompyfunc(arb, 1, 1)


def of_step(x, formula: Callable, t, *settings: float):
    """Compute a number of the number t of an update and of settings alone, for arithmetic with x.

    Programs compute it in float64 and round it once.
    """
    better = getattr(x, "in_float64", None)
    if better:
        return better(formula, t, *settings)
    result = formula(t, *settings)
    return result if np.ndim(result) else float(result)


# ---------------------------------------------------------------- forms, equal but for rounding


def by_any_form(x, *forms: Callable):
    """Compute the first of some formulas for numbers like x; a bound has to cover the others too.

    The first form is the textbook's. Each of them rounds every operation once.
    """
    better = getattr(x, "by_any_form", None)
    return better(forms) if better else forms[0]()


def sum_of_three(a, b, c):
    """a + b + c, whichever two are added first."""
    return by_any_form(a, lambda: (a + b) + c, lambda: (a + c) + b, lambda: a + (b + c))


def mixture(before, now, share):
    """(1 - s) before + s now = before + s (now - before)."""
    forms = lambda: (1 - share) * before + share * now, lambda: before + share * (now - before)
    return by_any_form(before, *forms)


def shrunk(w, rate, decay, step):
    """(1 - h λ) w + d = w - h λ w + d in any order."""
    parts = w, step, -(rate * (decay * w))
    return by_any_form(w, lambda: (1 - rate * decay) * w + step, lambda: sum_of_three(*parts))
