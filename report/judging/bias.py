"""Of which tensors do the errors, each within its allowance, lean to one side?

Independent roundings cancel: the mean of n of them is about 1/√n of one. A mean that is many times
larger tells of errors with a common sign. It is said beside the verdict, which never depends on it.

Errors of a correct program may have a cause in common, and then they do not cancel. So what is
counted are the *draws* of a step (docs/tolerance.md says which they are), by their signs:

    leaning = mean over the steps of (Σ d / √(m Σ d²)),   P(|leaning| >= t) <= 2 e^(-t²/2)

for draws d that are each as likely to be above 0 as below, whatever their sizes (Hoeffding, 1963),
where a rounding is in m numbers of a step, in the mean (`alike` in `reference/numbers/bounded.py`).
It holds however alike the steps are: they are not counted as independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.bounded import Bounded

STEPS = 64  # so many steps tell as much as all do
BY_CHANCE = 1e-12  # how likely it is that a run of independent roundings is noted
FRESH = ("value", "cotangent", "gradient")  # computed anew in every step; the rest is carried on
NOTED = "biased: "
BY_FEATURE = ("value", "cotangent")  # samples and positions may meet the same parameters


@dataclass(frozen=True)
class Bias:
    """The mean of a tensor's signed errors (actual − truth), in units of their allowances.

    Attributes:
        phase, tensor: what it is, `gradient` of `hidden.weight`.
        mean: over all elements and judged steps.
        elements: how many these are.
        draws: how many errors of a step have nothing in common, at most; 0 where that can't be
            told, or is too few.
        leaning: Σ d / √(m Σ d²) of the draws d of a step, the mean over the steps; m is in how many
            numbers of a step a rounding is, in the mean.
    """

    phase: str
    tensor: str
    mean: float
    elements: int
    draws: int = 0
    leaning: float = 0.0

    @property
    def standardised(self) -> float:
        """|mean| · √n: of order 1 or less where the errors are independent."""
        return abs(self.mean) * math.sqrt(self.elements)

    def __str__(self) -> str:
        if not self.draws:
            return f"no independent errors of {self.phase} of {self.tensor} are there to lean"
        side, of = "up" if self.leaning > 0 else "down", f"{self.phase} of {self.tensor}"
        chance = math.floor((math.log(2) - self.leaning**2 / 2) / math.log(10))
        return (
            f"{NOTED}the errors of {of} lean {side}, on average by {abs(self.mean):.2g} of the "
            f"rounding allowed: {self.draws:,} independent do so with a chance below 1e{chance}"
        )


class SignedErrors:
    """The signed errors of one tensor: at each step their sum, in allowances, and their number."""

    def __init__(self, phase: str, tensor: str, steps: int):
        self.phase, self.tensor = phase, tensor
        self.sums, self.numbers = np.zeros((2, steps))
        self.draws, self.leanings = np.zeros((2, steps))
        self.every, self.alike = max(steps // STEPS, 1), 1.0

    def take(
        self,
        rows: np.ndarray,
        shares: np.ndarray,
        left_out: np.ndarray,
        truth: Bounded | None = None,
    ) -> None:
        """Add some steps up.

        Args:
            rows: of the steps.
            shares: (steps, elements) the errors, in units of their allowances; it is overwritten.
            left_out: (steps, elements) which are not to count. What is not finite does not either,
                as where the allowance is 0.
            truth: (steps, *shape), by which draws are told apart.
        """
        left_out = left_out | ~np.isfinite(shares)
        self.numbers[rows] = shares.shape[1]
        if left_out.any():
            shares[left_out] = 0
            self.numbers[rows] -= np.count_nonzero(left_out, axis=1)
        self.sums[rows] = shares.sum(axis=1)
        looked_at = np.flatnonzero(rows % self.every == 0)
        if truth is not None and looked_at.size and (number := draws_of(self.phase, truth)):
            self._look(rows[looked_at], shares[looked_at], truth, looked_at, number)

    def _look(
        self, rows: np.ndarray, shares: np.ndarray, truth: Bounded, at: np.ndarray, number: int
    ) -> None:
        """Add the draws of some steps up: rows of the tensor, which are `at` these of the truth."""
        values = floats(truth.value[at]).reshape(shares.shape)
        counted = np.where(_is_first(values, truth.precision.u), shares, 0)
        draws = counted.reshape(len(rows), -1, number).sum(axis=1)
        size = np.sqrt(np.square(draws).sum(axis=1))
        self.draws[rows] = np.count_nonzero(draws, axis=1)
        self.leanings[rows] = draws.sum(axis=1) / np.where(size > 0, size, 1)
        self.alike = max(self.alike, truth.alike)

    def bias(self, judged: np.ndarray) -> Bias:
        """Return the means over the judged steps, 0 of nothing."""
        number = int(self.numbers[judged].sum())
        mean = float(self.sums[judged].sum()) / max(number, 1)
        draws = self.draws[judged]
        leaning = self.leanings[judged].sum() / max(np.count_nonzero(draws), 1)
        leaning /= math.sqrt(self.alike)
        most = int(draws.max(initial=0))
        return Bias(self.phase, self.tensor, mean, number, most, float(leaning))


def draws_of(phase: str, truth: Bounded) -> int:
    """Count the errors of a step of a tensor, (steps, *shape), that have no rounding in common.

    It is the elements of a gradient, and the features of a value or cotangent; 0 where one rounding
    may be in several of them, where a step goes on from a number of the step before, and where they
    are so few that they say nothing.
    """
    if phase not in FRESH or truth.alike == np.inf:
        return 0
    number = truth.shape[-1] if phase in BY_FEATURE else math.prod(truth.shape[1:])
    return number if number > farthest_by_chance(1) ** 2 else 0


def farthest_by_chance(tensors: int) -> float:
    """Return how far one of so many tensors leans by chance, if each rounding is in one number."""
    return math.sqrt(2 * math.log(2 * tensors / BY_CHANCE))


def _is_first(values: np.ndarray, u: float) -> np.ndarray:
    """Tell which numbers are the first of a step with their significand and sign, (steps, n).

    Equal numbers, of samples that are there twice, have equal errors, and so have their doubles.
    Two are equal that agree to a thousandth of the unit roundoff.
    """
    significands = np.rint(np.frexp(values)[0] * (1024 / u))
    order = np.argsort(significands, axis=1, kind="stable")
    ascending = np.take_along_axis(significands, order, axis=1)
    is_new = np.diff(ascending, axis=1, prepend=np.inf) != 0
    first = np.zeros(significands.shape, bool)
    np.put_along_axis(first, order, is_new, axis=1)
    return first


def largest_bias(tensors: Iterable[SignedErrors], judged: np.ndarray) -> Bias | None:
    """Return the bias of the tensor where it is least likely by chance; None if nothing counts."""
    biases = [one.bias(judged) for one in tensors]
    counted = [bias for bias in biases if bias.elements]
    return max(counted, key=lambda bias: bias.standardised, default=None)


def biased(tensors: Iterable[SignedErrors], judged: np.ndarray) -> list[Bias]:
    """Return the tensors of a run that lean farther than independent roundings do by chance."""
    biases = [bias for one in tensors if (bias := one.bias(judged)).draws]
    return [bias for bias in biases if abs(bias.leaning) > farthest_by_chance(len(biases))]
