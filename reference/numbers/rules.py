"""What an operation adds to a bound: the rules of arithmetic.

A rule has the operands of an operation, numbers with bounds (`bounded.py`), and gives its result. u
is the unit roundoff of the judged dtype, and what is added holds for every order of evaluation
(docs/tolerance.md has the table).
"""

from __future__ import annotations

import numpy as np

from backproof.reference.numbers import sums
from backproof.reference.numbers.balls import floats, sizes
from backproof.reference.numbers.precision import Precision


class Result:
    """What a rule gives: values, their bounds, and what else is known of them (`Bounded`)."""

    terms: tuple[int | np.ndarray, np.ndarray] | None = None
    is_difference = False

    def __init__(self, value, bound, *, magnitude=None, undecided: bool = False, passed: int = 0):
        self.value, self.bound, self.undecided, self.passed = value, bound, undecided, passed
        self.magnitude = sizes(value) if magnitude is None else magnitude


# ---------------------------------------------------------------- roundings


def rounded(value, inherited, precision: Precision, roundings: float | np.ndarray = 1) -> Result:
    """Bound a result that inherits an error from its operands and is rounded so many times."""
    magnitude = sizes(value)
    bound = inherited + roundings * precision.u * (magnitude + inherited) + precision.smallest
    return _within_range(value, magnitude, bound, precision)


def zero_stays(a, result: Result) -> Result:
    """Set the bound 0 where `a` is 0 without error, and so is its quotient or function."""
    zero = a.is_zero & np.isfinite(result.bound)
    if zero.any():
        result.bound = np.where(zero, 0.0, result.bound)
    return result


def _added(value, inherited, precision: Precision) -> Result:
    """Bound a sum or difference of two; every program finds 0 for a 0 of numbers without error."""
    result = rounded(value, inherited, precision)
    result.bound = np.where((result.magnitude == 0) & (inherited == 0), 0.0, result.bound)
    return result


def _summed(value, inherited, n: int | np.ndarray, magnitude, precision: Precision) -> Result:
    """Bound a sum of n rounded terms in any order, Σ|terms| = `magnitude`; of zeros it is 0.

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
    """Say whether `a` is zeros without error, so that every program finds b for a + b."""
    return a.shape in ((), b.shape) and bool(a.is_zero.all())


def add(a, b) -> Result:
    """Add two numbers, or go on with a sum by one more term."""
    if b.terms is None and _is_nothing(a, b):
        return Result(b.value, b.bound, magnitude=b.magnitude)
    value, inherited = a.value + b.value, a.bound + b.bound
    if a.terms is None and b.terms is None:
        return _added(value, inherited, a.precision)
    (n, some), (m, others) = terms_of(a), terms_of(b)
    return _summed(value, inherited, n + m, some + others, a.precision)


def terms_of(a) -> tuple[int | np.ndarray, np.ndarray]:
    """Count the terms of a sum that may go on, and Σ|terms|; any other number is one term."""
    return a.terms or (1, a.magnitude + a.bound)


def subtract(a, b) -> Result:
    """Subtract; the root of a difference is in doubt where it may be below 0."""
    if _is_nothing(a, b):
        return negative(b)
    result = _added(a.value - b.value, a.bound + b.bound, a.precision)
    result.is_difference = True
    return result


def multiply(a, b) -> Result:
    """Multiply; a part may be flushed before the rest is multiplied."""
    inherited = a.magnitude * b.bound + a.bound * (b.magnitude + b.bound)
    # (a + a y) (1 - y) for a (1 - y²), where a y may be flushed, |1 - y| <= 2
    flushed_part = 2 * a.precision.smallest
    result = rounded(a.value * b.value, inherited + flushed_part, a.precision)
    zero = (a.is_zero | b.is_zero) & (inherited == 0)
    if zero.any():
        result.bound = np.where(zero, 0.0, result.bound)  # every program finds 0
    return result


def divide(a, b) -> Result:
    """Divide, or multiply by the reciprocal."""
    value = a.value / b.value
    nearest_to_zero = b.magnitude - b.bound
    inherited = (a.bound + sizes(value) * b.bound) / nearest_to_zero
    flushed_reciprocal = (a.magnitude + a.bound) * a.precision.smallest
    inherited = np.where(nearest_to_zero > 0, inherited + flushed_reciprocal, np.inf)
    return zero_stays(a, rounded(value, inherited, a.precision, roundings=2))


def square(a) -> Result:
    """Multiply a number by itself."""
    return multiply(a, a)


def negative(a) -> Result:
    """Turn the sign, which rounds nothing."""
    return Result(-a.value, a.bound)


def absolute(a) -> Result:
    """Drop the sign, which rounds nothing."""
    return Result(np.abs(a.value), a.bound)


# ---------------------------------------------------------------- sums


def sum_(a, **axes) -> Result:
    """Add up over some axes."""
    value = a.value.sum(**axes)
    n = a.value.size // max(value.size, 1)
    return _summed(value, a.bound.sum(**axes), n, (a.magnitude + a.bound).sum(**axes), a.precision)


def matmul(a, b) -> Result:
    """Multiply matrices: sums of as many products as a row has numbers."""
    magnitude, inherited = a.magnitude @ b.magnitude, 0.0
    if a.bound.any() or b.bound.any():
        inherited = a.magnitude @ b.bound + a.bound @ (b.magnitude + b.bound)
    value = _product(a.value, b.value)
    return _summed(value, inherited, a.shape[-1], magnitude + inherited, a.precision)


def _product(a, b):
    """a @ b; in long double by vecdot, three times as fast as NumPy's loop for matmul."""
    if a.dtype != np.longdouble:
        return a @ b
    rows, columns = np.ascontiguousarray(a), np.ascontiguousarray(b.mT)
    return np.vecdot(rows[..., :, None, :], columns[..., None, :, :])


def scatter_add(a, how: tuple) -> Result:
    """Add up as many terms at each place as meet there (`sums.py`)."""
    value = sums.scatter_add(a.value, *how)
    bound, magnitude, n = (
        sums.scattered(part, *how)
        for part in (a.bound, a.magnitude + a.bound, np.ones(a.shape, np.int64))
    )
    return _summed(value, bound, n, magnitude, a.precision)


# ---------------------------------------------------------------- one of several numbers


def largest(a, **axes) -> Result:
    """Copy one of the numbers, which strays no farther than the least certain of them."""
    return Result(np.maximum.reduce(a.value, **axes), np.maximum.reduce(a.bound, **axes))


def maximum(a, b) -> Result:
    """Copy the larger one; where that is not certain, as far off as either may be."""
    ahead = floats(a.value - b.value)
    is_certain = np.abs(ahead) > a.bound + b.bound
    bound = np.where(ahead > 0, a.bound, b.bound)
    bound = np.where(is_certain, bound, np.maximum(a.bound, b.bound))
    return Result(np.maximum(a.value, b.value), bound)


def minimum(a, b) -> Result:
    """Copy the smaller one."""
    return negative(maximum(-a, -b))
