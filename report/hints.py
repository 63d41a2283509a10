"""Where a wrong tensor fits a known mistake as a whole, the message says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from backends.trajectory import Trajectory, cut
from cases.problem import Problem
from reference.proof import floats
from report.checks import Check, checks_of_steps

PHASES = ("loss", "cotangent", "gradient", "update")
Mistakes = Iterator[tuple[str, np.ndarray]]


def hint(problem: Problem, trajectory: Trajectory, step: int, phase: str, tensor: str) -> str:
    """The end of a message about a wrong tensor: the known mistakes that would have given it, mostly none."""
    if phase not in PHASES or step == problem.steps:
        return ""
    row = int(np.searchsorted(trajectory.steps, step))
    run, samples = _steps(problem, trajectory, row)
    if (check := _check(problem, run, phase, tensor)) is None:
        return ""
    start = floats(run.before[tensor][0]) if phase == "update" else 0.0  # of a parameter its change is compared
    found, truth = floats(check.actual[0]) - start, floats(check.truth.value[0]) - start
    rounding = 2 * check.truth.allowance[0] + 4 * check.truth.precision.u * np.abs(found + start)
    mistakes = [*_factors(problem, samples, phase, truth), *_other_weights(problem, run, phase, tensor, truth)]
    if row and trajectory.steps[row - 1] == step - 1:
        before, _ = _steps(problem, trajectory, row - 1)
        mistakes += _other_steps(problem, run, before, phase, tensor, truth)
    fitting = [words for words, mistaken in mistakes if _fits(found, truth, mistaken, rounding)]
    return f"; this is what {', or '.join(fitting)} would give" if fitting else ""


def _steps(problem: Problem, trajectory: Trajectory, row: int) -> tuple[Trajectory, int]:
    """One recorded step by itself, and the number of its samples."""
    samples = int((problem.batches[trajectory.steps[row]] >= 0).sum())
    return cut(trajectory, np.array([row]), samples), samples


def _check(problem: Problem, run: Trajectory, phase: str, tensor: str) -> Check | None:
    """None for a parameter that should not have been updated at all."""
    return next((check for check in checks_of_steps(problem, run) if check[:2] == (phase, tensor)), None)


def _fits(found: np.ndarray, truth: np.ndarray, mistaken: np.ndarray, rounding: np.ndarray) -> bool:
    """The mistake gives what was found, in every element, and gives something else than the truth."""
    largest = np.abs(truth).max()
    limits = rounding * (1 + np.abs(mistaken).max() / largest) if largest else 0
    return bool((np.abs(found - mistaken) <= limits).all() and (np.abs(mistaken - truth) > 2 * limits).any())


# ---------------------------------------------------------------- the known mistakes


def _factors(problem: Problem, samples: int, phase: str, truth: np.ndarray) -> Mistakes:
    """The truth times a number."""
    size, outputs = problem.batches.shape[1], problem.targets.shape[1]
    trained = phase == "update"
    zero = {"update": "a parameter that is frozen", "loss": "a loss that is never computed"}
    yield zero.get(phase, "a derivative that is never computed"), 0 * truth
    yield "a step uphill" if trained else "a wrong sign", -truth
    yield "an update applied twice" if trained else "a missing factor ½", 2 * truth
    yield "a missing factor 2", truth / 2
    over = {"batch": samples, "outputs": outputs, "batch and the outputs": samples * outputs}
    for what, number in over.items():
        if number > 1 and (what == "batch" or not trained):
            yield f"a sum over the {what} in place of a mean ({number})", number * truth
            yield f"a mean over the {what} in place of a sum ({number})", truth / number
    if samples < size:
        yield f"a mean over {size} samples where the batch has {samples}", truth * samples / size


def _other_weights(problem: Problem, run: Trajectory, phase: str, tensor: str, truth: np.ndarray) -> Mistakes:
    """Transposed, or taken after the update."""
    if phase != "cotangent" and truth.ndim == 2 and len(truth) == len(truth.T):
        yield "the transpose", truth.T
    if phase == "cotangent":
        updated = _check(problem, replace(run, before=run.after), phase, tensor)
        yield "weights that are already updated", floats(updated.truth.value[0])


def _other_steps(
    problem: Problem, run: Trajectory, before: Trajectory, phase: str, tensor: str, truth: np.ndarray
) -> Mistakes:
    """The step before, in the place of this one or added to it."""
    if phase == "loss":
        yield "the loss of the step before", floats(before.loss[0])
    if phase == "gradient":
        yield "the gradient of the step before", floats(before.gradients[tensor][0])
        yield "a gradient that is not reset between steps", truth + floats(before.gradients[tensor][0])
    if phase == "update":
        late = _check(problem, replace(run, gradients=before.gradients), phase, tensor)
        yield "the gradient of the step before", floats(late.truth.value[0]) - floats(run.before[tensor][0])
