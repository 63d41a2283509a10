"""What a run leaves behind: plain arrays, which any loop, process or program may have made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from backproof.cases.problem import Problem
from backproof.cases.tensors import tensors_of

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trajectory:
    """The recorded steps of one run: R of them, with batches of B; zeros pad a short batch.

    Attributes:
        steps: (R,) the recorded steps, ascending; the first axis of everything that follows.
        loss: (R,) of the batch, at the parameters before the update; None, like `final_loss`, where
            gradients alone are recorded.
        values: (R, B, *positions, features) of `input` and of the nodes of the network.
        cotangents: likewise, the derivative of the loss by each value.
        gradients: (R, *shape) by parameter path.
        before, after: (R, *shape), the parameters before and after the update.
        state_before, state_after: (R, *shape) by `NAME/PARAM`, what the optimizer remembers; empty
            where it is not recorded, and the judge follows it.
        buffers_before, buffers_after: (R, *shape) by path, what layers remember from step to step.
        final_values: (samples, *positions, features) of `input` and of every node, for all samples
            at the final parameters.
        final_loss: () of all samples at the final parameters.
        seconds: wall time of the run; 0 if it was not taken.
        learning_rates: (R,) float64, of each update, where a schedule changes it and they are
            recorded; else None.
        scope: what the run promises to hold, so that what lacks is a mistake: `layers`, everything;
            `gradients`, no values and cotangents, and in `final_values` the last layer only, or
            nothing; `some` promises nothing of values, cotangents, gradients and losses: what it
            lacks of them the judge follows.
        borrowed: the phases among `PHASES` that the reference has computed for the code that is
            judged. They are judged too, but not counted as the code's own numbers.
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
    scope: Literal["layers", "some", "gradients"] = "layers"
    borrowed: frozenset[str] = frozenset()

    @property
    def has_layers(self) -> bool:
        """Whether everything is there, so that every operation is judged by itself."""
        return self.scope == "layers"


SCOPES = ("layers", "some", "gradients")
BY_SAMPLE = ("values", "cotangents")
STATES = ("state_before", "state_after", "buffers_before", "buffers_after")
BY_STEP = ("gradients", "before", "after", *STATES)
GROUPS = (*BY_SAMPLE, *BY_STEP, "final_values")
ALONE = ("steps", "loss", "final_loss", "learning_rates")
MAY_LACK = (*BY_SAMPLE, "gradients", "loss", "final_values", "final_loss")  # in a run of `some`
PHASES = ("value", "buffer", "loss", "cotangent", "gradient", "learning rate", "update", "state")


class Incomplete(Exception):  # noqa: N818, a verdict rather than an error
    """A record holds something that is no array of numbers; the message says where."""


class WrongReturn(ValueError):  # noqa: N818, it is told to whoever wrote the function
    """A function is not what it should be, or returned something else; the message says what."""


def flat(trajectory: Trajectory) -> Arrays:
    """Return all arrays by name: `loss`, `values/hidden`, `state_after/mean/hidden.weight`.

    Raises:
        Incomplete: if arrays that have names come without; the message says which.
    """
    found = {name: getattr(trajectory, name) for name in ALONE}
    for group in GROUPS:
        found |= {f"{group}/{name}": array for name, array in by_name(trajectory, group).items()}
    return {name: array for name, array in found.items() if array is not None}


def by_name(trajectory: Trajectory, group: str) -> Mapping[str, np.ndarray]:
    """Return the arrays of one group; an empty dictionary where there are none.

    Raises:
        Incomplete: if it is something else.
    """
    found = getattr(trajectory, group)
    if found is None or isinstance(found, Mapping):
        return found or {}
    raise Incomplete(f"{group}: expected arrays by name, found a {type(found).__name__}")


def of_arrays(arrays: Mapping[str, Any], problem: Problem, seconds: float) -> Trajectory:
    """Return the trajectory of named arrays.

    Unless they say what they promise to hold, the scope is what they do hold. What is missing then
    the judge follows, or tells.

    Args:
        arrays: named like the fields, `{"values": {"hidden": ...}}`, or as `flat` does it.
        problem: that was run; its recorded steps are those of arrays that do not say.
        seconds: the wall time, for arrays that do not say.

    Raises:
        WrongReturn: if a name is not one of a trajectory's; the message has the names there are.
    """
    steps = problem.recorded
    fields: dict[str, Any] = {"steps": steps, "loss": None, "final_loss": None}
    fields |= {group: {} for group in GROUPS}
    for name, value in arrays.items():
        group, slash, key = str(name).partition("/")
        if group in GROUPS and slash:
            fields[group][key] = value
        elif group in GROUPS and isinstance(value, Mapping):
            fields[group] |= value
        elif name in (*ALONE, "seconds", "scope", "borrowed"):
            fields[name] = value
        else:
            expected = ", ".join((*ALONE, *GROUPS))
            raise WrongReturn(f"a run has nothing called {name!r}; expected {expected}")
    fields["seconds"] = seconds_of(fields.get("seconds", seconds))
    return settled(Trajectory(**{"scope": _scope(fields, problem)} | fields), steps)


def _scope(fields: Mapping[str, Any], problem: Problem) -> str:
    """Return what there is: everything, gradients without values and cotangents, or `some`."""
    lacking = {
        field
        for field, name, *_ in tensors_of(problem)
        if field in MAY_LACK and (name not in fields[field] if name else fields[field] is None)
    }
    layers = (
        *fields["values"],
        *fields["cotangents"],
        *({*fields["final_values"]} - {problem.output}),
    )
    has_one_loss = len(lacking & {"loss", "final_loss"}) == 1
    if layers or "gradients" in lacking or has_one_loss:
        return "some" if lacking else "layers"
    return "gradients"


def settled(trajectory: Trajectory, steps: np.ndarray) -> Trajectory:
    """Return a trajectory with these steps, if its own integers are the same, and a plain loss.

    A loss may stand in an axis of its own: (R, 1) is taken for (R,), and a final (1,) for ().
    """
    return replace(
        trajectory,
        steps=steps if _are(trajectory.steps, steps) else trajectory.steps,
        loss=_of_shape(trajectory.loss, steps.shape),
        final_loss=_of_shape(trajectory.final_loss, ()),
    )


def _are(found: Any, steps: np.ndarray) -> bool:
    """Tell whether these are the steps, as integers."""
    with suppress(ValueError, TypeError):  # a list may be none of numbers
        return np.asarray(found).dtype.kind in "iu" and np.array_equal(found, steps)
    return False


def _of_shape(found: Any, shape: tuple[int, ...]) -> Any:
    """Return an array in this shape if it has one axis of 1 behind it, else as it is."""
    in_an_axis = isinstance(found, np.ndarray) and found.shape == (*shape, 1)
    return found.reshape(shape) if in_an_axis else found


def seconds_of(found: Any) -> float:
    """Return a wall time; 0 where it is none that can be: a text, NaN, infinite, below 0."""
    with suppress(ValueError, TypeError, OverflowError):
        return float(found) if 0 <= float(found) < math.inf else 0.0
    return 0.0


def dtype_name(dtype: np.dtype) -> str:
    """Return `float64`, or `float64 in the other byte order`: that is part of a dtype."""
    return dtype.name if dtype.isnative else f"{dtype.name} in the other byte order"


def cut(trajectory: Trajectory, positions: np.ndarray, samples: int) -> Trajectory:
    """Return a trajectory of some of the recorded steps, which have that many real samples each.

    Args:
        trajectory: the whole one.
        positions: (n,) of the steps among the recorded ones.
        samples: those behind them only pad the batch.
    """
    fields: dict[str, Any] = {}
    for name in ("steps", "loss", "learning_rates"):
        array = getattr(trajectory, name)
        fields[name] = None if array is None else array[positions]
    for group in (*BY_STEP, *BY_SAMPLE):
        rows = (positions, slice(samples)) if group in BY_SAMPLE else positions
        fields[group] = {name: array[rows] for name, array in getattr(trajectory, group).items()}
    return replace(trajectory, **fields)


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
            for name, array in arrays.items():
                if name not in buffers:
                    shape = (self.size, *array.shape[1:]) if by_sample else array.shape
                    buffers[name] = np.zeros((self.count, *shape), array.dtype)
                # Behind a short batch zeros stay.
                buffers[name][(row, slice(len(array))) if by_sample else row] = array

    def trajectory(
        self, problem: Problem, final_values: Arrays, final_loss: np.ndarray, seconds: float
    ) -> Trajectory:
        """Return everything kept, with what is computed after the last step."""
        return Trajectory(
            steps=problem.recorded,
            loss=np.stack(self.losses),
            final_values=final_values,
            final_loss=final_loss,
            seconds=seconds,
            learning_rates=np.array(self.rates, np.float64) if problem.schedule else None,
            **self.groups,
        )
