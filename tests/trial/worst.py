"""The worst correct program: it rounds as badly as the rules of `reference/numbers/bounded.py` allow."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from ml_dtypes import finfo
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.random import Generator
from scipy.special import erfc, expit

from backproof.reference.numbers.balls import working_precision
from backproof.reference.numbers.functions import ULPS_OF_ELEMENTARY_FUNCTIONS, extended_erfc
from backproof.reference.numbers.moves import Move, index_of, move_of
from backproof.reference.numbers.protocol import first_largest, number_like
from backproof.reference.numbers.sums import NAMED, Movable, is_beyond, scattered


@dataclass
class Arithmetic:
    """How a program rounds: to nearest, or by half an ulp up, down or either way.

    A sum, difference or product that is a number of the dtype is that number, in every program.
    """

    dtype: np.dtype
    rounding: str
    random: Generator
    roundings_of_functions: int = 2 * ULPS_OF_ELEMENTARY_FUNCTIONS

    def constant(self, number):
        """A setting, which is no number of the dtype even where the float64 that stands for it is one."""
        return self.rounded(number, always=True)

    def rounded(self, t, roundings: int = 1, *, always: bool = False):
        """The result t after so many roundings; a subnormal one may be flushed."""
        info = finfo(self.dtype)
        subnormal = abs(t) < float(info.smallest_normal)
        if self.rounding == "nearest" and roundings == 1:
            t = t.astype(self.dtype).astype(np.longdouble)
        else:
            is_exact = (roundings == 1) & (t.astype(self.dtype) == t) & (not always)
            way = np.where(is_exact, 0, self.way(t.shape) * min(roundings, 1))
            t = t * (1 + way * roundings * self.half_ulp)
            if self.dtype == np.float16:  # underflow is gradual
                t = t + way * np.where(subnormal, np.minimum(abs(t), float(info.smallest_subnormal) / 2), 0)
        if self.dtype == np.float16 or not subnormal.any():
            return t
        return np.where(subnormal & (self.random.random(t.shape) < 0.5), 0, t)

    def way(self, shape: tuple[int, ...]):
        """Up or down for each number, or neither."""
        return {"up": 1, "down": -1}.get(self.rounding) or self.random.integers(-1, 2, shape)

    @cached_property
    def half_ulp(self) -> float:
        """Of 1, but for the roundings of these tests."""
        return float(finfo(self.dtype).eps) / 2 - 8 * np.finfo(np.longdouble).eps

    @cached_property
    def inner(self) -> "Arithmetic":
        """How it adds up: in float32 at least."""
        return replace(self, dtype=np.dtype(np.float32)) if self.dtype.itemsize == 2 else self

    def total(self, terms):
        """The sum of terms (..., n) in a random order, one after the other; of 16 bits it is rounded at the end."""
        first, *others = self.random.permutation(terms.shape[-1])
        total = terms[..., first]
        for i in others:
            total = self.inner.rounded(total + terms[..., i])
        return total if self.inner is self else self.rounded(total)


ELEMENTARY = (np.sqrt, np.exp, np.expm1, np.log, np.log1p, np.tanh, expit, erfc)
COPIES = (np.heaviside, np.sign, np.absolute, np.negative, np.maximum, np.minimum)
ROUNDINGS = {np.divide: 2} | dict.fromkeys(COPIES, 0)
EXTENDED = {erfc: extended_erfc}


class Program(Movable, NDArrayOperatorsMixin):
    """Numbers of a program that computes the formulas it is given as badly as a correct program may.

    It divides by multiplying with the reciprocal, its elementary functions are 8 ulp off, and a sum may begin with
    the bias.
    """

    def __init__(self, values, arithmetic: Arithmetic, terms=None):
        self.values, self.arithmetic, self.terms = np.asarray(values, np.longdouble), arithmetic, terms

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if is_beyond(Program, map(type, inputs)):
            return NotImplemented
        programs = (operand for operand in inputs if isinstance(operand, Program))
        coarsest = max(programs, key=lambda operand: operand.arithmetic.half_ulp)
        if coarsest.arithmetic.half_ulp > self.arithmetic.half_ulp:
            return coarsest.__array_ufunc__(ufunc, method, *inputs, **options)
        operands = [self._operand(operand) for operand in inputs]
        if method == "reduce" and ufunc is np.maximum:
            return Program(np.maximum.reduce(operands[0].values, **options), self.arithmetic)
        if method == "reduce":
            return self._sum(operands[0].values, **options)
        if ufunc is np.matmul:
            return self._matmul(*operands)
        if ufunc is np.add and operands[0].terms is not None:
            return self._longer_sum(*operands)
        if ufunc is np.power:
            return self._power(*operands)
        if ufunc in (np.add, np.subtract) and not operands[0].values.any():
            return Program(ufunc(*(operand.values for operand in operands)), self.arithmetic)
        result = EXTENDED.get(ufunc, ufunc)(*(operand.values for operand in operands))
        roundings = self.arithmetic.roundings_of_functions if ufunc in ELEMENTARY else ROUNDINGS.get(ufunc, 1)
        if ufunc is np.divide and (operands[0].values == 1).all():
            roundings = 1  # it is the reciprocal itself
        return Program(self.arithmetic.rounded(result, roundings), self.arithmetic)

    def __array_function__(self, function, _, arguments, options):
        if function in NAMED:
            return NAMED[function](*arguments, **options)
        return self._moved(move_of(function, arguments, options))

    def _moved(self, move: Move) -> "Program":
        """A sum that may go on still may; a number that is joined to such sums is one term."""
        numbers = [self._operand(number) for number in move.numbers]
        values = move.make([number.values for number in numbers], 0)
        if all(number.terms is None for number in numbers):
            return Program(values, self.arithmetic)
        terms = [number.values[..., None] if number.terms is None else number.terms for number in numbers]
        most = max(term.shape[-1] for term in terms)
        terms = [np.pad(term, [(0, 0)] * (term.ndim - 1) + [(0, most - term.shape[-1])]) for term in terms]
        moved = [move.make([term[..., i] for term in terms], 0) for i in range(most)]
        return Program(values, self.arithmetic, np.stack(moved, axis=-1))

    def __getitem__(self, index):
        return self._moved(index_of(self, index))

    @property
    def shape(self):
        return self.values.shape

    def elementary(self):
        return Program(self.arithmetic.rounded(self.values, self.arithmetic.roundings_of_functions), self.arithmetic)

    def in_any_order(self):
        return Program(self.values, self.arithmetic, self.values[..., None])

    def first_largest(self, axis):
        return Program(first_largest(self.values, axis), self.arithmetic)

    def scatter_add(self, *how):
        """One term after the other, in the order in which they come."""
        index, size, axis, paired = how
        places = np.arange(index.size).reshape(index.shape)
        total = scattered(np.zeros_like(self.values), *how)
        for place in range(index.size):
            here = np.where(places == place, index, -1), size, axis, paired
            longer = self.arithmetic.inner.rounded(total + scattered(self.values, *here))
            total = np.where(scattered(np.ones_like(self.values), *here) > 0, longer, total)
        return Program(
            total if self.arithmetic.inner is self.arithmetic else self.arithmetic.rounded(total), self.arithmetic
        )

    def constant(self, enclosure):
        with working_precision(128):
            high = float(enclosure())
            value = np.longdouble(high) + np.longdouble(float(enclosure() - high))
        return Program(self.arithmetic.inner.constant(value), self.arithmetic.inner)

    def by_any_form(self, forms):
        """Each number by one of the formulas."""
        return self._mixed(*(form() for form in forms))

    def _mixed(self, first, *others):
        if isinstance(first, tuple):
            return tuple(self._mixed(*parts) for parts in zip(first, *others, strict=True))
        values = [result.values for result in (first, *others)]
        return Program(np.choose(self.arithmetic.random.integers(0, len(values), first.shape), values), self.arithmetic)

    def in_float64(self, formula, t, *settings):
        """Computed as badly in float64, and rounded once more."""
        double = Program(t, replace(self.arithmetic, dtype=np.dtype(np.float64)))
        result = formula(double, *(number_like(double, value) for value in settings))
        if self.arithmetic.dtype == np.float64:
            return result
        return Program(self.arithmetic.rounded(result.values), self.arithmetic)

    def _operand(self, operand) -> "Program":
        if isinstance(operand, Program):
            same = operand.arithmetic.dtype == self.arithmetic.dtype
            return operand if same else Program(self.arithmetic.rounded(operand.values), self.arithmetic)
        constant = np.asarray(operand, np.longdouble)
        rounded = np.where(constant == np.floor(constant), constant, self.arithmetic.constant(constant))
        return Program(rounded, self.arithmetic)

    def _sum(self, values, axis, *, keepdims=False) -> "Program":
        axes = (axis,) if isinstance(axis, int) else tuple(range(values.ndim)) if axis is None else axis
        last = np.moveaxis(values, axes, range(-len(axes), 0))
        total = self.arithmetic.total(last.reshape(*last.shape[: -len(axes)], -1))
        return Program(np.expand_dims(total, axes) if keepdims else total, self.arithmetic)

    def _matmul(self, a, b) -> "Program":
        products = self.arithmetic.inner.rounded(a.values[..., :, None, :] * b.values.mT[..., None, :, :])
        return Program(self.arithmetic.total(products), self.arithmetic, products)

    def _longer_sum(self, a, b) -> "Program":
        terms = np.concatenate([a.terms, np.broadcast_to(b.values, a.shape)[..., None]], axis=-1)
        return Program(self.arithmetic.total(terms), self.arithmetic, terms)

    def _power(self, a, n) -> "Program":
        """A whole power is a product, whose roundings compound, any other one an elementary function."""
        power, whole = np.power(a.values, n.values), n.values == np.floor(n.values)
        factor = 1 + self.arithmetic.way(np.shape(power)) * self.arithmetic.half_ulp
        product = power * factor ** (np.maximum(np.abs(n.values) - 1, 0) + (n.values < 0))
        function = self.arithmetic.rounded(power, 2 * ULPS_OF_ELEMENTARY_FUNCTIONS)
        return Program(np.where(whole, self.arithmetic.rounded(product), function), self.arithmetic)
