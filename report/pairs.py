"""Trajectory + Trajectory → how far two free runs drift apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.trajectory import Arrays, Trajectory
from cases.problem import Problem
from cases.schema import Tolerance

RTOL = {"float64": 1e-9, "float32": 1e-4}


class Drift(NamedTuple):
    """The differences between two runs of one problem.

    Attributes:
        gradient, parameter: the largest absolute differences at any recorded step; NaN if any number is.
        step: where the parameters differ most (the gradients, where nothing is trained).
        within: no gradient and no parameter is outside rtol and atol at any step.
        over_steps: the largest parameter difference after each recorded step.
    """

    gradient: float
    parameter: float
    step: int
    within: bool
    over_steps: np.ndarray

    def __str__(self) -> str:
        largest = f"parameters differ by up to {self.parameter:.1e}, gradients by up to {self.gradient:.1e}"
        return f"{largest}, most at step {self.step:,}"


def tolerance_of(problem: Problem) -> Tolerance:
    """What the case sets, or the dtype's own."""
    return problem.tolerance or Tolerance(rtol=RTOL[problem.dtype.name])


def allowed(desired: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    """atol + rtol |desired| for (steps, elements); atol is rtol times the largest magnitude unless it is given.

    NaN, which nothing is within, where a magnitude that counts is not finite.
    """
    size = np.abs(desired).astype(np.float64)
    size = np.where(np.isfinite(size), size, np.nan)
    atol = tolerance.rtol * size.max(axis=1, keepdims=True) if tolerance.atol is None else tolerance.atol
    return atol + tolerance.rtol * size


def compare(problem: Problem, actual: Trajectory, desired: Trajectory) -> Drift:
    """Compare all gradients and all parameters of two runs, step by step."""
    tolerance = tolerance_of(problem)
    gradients, gradients_within = _differences(actual.gradients, desired.gradients, tolerance)
    parameters, parameters_within = _differences(actual.after, desired.after, tolerance)
    decisive = parameters if problem.optimizer else gradients
    return Drift(
        gradient=float(gradients.max()), parameter=float(parameters.max()),
        step=int(actual.steps[np.where(np.isnan(decisive), np.inf, decisive).argmax()]),
        within=gradients_within and parameters_within, over_steps=parameters,
    )  # fmt: skip


def _differences(actual: Arrays, desired: Arrays, tolerance: Tolerance) -> tuple[np.ndarray, bool]:
    """The largest difference of each step, and whether every element of every step is within the tolerance."""
    largest, within = [], []
    with np.errstate(all="ignore"):
        for name in desired:
            one, other = (run[name].astype(np.float64).reshape(len(run[name]), -1) for run in (actual, desired))
            difference = np.abs(one - other)
            largest.append(difference.max(axis=1))
            within.append((difference <= allowed(other, tolerance)).all())
    return np.max(largest, axis=0), bool(np.all(within))
