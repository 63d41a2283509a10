"""What a run does not hold is followed: computed by the judge from what was recorded, with a bound.

The optimizer's state is followed from its start, through the gradients of every step; a learning
rate is what the schedule says. Values, cotangents and gradients are followed from those that are
recorded (`operations.py`), here only where a state needs them. What is followed is no finding by
itself, but what the next operation is judged from. Nothing is computed from the loss, so it is not
followed: where it may be absent, it is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from flint import arb

from backproof.backends.trajectory import MAY_LACK, Arrays, Trajectory, cut
from backproof.cases.format.optimizers import ExponentialDecay, StepDecay
from backproof.cases.problem import Problem
from backproof.cases.tensors import tensors_of
from backproof.reference.formulas.optimizers import at_rate, clipped, init, update
from backproof.reference.formulas.schedules import learning_rates
from backproof.reference.numbers.balls import balls, floats, sizes
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.half import half
from backproof.reference.numbers.precision import IN_BALLS, precision_of
from backproof.reference.training import derivatives

ROUNDINGS_A_STEP = 8
ELEMENTS_AT_A_TIME = 32_768
LISTED = 4
WORDS = {"loss": "the loss", "final_values": "final values", "final_loss": "the final loss"}
AT_AN_END = tuple(WORDS)


def without_loss(run: Trajectory) -> bool:
    """Return whether a run that need not hold everything has no loss at all."""
    return not run.has_layers and run.loss is None and run.final_loss is None


def without_state(problem: Problem, run: Trajectory) -> bool:
    """Return whether a state is to be followed: none is recorded, but every step is."""
    remembers = problem.optimizer is not None and bool(problem.optimizer.state)
    recorded = run.state_before or run.state_after
    return remembers and not recorded and len(problem.recorded) == problem.steps


def without_rates(problem: Problem, run: Trajectory) -> bool:
    """Return whether there is a schedule, and no learning rate is recorded."""
    return problem.schedule is not None and run.learning_rates is None


def notes(problem: Problem, run: Trajectory) -> Iterator[str]:
    """Yield what a verdict does not say itself: what is not recorded, and what was done instead."""
    if run.scope == "some":
        yield from _not_on_record(problem, run)
    elif without_loss(run):
        yield "the loss is not recorded, so it was not judged"
    if without_state(problem, run):
        yield "the state is not recorded: it is followed from the start"
    if without_rates(problem, run):
        yield "the learning rates are not recorded: they are taken from the schedule"


def lacks(problem: Problem, run: Trajectory) -> Iterator[tuple[str, str]]:
    """Yield field and name of every tensor of a whole run that is not recorded, but may lack."""
    for field, name, *_ in tensors_of(problem):
        found = getattr(run, field)
        if field in MAY_LACK and (found is None or (name and name not in found)):
            yield field, name


def _not_on_record(problem: Problem, run: Trajectory) -> Iterator[str]:
    """Say what a run of `some` lacks: what is followed of it, and what is not judged."""
    lacking: dict[str, list[str]] = {}
    for field, name in lacks(problem, run):
        lacking.setdefault(field, []).append(name)
    unjudged = [WORDS[field] for field in AT_AN_END if lacking.pop(field, None)]
    parts = []
    for field, names in lacking.items():
        of = len(problem.trained if field == "gradients" else problem.shapes)
        few = f" ({', '.join(names)})" if len(names) <= LISTED else ""
        parts.append(f"all {field}" if len(names) == of else f"{len(names)} of {of} {field}{few}")
    if parts:
        yield f"not recorded, and followed: {', '.join(parts)}"
    if unjudged:
        yield f"not recorded, so not judged: {', '.join(unjudged)}"


def followed(problem: Problem, run: Trajectory, scale: float = 1.0) -> Trajectory:
    """Return a run, or its first steps, where a state and rates that it lacks are `Bounded`.

    Gradients that it lacks too are multiplied by `scale` before a state is made of them.
    """
    missing: dict[str, Any] = {}
    if without_rates(problem, run):
        missing["learning_rates"] = _in_floats(rates(problem, run.steps))
    if without_state(problem, run):
        missing["state_before"] = _states(problem, replace(run, **missing), scale)
    return replace(run, **missing)


def values_of(array: np.ndarray | Bounded) -> np.ndarray:
    """Return recorded or followed numbers as float64."""
    return floats(array.value if isinstance(array, Bounded) else array)


def rates(problem: Problem, steps: np.ndarray) -> Bounded:
    """Compute the learning rates of a schedule in float64, (R,).

    Going from step to step rounds up to eight times in each. Where a schedule only multiplies, an
    error fades as the rate does; where it adds, it is one of the largest rate.
    """
    rates = balls(np.array(learning_rates(problem, steps, arb), dtype=object))
    double = np.finfo(np.float64)
    only_multiplies = isinstance(problem.schedule, StepDecay | ExponentialDecay)
    size = sizes(rates) if only_multiplies else problem.optimizer.learning_rate
    bound = ROUNDINGS_A_STEP * (steps + 1.0) * (double.eps / 2) * size + double.smallest_normal
    return Bounded(rates, bound, IN_BALLS)


def _in_floats(rates: Bounded) -> Bounded:
    """Return the same numbers for arithmetic with others: the nearest floats and the rest."""
    double, nearest = precision_of(np.dtype(np.float64)), floats(rates.value)
    rest = floats(rates.value - balls(nearest))
    return Bounded(double.wider(nearest) + double.wider(rest), rates.bound, double)


def _states(problem: Problem, run: Trajectory, scale: float) -> dict[str, Bounded]:
    """Compute what the optimizer remembers before each step, (R, *shape) by `NAME/PARAMETER`.

    An optimizer's rule is elementwise, so that all parameters are followed as one vector.
    """
    precision = precision_of(problem.dtype)
    gradients = _gradients(problem, run, scale)
    parameters = {path: exact(run.before[path], precision) for path in problem.trained}
    gradient = _joined(clipped(problem.clip, gradients, problem.axes))
    before = _joined(parameters)
    start = half(np.concatenate([problem.parameters[path].ravel() for path in problem.trained]))
    start_of = init(problem.optimizer, {"": start})
    state = {name: exact(np.asarray(values), precision) for name, values in start_of.items()}
    states: dict[str, list[Any]] = {name: [] for name in state}
    for row, step in enumerate(run.steps.tolist()):
        for name, values in state.items():
            states[name].append(values[None])
        rate = None if run.learning_rates is None else run.learning_rates[row : row + 1]
        optimizer = at_rate(problem.optimizer, rate)
        _, state = update(optimizer, {"": before[row]}, {"": gradient[row]}, state, step)
        state = {name: _without_history(values) for name, values in state.items()}
    joined: dict[str, Any] = {name: np.concatenate(rows) for name, rows in states.items()}
    return {
        f"{name}{path}": values
        for name, rows in joined.items()
        for path, values in _parted(problem, rows).items()
    }


def _gradients(problem: Problem, run: Trajectory, scale: float) -> dict[str, Bounded]:
    """Take the gradients of all steps, (R, *shape) by path, and compute those not recorded."""
    precision = precision_of(problem.dtype)
    found = {path: exact(array, precision) for path, array in run.gradients.items()}
    if all(path in found for path in problem.trained):
        return {path: found[path] for path in problem.trained}
    parts: dict[str, list[Any]] = {path: [] for path in problem.trained}
    positions = [*blocks(problem, run.steps)]
    for at, size in positions:
        block = cut(run, at, size)
        for path, gradient in followed_gradients(problem, block, size).items():
            parts[path].append(gradient)
    order = np.argsort(np.concatenate([at for at, _ in positions]))
    computed: dict[str, Any] = {path: np.concatenate(rows) for path, rows in parts.items()}
    return {
        path: found[path] if path in found else computed[path][order] * scale
        for path in problem.trained
    }


def followed_gradients(problem: Problem, run: Trajectory, size: int) -> dict[str, Bounded]:
    """Compute the gradients of steps of so many samples from what is recorded, (R, *shape)."""
    precision = precision_of(problem.dtype)

    def given(arrays: Arrays) -> dict[str, Bounded]:
        return {name: exact(array, precision) for name, array in arrays.items()}

    batches = problem.batches[run.steps, :size]
    masks = {path: mask[:, :size] for path, mask in problem.masks_at(run.steps).items()}
    x, t = (exact(of[batches], precision) for of in (problem.inputs, problem.targets))
    before = given({path: run.before[path] for path in problem.parameters})
    recorded = given(run.values), given(run.cotangents)
    buffers = given(run.buffers_before)
    found = derivatives(problem, before, given(masks), x, t, buffers, recorded=recorded)
    return {path: _without_history(found.gradients[path]) for path in problem.trained}


def blocks(problem: Problem, steps: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield steps with the same number of real samples, as many at a time as fit well in memory.

    Yields:
        Where they are among the recorded ones, and the number of samples.
    """
    sizes = (problem.batches[steps] >= 0).sum(axis=1)
    a_step = problem.batches.shape[1] * max(map(math.prod, problem.shapes.values()))
    at_a_time = max(1, ELEMENTS_AT_A_TIME // a_step)
    for size in np.unique(sizes):
        positions = np.flatnonzero(sizes == size)
        for block in np.split(positions, range(at_a_time, len(positions), at_a_time)):
            yield block, int(size)


def _without_history(numbers: Bounded) -> Bounded:
    """Return the same numbers, and nothing of what they were made of."""
    own = Bounded(numbers.value, numbers.bound, numbers.precision, magnitude=numbers.magnitude)
    own.alike = numbers.alike
    return own


def _joined(tensors: dict[str, Any]) -> Bounded:
    """Join tensors, (R, *shape) each, to rows of numbers, (R, elements)."""
    rows = [np.reshape(one, (one.shape[0], -1)) for one in tensors.values()]
    joined: Any = np.concatenate(rows, axis=1)
    return joined


def _parted(problem: Problem, rows: Bounded) -> dict[str, Bounded]:
    """Part rows of numbers, (R, elements), into the trained parameters' tensors, (R, *shape)."""
    tensors, first = {}, 0
    for path in problem.trained:
        values = problem.parameters[path]
        tensors[path] = rows[:, np.arange(first, first + values.size).reshape(values.shape)]
        first += values.size
    return tensors
