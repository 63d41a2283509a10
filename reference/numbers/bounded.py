"""How far may a correct program stray? Arrays of values with running error bounds.

A `Bounded` array is a value in higher precision and a bound: a correct program that computes the same formula in the
judged dtype, from inputs within their bounds, arrives within `bound` of `value`. The rules are running error analysis
(Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section 3.3) for the unit roundoff u of the dtype,
and hold for every order of evaluation:

- every operation adds u |result|, even where its own result happens to be exact; a division 2u, because compilers
  multiply by the reciprocal;
- a sum or a product of n terms adds γ(n) Σ|terms|, γ(n) = n u / (1 - n u), whatever the order (section 4.2 there), and
  nothing where all terms are exactly zero;
- an elementary function adds 8 ulp, and so does the derivative of one, which has several forms;
- a constant that is not an integer carries half an ulp;
- in 16 bits a sum or a product of matrices is accumulated in float32 and rounded once: γ(n) is that of float32, and
  u |result| comes on top; so is what depends on settings alone, until it meets a 16-bit number;
- every result may be off by the smallest normal number, and a subnormal operand may be taken for zero; nothing flushes
  a float16, whose results may be off by its smallest subnormal number;
- a result that may exceed the largest number, a partial sum included, has the bound infinity.

The values have a smaller roundoff v, and one operation parts them from a program by u + v. The analysis takes
u + 2 v, where the rest covers the rounding of the bounds themselves, which are float64. Exact arithmetic is a correct
program too, and the bound grows at least linearly with u. So the same analysis says how far `value` may be from the
exact result: `truth_bound` is 2 (v / u) bound. At a jump, or where a bound is cut off, it is not linear: there the
result is `undecided`, and `truth_bound` is the whole bound. In 16 bits u is that of float32 here, the smaller one.

At a kink the derivative jumps, and no bound says on which side of it a program is. A side is certain where the bound
leaves no doubt, and where every program finds the same number: sums, products and copies that are multiples of a power
of two, their `grid`, and fit into the significand, are exact in any order. Where it is not certain, `Kinks` counts it,
and can be told which side to take.

Where no wider float exists, the values are balls (`balls.py`), which enclose the exact result by themselves. As much
is claimed of them as of an extended precision, the rest of their bits covers the roundings here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from flint import arb
from ml_dtypes import finfo
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy.special import erfc, expit

from backproof.reference.numbers.balls import Balls, balls, floats, sizes, working_precision
from backproof.reference.numbers.constants import number_like
from backproof.reference.numbers.grids import GRIDS, lowest_bit, own_grid

ULPS_OF_ELEMENTARY_FUNCTIONS = 8
BITS_OF_EXTENDED_VALUES = 128  # where an extended precision lacks a function
UNIT_ROUNDOFF_OF_BALLS = 2.0**-64  # of balls computed with 128 bits or so


@dataclass
class Kink:
    """Numbers at a kink: where their side is uncertain, and the signs that make a difference there."""

    numbers: Bounded
    uncertain: np.ndarray
    signs: tuple[float, ...]

    @property
    def depth(self) -> int:
        """How many kinks are passed on the way to it."""
        return self.numbers.passed


class Kinks:
    """The kinks that a computation meets, in the order in which it meets them, certain ones too.

    `sides` tells which signs to take at a kink, the how-manieth it is; none without it. What is taken is exact.
    """

    def __init__(self, sides: Callable[[int, Kink], np.ndarray | float | None] = lambda *_: None):
        self.met: list[Kink] = []
        self.sides = sides

    def meet(self, kink: Kink) -> np.ndarray | float | None:
        """The signs to take there. The same numbers are the same kink."""
        places = [place for place, seen in enumerate(self.met) if seen.numbers is kink.numbers]
        place = places[0] if places else len(self.met)
        if not places:
            self.met.append(kink)
        return self.sides(place, kink)


@dataclass(frozen=True)
class Precision:
    """The judged dtype, and the kind of number that carries the values: how to make it, and its unit roundoff."""

    dtype: np.dtype
    wider: Callable[[np.ndarray], Any]
    wider_u: float
    kinks: Kinks | None = field(default=None, compare=False)

    @cached_property
    def u(self) -> float:
        """Unit roundoff, half the distance from 1 to the next number; and on top twice that of the values."""
        return float(finfo(self.dtype).eps) / 2 + 2 * self.wider_u

    @cached_property
    def smallest(self) -> float:
        """What an underflow may cost: the smallest normal number, because XLA flushes.

        Nothing flushes a float16. It is half a step off by its own rounding, and half by that of a part: the derivative
        of softsign is a difference of two in some programs.
        """
        info = finfo(self.dtype)
        return float(info.smallest_subnormal if self.dtype == np.float16 else info.smallest_normal)

    @cached_property
    def significand(self) -> float:
        """2ᵖ for p bits: the whole numbers up to it are numbers of the dtype."""
        return 2.0 / float(finfo(self.dtype).eps)

    @cached_property
    def largest(self) -> float:
        """The largest finite number."""
        return float(finfo(self.dtype).max)

    @cached_property
    def accumulator(self) -> Precision:
        """What sums are added up in before they are rounded: float32 at least."""
        return replace(self, dtype=np.dtype(np.float32)) if self.dtype.itemsize < 4 else self

    def gamma(self, n: int) -> float:
        """γ(n) = n u / (1 - n u), infinite where n u reaches 1."""
        return n * self.u / (1 - n * self.u) if n * self.u < 1 else np.inf


def precision_of(dtype: np.dtype) -> Precision:
    """float64 for float32 and 16 bits, long double for float64, and balls where long double is no wider than that."""
    eps = float(finfo(dtype).eps)
    wider = next((wide for wide in (np.float64, np.longdouble) if np.finfo(wide).eps < eps / 256), None)
    if wider is None:
        return Precision(np.dtype(dtype), balls, UNIT_ROUNDOFF_OF_BALLS)
    return Precision(np.dtype(dtype), lambda values: values.astype(wider), float(np.finfo(wider).eps) / 2)


IN_BALLS = Precision(np.dtype(np.float64), balls, UNIT_ROUNDOFF_OF_BALLS)
PARTS = ("value", "bound", "magnitude")


class Bounded(NDArrayOperatorsMixin):
    """Values of a wider dtype (`value`) and how far a correct program may stray from each (`bound`, float64).

    `terms` is set on a sum that may go on, to (how many terms, Σ|terms|): a bias that is added to a product may as well
    have been its first term. `is_difference` is set where two numbers were subtracted. `undecided` is set where even
    the values may lie on the wrong side of a jump. `passed` counts the kinks on the way to it.
    """

    passed: int = 0
    parents: tuple[Bounded, ...] = ()
    terms: tuple[int, Any] | None = None
    is_difference: bool = False
    find_grid: Callable[[Bounded], np.ndarray] | None = None

    def __init__(self, value, bound, precision: Precision, *, magnitude=None, undecided: bool = False):
        self.value, self.bound, self.precision, self.undecided = value, bound, precision, undecided
        self.magnitude = sizes(value) if magnitude is None else magnitude

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if (ufunc, method) not in RULES:
            return NotImplemented
        precision = max((part.precision for part in inputs if isinstance(part, Bounded)), key=lambda kind: kind.u)
        operands = [_bounded(operand, precision) for operand in inputs]
        with np.errstate(all="ignore"):
            result = RULES[ufunc, method](*operands, **options)
        result.undecided |= any(operand.undecided for operand in operands)
        result.passed += max(operand.passed for operand in operands)
        if rule := GRIDS.get((ufunc, method)):
            result.find_grid = lambda result: rule(result, *operands, **options)
            result.parents = tuple(operands)
        return result

    def __array_function__(self, function, _, arguments, options):
        if function is not np.concatenate:
            return NotImplemented
        (parts,) = arguments
        value, bound, magnitude = (np.concatenate([getattr(part, of) for part in parts], **options) for of in PARTS)
        undecided = any(part.undecided for part in parts)
        joined = Bounded(value, bound, self.precision, magnitude=magnitude, undecided=undecided)
        joined.find_grid = lambda _: np.concatenate([own_grid(part) for part in parts], **options)
        joined.parents, joined.passed = tuple(parts), max(part.passed for part in parts)
        return joined

    def __getitem__(self, index) -> Bounded:
        return self._rearranged(lambda array: array[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.value.shape

    @property
    def mT(self) -> Bounded:  # noqa: N802, NumPy's name
        """The matrix transpose."""
        return self._rearranged(lambda array: array.mT)

    def _rearranged(self, arrange: Callable) -> Bounded:
        value, bound, magnitude = (arrange(getattr(self, part)) for part in PARTS)
        result = Bounded(value, bound, self.precision, magnitude=magnitude, undecided=self.undecided)
        result.find_grid, result.parents, result.passed = lambda _: arrange(own_grid(self)), (self,), self.passed
        return result

    @cached_property
    def grid(self) -> np.ndarray:
        """A power of two that divides each number as every program finds it, and the terms of a sum that may go on.

        0 where programs may find different numbers, infinity for a 0 that nothing was added up to. What it rests on is
        found first, one after the other: a network may be deeper than Python's calls.
        """
        waiting = [self]
        while waiting:
            missing = [parent for parent in waiting[-1].parents if "grid" not in vars(parent)]
            waiting += missing
            if not missing:
                number = waiting.pop()
                with np.errstate(all="ignore"):
                    grid = np.zeros(number.shape) if number.find_grid is None else number.find_grid(number)
                vars(number)["grid"] = grid
        return grid

    @property
    def is_zero(self) -> np.ndarray:
        """Where a number is 0 without error, so that every program finds 0."""
        return (self.magnitude == 0) & (self.bound == 0)

    @property
    def truth_bound(self) -> np.ndarray:
        """How far `value` may be from the exact result."""
        return self.bound if self.undecided else 2 * self.precision.wider_u / self.precision.accumulator.u * self.bound

    @property
    def allowance(self) -> np.ndarray:
        """How far from the exact result a correct program may be.

        It is within bound of `value`, so |actual - value| + truth bound is at most this.
        """
        return self.bound + self.truth_bound

    def constant(self, enclosure: Callable[[], arb]) -> Bounded:
        """A number that no float holds, rounded once by every program; to 16 bits where it meets such a number."""
        with working_precision(BITS_OF_EXTENDED_VALUES):
            value = _two_floats(balls(np.array(enclosure(), dtype=object)), self.precision.wider)
        return _rounded(value, 0.0, self.precision.accumulator)

    def flushed_with(self, factor: float | Bounded) -> Bounded:
        """The same numbers, and so much farther off as a flushed product with the factor is."""
        factor = floats(factor.value) if isinstance(factor, Bounded) else factor
        bound = self.bound + self.precision.smallest / factor
        return Bounded(self.value, bound, self.precision, magnitude=self.magnitude, undecided=self.undecided)

    def in_float64(self, formula: Callable, t, *settings: float) -> Bounded:
        """A number of t and some settings that every program computes in float64 and rounds once."""
        double = precision_of(np.dtype(np.float64))
        t = exact(np.asarray(t, np.float64), double)
        result = formula(t, *(number_like(t, value) for value in settings))
        if self.precision.dtype == np.float64:
            return result
        return _rounded(self.precision.wider(result.value), result.bound, self.precision)

    def by_any_form(self, forms: tuple[Callable, ...]):
        """The first formula's result, and as far off as the farthest of those that programs compute it by."""
        return _farthest(*(form() for form in forms))

    def sum(self, axis, *, keepdims: bool = False) -> Bounded:
        """The sum over one or more axes."""
        return np.add.reduce(self, axis=axis, keepdims=keepdims)


def exact(values: np.ndarray, precision: Precision) -> Bounded:
    """Numbers that are given: without error, but where they are subnormal they may be taken for zero."""
    size = sizes(values)
    given = Bounded(precision.wider(values), np.where(size < precision.smallest, size, 0), precision, magnitude=size)
    given.find_grid = lambda given: np.where(given.bound == 0, lowest_bit(given.value), 0)
    return given


def _farthest(first, *others):
    """The first result's values with the largest bound of all; a result may be a tuple of results."""
    if not others:
        return first
    if isinstance(first, tuple):
        return tuple(_farthest(*parts) for parts in zip(first, *others, strict=True))
    bound = np.maximum.reduce([result.bound for result in (first, *others)])
    undecided = any(result.undecided for result in (first, *others))
    farthest = Bounded(first.value, bound, first.precision, magnitude=first.magnitude, undecided=undecided)
    farthest.passed = first.passed
    return farthest


def _bounded(operand: Bounded | float, precision: Precision) -> Bounded:
    if isinstance(operand, Bounded):
        same = operand.precision.dtype == precision.dtype
        return operand if same else _zero_stays(operand, _rounded(operand.value, operand.bound, precision))
    operand = np.asarray(operand, np.float64)
    rounded = _rounded(precision.wider(operand), 0.0, precision)
    integer = (operand == np.floor(operand)) & (abs(operand) * precision.u < 1)
    constant = Bounded(rounded.value, np.where(integer, 0.0, rounded.bound), precision)
    constant.find_grid = lambda _: np.where(operand.astype(precision.dtype) == operand, lowest_bit(operand), 0)
    return constant


def _rounded(value, inherited, precision: Precision, roundings: float | np.ndarray = 1) -> Bounded:
    """A result that inherits an error from its operands and is rounded so many times."""
    magnitude = sizes(value)
    bound = inherited + roundings * precision.u * (magnitude + inherited) + precision.smallest
    return _within_range(value, magnitude, bound, precision)


def _zero_stays(a: Bounded, result: Bounded) -> Bounded:
    """Every program finds 0 for what is exactly 0, divided, rounded, or by a function that is 0 there."""
    if (zero := a.is_zero).any():
        result.bound = np.where(zero & np.isfinite(result.bound), 0.0, result.bound)
    return result


def _added(value, inherited, precision: Precision) -> Bounded:
    """A sum or difference of two numbers; where both are without error and it is 0, every program finds 0."""
    result = _rounded(value, inherited, precision)
    result.bound = np.where((result.magnitude == 0) & (inherited == 0), 0.0, result.bound)
    return result


def _summed(value, inherited, n: int, magnitude, precision: Precision) -> Bounded:
    """A sum of n rounded terms, in any order, whose magnitudes add up to `magnitude`; a sum of zeros is 0."""
    inner = precision.accumulator
    bound = inherited + inner.gamma(n) * magnitude + n * inner.smallest
    bound = np.where(magnitude > inner.largest, np.inf, bound)
    if inner is precision:
        result = _within_range(value, sizes(value), bound, precision)
    else:
        result = _rounded(value, bound, precision)
    result.bound = np.where(magnitude == 0, 0.0, result.bound)
    result.terms = (n, magnitude)
    return result


def _within_range(value, magnitude, bound, precision: Precision) -> Bounded:
    bound = np.where(magnitude + bound > precision.largest, np.inf, bound)
    return Bounded(value, bound, precision, magnitude=magnitude)


# ---------------------------------------------------------------- arithmetic


def _is_nothing(a: Bounded, b: Bounded) -> bool:
    """Zeros without error, no more of them than b has numbers: every program finds b where they are added."""
    return a.shape in ((), b.shape) and bool(a.is_zero.all())


def _add(a: Bounded, b: Bounded) -> Bounded:
    if b.terms is None and _is_nothing(a, b):
        return Bounded(b.value, b.bound, b.precision, magnitude=b.magnitude)
    value, inherited = a.value + b.value, a.bound + b.bound
    if a.terms is None and b.terms is None:
        return _added(value, inherited, a.precision)
    (n, some), (m, others) = a.terms or _one_term(a), b.terms or _one_term(b)
    return _summed(value, inherited, n + m, some + others, a.precision)


def _one_term(a: Bounded) -> tuple[int, np.ndarray]:
    return 1, a.magnitude + a.bound


def _subtract(a: Bounded, b: Bounded) -> Bounded:
    if _is_nothing(a, b):
        return -b
    result = _added(a.value - b.value, a.bound + b.bound, a.precision)
    result.is_difference = True
    return result


def _multiply(a: Bounded, b: Bounded) -> Bounded:
    inherited = a.magnitude * b.bound + a.bound * (b.magnitude + b.bound)
    flushed_part = 2 * a.precision.smallest  # (a + a y) (1 - y) for a (1 - y²), where a y may be flushed, |1 - y| <= 2
    result = _rounded(a.value * b.value, inherited + flushed_part, a.precision)
    if (zero := ((a.magnitude + a.bound == 0) | (b.magnitude + b.bound == 0)) & (inherited == 0)).any():
        result.bound = np.where(zero, 0.0, result.bound)  # every program finds 0
    return result


def _divide(a: Bounded, b: Bounded) -> Bounded:
    value = a.value / b.value
    nearest_to_zero = b.magnitude - b.bound
    inherited = (a.bound + sizes(value) * b.bound) / nearest_to_zero
    flushed_reciprocal = (a.magnitude + a.bound) * a.precision.smallest
    inherited = np.where(nearest_to_zero > 0, inherited + flushed_reciprocal, np.inf)
    return _zero_stays(a, _rounded(value, inherited, a.precision, roundings=2))


def _square(a: Bounded) -> Bounded:
    return _multiply(a, a)


def _negative(a: Bounded) -> Bounded:
    return Bounded(-a.value, a.bound, a.precision)


def _sum(a: Bounded, **axes) -> Bounded:
    value = a.value.sum(**axes)
    n = a.value.size // max(value.size, 1)
    return _summed(value, a.bound.sum(**axes), n, (a.magnitude + a.bound).sum(**axes), a.precision)


def _largest(a: Bounded, **axes) -> Bounded:
    """A copy of one of the numbers; whichever it is, it strays no farther than the least certain of them."""
    return Bounded(np.maximum.reduce(a.value, **axes), np.maximum.reduce(a.bound, **axes), a.precision)


def _absolute(a: Bounded) -> Bounded:
    return Bounded(np.abs(a.value), a.bound, a.precision)


def _product(a, b):
    """a @ b; in long double row by column, which is three times as fast as NumPy's loop for matmul."""
    if a.dtype != np.longdouble:
        return a @ b
    return np.vecdot(np.ascontiguousarray(a)[..., :, None, :], np.ascontiguousarray(b.mT)[..., None, :, :])


def _matmul(a: Bounded, b: Bounded) -> Bounded:
    magnitude, inherited = a.magnitude @ b.magnitude, 0.0
    if a.bound.any() or b.bound.any():
        inherited = a.magnitude @ b.bound + a.bound @ (b.magnitude + b.bound)
    return _summed(_product(a.value, b.value), inherited, a.shape[-1], magnitude + inherited, a.precision)


# ---------------------------------------------------------------- elementary functions


def _elementary(value, inherited, precision: Precision) -> Bounded:
    """8 ulp: an ulp is at most 2 u |value|."""
    return _rounded(value, inherited, precision, roundings=2 * ULPS_OF_ELEMENTARY_FUNCTIONS)


def _positive(a: Bounded) -> Bounded:
    """A value that is an elementary function, by whichever formula a program computes it (`layers.elementary`)."""
    return _elementary(a.value, a.bound, a.precision)


def _s_shaped(a: Bounded, value, slope: Callable, to_the_far_end) -> Bounded:
    """No result strays farther than to the other end of the range, unless the operand may be infinite or NaN."""
    if not a.bound.any():
        return _elementary(value, 0.0, a.precision)
    steepest = slope(np.maximum(a.magnitude - a.bound, 0))
    inherited = a.bound * steepest
    in_range = np.where(np.isfinite(inherited), np.minimum(inherited, to_the_far_end), np.inf)
    result = _elementary(value, in_range, a.precision)
    result.undecided = bool((inherited > to_the_far_end).any())
    return result


def _sqrt(a: Bounded) -> Bounded:
    """√a - √(a - b) = b / (√a + √(a - b)); where the operand may be 0, also what it may be beyond.

    A sum of squares is never below zero, but the difference of two numbers may be, and then a program finds NaN; a
    difference that every program finds is not.
    """
    root = np.sqrt(floats(a.value))
    below = a.bound / (root + np.sqrt(np.maximum(floats(a.value) - a.bound, 0)))
    beyond = np.maximum(root, np.sqrt(floats(a.value) + a.bound) - root)
    if a.is_difference:
        beyond = np.where(a.bound > 0, np.inf, beyond)
    return _zero_stays(
        a, _elementary(np.sqrt(a.value), np.where(a.bound < floats(a.value), below, beyond), a.precision)
    )


def _power(a: Bounded, n: Bounded) -> Bounded:
    """(a + b)ⁿ - aⁿ, and n roundings, as many as a product of n factors and the rounded result have.

    Below n = 1 the farther side is (a - b)ⁿ, and a division rounds twice. Any other power is an elementary function,
    a^(n + c) / aⁿ = e^(c log a).
    """
    value, times = np.power(a.value, n.value), floats(n.value)
    share = np.where(a.bound > 0, a.bound / a.magnitude, 0.0)
    beyond, below = np.log1p(share), -np.log1p(-np.minimum(share, 1))
    whole = (times == np.floor(times)) & (n.bound == 0)
    products = np.maximum(np.abs(times) - 1, 0) + (times < 0)
    rounded = np.where(whole, products, 2 * ULPS_OF_ELEMENTARY_FUNCTIONS) * np.log1p(a.precision.u)
    of_exponent = np.where(n.bound > 0, n.bound * (np.abs(np.log(a.magnitude)) + below), 0.0)
    growth = np.abs(times) * np.where(times >= 1, beyond, below) + of_exponent + rounded
    return _rounded(value, sizes(value) * np.expm1(growth), a.precision)


def _tanh(a: Bounded) -> Bounded:
    value = np.tanh(a.value)
    return _zero_stays(a, _s_shaped(a, value, lambda x: 1 / np.cosh(x) ** 2, 1 + sizes(value)))


def _expit(a: Bounded) -> Bounded:
    value = expit(a.value)
    to_the_far_end = np.maximum(sizes(value), 1 - sizes(value))
    return _s_shaped(a, value, lambda x: expit(x) * expit(-x), to_the_far_end)


def _exp(a: Bounded) -> Bounded:
    return _elementary(np.exp(a.value), _rise_of_exp(a), a.precision)


def _expm1(a: Bounded) -> Bounded:
    return _zero_stays(a, _elementary(np.expm1(a.value), _rise_of_exp(a), a.precision))


def _rise_of_exp(a: Bounded) -> np.ndarray:
    """e^(a + b) - e^a = e^(a + b) (1 - e^-b)."""
    return np.exp(floats(a.value) + a.bound) * -np.expm1(-a.bound)


def _log(a: Bounded) -> Bounded:
    """log a - log(a - b) = -log(1 - b / a), the farther side."""
    return _elementary(np.log(a.value), _log_of_share(a.bound, floats(a.value)), a.precision)


def _log1p(a: Bounded) -> Bounded:
    return _zero_stays(a, _elementary(np.log1p(a.value), _log_of_share(a.bound, 1 + floats(a.value)), a.precision))


def _log_of_share(bound, of):
    return np.where(bound < of, -np.log1p(-np.minimum(bound / of, 1)), np.inf)


def _erfc(a: Bounded) -> Bounded:
    """Steepest where the operand may be nearest to 0: there the slope is 2 / √π e^(-a²).

    On the far side a program computes it from e^(-a²), and rounds a² before: a relative error a² u.
    """
    value, nearest = extended_erfc(a.value), np.maximum(a.magnitude - a.bound, 0)
    inherited = a.bound * (2 / math.sqrt(math.pi)) * np.exp(-nearest * nearest)
    rounded_square = np.expm1(np.square(np.maximum(floats(a.value), 0)) * a.precision.u) * floats(value)
    return _elementary(value, inherited + rounded_square, a.precision)


def extended_erfc(values):
    """SciPy has none for long double."""
    if values.dtype != np.longdouble:
        return erfc(values)
    with working_precision(BITS_OF_EXTENDED_VALUES):
        return _two_floats(erfc(balls(values)), lambda part: part.astype(np.longdouble))


def _two_floats(numbers: Balls, wider: Callable):
    """The midpoints in a wider dtype, which holds what is left of them beside the nearest float64 numbers."""
    high = floats(numbers)
    return wider(high) + wider(floats(numbers - balls(high)))


def _maximum(a: Bounded, b: Bounded) -> Bounded:
    """A copy of the larger one, and where that is not certain as far off as either may be."""
    ahead = floats(a.value - b.value)
    bound = np.where(
        np.abs(ahead) > a.bound + b.bound, np.where(ahead > 0, a.bound, b.bound), np.maximum(a.bound, b.bound)
    )
    return Bounded(np.maximum(a.value, b.value), bound, a.precision)


def _minimum(a: Bounded, b: Bounded) -> Bounded:
    return -_maximum(-a, -b)


# ---------------------------------------------------------------- kinks


def _heaviside(a: Bounded, at_zero: Bounded) -> Bounded:
    """0 or 1, and `at_zero` at 0; anything between where the side is not certain, unless it is told which to take."""
    return _at_kink(a, lambda sign: np.heaviside(sign, floats(at_zero.value)))


def _sign(a: Bounded) -> Bounded:
    """-1, 0 or 1, likewise."""
    return _at_kink(a, np.positive)


def _at_kink(a: Bounded, of_sign: Callable) -> Bounded:
    """What the sign of a number decides; of a ball its midpoint does.

    It is uncertain where x may have either sign or be flushed to zero, unless every program finds the same x.
    """
    signs, unknown = np.sign(floats(a.value)), 0.0
    uncertain = ((a.magnitude <= a.bound) | (a.magnitude < a.precision.smallest)) & ~((signs == 0) & (a.bound == 0))
    if uncertain.any():
        uncertain &= a.grid == 0
    undecided = bool((uncertain & (a.magnitude <= a.truth_bound)).any())
    of_signs = {float(of_sign(sign)): sign for sign in (-1.0, 0.0, 1.0)}
    kinks = a.precision.kinks
    taken = kinks.meet(Kink(a, uncertain, tuple(of_signs.values()))) if kinks else None
    if taken is not None:
        signs, undecided = np.where(uncertain, taken, signs), False
    elif uncertain.any():
        unknown = np.where(uncertain, max(of_signs) - min(of_signs), 0.0)
    bound = np.where(np.isfinite(a.bound), unknown, np.inf)
    result = Bounded(a.precision.wider(of_sign(signs)), bound, a.precision, undecided=undecided)
    result.passed = 1
    return result


RULES = {
    (np.add, "__call__"): _add,
    (np.add, "reduce"): _sum,
    (np.subtract, "__call__"): _subtract,
    (np.multiply, "__call__"): _multiply,
    (np.divide, "__call__"): _divide,
    (np.square, "__call__"): _square,
    (np.negative, "__call__"): _negative,
    (np.matmul, "__call__"): _matmul,
    (np.positive, "__call__"): _positive,
    (np.tanh, "__call__"): _tanh,
    (expit, "__call__"): _expit,
    (np.exp, "__call__"): _exp,
    (np.expm1, "__call__"): _expm1,
    (np.log, "__call__"): _log,
    (np.log1p, "__call__"): _log1p,
    (erfc, "__call__"): _erfc,
    (np.sqrt, "__call__"): _sqrt,
    (np.power, "__call__"): _power,
    (np.absolute, "__call__"): _absolute,
    (np.maximum, "__call__"): _maximum,
    (np.maximum, "reduce"): _largest,
    (np.minimum, "__call__"): _minimum,
    (np.heaviside, "__call__"): _heaviside,
    (np.sign, "__call__"): _sign,
}
