"""Numbers printed elsewhere: does a run meet them to their last digit?"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from backends.trajectory import Trajectory
from cases import schema
from cases.problem import Problem
from report.pairs import RTOL, allowed, tolerance_of


class Published(NamedTuple):
    """One published entry and what a run has in its place.

    `status` is `met`, `missed`, `wrong at its source` (the case says so, and the run agrees), or `not recorded` by a
    backend that leaves no such tensor; `message` tells a miss.
    """

    entry: schema.Published
    actual: np.ndarray | None
    status: str
    message: str = ""


METRICS = {
    "accuracy": lambda output, targets: (output.argmax(axis=1) == targets.argmax(axis=1)).mean(),
    "absolute_error": lambda output, targets: np.abs(output - targets).mean(),
}


def compare_published(problem: Problem, run: Trajectory) -> list[Published]:
    """Look every published number of the problem up in a run."""
    return [_compare(problem, run, entry) for entry in problem.published]


def _compare(problem: Problem, run: Trajectory, entry: schema.Published) -> Published:
    steps = range(entry.step, entry.step + entry.steps)
    tensors = [find_tensor(problem, run, entry.tensor, step) for step in steps]
    if any(tensor is None for tensor in tensors):
        return Published(entry, None, "not recorded")
    tensor = np.asarray(entry.scale * sum(tensor.astype(np.float64) for tensor in tensors))
    element = tuple(entry.index or ())
    actual = tensor[element].reshape(entry.value.shape)
    printed = entry.value.astype(np.float64)
    limits = allowed(tensor.reshape(1, -1), _tolerance(problem, entry)).reshape(tensor.shape)[element]
    within = np.abs(actual - printed) <= half_a_unit(entry.value) + limits.reshape(printed.shape)
    if within.all() == (entry.wrong is None) and np.isfinite(actual).all():
        return Published(entry, actual, "wrong at its source" if entry.wrong else "met")
    return Published(entry, actual, "missed", _miss(entry, actual, within))


def _tolerance(problem: Problem, entry: schema.Published) -> schema.Tolerance:
    """That of the run, or the wider one of the dtype that the number was computed in at its source."""
    own, theirs = tolerance_of(problem), schema.Tolerance(rtol=RTOL[entry.computed_in or problem.dtype.name])
    return theirs if entry.computed_in and theirs.rtol > own.rtol else own


def find_tensor(problem: Problem, run: Trajectory, name: str, step: int) -> np.ndarray | None:
    """The tensor of that name at a step, or after as many updates, as `schema.Published` defines it."""
    group, _, key = name.partition("/")
    if group in METRICS:
        output, rows = find_tensor(problem, run, "output", step), problem.batches[min(step, problem.steps - 1)]
        targets = problem.targets if step == problem.steps else problem.targets[rows[rows >= 0]]
        if output is None:
            return None
        whole = np.isfinite(output).all()  # argmax takes NaN for the largest
        return np.asarray(METRICS[group](output.astype(np.float64), targets) if whole else np.nan)
    if step == problem.steps and group in ("loss", "output", "parameter", "state"):
        finals = {
            "loss": {"": run.final_loss}, "output": run.final_values, "parameter": run.after, "state": run.state_after,
        }  # fmt: skip
        last = finals[group].get(problem.network[-1].name if group == "output" else key)
        return last[-1] if group in ("parameter", "state") and last is not None else last
    row = int(np.searchsorted(run.steps, step))
    if group == "update":
        return run.after[key][row].astype(np.float64) - run.before[key][row]
    groups = {
        "loss": {"": run.loss}, "output": {"": run.values.get(problem.network[-1].name)}, "value": run.values,
        "cotangent": run.cotangents, "gradient": run.gradients, "parameter": run.before,
        "state": run.state_before,
    }  # fmt: skip
    tensor = groups[group].get(key)
    if tensor is None or group in ("loss", "gradient", "parameter", "state"):
        return tensor if tensor is None else tensor[row]
    return tensor[row, : (problem.batches[step] >= 0).sum()]


def half_a_unit(printed: np.ndarray) -> np.ndarray:
    """Half a unit of the last printed place of each number."""
    places = [Decimal(number).as_tuple().exponent for number in printed.ravel()]
    return np.reshape([0.5 * 10.0**place for place in places], printed.shape)


def _miss(entry: schema.Published, actual: np.ndarray, within: np.ndarray) -> str:
    if entry.wrong and within.all():
        return f"{entry.tensor} at step {entry.step} is marked as wrong at its source, but the run meets it"
    at = np.unravel_index(np.argmin(within), within.shape)
    printed = f"{entry.source} prints {entry.value[at]} for {entry.tensor} at step {entry.step}"
    return f"{printed}; the run has {actual[at]:.17g}"
