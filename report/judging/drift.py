"""Trajectory + Trajectory → how far two free runs drift apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Trajectory
from backproof.cases.console.terminal import cut
from backproof.cases.format.schema import Tolerance
from backproof.cases.problem import Problem
from backproof.report.judging.structure import structure_mistakes

RTOL = {
    "float64": 1e-9,
    "float32": 1e-4,
    "float16": 0.02,
    "bfloat16": 0.06,
}  # 16 bits: √u, half of the digits
ROLES = ("actual", "desired")


class Drift(NamedTuple):
    """The differences between two runs of one problem; R is the number of recorded steps.

    Attributes:
        gradient, parameter: the largest absolute differences at any recorded step; NaN if any number is.
        step: where the parameters differ most (the gradients, where nothing is trained).
        over_steps: (R,) the largest parameter difference after each recorded step.
        outside: the first step at which a gradient or a parameter is outside rtol and atol; None if none ever is.
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
        """None is outside at this step or before it."""
        return self.within or self.outside > step

    def __str__(self) -> str:
        largest = f"parameters differ by up to {self.parameter:.1e}, gradients by up to {self.gradient:.1e}"
        return "; ".join(
            filter(None, [cut(self.message), f"{largest}, most at step {self.step:,}"])
        )


def tolerance_of(problem: Problem) -> Tolerance:
    """What the case sets, or the dtype's own."""
    return problem.tolerance or Tolerance(rtol=RTOL[problem.dtype.name])


def allowed(desired: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    """atol + rtol |desired| for (steps, elements); atol is rtol times the largest magnitude unless it is given.

    NaN, which nothing is within, where that is not finite.
    """
    size = np.abs(desired).astype(np.float64)
    with np.errstate(all="ignore"):
        atol = (
            tolerance.rtol * size.max(axis=1, keepdims=True)
            if tolerance.atol is None
            else tolerance.atol
        )
        limits = atol + tolerance.rtol * size
    return np.where(np.isfinite(limits), limits, np.nan)


def compare(
    problem: Problem, actual: Trajectory, desired: Trajectory, names: tuple[str, str] = ROLES
) -> Drift:
    """Compare the structure of two runs of these names, then all gradients and all parameters, step by step."""
    for name, run in zip(names, (actual, desired), strict=True):
        if mistakes := structure_mistakes(problem, run):
            nothing = np.full(len(problem.recorded), np.nan)
            return Drift(np.nan, np.nan, 0, nothing, 0, f"{name}: {mistakes[0]}")

    def differences(phase: str, field: str) -> list[_Differences]:
        tensors = [
            (path, getattr(actual, field)[path], getattr(desired, field)[path])
            for path in problem.trained
        ]
        return [_compare(problem, f"{phase} of {path}", *both, names) for path, *both in tensors]

    gradients, parameters = differences("gradient", "gradients"), differences("update", "after")
    gradient, parameter = (
        np.max([tensor.largest for tensor in group], axis=0) for group in (gradients, parameters)
    )
    decisive = parameter if problem.optimizer else gradient
    outside = [tensor for tensor in (*gradients, *parameters) if tensor.outside is not None]
    first = min(outside, key=lambda tensor: tensor.outside, default=_Differences(decisive))
    return Drift(
        gradient=float(gradient.max()), parameter=float(parameter.max()),
        step=int(problem.recorded[np.where(np.isnan(decisive), np.inf, decisive).argmax()]),
        over_steps=parameter, outside=first.outside, message=first.message,
    )  # fmt: skip


class _Differences(NamedTuple):
    """Of one tensor: the largest at each step, (R,), and the first step at which it is outside, with the reason."""

    largest: np.ndarray
    outside: int | None = None
    message: str = ""


def _compare(
    problem: Problem, what: str, actual: np.ndarray, desired: np.ndarray, names: tuple[str, str]
) -> _Differences:
    """Compare one tensor, (R, *shape); only if an element is outside, look for the first."""
    found, expected = (
        np.asarray(tensor, np.float64).reshape(len(tensor), -1) for tensor in (actual, desired)
    )
    with np.errstate(all="ignore"):
        difference, limits = np.abs(found - expected), allowed(expected, tolerance_of(problem))
    outside, largest = ~(difference <= limits), difference.max(axis=1)
    if not outside.any():
        return _Differences(largest)
    row = outside.any(axis=1).argmax()
    wild = ~np.isfinite(
        difference[row]
    )  # what is not finite takes the limits of its whole tensor with it
    element = (wild if wild.any() else outside[row]).argmax()
    step, index = int(problem.recorded[row]), np.unravel_index(element, actual.shape[1:])
    place = f"step {step}, {what} at [{', '.join(map(str, index))}]"
    numbers = (
        f"{names[0]} has {actual[row].flat[element]!s}, {names[1]} {desired[row].flat[element]!s}"
    )
    apart = f"{difference[row, element]:.2g} apart, {limits[row, element]:.2g} allowed"
    return _Differences(largest, step, f"{place}: {numbers}: {apart}")
