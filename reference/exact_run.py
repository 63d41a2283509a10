"""The exact trajectory: the training in ball arithmetic, with more bits until it is proved."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from flint import arb

from backproof.cases.problem import Problem
from backproof.reference.numbers.balls import balls, radius, working_precision
from backproof.reference.training import Step, train

BITS = 512
RADIUS = 1e-20
MOST_TIMES = 4  # as many bits in the next attempt: runs lose them unevenly


class ExactRun(NamedTuple):
    """Some steps of a run without rounding: parameters and gradients have radii below 1e-20."""

    bits: int
    steps: dict[int, Step]


def exact_run(problem: Problem, at: set[int], seconds: float, bits: int = BITS) -> ExactRun | None:
    """Run the problem in balls, of more bits each time, until it is proved to 1e-20.

    Proved are the parameters after each kept step, and its gradients.

    Args:
        problem: of any dtype; its rounded initial parameters and data are taken as exact.
        at: the steps to keep.
        seconds: of processor time to spend at most.
        bits: of the first attempt.

    Returns:
        The kept steps; None where that would take longer.
    """
    deadline = time.process_time() + seconds
    while True:
        try:
            return ExactRun(bits, _run_in_balls(problem, at, bits, deadline))
        except _TooWideError as error:
            bits = _more_bits(bits, (error.step + 1) / problem.steps)
        except TimeoutError:
            return None


class _TooWideError(ArithmeticError):
    """The balls have grown beyond RADIUS at a step: more bits are needed."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step


def _more_bits(bits: int, share: float) -> int:
    """Return how many bits all steps need if a share of them has lost all but RADIUS has."""
    kept = -math.log2(RADIUS)
    needed = math.ceil((kept + (bits - kept) / share) / BITS) * BITS
    return max(min(needed, MOST_TIMES * bits), bits + BITS)


def _run_in_balls(problem: Problem, at: set[int], bits: int, deadline: float) -> dict[int, Step]:
    kept, start = {}, time.process_time()
    with working_precision(bits):
        for number, step in enumerate(train(problem, balls, arb)):
            if (number in at or number % 100 == 99) and not max(
                map(radius, (*step.after.values(), *step.gradients.values()))
            ) < RADIUS:
                raise _TooWideError(number)
            if number in at:
                kept[number] = step
            a_step = (time.process_time() - start) / (number + 1)
            if start + a_step * (problem.steps if number > 10 else number) > deadline:
                raise TimeoutError
    return kept
