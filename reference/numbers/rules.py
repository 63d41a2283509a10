"""What an operation adds to a bound: the rules of arithmetic.

A rule has the operands of an operation, numbers with bounds (`bounded.py`), and gives its result. u is the unit
roundoff of the judged dtype, and what is added holds for every order of evaluation (docs/tolerance.md has the table).
"""

from __future__ import annotations

import numpy as np

from backproof.reference.numbers import sums
from backproof.reference.numbers.balls import floats, sizes
from backproof.reference.numbers.precision import Precision


class Result:
    """What a rule gives: values, how far a program may stray from each, and what else is known (`Bounded`)."""

    __slots__ = ("bound", "is_difference", "magnitude", "passed", "terms", "undecided", "value")

    def __init__(self, value, bound, *, magnitude=None, undecided: bool = False, passed: int = 0):
        self.value, self.bound, self.undecided, self.passed = value, bound, undecided, passed
        self.magnitude = sizes(value) if magnitude is None else magnitude
        self.terms, self.is_difference = None, False


# ---------------------------------------------------------------- roundings


def rounded(value, inherited, precision: Precision, roundings: float | np.ndarray = 1) -> Result:
    """A result that inherits an error from its operands and is rounded so many times."""
    magnitude = sizes(value)
    bound = inherited + roundings * precision.u * (magnitude + inherited) + precision.smallest
    return _within_range(value, magnitude, bound, precision)


def zero_stays(a, result: Result) -> Result:
    """Every program finds 0 for what is exactly 0, divided, rounded, or by a function that is 0 there."""
    if (zero := a.is_zero).any():
        result.bound = np.where(zero & np.isfinite(result.bound), 0.0, result.bound)
    return result


def _added(value, inherited, precision: Precision) -> Result:
    """A sum or difference of two numbers; where both are without error and it is 0, every program finds 0."""
    result = rounded(value, inherited, precision)
    result.bound = np.where((result.magnitude == 0) & (inherited == 0), 0.0, result.bound)
    return result


def _summed(value, inherited, n: int | np.ndarray, magnitude, precision: Precision) -> Result:
    """A sum of n rounded terms, in any order, whose magnitudes add up to `magnitude`; a sum of zeros is 0.

    There may be one n for each sum.
    """
    inner = precision.accumulator
    bound = inherited + inner.gamma(n) * magnitude + n * inner.smallest
    bound = np.where(magnitude > inner.largest, np.inf, bound)
    if inner is precision:
        result = _within_range(value, sizes(value), bound, precision)
    else:
        result = rounded(value, bound, precision)
    result.bound = np.where(magnitude == 0, 0.0, result.bound)
    result.terms = (n, magnitude)
    return result


def _within_range(value, magnitude, bound, precision: Precision) -> Result:
    bound = np.where(magnitude + bound > precision.largest, np.inf, bound)
    return Result(value, bound, magnitude=magnitude)


# ---------------------------------------------------------------- arithmetic


def _is_nothing(a, b) -> bool:
    """Zeros without error, no more of them than b has numbers: every program finds b where they are added."""
    return a.shape in ((), b.shape) and bool(a.is_zero.all())


def add(a, b) -> Result:
    """A sum of two numbers, or of one more term than a sum that may go on has."""
    if b.terms is None and _is_nothing(a, b):
        return Result(b.value, b.bound, magnitude=b.magnitude)
    value, inherited = a.value + b.value, a.bound + b.bound
    if a.terms is None and b.terms is None:
        return _added(value, inherited, a.precision)
    (n, some), (m, others) = terms_of(a), terms_of(b)
    return _summed(value, inherited, n + m, some + others, a.precision)


def terms_of(a) -> tuple[int | np.ndarray, np.ndarray]:
    """How many terms a sum has that may go on, and Σ|terms|; any other number is one term."""
    return a.terms or (1, a.magnitude + a.bound)


def subtract(a, b) -> Result:
    """A difference, whose root is in doubt where it may be below 0."""
    if _is_nothing(a, b):
        return negative(b)
    result = _added(a.value - b.value, a.bound + b.bound, a.precision)
    result.is_difference = True
    return result


def multiply(a, b) -> Result:
    """A product, of which a part may be flushed before the rest is multiplied."""
    inherited = a.magnitude * b.bound + a.bound * (b.magnitude + b.bound)
    flushed_part = (
        2 * a.precision.smallest
    )  # (a + a y) (1 - y) for a (1 - y²), where a y may be flushed, |1 - y| <= 2
    result = rounded(a.value * b.value, inherited + flushed_part, a.precision)
    if (
        zero := ((a.magnitude + a.bound == 0) | (b.magnitude + b.bound == 0)) & (inherited == 0)
    ).any():
        result.bound = np.where(zero, 0.0, result.bound)  # every program finds 0
    return result


def divide(a, b) -> Result:
    """A quotient, or the product with the reciprocal."""
    value = a.value / b.value
    nearest_to_zero = b.magnitude - b.bound
    inherited = (a.bound + sizes(value) * b.bound) / nearest_to_zero
    flushed_reciprocal = (a.magnitude + a.bound) * a.precision.smallest
    inherited = np.where(nearest_to_zero > 0, inherited + flushed_reciprocal, np.inf)
    return zero_stays(a, rounded(value, inherited, a.precision, roundings=2))


def square(a) -> Result:
    """A product with itself."""
    return multiply(a, a)


def negative(a) -> Result:
    """The same number, but for its sign."""
    return Result(-a.value, a.bound)


def absolute(a) -> Result:
    """The same number, but for its sign."""
    return Result(np.abs(a.value), a.bound)


# ---------------------------------------------------------------- sums


def sum_(a, **axes) -> Result:
    """A sum over some axes."""
    value = a.value.sum(**axes)
    n = a.value.size // max(value.size, 1)
    return _summed(value, a.bound.sum(**axes), n, (a.magnitude + a.bound).sum(**axes), a.precision)


def matmul(a, b) -> Result:
    """A product of matrices: sums of as many products as a row has numbers."""
    magnitude, inherited = a.magnitude @ b.magnitude, 0.0
    if a.bound.any() or b.bound.any():
        inherited = a.magnitude @ b.bound + a.bound @ (b.magnitude + b.bound)
    return _summed(
        _product(a.value, b.value), inherited, a.shape[-1], magnitude + inherited, a.precision
    )


def _product(a, b):
    """a @ b; in long double row by column, which is three times as fast as NumPy's loop for matmul."""
    if a.dtype != np.longdouble:
        return a @ b
    return np.vecdot(
        np.ascontiguousarray(a)[..., :, None, :], np.ascontiguousarray(b.mT)[..., None, :, :]
    )


def scatter_add(a, how: tuple) -> Result:
    """At each place a sum of as many terms as meet there (`sums.py`)."""
    value = sums.scatter_add(a.value, *how)
    n = sums.scattered(np.ones(a.shape, np.int64), *how)
    return _summed(
        value,
        sums.scattered(a.bound, *how),
        n,
        sums.scattered(a.magnitude + a.bound, *how),
        a.precision,
    )


# ---------------------------------------------------------------- one of several numbers


def largest(a, **axes) -> Result:
    """A copy of one of the numbers; whichever it is, it strays no farther than the least certain of them."""
    return Result(np.maximum.reduce(a.value, **axes), np.maximum.reduce(a.bound, **axes))


def maximum(a, b) -> Result:
    """A copy of the larger one, and where that is not certain as far off as either may be."""
    ahead = floats(a.value - b.value)
    is_certain = np.abs(ahead) > a.bound + b.bound
    bound = np.where(
        is_certain, np.where(ahead > 0, a.bound, b.bound), np.maximum(a.bound, b.bound)
    )
    return Result(np.maximum(a.value, b.value), bound)


def minimum(a, b) -> Result:
    """A copy of the smaller one."""
    return negative(maximum(-a, -b))
