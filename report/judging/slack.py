"""How far may a right run be from the exact one? What its steps round, added up; the slack of published numbers.

What one step rounds at most is derived as everywhere here (`reference/numbers/bounded.py`): from its recorded
parameters and state through forward and backward pass, clip and optimizer to what it leaves. These bounds are added up
over the steps, and the parameters and the state of a step are as far off as their sum says. What is computed on the
way, values, cotangents, gradients and the loss, inherits that.

That training amplifies what was rounded before is not in the sum, and no bound of that kind is of use: it would grow
by a factor at every step. A number of which that matters says so itself (`within`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

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


def _as_followed(problem: Problem, run: Trajectory) -> Trajectory:
    """The run with the values of what is not recorded of its state and rates."""
    run = followed(problem, run)
    rates = run.learning_rates
    return replace(
        run,
        state_before={name: values_of(array) for name, array in run.state_before.items()},
        learning_rates=None if rates is None else values_of(rates),
    )


class Slack:
    """Bounds of single precision, which is fast; a bound is proportional to the unit roundoff, so those of double too.

    A run in 16 bits is followed in its own precision, whose rules are others.
    """

    def __init__(self, problem: Problem, run: Trajectory):
        self.problem, self.recorded = problem, run
        self.precision = precision_of(
            problem.dtype if problem.dtype.itemsize < SINGLE.itemsize else SINGLE
        )

    @cached_property
    def run(self) -> Trajectory:
        """The run, followed where it is not recorded."""
        return _as_followed(self.problem, self.recorded)

    def of(self, tensor: str, step: int, source: str) -> np.ndarray:
        """How far a right run's tensor may be from one that was computed in the dtype `source`.

        Args:
            tensor: by its name in `published`.
            step: that it is of, or the number of updates behind it.
            source: a dtype.
        """
        group, _, key = tensor.partition("/")
        with np.errstate(all="ignore"):
            bound = self._bound(group, key, step)
        eps = [
            float(finfo(dtype).eps) for dtype in (self.problem.dtype, source, self.precision.dtype)
        ]
        return bound * (eps[0] + eps[1]) / eps[2]

    def _bound(self, group: str, key: str, step: int) -> np.ndarray:
        row = int(np.searchsorted(self.run.steps, step))  # behind the last one after the last step
        match group:
            case "parameter":
                return self._drift_of(key, row)
            case "state":
                return self._rounding(self.run.state_before[key][0]) + self.state_drift[key][row]
            case "accuracy":
                return np.zeros(())  # a share of samples: of the dtype it has no rounding
            case "update":
                return self._update(key, row, step)
        targets, found = self._computed(row, step)
        of_group = {
            "loss": {"": found.loss}, "output": {"": found.values[self.problem.output]},
            "value": found.values, "cotangent": found.cotangents, "gradient": found.gradients,
        }  # fmt: skip
        if group == "absolute_error":
            return np.abs(of_group["output"][""] - targets).bound.mean()
        return of_group[group][key].bound

    # ------------------------------------------------------------ one step

    def _computed(self, row: int, step: int) -> tuple[Bounded, Derivatives]:
        """The targets and what is computed at a step, or of all samples after the last; of drifted parameters."""
        problem, last = self.problem, step == self.problem.steps
        rows, masks = slice(None), {}
        if not last:
            rows = problem.batches[step]
            rows = rows[rows >= 0]
            masks = {
                path: self._near(mask[: len(rows)]) for path, mask in problem.masks_at(step).items()
            }
        recorded = self.run.after if last else self.run.before
        parameters = {
            path: self._near(recorded[path][-1 if last else row], self._drift_of(path, row))
            for path in problem.parameters
        }
        x, t = (
            self._near(values[rows], self._rounding(values[rows]))
            for values in (problem.inputs, problem.targets)
        )
        buffers = self._buffers(-1 if last else row, after=last)
        return t, derivatives(problem, parameters, masks, x, t, buffers, training=not last)

    def _buffers(self, rows, *, after: bool = False) -> dict[str, Bounded]:
        recorded = self.run.buffers_after if after else self.run.buffers_before
        return {path: self._near(array[rows]) for path, array in recorded.items()}

    def _update(self, path: str, row: int, step: int) -> np.ndarray:
        """What is subtracted is the update, so that of the parameters themselves no drift is in it."""
        _, found = self._computed(row, step)
        state = {
            name: self._near(array[row], self.state_drift[name][row])
            for name, array in self.run.state_before.items()
        }
        rates = self.run.learning_rates
        after, _ = self._updated(
            row, found.gradients, state, None if rates is None else rates[row], step
        )
        return after[path].bound

    def _updated(self, rows, gradients: dict, state: dict, rate, step) -> tuple[dict, dict]:
        before = {path: self._near(self.run.before[path][rows]) for path in self.problem.parameters}
        gradients = {path: gradients[path] for path in self.problem.trained}
        gradients = clipped(self.problem.clip, gradients, self.problem.axes)
        return update(at_rate(self.problem.optimizer, rate), before, gradients, state, step)

    # ------------------------------------------------------------ over the steps

    def _drift_of(self, path: str, row: int) -> np.ndarray:
        """(*shape,) how far a parameter may have strayed before the recorded step of this row."""
        start = self._rounding(self.problem.parameters[path])
        trained = self.problem.optimizer is not None and path in self.problem.trained
        return start + self.parameter_drift[path][row] if row and trained else start

    @cached_property
    def state_drift(self) -> Arrays:
        """(R + 1, *shape) by name, before each recorded step and after the last: what every step adds to the state."""
        return self._added_up(lambda rows, gradients: self._one_step(rows, gradients, {})[1])

    @cached_property
    def parameter_drift(self) -> Arrays:
        """(R + 1, *shape) by path, likewise; a step takes the state as far off as it may be."""
        return self._added_up(
            lambda rows, gradients: self._one_step(rows, gradients, self.state_drift)[0]
        )

    def _one_step(
        self, rows: np.ndarray, gradients: dict, state_drift: Arrays
    ) -> tuple[dict, dict]:
        """What these steps leave, each from exact parameters."""
        state = {
            name: self._near(array[rows], state_drift[name][rows] if state_drift else 0.0)
            for name, array in self.run.state_before.items()
        }
        rates = self.run.learning_rates
        return self._updated(
            rows, gradients, state, None if rates is None else rates[rows], self.run.steps[rows]
        )

    def _added_up(self, left: Callable[[np.ndarray, dict], dict[str, Bounded]]) -> Arrays:
        """The bounds of what the steps leave, added up; a step that is not recorded is like the recorded one before."""
        local: dict[str, np.ndarray] = {}
        for rows, gradients in self._gradients:
            for name, numbers in left(rows, gradients).items():
                local.setdefault(name, np.zeros((len(self.run.steps), *numbers.shape[1:])))[
                    rows
                ] = numbers.bound
        times = np.diff(np.append(self.run.steps, self.problem.steps))
        return {name: _sums(bounds, times) for name, bounds in local.items()}

    @cached_property
    def _gradients(self) -> list[tuple[np.ndarray, dict[str, Bounded]]]:
        """The gradients of recorded steps before the last published one, by blocks of steps with as many samples."""
        published = max((entry.step + entry.steps for entry in self.problem.published), default=0)
        sizes = (self.problem.batches[self.run.steps[self.run.steps < published]] >= 0).sum(axis=1)
        of_size = [(size, np.flatnonzero(sizes == size)) for size in np.unique(sizes)]
        return [
            (rows, self._gradients_of(cut(self.run, rows, size), size))
            for size, all_rows in of_size
            for rows in np.array_split(all_rows, -(-len(all_rows) // STEPS_AT_A_TIME))
        ]

    def _gradients_of(self, run: Trajectory, size: int) -> dict[str, Bounded]:
        problem, batches = self.problem, self.problem.batches[run.steps][:, :size]
        parameters = {path: self._near(run.before[path]) for path in problem.parameters}
        masks = {
            path: self._near(mask[:, :size]) for path, mask in problem.masks_at(run.steps).items()
        }
        buffers = {path: self._near(array) for path, array in run.buffers_before.items()}
        x, t = self._near(problem.inputs[batches]), self._near(problem.targets[batches])
        return derivatives(problem, parameters, masks, x, t, buffers).gradients

    # ------------------------------------------------------------ numbers

    def _near(self, values: np.ndarray, bound: np.ndarray | float = 0.0) -> Bounded:
        """Numbers that are so far off."""
        given = exact(values.astype(np.float64), self.precision)
        return Bounded(given.value, given.bound + bound, self.precision, magnitude=given.magnitude)

    def _rounding(self, values: np.ndarray) -> np.ndarray:
        """What the numbers of a case are off in the dtype; whole numbers are not."""
        numbers = values.astype(np.float64)
        return np.where(numbers == np.floor(numbers), 0.0, self.precision.u * np.abs(numbers))


def _sums(bounds: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(R + 1, *shape), from 0: the bounds before each recorded step and after the last, each so many times."""
    sums = np.cumsum(bounds * times.reshape(-1, *[1] * (bounds.ndim - 1)), axis=0)
    return np.concatenate([np.zeros_like(sums[:1]), sums])
