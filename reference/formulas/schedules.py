"""The learning rate of every step, by hand, as `cases/format/optimizers.py` has it.

A schedule is a factor s of the number k = 0, 1, ... of the step; `real` makes the kind of number to
compute with, float or ball (`arb`). Like torch.optim and optax, programs compute it in float64 at
every dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flint import arb

from backproof.cases.format.optimizers import AnySchedule
from backproof.cases.problem import Problem


def step_decay(schedule, k, real):
    """s = γ^⌊k / n⌋."""
    return real(schedule.factor) ** (k // schedule.every)


def exponential_decay(schedule, k, real):
    """s = γᵏ."""
    return real(schedule.factor) ** k


def linear_decay(schedule, k, real):
    """s = 1 + (end - 1) k / n, up to k = n."""
    return _line(1, schedule.end, k, schedule.steps, real)


def cosine_decay(schedule, k, real):
    """s = 1 + (end - 1) (1 - cos(π k / n)) / 2, up to k = n."""
    return _half_a_cosine(1, schedule.end, k, schedule.steps, real)


def one_cycle(schedule, k, real):
    """Half a cosine from start to 1, and from there another one to the end."""
    if k < schedule.rise:
        return _half_a_cosine(schedule.start, 1, k, schedule.rise, real)
    return _half_a_cosine(1, schedule.end, k - schedule.rise, schedule.fall, real)


def warm_up(schedule, k, real):
    """s = start + (1 - start) k / n, up to k = n; from there on 1, or another schedule of k - n."""
    if k < schedule.steps or schedule.then is None:
        return _line(schedule.start, 1, k, schedule.steps, real)
    return factor(schedule.then, k - schedule.steps, real)


def _line(a: float, b: float, k: int, n: int, real: Callable):
    a, b = real(a), real(b)
    return a + (b - a) * min(k, n) / n


def _half_a_cosine(a: float, b: float, k: int, n: int, real: Callable):
    a, b = real(a), real(b)
    return a + (b - a) * (1 - _cos_pi(real(min(k, n)) / n)) / 2


def _cos_pi(x):
    return x.cos_pi() if isinstance(x, arb) else math.cos(math.pi * x)


OURS = (step_decay, exponential_decay, linear_decay, cosine_decay, one_cycle, warm_up)
SCHEDULES = {schedule.__name__: schedule for schedule in OURS}


def factor(schedule: AnySchedule, k: int, real: Callable[[float], Any]):
    """Compute what the learning rate of step k is multiplied by."""
    return SCHEDULES[schedule.kind](schedule, k, real)


def learning_rates(problem: Problem, steps, real: Callable[[float], Any] = float) -> list | None:
    """Compute the learning rate of each of these steps; None without a schedule.

    They are floats, or balls with `real=arb`.
    """
    if problem.schedule is None:
        return None
    rate = real(problem.optimizer.learning_rate)
    return [rate * factor(problem.schedule, int(k), real) for k in steps]
