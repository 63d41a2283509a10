"""What could a gradient be that is not recorded, and no update would show it?

An update may cancel the scale of what it is made of, as Adam's does, or a clip by norm. Then it
says nothing of the gradient that is followed: one of another scale would pass as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backproof.backends.trajectory import Trajectory, cut
from backproof.cases.problem import Problem
from backproof.reference.numbers.balls import floats
from backproof.report.judging.finding import Finding
from backproof.report.judging.following import blocks, followed, followed_gradients
from backproof.report.judging.operations import Check, checks_of_steps

SCALE = 2.0  # a power of two, which rounds nothing
BY_UPDATE = ("update", "state")
WHY = (
    "the gradient is not recorded, and one that is {:g} times as large would make the same update "
    "within what is allowed: record the gradients, or the state"
)


def unseen(problem: Problem, recorded: Trajectory, run: Trajectory) -> Iterator[Finding]:
    """Yield the trained parameters whose gradient is followed, and its scale nowhere seen.

    It is seen where one step's update, or recorded state, of the parameter leaves its allowance
    when all followed gradients of the run are twice as large. A gradient of 0 has no scale.

    Args:
        problem: that was run.
        recorded: what is on record of it.
        run: the same with what is followed of its state and rates.
    """
    missing = [path for path in problem.trained if path not in run.gradients]
    if not (problem.optimizer and missing):
        return
    seen: set[str] = set()
    scaled = followed(problem, recorded, SCALE)
    for positions, size in blocks(problem, run.steps):
        as_they_are = checks_of_steps(problem, cut(run, positions, size))
        twice = checks_of_steps(problem, cut(scaled, positions, size), scale=SCALE)
        for one, other in zip(as_they_are, twice, strict=True):
            if one.phase in BY_UPDATE and _is_apart(one, other):
                seen.add(one.tensor.rpartition("/")[2])
    for path in _with_a_gradient(problem, run, [path for path in missing if path not in seen]):
        why = WHY.format(SCALE)
        yield Finding(int(run.steps[0]), 0, "gradient", path, (), why, "undecided")


def _is_apart(one: Check, other: Check) -> bool:
    """Tell whether some number of two truths is apart by more than what is allowed."""
    apart = np.abs(floats(one.truth.value) - floats(other.truth.value))
    return bool((apart > one.truth.allowance + other.truth.bound).any())


def _with_a_gradient(problem: Problem, run: Trajectory, paths: list[str]) -> list[str]:
    """Return those of some parameters whose gradient is certainly not 0 at every step."""
    found: set[str] = set()
    for positions, size in blocks(problem, run.steps) if paths else ():
        gradients = followed_gradients(problem, cut(run, positions, size), size)
        for path in paths:
            gradient = gradients[path]
            if (np.abs(floats(gradient.value)) > gradient.bound).any():
                found.add(path)
    return [path for path in paths if path in found]
