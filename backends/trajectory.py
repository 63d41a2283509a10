"""What a run leaves behind: plain arrays, so that any loop, process or program may have made them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from backproof.cases.problem import Problem

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trajectory:
    """The recorded steps of one run. R is their number, B the batch size; a short batch is padded with zeros.

    Attributes:
        steps: (R,) the recorded steps, ascending; the first axis of everything that follows.
        loss: (R,) of the batch, at the parameters before the update; None, like `final_loss`, where gradients alone
            are recorded.
        values: (R, B, *positions, features) of `input` and of every node of the network.
        cotangents: likewise, the derivative of the loss by each value.
        gradients: (R, *shape) by parameter path.
        before, after: (R, *shape), the parameters before and after the update.
        state_before, state_after: (R, *shape) by `NAME/PARAM`, what the optimizer remembers; empty where it is not
            recorded, and the judge follows it.
        buffers_before, buffers_after: (R, *shape) by path, what layers remember from step to step.
        final_values: (samples, *positions, features) of `input` and of every node, for all samples at the final
            parameters.
        final_loss: () of all samples at the final parameters.
        seconds: wall time of the run; 0 if it was not taken.
        learning_rates: (R,) float64, of each update, where a schedule changes it and they are recorded; else None.
        scope: `layers`, or `gradients` from a backend that declares to have no values and cotangents; its
            `final_values` holds the last layer only, or nothing.
        borrowed: the phases among `PHASES` that the reference has computed for the code that is judged. They are judged
            too, but not counted as the code's own numbers.
    """

    steps: np.ndarray
    loss: np.ndarray | None
    values: Arrays
    cotangents: Arrays
    gradients: Arrays
    before: Arrays
    after: Arrays
    final_values: Arrays
    final_loss: np.ndarray | None
    seconds: float
    state_before: Arrays = field(default_factory=dict)
    state_after: Arrays = field(default_factory=dict)
    buffers_before: Arrays = field(default_factory=dict)
    buffers_after: Arrays = field(default_factory=dict)
    learning_rates: np.ndarray | None = None
    scope: Literal["layers", "gradients"] = "layers"
    borrowed: frozenset[str] = frozenset()

    @property
    def has_layers(self) -> bool:
        """Values and cotangents are recorded, so that every operation can be judged by itself."""
        return self.scope == "layers"


BY_SAMPLE = ("values", "cotangents")
BY_STEP = (
    "gradients",
    "before",
    "after",
    "state_before",
    "state_after",
    "buffers_before",
    "buffers_after",
)
GROUPS = (*BY_SAMPLE, *BY_STEP, "final_values")
ALONE = ("steps", "loss", "final_loss", "learning_rates")
PHASES = ("value", "buffer", "loss", "cotangent", "gradient", "learning rate", "update", "state")


class Incomplete(Exception):  # noqa: N818, a verdict rather than an error
    """A record holds something that is no array of numbers; the message says where."""


class WrongReturn(ValueError):  # noqa: N818, it is told to whoever wrote the function
    """A function is not what it should be, or returned something else; the message says what was expected."""


def flat(trajectory: Trajectory) -> Arrays:
    """All arrays in one dictionary: `loss`, `values/hidden`, `gradients/hidden.weight`, `state_after/mean/hidden.b`.

    Raises:
        Incomplete: if arrays that have names come without; the message says which.
    """
    grouped = {
        f"{group}/{name}": array
        for group in GROUPS
        for name, array in by_name(trajectory, group).items()
    }
    alone = {name: getattr(trajectory, name) for name in ALONE}
    return {name: array for name, array in (alone | grouped).items() if array is not None}


def by_name(trajectory: Trajectory, group: str) -> Arrays:
    """The arrays of one group; empty where there are none.

    Raises:
        Incomplete: if it is something else.
    """
    found = getattr(trajectory, group)
    if found is None or isinstance(found, Mapping):
        return found or {}
    raise Incomplete(f"{group}: expected arrays by name, found a {type(found).__name__}")


def of_arrays(arrays: Mapping[str, Any], steps: np.ndarray, seconds: float) -> Trajectory:
    """The trajectory of arrays that are named like its fields, `{"values": {"hidden": ...}}`, or as `flat` does it.

    `steps` are those of the problem, where the arrays do not say. Without values and cotangents the scope is
    `gradients`. What else is missing is told by the judge.

    Raises:
        WrongReturn: if a name is not one of a trajectory's; the message has the names there are.
    """
    fields: dict[str, Any] = {"steps": steps, "loss": None, "final_loss": None} | {
        group: {} for group in GROUPS
    }
    for name, value in arrays.items():
        group, slash, key = str(name).partition("/")
        if group in GROUPS and slash:
            fields[group][key] = value
        elif group in GROUPS and isinstance(value, Mapping):
            fields[group] |= value
        elif name in (*ALONE, "seconds", "scope", "borrowed"):
            fields[name] = value
        else:
            raise WrongReturn(
                f"a run has nothing called {name!r}; expected {', '.join((*ALONE, *GROUPS))}"
            )
    scope = "layers" if fields["values"] or fields["cotangents"] else "gradients"
    fields["seconds"] = seconds_of(fields.get("seconds", seconds))
    return settled(Trajectory(**{"scope": scope} | fields), steps)


def settled(trajectory: Trajectory, steps: np.ndarray) -> Trajectory:
    """The trajectory with these steps in place of its own integers, if they are the same, and a plain loss.

    A loss may stand in an axis of its own: (R, 1) is taken for (R,), and a final one of shape (1,) for ().
    """
    return replace(
        trajectory,
        steps=steps if _are(trajectory.steps, steps) else trajectory.steps,
        loss=_of_shape(trajectory.loss, steps.shape),
        final_loss=_of_shape(trajectory.final_loss, ()),
    )


def _are(found: Any, steps: np.ndarray) -> bool:
    with suppress(ValueError, TypeError):  # a list may be none of numbers
        return np.asarray(found).dtype.kind in "iu" and np.array_equal(found, steps)
    return False


def _of_shape(found: Any, shape: tuple[int, ...]) -> Any:
    in_an_axis = isinstance(found, np.ndarray) and found.shape == (*shape, 1)
    return found.reshape(shape) if in_an_axis else found


def seconds_of(found: Any) -> float:
    """A wall time; 0 where it is none that can be: a text, NaN, infinite, below 0."""
    with suppress(ValueError, TypeError, OverflowError):
        return float(found) if math.isfinite(float(found)) and float(found) >= 0 else 0.0
    return 0.0


def dtype_name(dtype: np.dtype) -> str:
    """`float64`, or `float64 in the other byte order`: that is part of a dtype."""
    return dtype.name if dtype.isnative else f"{dtype.name} in the other byte order"


def cut(trajectory: Trajectory, positions: np.ndarray, samples: int) -> Trajectory:
    """Some of the recorded steps, which have that many real samples each."""

    def some(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[positions]

    by_step = {
        group: {name: some(array) for name, array in getattr(trajectory, group).items()}
        for group in BY_STEP
    }
    by_sample = {
        group: {
            name: array[positions, :samples] for name, array in getattr(trajectory, group).items()
        }
        for group in BY_SAMPLE
    }
    alone = {name: some(getattr(trajectory, name)) for name in ("steps", "loss", "learning_rates")}
    return replace(trajectory, **by_step, **by_sample, **alone)


class Recorder:
    """A trajectory that a loop in Python fills step by step: one buffer a tensor, row by row."""

    def __init__(self, problem: Problem):
        self.wanted = frozenset(problem.recorded.tolist())
        self.count, self.size = len(problem.recorded), problem.batches.shape[1]
        self.losses, self.rates = [], []
        self.groups: dict[str, Any] = {group: {} for group in (*BY_SAMPLE, *BY_STEP)}

    def add(self, loss, learning_rate: float | None, **groups: Arrays) -> None:
        """Keep one step: its loss, its rate, and arrays by name of each field of `Trajectory`."""
        row = len(self.losses)
        self.losses.append(loss)
        self.rates.append(learning_rate)
        for group, arrays in groups.items():
            buffers, by_sample = self.groups[group], group in BY_SAMPLE
            samples = len(next(iter(arrays.values()))) if by_sample and arrays else self.size
            # Behind a short batch zeros stay.
            place = row if samples == self.size else (row, slice(samples))
            for name, array in arrays.items():
                if name not in buffers:
                    shape = (self.size, *array.shape[1:]) if by_sample else array.shape
                    buffers[name] = np.zeros((self.count, *shape), array.dtype)
                buffers[name][place] = array

    def trajectory(
        self, problem: Problem, final_values: Arrays, final_loss: np.ndarray, seconds: float
    ) -> Trajectory:
        """Return everything kept, with what is computed after the last step."""
        rates = np.array(self.rates, np.float64) if problem.schedule else None
        return Trajectory(
            steps=problem.recorded,
            loss=np.stack(self.losses),
            final_values=final_values,
            final_loss=final_loss,
            seconds=seconds,
            learning_rates=rates,
            **self.groups,
        )
