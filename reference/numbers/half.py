"""Numbers of 16 bits: every operation in float32, its result rounded once.

A float32 holds the product of two such numbers exactly, and rounding a sum, a quotient or a root of
theirs first to float32 changes nothing (24 bits are at least 2 · 11 + 2; Figueroa, *When is double
rounding innocuous?*, 1995). The norm for all programs: sums and products of matrices are
accumulated in float32, and rounded when they are complete.
"""

from __future__ import annotations

import numpy as np

from backproof.reference.numbers.moves import Move
from backproof.reference.numbers.sums import Answering, is_beyond, scattered


class Half(Answering, np.ndarray):
    """An array of float16 or bfloat16 numbers; constants and float32 are taken as they are."""

    __array_priority__ = 1  # what is joined of them is of their kind

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if is_beyond(Half, map(type, inputs)):
            return NotImplemented
        operands = [_plain(x).astype(np.float32) if _is_half(x) else _plain(x) for x in inputs]
        return half(np.asarray(getattr(ufunc, method)(*operands, **options)).astype(self.dtype))

    def moved(self, move: Move) -> np.ndarray:
        """Move numbers, all of this dtype."""
        numbers = [np.asarray(_plain(number)).astype(self.dtype) for number in move.numbers]
        return half(move.make(numbers, 0))

    def scatter_add(self, *how) -> np.ndarray:
        """See `sums.py`."""
        return half(scattered(_plain(self).astype(np.float32), *how).astype(self.dtype))


def half(values: np.ndarray) -> np.ndarray:
    """Make numbers of a 16-bit dtype round as above; wider ones round so by themselves."""
    return values.view(Half) if _is_half(values) else values


def _plain(operand):
    return operand.view(np.ndarray) if isinstance(operand, Half) else operand


def _is_half(operand) -> bool:
    return isinstance(operand, np.ndarray) and operand.dtype.itemsize == 2
