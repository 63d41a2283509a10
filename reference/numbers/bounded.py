"""How far may a correct program stray? Arrays of values with running error bounds.

A `Bounded` array is a value in higher precision and a bound: a correct program that computes the
same formula in the judged dtype, from inputs within their bounds, arrives within `bound` of
`value`. The rules are running error analysis (Higham, *Accuracy and Stability of Numerical
Algorithms*, 2nd ed., section 3.3) for the unit roundoff u of the dtype, and hold for every order of
evaluation:

- every operation adds u |result|, even where its own result happens to be exact; a division 2u,
  because compilers multiply by the reciprocal;
- a sum or a product of n terms adds γ(n) Σ|terms|, γ(n) = n u / (1 - n u), whatever the order
  (section 4.2 there), and nothing where all terms are exactly zero;
- an elementary function adds 8 ulp, and so does the derivative of one, which has several forms;
- a constant that is not an integer carries half an ulp;
- what only moves numbers changes nothing that is known of them;
- in 16 bits a sum or a product of matrices is accumulated in float32 and rounded once: γ(n) is that
  of float32, and u |result| comes on top; so is what depends on settings alone, until it meets a
  16-bit number;
- every result may be off by the smallest normal number, and a subnormal operand may be taken for
  zero; nothing flushes a float16, whose results may be off by its smallest subnormal number;
- a result that may exceed the largest number, a partial sum included, has the bound infinity.

The values have a smaller roundoff v, and one operation parts them from a program by u + v. The
analysis takes u + 2 v, where the rest covers the rounding of the bounds themselves, which are
float64. Exact arithmetic is a correct program too, and the bound grows at least linearly with u. So
the same analysis says how far `value` may be from the exact result: `truth_bound` is 2 (v / u)
bound. At a jump, or where a bound is cut off, it is not linear: there the result is `undecided`,
and `truth_bound` is the whole bound. In 16 bits u is that of float32 here, the smaller one.

At a kink the derivative jumps, and no bound says on which side of it a program is. A side is
certain where the bound leaves no doubt, and where every program finds the same number: sums,
products and copies that are multiples of a power of two, their `grid`, and fit into the
significand, are exact in any order. Where it is not certain, `Kinks` counts it, and can be told
which side to take.

Where no wider float exists, the values are balls (`balls.py`), which enclose the exact result by
themselves. As much is claimed of them as of an extended precision, the rest of their bits covers
the roundings here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from flint import arb
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy.special import erfc, expit

from backproof.reference.numbers import functions, rules, sides
from backproof.reference.numbers.balls import balls, floats, sizes, working_precision
from backproof.reference.numbers.functions import BITS_OF_EXTENDED_VALUES, two_floats
from backproof.reference.numbers.grids import GRIDS, lowest_bit
from backproof.reference.numbers.moves import Move
from backproof.reference.numbers.precision import Precision, precision_of
from backproof.reference.numbers.protocol import number_like
from backproof.reference.numbers.rules import Result, rounded, zero_stays
from backproof.reference.numbers.sums import Movable, is_beyond


class Bounded(Movable, NDArrayOperatorsMixin):
    """Values of a wider dtype, with the bound (float64) of what a program may stray from each.

    `terms` is set on a sum that may go on, to (how many terms, Σ|terms|): a bias that is added to a
    product may as well have been its first term. `is_difference` is set where two numbers were
    subtracted. `undecided` is set where even the values may lie on the wrong side of a jump.
    `passed` counts the kinks on the way to it. `alike` says in how many numbers of a step one
    rounding is, in the mean; infinity where one leans to a side by itself, as that of a function.
    """

    rank = 1
    passed: int = 0
    parents: tuple[Bounded, ...] = ()
    terms: tuple[int | np.ndarray, Any] | None = None
    is_difference: bool = False
    alike: float = 1.0
    find_grid: Callable[[Bounded], np.ndarray] | None = None

    def __init__(
        self, value, bound, precision: Precision, *, magnitude=None, undecided: bool = False
    ):
        self.value, self.bound, self.precision, self.undecided = value, bound, precision, undecided
        self.magnitude = sizes(value) if magnitude is None else magnitude

    # ------------------------------------------------------------ operations

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if (ufunc, method) not in RULES or is_beyond(Bounded, map(type, inputs)):
            return NotImplemented
        return self._by_rule((ufunc, method), inputs, options)

    def _by_rule(self, rule: tuple, operands: tuple, options: dict) -> Bounded:
        precision = _coarsest(operands)
        operands = tuple(_bounded(operand, precision) for operand in operands)
        with np.errstate(all="ignore"):
            result = _with(RULES[rule](*operands, **options), precision)
        result.undecided |= any(operand.undecided for operand in operands)
        result.passed += max(operand.passed for operand in operands)
        result.alike = _alike(rule, operands, result)
        if grid := GRIDS.get(rule):
            result.find_grid = lambda result: grid(result, *operands, **options)
            result.parents = operands
        return result

    def elementary(self) -> Bounded:
        """See `protocol.py`, and so for all hints."""
        return self._by_rule(("elementary", "method"), (self,), {})

    def in_any_order(self) -> Bounded:
        """Let a sum go on from it."""
        return self.sum(axis=())

    def first_largest(self, axis: int) -> Bounded:
        """Return 1 at the first largest number along an axis, else 0."""
        return self._by_rule(("first_largest", "method"), (self,), {"axis": axis})

    def scatter_add(self, *how) -> Bounded:
        """Add up what meets at each place (`sums.py`)."""
        return self._by_rule(("scatter_add", "method"), (self,), {"how": how})

    def constant(self, enclosure: Callable[[], arb]) -> Bounded:
        """Round a number that no float holds once; to 16 bits where it meets such a number."""
        with working_precision(BITS_OF_EXTENDED_VALUES):
            value = two_floats(balls(np.array(enclosure(), dtype=object)), self.precision.wider)
        precision = self.precision.accumulator
        return _sharing(_with(rounded(value, 0.0, precision), precision))

    def flushed_with(self, factor: float | Bounded) -> Bounded:
        """Return the same numbers, farther off by what a flushed product with the factor costs."""
        size = floats(factor.value) if isinstance(factor, Bounded) else factor
        bound = self.bound + self.precision.smallest / size
        return self._farther(bound, undecided=self.undecided)

    def in_float64(self, formula: Callable, t, *settings: float) -> Bounded:
        """Compute a number of t and some settings in float64, and round it once."""
        double = precision_of(np.dtype(np.float64))
        t = exact(np.asarray(t, np.float64), double)
        result = formula(t, *(number_like(t, value) for value in settings))
        if self.precision.dtype == np.float64:
            return _sharing(result)
        value = self.precision.wider(result.value)
        return _sharing(_with(rounded(value, result.bound, self.precision), self.precision))

    def by_any_form(self, forms: tuple[Callable, ...]):
        """Compute the first form, as far off as the farthest of all."""
        return _farthest(*(form() for form in forms))

    def _farther(self, bound, *, undecided: bool) -> Bounded:
        """Return the values with another bound, and without what they were made of."""
        result = Bounded(self.value, bound, self.precision, magnitude=self.magnitude)
        result.undecided, result.passed, result.alike = undecided, self.passed, self.alike
        return result

    def moved(self, move: Move) -> Bounded:
        """Move numbers with all that is known of them; where several are joined, the safe side.

        That is: undecided, a difference, or behind a kink if one of them is; and a sum that may go
        on if one of them is, where each number of the others is one term.
        """
        precision = _coarsest(move.numbers)
        numbers = tuple(_bounded(number, precision) for number in move.numbers)
        value, bound, magnitude = (
            move.make([getattr(number, part) for number in numbers], 0)
            for part in ("value", "bound", "magnitude")
        )
        moved = Bounded(value, bound, precision, magnitude=magnitude)
        moved.undecided = any(number.undecided for number in numbers)
        moved.is_difference = any(number.is_difference for number in numbers)
        moved.passed = max(number.passed for number in numbers)
        spread = any(_spreads(number, moved.size) for number in numbers)
        moved.alike = np.inf if spread else max(number.alike for number in numbers)
        if any(number.terms for number in numbers):
            moved.terms = _moved_terms(move, numbers)
        moved.find_grid = lambda _: move.make([number.grid for number in numbers], np.inf)
        moved.parents = numbers
        return moved

    # ------------------------------------------------------------ what is known

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.value.shape

    @cached_property
    def grid(self) -> np.ndarray:
        """A power of two that divides each number, and the terms of a sum that may go on.

        It is 0 where programs may find different numbers, infinity for a 0 that nothing was added
        up to. What it rests on is found first, one after the other: a network may be deeper than
        Python's calls.
        """
        waiting = [self]
        while waiting:
            missing = [parent for parent in waiting[-1].parents if "grid" not in vars(parent)]
            waiting += missing
            if not missing:
                number = waiting.pop()
                with np.errstate(all="ignore"):
                    grid = number.find_grid(number) if number.find_grid else np.zeros(number.shape)
                vars(number)["grid"] = grid
        return grid

    @property
    def is_zero(self) -> np.ndarray:
        """Where a number is 0 without error, so that every program finds 0."""
        return (self.magnitude == 0) & (self.bound == 0)

    @property
    def truth_bound(self) -> np.ndarray:
        """How far `value` may be from the exact result."""
        if self.undecided:
            return self.bound
        return 2 * self.precision.wider_u / self.precision.accumulator.u * self.bound

    @property
    def allowance(self) -> np.ndarray:
        """How far from the exact result a correct program may be.

        It is within bound of `value`, so |actual - value| + truth bound is at most this.
        """
        return self.bound + self.truth_bound

    def remember(self, key: tuple, find: Callable):
        """Return what `find` gave when it was asked for first."""
        known = vars(self).setdefault("known", {})
        return known[key] if key in known else known.setdefault(key, find())


def exact(values: np.ndarray, precision: Precision) -> Bounded:
    """Take numbers as given: without error, but subnormal ones may be taken for zero."""
    size = sizes(values)
    bound = np.where(size < precision.smallest, size, 0)
    given = Bounded(precision.wider(values), bound, precision, magnitude=size)
    given.find_grid = lambda given: np.where(given.bound == 0, lowest_bit(given.value), 0)
    return given


def rounded_to(number: Bounded, precision: Precision) -> Bounded:
    """Round a number once more, to another dtype; one that every program finds as it is stays."""
    if number.precision.dtype == precision.dtype:
        return number
    with np.errstate(all="ignore"):
        result = _bounded(number, precision)
        nearest = floats(number.value).astype(precision.dtype)
    stays = (number.bound == 0) & (nearest == floats(number.value))
    result.bound = np.where(stays, 0.0, result.bound)
    return result


# ---------------------------------------------------------------- made of others


def _coarsest(numbers) -> Precision:
    precisions = [number.precision for number in numbers if isinstance(number, Bounded)]
    return max(precisions, key=lambda precision: precision.u)


def _with(result: Result, precision: Precision) -> Bounded:
    """Make a number of this precision of a rule's result."""
    number = Bounded(result.value, result.bound, precision, magnitude=result.magnitude)
    vars(number).update(vars(result))
    return number


def _bounded(operand: Bounded | float, precision: Precision) -> Bounded:
    """Bring an operand to the precision of the operation: as it is, rounded, or a constant."""
    if isinstance(operand, Bounded):
        if operand.precision.dtype == precision.dtype:
            return operand
        result = rounded(operand.value, operand.bound, precision)
        brought = _with(zero_stays(operand, result), precision)
        brought.alike = operand.alike
        return brought
    number = np.asarray(operand, np.float64)
    once = rounded(precision.wider(number), 0.0, precision)
    integer = (number == np.floor(number)) & (abs(number) * precision.u < 1)
    constant = Bounded(once.value, np.where(integer, 0.0, once.bound), precision)
    is_exact = number.astype(precision.dtype) == number
    constant.alike = 1.0 if is_exact.all() else np.inf
    constant.find_grid = lambda _: np.where(is_exact, lowest_bit(number), 0)
    return constant


def _alike(rule: tuple, operands: tuple[Bounded, ...], result: Bounded) -> float:
    """Return in how many numbers of a step a rounding is, of this operation or of one before.

    It can't be told, infinity, where an operand that is rounded meets several numbers (a factor of
    them all, a sum in a product of matrices), where all are divided by a number whose reciprocal is
    rounded, of a function, and of what is computed of settings. Else it is how often numbers that
    are rounded are equal.
    """
    smaller = operands[1:] if rule == (np.divide, "__call__") else ()
    cannot_be_told = (
        rule in FUNCTIONS
        or not result.shape
        or any(_spreads(operand, result.size) for operand in operands)
        or (rule == (np.matmul, "__call__") and any(operand.bound.any() for operand in operands))
        or any(one.size < result.size and not _is_power_of_two(one) for one in smaller)
    )
    before = max(operand.alike for operand in operands)
    if cannot_be_told or before == np.inf or not result.bound.any():
        return np.inf if cannot_be_told else before
    if rule == (np.matmul, "__call__"):
        # The product of two numbers of 16 bits is exact in float32.
        is_wide = result.precision.accumulator is result.precision
        return max([before, *map(_times_there, operands if is_wide else ())])
    return max(before, _times_there(result))


def _is_power_of_two(number: Bounded) -> bool:
    return bool((np.frexp(number.magnitude)[0] == 0.5).all())


def _times_there(number: Bounded) -> float:
    """Count how often a number of the first step is there, in the mean over all of them.

    Numbers that are the double of others have the same roundings, and 0 has none.
    """
    with np.errstate(over="ignore"):  # beyond float64 all are alike
        significands = np.frexp(np.abs(floats(number.value[:1])))[0]
    _, times = np.unique(significands[significands > 0], return_counts=True)
    return float(np.square(times).sum() / times.sum()) if times.size else 1.0


def _spreads(operand: Bounded, size: int) -> bool:
    """Tell whether a number that is rounded is in several of so many; a given constant is not."""
    return operand.size < size and operand.ndim > 0 and bool(operand.bound.any())


def _sharing(number: Bounded) -> Bounded:
    """Return a number that depends on settings alone, and is rounded for all that it meets."""
    number.alike = np.inf
    return number


def _farthest(first, *others):
    """Return the first result with the largest bound of all; a result may be a tuple of them."""
    if not others:
        return first
    if isinstance(first, tuple):
        return tuple(_farthest(*parts) for parts in zip(first, *others, strict=True))
    bound = np.maximum.reduce([result.bound for result in (first, *others)])
    undecided = any(result.undecided for result in (first, *others))
    return first._farther(bound, undecided=undecided)  # noqa: SLF001


def _moved_terms(move: Move, numbers: tuple[Bounded, ...]) -> tuple[int | np.ndarray, np.ndarray]:
    """Count the terms of each sum, by one number where all have as many, and move Σ|terms|."""
    counts, magnitudes = zip(*map(rules.terms_of, numbers), strict=True)
    first = counts[0]
    if not all(isinstance(count, int) and count == first for count in counts):
        shapes = [number.shape for number in numbers]
        first = move.make([*map(np.broadcast_to, counts, shapes)], 0)
    return first, move.make(list(magnitudes), 0)


# ---------------------------------------------------------------- the rules

RULES: dict[tuple, Callable[..., Result]] = {
    (np.add, "__call__"): rules.add,
    (np.add, "reduce"): rules.sum_,
    (np.subtract, "__call__"): rules.subtract,
    (np.multiply, "__call__"): rules.multiply,
    (np.divide, "__call__"): rules.divide,
    (np.square, "__call__"): rules.square,
    (np.negative, "__call__"): rules.negative,
    (np.matmul, "__call__"): rules.matmul,
    (np.absolute, "__call__"): rules.absolute,
    (np.maximum, "__call__"): rules.maximum,
    (np.maximum, "reduce"): rules.largest,
    (np.minimum, "__call__"): rules.minimum,
    (np.tanh, "__call__"): functions.tanh,
    (expit, "__call__"): functions.sigmoid,
    (np.exp, "__call__"): functions.exp,
    (np.expm1, "__call__"): functions.expm1,
    (np.log, "__call__"): functions.log,
    (np.log1p, "__call__"): functions.log1p,
    (erfc, "__call__"): functions.erfc,
    (np.sqrt, "__call__"): functions.sqrt,
    (np.power, "__call__"): functions.power,
    (np.heaviside, "__call__"): sides.heaviside,
    (np.sign, "__call__"): sides.sign,
    ("elementary", "method"): functions.elementary,
    ("first_largest", "method"): sides.first_largest,
    ("scatter_add", "method"): rules.scatter_add,
}
FUNCTIONS = {rule for rule, how in RULES.items() if how.__module__ == functions.__name__}
