"""Numbers of 16 bits: every operation in float32, its result rounded once.

A float32 holds the product of two such numbers exactly, and rounding a sum, a quotient or a root of theirs first to
float32 changes nothing (24 bits are at least 2 · 11 + 2; Figueroa, *When is double rounding innocuous?*, 1995). The
norm for all programs: sums and products of matrices are accumulated in float32, and rounded when they are complete.
"""

from __future__ import annotations

import numpy as np

from backproof.reference.numbers.moves import move_of
from backproof.reference.numbers.sums import NAMED, is_beyond, mean, scattered


class Half(np.ndarray):
    """An array of float16 or bfloat16 numbers; constants and what is given in float32 are taken as they are."""

    __array_priority__ = 1  # what is joined of them is of their kind

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if is_beyond(Half, map(type, inputs)):
            return NotImplemented
        operands = [
            operand.astype(np.float32) if _is_half(operand) else operand
            for operand in map(_plain, inputs)
        ]
        return half(np.asarray(getattr(ufunc, method)(*operands, **options)).astype(self.dtype))

    def __array_function__(self, function, types, arguments, options):
        if function in NAMED:
            return NAMED[function](*arguments, **options)
        move = None if is_beyond(Half, types) else move_of(function, arguments, options)
        if move is None:
            return NotImplemented
        return half(
            move.make([np.asarray(_plain(number)).astype(self.dtype) for number in move.numbers], 0)
        )

    mean = mean

    def scatter_add(self, *how) -> Half:
        """See `sums.py`."""
        return half(scattered(_plain(self).astype(np.float32), *how).astype(self.dtype))


def half(values: np.ndarray) -> np.ndarray:
    """Numbers that round as above, of a 16-bit dtype; those of a wider one round so by themselves."""
    return values.view(Half) if _is_half(values) else values


def _plain(operand):
    return operand.view(np.ndarray) if isinstance(operand, Half) else operand


def _is_half(operand) -> bool:
    return isinstance(operand, np.ndarray) and operand.dtype.itemsize == 2
