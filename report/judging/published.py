"""Numbers printed elsewhere: does a run meet them to their last digit?

A number is met when the run lies within half a unit of its last printed place, and what the slack
adds: what rounding may have moved the run and the number's source by (`report/judging/slack.py`),
or what the entry says (`within`).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Trajectory
from backproof.cases.format import schema
from backproof.cases.format.fields import slices
from backproof.cases.problem import Problem
from backproof.reference.training import Derivatives, derivatives
from backproof.report.judging.slack import Slack

MET, MISSED, WRONG = "met", "missed", "wrong at its source"
NOISE, UNRESOLVED, ABSENT = "noise", "not resolved", "not recorded"
STATUSES = (MET, MISSED, WRONG, NOISE, UNRESOLVED, ABSENT)
METRICS = ("accuracy", "absolute_error")
MOST_TOLD = 5


class Published(NamedTuple):
    """One published entry and what a run has in its place.

    Attributes:
        entry: as the case has it.
        actual: what the run has, in the shape of the printed numbers; None if it is not recorded.
        status: `met`, `missed`, or
            `wrong at its source`: the case says so, and the run agrees;
            `noise`: the case says that its digits are;
            `not resolved`: meeting it says nothing, since the slack is as large as the number, or,
            of a wrong number, wider than its digits;
            `not recorded` by a backend that leaves no such tensor.
        misses: what is missed in words, a number each.
    """

    entry: schema.Published
    actual: np.ndarray | None
    status: str
    misses: tuple[str, ...] = ()


def compare_published(problem: Problem, run: Trajectory) -> list[Published]:
    """Look every published number of a problem up in a run."""
    slack = Slack(problem, run)
    return [_compare(problem, run, entry, slack) for entry in problem.published]


def tell_misses(numbers: list[Published]) -> str:
    """Tell all that is missed, or the first few of it and how many more there are."""
    misses = [miss for number in numbers for miss in number.misses]
    more = [f"and {len(misses) - MOST_TOLD:,} more"] if len(misses) > MOST_TOLD else []
    return "; ".join([*misses[:MOST_TOLD], *more])


def _compare(problem: Problem, run: Trajectory, entry: schema.Published, slack: Slack) -> Published:
    """Look one entry up; of several steps it quotes the sum."""
    steps = range(entry.step, entry.step + entry.steps)
    tensors = [find_tensor(problem, run, entry.tensor, step) for step in steps]
    if any(tensor is None for tensor in tensors):
        return Published(entry, None, ABSENT)
    actual = _quoted(entry, entry.scale * _sum(tensors))
    if entry.within:
        allowed = np.full(actual.shape, entry.within.value)
    else:
        bounds = [slack.of(entry.tensor, step, entry.computed_in or "float64") for step in steps]
        allowed = _quoted(entry, abs(entry.scale) * _sum(bounds))
    judged = _judged(entry, actual, allowed)
    if (judged == MISSED).any():
        return Published(entry, actual, MISSED, tuple(_misses(entry, actual, judged == MISSED)))
    worst = next(status for status in (NOISE, UNRESOLVED, WRONG, MET) if (judged == status).any())
    return Published(entry, actual, worst)


def _judged(entry: schema.Published, actual: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Return the status of each number of an entry, in the shape of its numbers."""
    printed, half = entry.value.astype(np.float64), half_a_unit(entry.value)
    with np.errstate(invalid="ignore"):
        near, blunt = ~(np.abs(actual - printed) > half + slack), ~(slack <= half)
        unresolved = near & blunt & ~(slack < np.abs(printed).max())
    wrong = _wrong_numbers(entry)
    status = np.select(
        [wrong & near & blunt, wrong & near, wrong, unresolved, near],
        [UNRESOLVED, MISSED, WRONG, UNRESOLVED, MET],
        MISSED,
    )
    return np.where(np.isfinite(actual), NOISE if entry.noise else status, MISSED)


def _wrong_numbers(entry: schema.Published) -> np.ndarray:
    """Return which numbers of an entry are marked as wrong at their source."""
    elements = entry.wrong.elements if entry.wrong else None
    wrong = np.full(entry.value.shape, fill_value=bool(entry.wrong and not elements))
    for index in elements or ():
        wrong[tuple(index)] = True
    return wrong


def _quoted(entry: schema.Published, tensor: np.ndarray) -> np.ndarray:
    """Return what an entry quotes of a tensor, in the shape of its numbers."""
    tensor = tensor.mT if entry.transpose else tensor
    return tensor[slices(entry.index or ())].reshape(entry.value.shape)


def _sum(tensors: list[np.ndarray]) -> np.ndarray:
    """Add tensors of one shape up in float64."""
    return np.asarray(sum(np.asarray(tensor).astype(np.float64) for tensor in tensors))


def half_a_unit(printed: np.ndarray) -> np.ndarray:
    """Return half a unit of the last printed place of each number, in their shape."""
    places = [int(Decimal(number).as_tuple().exponent) for number in printed.ravel()]
    return np.reshape([0.5 * 10.0**place for place in places], printed.shape)


def _misses(entry: schema.Published, actual: np.ndarray, missed: np.ndarray) -> Iterator[str]:
    """Yield each number that is missed, in words."""
    wrong = _wrong_numbers(entry)
    for at in map(tuple, np.argwhere(missed)):
        place = f"as [{', '.join(map(str, at))}] of" if at else "for"
        number = f"{entry.value[at]} {place} {entry.tensor} at step {entry.step}"
        if wrong[at] and np.isfinite(actual[at]):
            found = "which is marked as wrong at its source, but the run meets it"
        else:
            found = f"the run has {actual[at]:.17g}"
        yield f"{entry.source} prints {number}, {found}"


# ---------------------------------------------------------------- what a run has in its place


def find_tensor(problem: Problem, run: Trajectory, name: str, step: int) -> np.ndarray | None:
    """Return the tensor of that name at a step, or after as many updates.

    `schema.Published` defines the names. None if the run does not record it.
    """
    group, _, key = name.partition("/")
    if group in METRICS:
        return _metric(problem, run, group, step)
    if group == "output":
        key = problem.output
    if step == problem.steps:
        return _after_all(problem, run, group, key)
    return _at_step(problem, run, group, key, step)


def _after_all(problem: Problem, run: Trajectory, group: str, key: str) -> np.ndarray | None:
    """Return a tensor after the last update.

    What no run records there is the reference's, at the run's own parameters.
    """
    if group in ("cotangent", "gradient"):
        found = _at_the_end(problem, run)
        return (found.cotangents if group == "cotangent" else found.gradients)[key]
    if group in ("parameter", "state"):
        last = (run.after if group == "parameter" else run.state_after).get(key)
        return None if last is None else last[-1]
    return run.final_loss if group == "loss" else run.final_values.get(key)


def _at_the_end(problem: Problem, run: Trajectory) -> Derivatives:
    """Compute everything in float64 on all samples, at the run's final parameters."""
    parameters = {path: run.after[path][-1].astype(np.float64) for path in problem.parameters}
    buffers = {path: array[-1].astype(np.float64) for path, array in run.buffers_after.items()}
    inputs, targets = (values.astype(np.float64) for values in (problem.inputs, problem.targets))
    with np.errstate(all="ignore"):
        return derivatives(problem, parameters, {}, inputs, targets, buffers, training=False)


def _at_step(
    problem: Problem, run: Trajectory, group: str, key: str, step: int
) -> np.ndarray | None:
    """Return a tensor at a recorded step, of its real samples."""
    row = int(np.searchsorted(run.steps, step))
    if group == "update":
        return run.after[key][row].astype(np.float64) - run.before[key][row]
    samples = (problem.batches[step] >= 0).sum()
    by_sample = {"output": run.values, "value": run.values, "cotangent": run.cotangents}
    whole = {"gradient": run.gradients, "parameter": run.before, "state": run.state_before}
    if group == "loss":
        return None if run.loss is None else run.loss[row]
    tensor = (by_sample | whole)[group].get(key)
    if tensor is None:
        return None
    return tensor[row, :samples] if group in by_sample else tensor[row]


# ---------------------------------------------------------------- metrics


def _metric(problem: Problem, run: Trajectory, name: str, step: int) -> np.ndarray | None:
    """Compute a metric of the output at a step, or of all samples after the last one."""
    output, targets = find_tensor(problem, run, "output", step), problem.targets
    if output is None:
        return None
    if step < problem.steps:
        rows = problem.batches[step]
        targets = targets[rows[rows >= 0]]
    if not np.isfinite(output).all():  # argmax takes NaN for the largest
        return np.asarray(np.nan)
    output = output.astype(np.float64)
    if name == "absolute_error":
        return np.abs(output - targets).mean()
    if problem.loss.by_class:
        return (output.argmax(axis=-1) == targets.argmax(axis=-1)).mean()
    return (np.sign(output) == targets).mean()
