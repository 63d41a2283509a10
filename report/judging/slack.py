"""How far may a right run be from the exact one? What its steps round, added up.

What one step rounds at most is derived as everywhere here (`reference/numbers/bounded.py`): from
its recorded parameters and state through forward and backward pass, clip and optimizer to what it
leaves. These bounds are added up over the steps, and the parameters and the state of a step are as
far off as their sum says. What is computed on the way, values, cotangents, gradients and the loss,
inherits that.

That training amplifies what was rounded before is not in the sum, and no bound of that kind is of
use: it would grow by a factor at every step. A number of which that matters says so itself
(`within`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from ml_dtypes import finfo

from backproof.backends.trajectory import Arrays, Trajectory, cut
from backproof.cases.problem import Problem
from backproof.reference.formulas.optimizers import at_rate, clipped, update
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.precision import precision_of
from backproof.reference.training import Derivatives, derivatives
from backproof.report.judging.following import followed, values_of

STEPS_AT_A_TIME = 256
SINGLE = np.dtype(np.float32)
Numbers = dict[str, Bounded]
Rows = int | np.ndarray  # one recorded step, or many


class Slack:
    """The slack of published numbers, for one run of a problem.

    The bounds are of single precision, which is fast; a bound is proportional to the unit roundoff,
    so that they serve for double as well. A run in 16 bits is followed in its own precision, whose
    rules are others.
    """

    def __init__(self, problem: Problem, run: Trajectory):
        self.problem, self.recorded = problem, run
        coarse = problem.dtype.itemsize < SINGLE.itemsize
        self.precision = precision_of(problem.dtype if coarse else SINGLE)

    @cached_property
    def run(self) -> Trajectory:
        """The run, with the values of what is followed in it because it is not recorded."""
        run = followed(self.problem, self.recorded)
        rates = run.learning_rates
        return replace(
            run,
            state_before={name: values_of(array) for name, array in run.state_before.items()},
            learning_rates=None if rates is None else values_of(rates),
        )

    def of(self, tensor: str, step: int, source: str) -> np.ndarray:
        """Compute how far a right run's tensor may be from one computed in the dtype `source`.

        Args:
            tensor: by its name in `published`.
            step: that it is of, or the number of updates behind it.
            source: a dtype.

        Returns:
            A bound for each element, in the shape of the tensor.
        """
        group, _, key = tensor.partition("/")
        with np.errstate(all="ignore"):
            bound = self._bound(group, key, step)
        dtypes = self.problem.dtype, source, self.precision.dtype
        of_run, of_source, of_bound = (float(finfo(dtype).eps) for dtype in dtypes)
        return bound * (of_run + of_source) / of_bound

    def _bound(self, group: str, key: str, step: int) -> np.ndarray:
        """Compute the bound of a tensor in the precision that the run is followed in."""
        row = int(np.searchsorted(self.run.steps, step))  # behind the last one after the last step
        match group:
            case "parameter":
                return self._drift_of(key, row)
            case "state":
                return self._rounding(self.run.state_before[key][0]) + self.state_drift[key][row]
            case "accuracy":
                return np.zeros(())  # a share of samples: of the dtype it has no rounding
        targets, found = self._computed(row, step)
        output = found.values[self.problem.output]
        match group:
            case "update":  # of the parameters, which are subtracted, no drift is in it
                return self._stepped(row, step, found.gradients, self.state_drift)[0][key].bound
            case "absolute_error":
                return np.abs(output - targets).bound.mean()
            case "loss":
                return found.loss.bound
            case "output":
                return output.bound
        return getattr(found, f"{group}s")[key].bound  # values, cotangents, gradients

    # ------------------------------------------------------------ one step

    def _computed(self, row: int, step: int) -> tuple[Bounded, Derivatives]:
        """Compute a step, or all samples after the last one, from parameters that have drifted.

        Returns:
            The targets, and what is computed.
        """
        problem, run, last = self.problem, self.run, step == self.problem.steps
        batch = np.arange(len(problem.inputs)) if last else problem.batches[step]
        samples, at = batch[batch >= 0], -1 if last else row
        taken, buffers = run.before, run.buffers_before
        if last:
            taken, buffers = run.after, run.buffers_after
        parameters = {
            path: self._near(taken[path][at], self._drift_of(path, row))
            for path in problem.parameters
        }
        masks = {} if last else self._all_near(problem.masks_at(step), slice(len(samples)))
        of_case = problem.inputs[samples], problem.targets[samples]
        x, t = (self._near(values, self._rounding(values)) for values in of_case)
        given = parameters, masks, x, t, self._all_near(buffers, at)
        return t, derivatives(problem, *given, training=not last)

    def _stepped(
        self, rows: Rows, step: Rows, gradients: Numbers, drift: Arrays
    ) -> tuple[Numbers, Numbers]:
        """Compute what the update of a step, or of many, leaves of exact parameters.

        Args:
            rows: where the steps are recorded.
            step: their numbers.
            gradients: of every trained parameter.
            drift: how far the state may have strayed, by name; none where it is empty.

        Returns:
            The parameters and the state.
        """
        problem, run = self.problem, self.run
        before = {path: self._near(run.before[path][rows]) for path in problem.parameters}
        state = {
            name: self._near(array[rows], drift[name][rows] if drift else 0.0)
            for name, array in run.state_before.items()
        }
        gradients = {path: gradients[path] for path in problem.trained}
        rate = None if run.learning_rates is None else run.learning_rates[rows]
        optimizer = at_rate(problem.optimizer, rate)
        used = clipped(problem.clip, gradients, problem.axes)
        return update(optimizer, before, used, state, step)

    # ------------------------------------------------------------ over the steps

    def _drift_of(self, path: str, row: int) -> np.ndarray:
        """Return how far a parameter may have strayed before the step of this row, in its shape."""
        start = self._rounding(self.problem.parameters[path])
        trained = self.problem.optimizer is not None and path in self.problem.trained
        return start + self.parameter_drift[path][row] if row and trained else start

    @cached_property
    def state_drift(self) -> Arrays:
        """How far the state strays, (R + 1, *shape), before each step and after the last."""
        return self._added_up(1, {})

    @cached_property
    def parameter_drift(self) -> Arrays:
        """Likewise of parameters, by path."""
        return self._added_up(0, self.state_drift)

    def _added_up(self, which: int, drift: Arrays) -> Arrays:
        """Add the bounds of what the steps leave up, from 0: (R + 1, *shape) by name.

        Parameters are 0, and the state is 1; a step takes the state as far off as `drift` says.
        A step that is not recorded is like the recorded one before.
        """
        steps = self.run.steps
        bounds: Arrays = {}
        for rows, gradients in self._gradients:
            left = self._stepped(rows, steps[rows], gradients, drift)[which]
            for name, numbers in left.items():
                bounds.setdefault(name, np.zeros((len(steps), *numbers.shape[1:])))
                bounds[name][rows] = numbers.bound
        times = np.diff(np.append(steps, self.problem.steps))
        return {name: _sums(local, times) for name, local in bounds.items()}

    @cached_property
    def _gradients(self) -> list[tuple[np.ndarray, Numbers]]:
        """The gradients of steps up to the last published one, by blocks of as many samples."""
        published = max((entry.step + entry.steps for entry in self.problem.published), default=0)
        steps = self.run.steps[self.run.steps < published]
        sizes = (self.problem.batches[steps] >= 0).sum(axis=1)
        of_size = [(size, np.flatnonzero(sizes == size)) for size in np.unique(sizes)]
        return [
            (rows, self._gradients_of(cut(self.run, rows, size), size))
            for size, all_rows in of_size
            for rows in np.array_split(all_rows, -(-len(all_rows) // STEPS_AT_A_TIME))
        ]

    def _gradients_of(self, run: Trajectory, size: int) -> Numbers:
        """Compute the gradients of steps with that many samples from exact parameters."""
        problem, batches = self.problem, self.problem.batches[run.steps][:, :size]
        parameters = {path: self._near(run.before[path]) for path in problem.parameters}
        masks = self._all_near(problem.masks_at(run.steps), np.s_[:, :size])
        x, t = self._near(problem.inputs[batches]), self._near(problem.targets[batches])
        buffers = self._all_near(run.buffers_before)
        return derivatives(problem, parameters, masks, x, t, buffers).gradients

    # ------------------------------------------------------------ numbers

    def _near(self, values: np.ndarray, bound: np.ndarray | float = 0.0) -> Bounded:
        """Return numbers that are so far off."""
        given = exact(values.astype(np.float64), self.precision)
        return Bounded(given.value, given.bound + bound, self.precision, magnitude=given.magnitude)

    def _all_near(self, arrays: Arrays, at: Any = ...) -> Numbers:
        """Return what arrays by name hold at an index, as exact numbers."""
        return {name: self._near(array[at]) for name, array in arrays.items()}

    def _rounding(self, values: np.ndarray) -> np.ndarray:
        """Return what the numbers of a case are off in the dtype; whole numbers are not."""
        numbers = values.astype(np.float64)
        return np.where(numbers == np.floor(numbers), 0.0, self.precision.u * np.abs(numbers))


def _sums(bounds: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return (R + 1, *shape), from 0: bounds, (R, *shape), added up, each so many times, (R,)."""
    sums = np.cumsum(bounds * times.reshape(-1, *[1] * (bounds.ndim - 1)), axis=0)
    return np.concatenate([np.zeros_like(sums[:1]), sums])
