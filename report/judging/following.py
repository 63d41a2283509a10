"""What a run does not hold is followed: computed by the judge, with its bound, from what was recorded before it.

The optimizer's state is followed from its start, through the recorded gradients of every step; a learning rate is what
the schedule says. What is followed is no finding by itself, but what the next operation is judged from. The loss, which
nothing else is computed from, is not followed: where gradients alone are recorded it may be absent, and is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
    """The run holds gradients alone, and no loss at all."""
    return not run.has_layers and run.loss is None and run.final_loss is None


def without_state(problem: Problem, run: Trajectory) -> bool:
    """The optimizer has a state, none of it is recorded, and every step is, so that it can be followed."""
    remembers = problem.optimizer is not None and bool(problem.optimizer.state)
    return (
        remembers
        and not run.state_before
        and not run.state_after
        and len(problem.recorded) == problem.steps
    )


def without_rates(problem: Problem, run: Trajectory) -> bool:
    """There is a schedule, and no learning rate is recorded."""
    return problem.schedule is not None and run.learning_rates is None


def notes(problem: Problem, run: Trajectory) -> Iterator[str]:
    """What a verdict does not say of itself: what is not recorded, and what was done instead."""
    if without_loss(run):
        yield "the loss is not recorded, so it was not judged"
    if without_state(problem, run):
        yield "the state is not recorded: it is followed from the start"
    if without_rates(problem, run):
        yield "the learning rates are not recorded: they are taken from the schedule"


def followed(problem: Problem, run: Trajectory) -> Trajectory:
    """The run, and in the place of a state and of rates that are not recorded what they are, as `Bounded` arrays.

    `run` may as well be the first steps of one.
    """
    if without_rates(problem, run):
        run = replace(run, learning_rates=_in_floats(rates(problem, run.steps)))
    return replace(run, state_before=_states(problem, run)) if without_state(problem, run) else run


def values_of(array: np.ndarray | Bounded) -> np.ndarray:
    """The recorded or followed numbers as float64."""
    return floats(array.value if isinstance(array, Bounded) else array)


def rates(problem: Problem, steps: np.ndarray) -> Bounded:
    """The learning rates of a schedule in float64, (R,); going from step to step rounds up to eight times in each.

    Where a schedule only multiplies, an error fades as the rate does; where it adds, it is one of the largest rate.
    """
    rates = balls(np.array(learning_rates(problem, steps, arb), dtype=object))
    double = np.finfo(np.float64)
    only_multiplies = isinstance(problem.schedule, StepDecay | ExponentialDecay)
    size = sizes(rates) if only_multiplies else problem.optimizer.learning_rate
    bound = ROUNDINGS_A_STEP * (steps + 1.0) * (double.eps / 2) * size + double.smallest_normal
    return Bounded(rates, bound, IN_BALLS)


def _in_floats(rates: Bounded) -> Bounded:
    """The same numbers for arithmetic with others: as two floats, the nearest and what is left."""
    double, nearest = precision_of(np.dtype(np.float64)), floats(rates.value)
    return Bounded(
        double.wider(nearest) + double.wider(floats(rates.value - balls(nearest))),
        rates.bound,
        double,
    )


def _states(problem: Problem, run: Trajectory) -> dict[str, Bounded]:
    """What the optimizer remembers before each step, (R, *shape) by `NAME/PARAMETER`.

    An optimizer's rule is elementwise, so that all parameters are followed as one vector of numbers.
    """
    precision = precision_of(problem.dtype)
    gradients = {path: exact(run.gradients[path], precision) for path in problem.trained}
    gradient = _joined(clipped(problem.clip, gradients, problem.axes))
    before = _joined({path: exact(run.before[path], precision) for path in problem.trained})
    start = half(np.concatenate([problem.parameters[path].ravel() for path in problem.trained]))
    state = {
        name: exact(np.asarray(values), precision)
        for name, values in init(problem.optimizer, {"": start}).items()
    }
    states: dict[str, list[Bounded]] = {name: [] for name in state}
    for row, step in enumerate(run.steps.tolist()):
        for name, values in state.items():
            states[name].append(values[None])
        rate = None if run.learning_rates is None else run.learning_rates[row : row + 1]
        _, state = update(
            at_rate(problem.optimizer, rate), {"": before[row]}, {"": gradient[row]}, state, step
        )
        state = {name: _without_history(values) for name, values in state.items()}
    return {
        f"{name}{path}": values
        for name, rows in states.items()
        for path, values in _parted(problem, np.concatenate(rows)).items()
    }


def _without_history(numbers: Bounded) -> Bounded:
    """The same numbers, and nothing of what they were made of."""
    return Bounded(numbers.value, numbers.bound, numbers.precision, magnitude=numbers.magnitude)


def _joined(tensors: dict[str, Bounded]) -> Bounded:
    """All tensors as rows of numbers: (R, *shape) each, (R, elements) together."""
    rows = []
    for tensor in tensors.values():
        _, *shape = tensor.shape
        rows.append(tensor[(slice(None), *np.indices(shape).reshape(len(shape), -1))])
    return np.concatenate(rows, axis=1)


def _parted(problem: Problem, rows: Bounded) -> dict[str, Bounded]:
    """The trained parameters' tensors, (R, *shape) each, of rows of numbers."""
    tensors, first = {}, 0
    for path in problem.trained:
        values = problem.parameters[path]
        tensors[path] = rows[:, np.arange(first, first + values.size).reshape(values.shape)]
        first += values.size
    return tensors
