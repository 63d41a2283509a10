"""What a run does not hold is followed: computed by the judge from what was recorded, with a bound.

The optimizer's state is followed from its start, through the recorded gradients of every step; a
learning rate is what the schedule says. What is followed is no finding by itself, but what the next
operation is judged from. Nothing is computed from the loss, so it is not followed: where gradients
alone are recorded it may be absent, and is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from flint import arb

from backproof.backends.trajectory import Trajectory
from backproof.cases.format.optimizers import ExponentialDecay, StepDecay
from backproof.cases.problem import Problem
from backproof.reference.formulas.optimizers import at_rate, clipped, init, update
from backproof.reference.formulas.schedules import learning_rates
from backproof.reference.numbers.balls import balls, floats, sizes
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.half import half
from backproof.reference.numbers.precision import IN_BALLS, precision_of

ROUNDINGS_A_STEP = 8


def without_loss(run: Trajectory) -> bool:
    """Return whether a run holds gradients alone, and no loss at all."""
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
    if without_loss(run):
        yield "the loss is not recorded, so it was not judged"
    if without_state(problem, run):
        yield "the state is not recorded: it is followed from the start"
    if without_rates(problem, run):
        yield "the learning rates are not recorded: they are taken from the schedule"


def followed(problem: Problem, run: Trajectory) -> Trajectory:
    """Return a run, or its first steps, where a state and rates that it lacks are `Bounded`."""
    missing: dict[str, Any] = {}
    if without_rates(problem, run):
        missing["learning_rates"] = _in_floats(rates(problem, run.steps))
    if without_state(problem, run):
        missing["state_before"] = _states(problem, replace(run, **missing))
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


def _states(problem: Problem, run: Trajectory) -> dict[str, Bounded]:
    """Compute what the optimizer remembers before each step, (R, *shape) by `NAME/PARAMETER`.

    An optimizer's rule is elementwise, so that all parameters are followed as one vector.
    """
    precision = precision_of(problem.dtype)
    gradients, parameters = (
        {path: exact(arrays[path], precision) for path in problem.trained}
        for arrays in (run.gradients, run.before)
    )
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
