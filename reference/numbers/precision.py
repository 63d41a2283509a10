"""The judged dtype: its unit roundoff, its range, and the kind of number that carries the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import methodcaller
from typing import Any

import numpy as np
from ml_dtypes import finfo

from backproof.reference.numbers.balls import balls
from backproof.reference.numbers.kinks import Kinks

UNIT_ROUNDOFF_OF_BALLS = 2.0**-64  # of balls computed with 128 bits or so


@dataclass(frozen=True)
class Precision:
    """The judged dtype, and the kind of number that carries values, with its unit roundoff."""

    dtype: np.dtype
    wider: Callable[[np.ndarray], Any]
    wider_u: float
    kinks: Kinks | None = field(default=None, compare=False)

    @cached_property
    def u(self) -> float:
        """Half the distance from 1 to the next number, and on top twice that of the values."""
        return float(finfo(self.dtype).eps) / 2 + 2 * self.wider_u

    @cached_property
    def smallest(self) -> float:
        """What an underflow may cost: the smallest normal number, because XLA flushes.

        Nothing flushes a float16. It is half a step off by its own rounding, and half by that of a
        part: the derivative of softsign is a difference of two in some programs.
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

    def gamma(self, n: int | np.ndarray) -> float | np.ndarray:
        """γ(n) = n u / (1 - n u), infinite where n u reaches 1; of one n or of an array."""
        if isinstance(n, np.ndarray):
            return np.where(n * self.u < 1, n * self.u / (1 - n * self.u), np.inf)
        return n * self.u / (1 - n * self.u) if n * self.u < 1 else np.inf


def precision_of(dtype: np.dtype) -> Precision:
    """Choose what carries values of a dtype.

    That is float64 for float32 and 16 bits, long double for float64, and balls where long double is
    no wider than that.
    """
    for wider in (np.float64, np.longdouble):
        eps = float(np.finfo(wider).eps)
        if eps < float(finfo(dtype).eps) / 256:
            return Precision(np.dtype(dtype), methodcaller("astype", wider), eps / 2)
    return Precision(np.dtype(dtype), balls, UNIT_ROUNDOFF_OF_BALLS)


IN_BALLS = Precision(np.dtype(np.float64), balls, UNIT_ROUNDOFF_OF_BALLS)
