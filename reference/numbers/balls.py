"""The same formulas in ball arithmetic: every result is a set that provably holds the exact one.

A ball is a midpoint with a radius (F. Johansson, *Arb: efficient arbitrary-precision
midpoint-radius interval arithmetic*, IEEE Transactions on Computers, 2017), `arb` in python-flint.
`Balls` are NumPy object arrays of them. python-flint's precision is global: always compute inside
`working_precision`, and in one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import flint
import numpy as np
from flint import arb, arb_mat
from scipy.special import erfc, expit

from backproof.reference.numbers.moves import Move
from backproof.reference.numbers.sums import Answering, is_beyond, scattered

working_precision = flint.ctx.workprec
"""`with working_precision(bits)` computes with midpoints of so many bits."""


LARGE = 4  # terms of a sum, from where on a matrix of Arb is worth its making


class Balls(Answering, np.ndarray):
    """An object array of balls: arithmetic, shapes and sums are NumPy's own."""

    __array_priority__ = 1  # what is joined of balls is balls

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if is_beyond(Balls, map(type, inputs)):
            return NotImplemented
        operands = map(_plain, inputs)
        result = getattr(BALL_FUNCTIONS.get(ufunc, ufunc), method)(*operands, **options)
        if ufunc in COMPARISONS:
            return result
        if type(result) is not np.ndarray:  # but one ball
            result = np.asarray(result, dtype=object)
        return result.view(Balls)

    def moved(self, move: Move) -> Balls:
        """Move balls, and floats as exact ones."""
        return balls(move.make([balls(number).view(np.ndarray) for number in move.numbers], arb(0)))

    def scatter_add(self, *how) -> Balls:
        """See `sums.py`."""
        return scattered(self.view(np.ndarray), *how, start=arb(0)).view(Balls)

    def first_largest(self, axis: int) -> Balls:
        """Return 1 at the first largest along an axis, else 0; an interval where balls overlap."""
        x = np.moveaxis(self.view(np.ndarray), axis, -1)
        mine, other = x[..., :, None], x[..., None, :]
        is_before = np.tri(x.shape[-1], k=-1, dtype=bool)
        is_ahead = np.where(is_before, mine > other, mine >= other)
        is_ahead |= np.eye(x.shape[-1], dtype=bool)
        is_beaten = np.where(is_before, other >= mine, other > mine)
        sides = np.where(is_ahead.all(axis=-1), arb(1), arb(0).union(arb(1)))
        return np.moveaxis(np.where(is_beaten.any(axis=-1), arb(0), sides), -1, axis).view(Balls)

    def constant(self, enclosure: Callable[[], arb]) -> Balls:
        """Enclose a number that no float holds."""
        return balls(np.array(enclosure(), dtype=object))

    def in_float64(self, formula: Callable, t, *settings: float) -> Balls:
        """Compute a number of t and some settings, which programs compute in float64."""
        return formula(*(balls(np.asarray(value, np.float64)) for value in (t, *settings)))


def balls(values) -> Balls:
    """Make exact balls of float numbers; balls stay as they are."""
    if isinstance(values, Balls):
        return values
    values = np.asarray(values)
    if values.dtype != object:
        values = np.asarray(sum(map(_ball, _parts(values))), dtype=object)
    return values.view(Balls)


def _plain(operand):
    """Return an object array of balls, or a float, which balls take as the exact number it is."""
    if type(operand) is Balls:
        return operand.view(np.ndarray)
    return operand if isinstance(operand, int | float) else balls(operand).view(np.ndarray)


def floats(values) -> np.ndarray:
    """Round the midpoints of balls, or floats of any precision, to float64."""
    return np.asarray(values).astype(np.float64)


def sizes(values) -> np.ndarray:
    """Return how large each number may be: of a ball the point that is farthest from zero."""
    if isinstance(values, Balls):
        return floats(_farthest(values.view(np.ndarray)))
    return np.abs(floats(values))


def radius(values: Balls) -> float:
    """Return the largest radius."""
    return max(float(ball.rad()) for ball in values.ravel())


def _parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield float64 numbers that add up to the values; of a float64 that is one."""
    with np.errstate(all="ignore"):
        yield (part := values.astype(np.float64))
        rest = np.where(np.isfinite(part), values - part, 0)
        if rest.astype(np.float64).any():
            yield from _parts(rest)


_farthest = np.frompyfunc(lambda ball: ball.abs_upper(), 1, 1)
_ball = np.frompyfunc(lambda value: arb(float(value)), 1, 1)


# ---------------------------------------------------------------- elementary functions


def _heaviside(x: arb, at_zero: arb | float) -> arb:
    if x > 0:
        return arb(1)
    if x < 0:
        return arb(0)
    return arb(at_zero) if x.is_zero() else arb(0).union(arb(1)).union(at_zero)


def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply (n, k) by (k, m), large ones as matrices of Arb, which round a sum once."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] < LARGE:
        return np.matmul(a, b)
    product = arb_mat(a.tolist()) * arb_mat(b.tolist())
    return np.array(product.entries(), dtype=object).reshape(len(a), b.shape[1])


BALL_FUNCTIONS = {
    expit: np.frompyfunc(lambda x: 1 / (1 + (-x).exp()), 1, 1),
    np.heaviside: np.frompyfunc(_heaviside, 2, 1),
    np.sign: np.frompyfunc(lambda x: _heaviside(x, 0) - _heaviside(-x, 0), 1, 1),
    erfc: np.frompyfunc(lambda x: x.erfc(), 1, 1),
    np.maximum: np.frompyfunc(lambda x, y: arb(x).max(arb(y)), 2, 1),
    np.minimum: np.frompyfunc(lambda x, y: arb(x).min(arb(y)), 2, 1),
    np.square: np.frompyfunc(lambda x: x * x, 1, 1),
    np.absolute: np.frompyfunc(abs, 1, 1),
}
COMPARISONS = {np.equal, np.less, np.greater, np.less_equal, np.greater_equal}
