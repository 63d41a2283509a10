"""Numbers printed elsewhere: does a run meet them to their last digit?

A number is met when the run lies within half a unit of its last printed place, and what the slack adds: what rounding
may have moved the run and the number's source by (`report/judging/slack.py`), or what the entry says (`within`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
MOST_TOLD = 5


class Published(NamedTuple):
    """One published entry and what a run has in its place.

    Attributes:
        status: `met`, `missed`, `wrong at its source` (the case says so, and the run agrees), `noise` (the case says
            that its digits are), `not resolved` (the slack is as large as the number, or, of a wrong number, wider than
            its digits, so that meeting it says nothing), or `not recorded` by a backend that leaves no such tensor.
        misses: what is missed in words, a number each.
    """

    entry: schema.Published
    actual: np.ndarray | None
    status: str
    misses: tuple[str, ...] = ()


def compare_published(problem: Problem, run: Trajectory) -> list[Published]:
    """Look every published number of the problem up in a run."""
    slack = Slack(problem, run)
    return [_compare(problem, run, entry, slack) for entry in problem.published]


def tell_misses(numbers: list[Published]) -> str:
    """All that is missed, or the first few of it and how many more there are."""
    misses = [miss for number in numbers for miss in number.misses]
    more = [f"and {len(misses) - MOST_TOLD:,} more"] if len(misses) > MOST_TOLD else []
    return "; ".join([*misses[:MOST_TOLD], *more])


def _compare(problem: Problem, run: Trajectory, entry: schema.Published, slack: Slack) -> Published:
    steps = range(entry.step, entry.step + entry.steps)
    tensors = [find_tensor(problem, run, entry.tensor, step) for step in steps]
    if any(tensor is None for tensor in tensors):
        return Published(entry, None, ABSENT)
    actual, printed = quoted(entry, entry.scale * _sum(tensors)), entry.value.astype(np.float64)
    if entry.within:
        allowed = np.full(printed.shape, entry.within.value)
    else:
        source = entry.computed_in or "float64"
        bounds = [slack.of(entry.tensor, step, source) for step in steps]
        allowed = quoted(entry, abs(entry.scale) * _sum(bounds))
    with np.errstate(invalid="ignore"):
        judged = _judged(
            entry,
            np.abs(actual - printed),
            half_a_unit(entry.value),
            allowed,
            np.abs(printed).max(),
        )
    judged[~np.isfinite(actual)] = MISSED
    if (judged == MISSED).any():
        return Published(entry, actual, MISSED, tuple(_misses(entry, actual, judged == MISSED)))
    worst = next(status for status in (NOISE, UNRESOLVED, WRONG, MET) if (judged == status).any())
    return Published(entry, actual, worst)


def _judged(
    entry: schema.Published, distance: np.ndarray, half: np.ndarray, slack: np.ndarray, size: float
) -> np.ndarray:
    """The status of each number of an entry."""
    if entry.noise:
        return np.full(distance.shape, NOISE, dtype=object)
    near, blunt = ~(distance > half + slack), ~(slack <= half)
    wrong = wrong_numbers(entry)
    return np.select(
        [wrong & near & blunt, wrong & near, wrong, near & blunt & ~(slack < size), near],
        [UNRESOLVED, MISSED, WRONG, UNRESOLVED, MET],
        MISSED,
    ).astype(object)


def wrong_numbers(entry: schema.Published) -> np.ndarray:
    """Which numbers of an entry are marked as wrong at their source."""
    wrong = np.full(entry.value.shape, fill_value=bool(entry.wrong and not entry.wrong.elements))
    for index in (entry.wrong and entry.wrong.elements) or ():
        wrong[tuple(index)] = True
    return wrong


def quoted(entry: schema.Published, tensor: np.ndarray) -> np.ndarray:
    """What an entry quotes of a tensor, in the shape of its numbers."""
    tensor = tensor.mT if entry.transpose else tensor
    return tensor[slices(entry.index or ())].reshape(entry.value.shape)


def _sum(tensors: list[np.ndarray]) -> np.ndarray:
    return np.asarray(sum(np.asarray(tensor).astype(np.float64) for tensor in tensors))


def half_a_unit(printed: np.ndarray) -> np.ndarray:
    """Half a unit of the last printed place of each number."""
    places = [Decimal(number).as_tuple().exponent for number in printed.ravel()]
    return np.reshape([0.5 * 10.0**place for place in places], printed.shape)


def _misses(entry: schema.Published, actual: np.ndarray, missed: np.ndarray) -> Iterator[str]:
    wrong = wrong_numbers(entry)
    for at in map(tuple, np.argwhere(missed)):
        number = (
            f"{entry.value[at]} as [{', '.join(map(str, at))}] of"
            if at
            else f"{entry.value[at]} for"
        )
        where = f"{entry.source} prints {number} {entry.tensor} at step {entry.step}"
        if wrong[at] and np.isfinite(actual[at]):
            yield f"{where}, which is marked as wrong at its source, but the run meets it"
        else:
            yield f"{where}, the run has {actual[at]:.17g}"


# ---------------------------------------------------------------- what a run has in its place


def find_tensor(problem: Problem, run: Trajectory, name: str, step: int) -> np.ndarray | None:
    """The tensor of that name at a step, or after as many updates, as `schema.Published` defines it."""
    group, _, key = name.partition("/")
    if group in METRICS:
        return _metric(problem, run, group, step)
    found = _after_all if step == problem.steps else _at_step
    return found(problem, run, group, problem.output if group == "output" else key, step)


def _after_all(
    problem: Problem, run: Trajectory, group: str, key: str, _: int
) -> np.ndarray | None:
    """After the last update; what no run records there is the reference's, at the run's own parameters."""
    if group in ("cotangent", "gradient"):
        found = _at_the_end(problem, run)
        return {"cotangent": found.cotangents, "gradient": found.gradients}[group][key]
    finals = {
        "loss": {"": run.final_loss}, "output": run.final_values, "value": run.final_values,
        "parameter": run.after, "state": run.state_after,
    }  # fmt: skip
    last = finals[group].get(key)
    return last[-1] if group in ("parameter", "state") and last is not None else last


def _at_the_end(problem: Problem, run: Trajectory) -> Derivatives:
    parameters = {path: run.after[path][-1].astype(np.float64) for path in problem.parameters}
    buffers = {path: array[-1].astype(np.float64) for path, array in run.buffers_after.items()}
    inputs, targets = (values.astype(np.float64) for values in (problem.inputs, problem.targets))
    with np.errstate(all="ignore"):
        return derivatives(problem, parameters, {}, inputs, targets, buffers, training=False)


def _at_step(
    problem: Problem, run: Trajectory, group: str, key: str, step: int
) -> np.ndarray | None:
    row = int(np.searchsorted(run.steps, step))
    if group == "update":
        return run.after[key][row].astype(np.float64) - run.before[key][row]
    groups = {
        "loss": {"": run.loss}, "output": run.values, "value": run.values, "cotangent": run.cotangents,
        "gradient": run.gradients, "parameter": run.before, "state": run.state_before,
    }  # fmt: skip
    tensor = groups[group].get(key)
    if tensor is None or group in ("loss", "gradient", "parameter", "state"):
        return tensor if tensor is None else tensor[row]
    return tensor[row, : (problem.batches[step] >= 0).sum()]


# ---------------------------------------------------------------- metrics


def _metric(problem: Problem, run: Trajectory, name: str, step: int) -> np.ndarray | None:
    output, rows = (
        find_tensor(problem, run, "output", step),
        problem.batches[min(step, problem.steps - 1)],
    )
    targets = problem.targets if step == problem.steps else problem.targets[rows[rows >= 0]]
    if output is None:
        return None
    whole = np.isfinite(output).all()  # argmax takes NaN for the largest
    return np.asarray(
        METRICS[name](problem)(output.astype(np.float64), targets) if whole else np.nan
    )


def _accuracy(problem: Problem) -> Callable:
    if problem.loss.by_class:
        return lambda output, targets: (output.argmax(axis=-1) == targets.argmax(axis=-1)).mean()
    return lambda output, targets: (np.sign(output) == targets).mean()


METRICS = {
    "accuracy": _accuracy,
    "absolute_error": lambda _: lambda output, targets: np.abs(output - targets).mean(),
}
