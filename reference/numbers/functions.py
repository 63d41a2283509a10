"""What an elementary function adds to a bound: 8 ulp, and what its operand's error becomes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special
from scipy.special import expit

from backproof.reference.numbers.balls import Balls, balls, floats, sizes, working_precision
from backproof.reference.numbers.precision import Precision
from backproof.reference.numbers.rules import Result, rounded, zero_stays

ULPS_OF_ELEMENTARY_FUNCTIONS = 8
BITS_OF_EXTENDED_VALUES = 128  # where an extended precision lacks a function


def _elementary(value, inherited, precision: Precision) -> Result:
    """8 ulp: an ulp is at most 2 u |value|."""
    return rounded(value, inherited, precision, roundings=2 * ULPS_OF_ELEMENTARY_FUNCTIONS)


def elementary(a) -> Result:
    """Take a value for an elementary function, by whichever formula a program computes it."""
    return _elementary(a.value, a.bound, a.precision)


def _s_shaped(a, value, slope: Callable, to_the_far_end) -> Result:
    """Bound a function by its range, unless the operand may be infinite or NaN.

    `slope` is its derivative at a distance from 0, where it is steepest; `to_the_far_end` is how
    far the other end of the range is.
    """
    if not a.bound.any():
        return _elementary(value, 0.0, a.precision)
    steepest = slope(np.maximum(a.magnitude - a.bound, 0))
    inherited = a.bound * steepest
    in_range = np.where(np.isfinite(inherited), np.minimum(inherited, to_the_far_end), np.inf)
    result = _elementary(value, in_range, a.precision)
    result.undecided = bool((inherited > to_the_far_end).any())
    return result


def sqrt(a) -> Result:
    """√a - √(a - b) = b / (√a + √(a - b)); where the operand may be 0, also what it may be beyond.

    A sum of squares is never below zero, but the difference of two numbers may be, and then a
    program finds NaN; a difference that every program finds is not.
    """
    root = np.sqrt(floats(a.value))
    below = a.bound / (root + np.sqrt(np.maximum(floats(a.value) - a.bound, 0)))
    beyond = np.maximum(root, np.sqrt(floats(a.value) + a.bound) - root)
    if a.is_difference:
        beyond = np.where(a.bound > 0, np.inf, beyond)
    inherited = np.where(a.bound < floats(a.value), below, beyond)
    return zero_stays(a, _elementary(np.sqrt(a.value), inherited, a.precision))


def power(a, n) -> Result:
    """(a + b)ⁿ - aⁿ, and n roundings: of a product of n factors, and of the result.

    Below n = 1 the farther side is (a - b)ⁿ, and a division rounds twice. Any other power is an
    elementary function, a^(n + c) / aⁿ = e^(c log a).
    """
    value, times = np.power(a.value, n.value), floats(n.value)
    share = np.where(a.bound > 0, a.bound / a.magnitude, 0.0)
    beyond, below = np.log1p(share), -np.log1p(-np.minimum(share, 1))
    whole = (times == np.floor(times)) & (n.bound == 0)
    products = np.maximum(np.abs(times) - 1, 0) + (times < 0)
    roundings = np.where(whole, products, 2 * ULPS_OF_ELEMENTARY_FUNCTIONS)
    of_rounding = roundings * np.log1p(a.precision.u)
    of_exponent = np.where(n.bound > 0, n.bound * (np.abs(np.log(a.magnitude)) + below), 0.0)
    growth = np.abs(times) * np.where(times >= 1, beyond, below) + of_exponent + of_rounding
    return rounded(value, sizes(value) * np.expm1(growth), a.precision)


def tanh(a) -> Result:
    """Between -1 and 1."""
    value = np.tanh(a.value)
    return zero_stays(a, _s_shaped(a, value, lambda x: 1 / np.cosh(x) ** 2, 1 + sizes(value)))


def sigmoid(a) -> Result:
    """Between 0 and 1."""
    value = expit(a.value)
    to_the_far_end = np.maximum(sizes(value), 1 - sizes(value))
    return _s_shaped(a, value, lambda x: expit(x) * expit(-x), to_the_far_end)


def exp(a) -> Result:
    """e^a."""
    return _elementary(np.exp(a.value), _rise_of_exp(a), a.precision)


def expm1(a) -> Result:
    """e^a - 1, which every program finds to be 0 at 0."""
    return zero_stays(a, _elementary(np.expm1(a.value), _rise_of_exp(a), a.precision))


def _rise_of_exp(a) -> np.ndarray:
    """e^(a + b) - e^a = e^(a + b) (1 - e^-b)."""
    return np.exp(floats(a.value) + a.bound) * -np.expm1(-a.bound)


def log(a) -> Result:
    """The farther side is that of a - b, which is off by -log(1 - b / a)."""
    return _elementary(np.log(a.value), _log_of_share(a.bound, floats(a.value)), a.precision)


def log1p(a) -> Result:
    """log(1 + a), which every program finds to be 0 at 0."""
    inherited = _log_of_share(a.bound, 1 + floats(a.value))
    return zero_stays(a, _elementary(np.log1p(a.value), inherited, a.precision))


def _log_of_share(bound, of):
    return np.where(bound < of, -np.log1p(-np.minimum(bound / of, 1)), np.inf)


def erfc(a) -> Result:
    """Steepest where the operand may be nearest to 0: there the slope is 2 / √π e^(-a²).

    On the far side a program computes it from e^(-a²), and rounds a² before: a relative error a² u.
    """
    value, nearest = extended_erfc(a.value), np.maximum(a.magnitude - a.bound, 0)
    inherited = a.bound * (2 / math.sqrt(math.pi)) * np.exp(-nearest * nearest)
    square = np.square(np.maximum(floats(a.value), 0))
    inherited = inherited + np.expm1(square * a.precision.u) * floats(value)
    return _elementary(value, inherited, a.precision)


def extended_erfc(values):
    """Compute erfc; of long double numbers, where SciPy has none, by balls."""
    if values.dtype != np.longdouble:
        return special.erfc(values)
    with working_precision(BITS_OF_EXTENDED_VALUES):
        return two_floats(special.erfc(balls(values)), lambda part: part.astype(np.longdouble))


def two_floats(numbers: Balls, wider: Callable):
    """Convert midpoints to a wider dtype, by the nearest float64 numbers and what they leave."""
    high = floats(numbers)
    return wider(high) + wider(floats(numbers - balls(high)))
