"""Trajectory + Trajectory → how far two free runs drift apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Trajectory
from backproof.cases.console.terminal import cut
from backproof.cases.format.schema import Tolerance
from backproof.cases.problem import Problem
from backproof.report.judging.structure import structure_mistakes

# Of 16 bits √u, half of the digits.
RTOL = {"float64": 1e-9, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.06}
ROLES = ("actual", "desired")


class Drift(NamedTuple):
    """The differences between two runs of one problem; R is the number of recorded steps.

    Attributes:
        gradient, parameter: the largest absolute differences at any recorded step; NaN if any
            number is.
        step: where the parameters differ most (the gradients, where nothing is trained).
        over_steps: (R,) the largest parameter difference after each recorded step.
        outside: the first step at which a gradient or a parameter is outside rtol and atol; None
            if none ever is.
        message: what is wrong there, in words; empty if nothing is.
    """

    gradient: float
    parameter: float
    step: int
    over_steps: np.ndarray
    outside: int | None
    message: str

    @property
    def within(self) -> bool:
        """No gradient and no parameter is outside rtol and atol at any step."""
        return self.outside is None

    def within_up_to(self, step: int) -> bool:
        """Return whether none is outside at this step or before it."""
        return self.within or self.outside > step

    def __str__(self) -> str:
        largest = f"parameters differ by up to {self.parameter:.1e}"
        largest += f", gradients by up to {self.gradient:.1e}, most at step {self.step:,}"
        return f"{cut(self.message)}; {largest}" if self.message else largest


def tolerance_of(problem: Problem) -> Tolerance:
    """Return the tolerance that the case sets, or else that of the dtype."""
    return problem.tolerance or Tolerance(rtol=RTOL[problem.dtype.name])


def allowed(desired: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    """Return atol + rtol |desired| for (steps, elements).

    atol is rtol times the largest magnitude of the step unless it is given. Where the limit is not
    finite it is NaN, which nothing is within.
    """
    size, atol = np.abs(desired).astype(np.float64), tolerance.atol
    with np.errstate(all="ignore"):
        if atol is None:
            atol = tolerance.rtol * size.max(axis=1, keepdims=True)
        limits = atol + tolerance.rtol * size
    return np.where(np.isfinite(limits), limits, np.nan)


def compare(
    problem: Problem, actual: Trajectory, desired: Trajectory, names: tuple[str, str] = ROLES
) -> Drift:
    """Compare the structure of two runs, then all gradients and all parameters, step by step.

    A gradient that is not recorded in both is not compared; the parameters are in every run.

    Args:
        problem: that both have run.
        actual: one run.
        desired: the other one, which rtol is relative to.
        names: what the message calls them.
    """
    for name, run in zip(names, (actual, desired), strict=True):
        if mistakes := structure_mistakes(problem, run):
            nothing = np.full(len(problem.recorded), np.nan)
            return Drift(np.nan, np.nan, 0, nothing, 0, f"{name}: {mistakes[0]}")

    def differences(phase: str, field: str) -> list[_Differences]:
        runs = [getattr(run, field) for run in (actual, desired)]
        return [
            _compare(problem, f"{phase} of {path}", runs[0][path], runs[1][path], names)
            for path in problem.trained
            if all(path in run for run in runs)
        ]

    groups = differences("gradient", "gradients"), differences("update", "after")
    none = np.zeros(len(problem.recorded))
    gradient, parameter = (
        np.max([none, *(one.largest for one in group)], axis=0) for group in groups
    )
    decisive = parameter if problem.optimizer else gradient
    step = int(problem.recorded[np.where(np.isnan(decisive), np.inf, decisive).argmax()])
    outside = [one for group in groups for one in group if one.outside is not None]
    first = min(outside, key=lambda one: one.outside, default=_Differences(decisive))
    largest = float(gradient.max()), float(parameter.max())
    return Drift(*largest, step, parameter, first.outside, first.message)


class _Differences(NamedTuple):
    """Of one tensor: the largest at each step, (R,), and the first step outside, and why."""

    largest: np.ndarray
    outside: int | None = None
    message: str = ""


def _compare(
    problem: Problem, what: str, actual: np.ndarray, desired: np.ndarray, names: tuple[str, str]
) -> _Differences:
    """Compare one tensor, (R, *shape); only if an element is outside, look for the first."""
    rows = len(actual)
    found, expected = (run.astype(np.float64).reshape(rows, -1) for run in (actual, desired))
    with np.errstate(all="ignore"):
        difference, limits = np.abs(found - expected), allowed(expected, tolerance_of(problem))
    outside, largest = ~(difference <= limits), difference.max(axis=1)
    if not outside.any():
        return _Differences(largest)
    row = outside.any(axis=1).argmax()
    wild = ~np.isfinite(difference[row])  # it takes the limits of its whole tensor with it
    element = (wild if wild.any() else outside[row]).argmax()
    step, index = int(problem.recorded[row]), np.unravel_index(element, actual.shape[1:])
    place = f"step {step}, {what} at [{', '.join(map(str, index))}]"
    ours, theirs = (run[row].flat[element] for run in (actual, desired))
    apart = f"{difference[row, element]:.2g} apart, {limits[row, element]:.2g} allowed"
    message = f"{place}: {names[0]} has {ours!s}, {names[1]} {theirs!s}: {apart}"
    return _Differences(largest, step, message)
