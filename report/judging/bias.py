"""Of which tensor do the errors, each within its allowance, lean most to one side?

Independent roundings cancel: the mean of n of them is about 1/√n of one. A mean that is many times
larger tells of errors with a common sign. It is data beside the verdict, which never depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Bias(NamedTuple):
    """The mean of a tensor's signed errors (actual − truth), in units of their allowances.

    Attributes:
        phase, tensor: what it is, `gradient` of `hidden.weight`.
        mean: over all elements and judged steps.
        elements: how many these are.
    """

    phase: str
    tensor: str
    mean: float
    elements: int

    @property
    def standardised(self) -> float:
        """|mean| · √n: of order 1 or less where the errors are independent."""
        return abs(self.mean) * math.sqrt(self.elements)


class SignedErrors:
    """The signed errors of one tensor: at each step their sum, in allowances, and their number."""

    def __init__(self, phase: str, tensor: str, steps: int):
        self.phase, self.tensor = phase, tensor
        self.sums, self.numbers = np.zeros((2, steps))

    def take(self, rows: np.ndarray, shares: np.ndarray, left_out: np.ndarray) -> None:
        """Add some steps up.

        Args:
            rows: of the steps.
            shares: (steps, elements) the errors, in units of their allowances; it is overwritten.
            left_out: (steps, elements) which are not to count. What is not finite does not either,
                as where the allowance is 0.
        """
        left_out = left_out | ~np.isfinite(shares)
        self.numbers[rows] = shares.shape[1]
        if left_out.any():
            shares[left_out] = 0
            self.numbers[rows] -= np.count_nonzero(left_out, axis=1)
        self.sums[rows] = shares.sum(axis=1)

    def bias(self, judged: np.ndarray) -> Bias:
        """Return the mean over the judged steps, 0 of nothing."""
        number = int(self.numbers[judged].sum())
        mean = float(self.sums[judged].sum()) / max(number, 1)
        return Bias(self.phase, self.tensor, mean, number)


def largest_bias(tensors: Iterable[SignedErrors], judged: np.ndarray) -> Bias | None:
    """Return the bias of the tensor where it is least likely by chance; None if nothing counts."""
    biases = [one.bias(judged) for one in tensors]
    counted = [bias for bias in biases if bias.elements]
    return max(counted, key=lambda bias: bias.standardised, default=None)
