"""Is everything there that a trajectory must hold, and nothing else? Names, shapes and dtypes, before any number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import (
    GROUPS,
    Incomplete,
    Trajectory,
    by_name,
    dtype_name,
    settled,
)
from backproof.cases.problem import Problem
from backproof.cases.tensors import tensors_of
from backproof.report.judging.following import without_loss, without_rates, without_state

LISTED = 3
FIELDS = ("loss", *GROUPS, "final_loss", "learning_rates")
Shapes = dict[str, tuple[int, ...]]


class Odd(NamedTuple):
    """A tensor that is not as it should be: what it is called, what of it is wrong, and how in words."""

    name: str
    kind: str
    words: str


def structure_mistakes(problem: Problem, run: Trajectory) -> list[str]:
    """One message for all tensors of a field that have the same mistake, empty if the trajectory is whole.

    A state, learning rates or a loss that are absent as a whole are no mistake where the rest is judged without them.
    """
    if not (isinstance(run.scope, str) and run.scope in ("layers", "gradients")):
        return [f"scope: expected layers or gradients, found {run.scope!r}"]
    run = settled(run, problem.recorded)
    if run.steps is not problem.recorded:
        return [f"steps: expected {_span(problem.recorded)}, found {_span(run.steps)}"]
    try:
        groups = {group: dict(by_name(run, group)) for group in GROUPS}
    except Incomplete as reason:
        return [str(reason)]
    expected = _expected(problem, run)
    found = {
        field: groups[field] if field in groups else _alone(getattr(run, field))
        for field in expected
    }
    told = []
    if other := _other_dtype(problem, found):
        told = [f"every array is {other} where {problem.dtype} was asked"]
    for field, shapes in expected.items():
        dtype = np.dtype(np.float64) if field == "learning_rates" else problem.dtype
        mistakes = _compare(found[field], shapes, dtype)
        told += _told(
            field,
            shapes,
            [mistake for mistake in mistakes if not (other and mistake.kind == "dtype")],
        )
    return told


def _expected(problem: Problem, run: Trajectory) -> dict[str, Shapes]:
    """The shape of every tensor, by field and name."""
    expected: dict[str, Shapes] = {field: {} for field in FIELDS}
    for tensor in tensors_of(problem, layers=run.has_layers):
        expected[tensor.field][tensor.name] = tensor.shape
    if not run.has_layers and not run.final_values:
        expected["final_values"] = {}
    if without_state(problem, run):
        expected |= {"state_before": {}, "state_after": {}}
    if without_rates(problem, run):
        expected["learning_rates"] = {}
    if without_loss(run):
        expected |= {"loss": {}, "final_loss": {}}
    return expected


def _alone(tensor: object) -> dict:
    """What has no names of its own, if it is there."""
    return {} if tensor is None else {"": tensor}


def _other_dtype(problem: Problem, found: dict[str, dict]) -> str:
    """The dtype of all arrays, where they agree on one that was not asked for; else nothing."""
    tensors = [
        tensor for field in found if field != "learning_rates" for tensor in found[field].values()
    ]
    dtypes = {tensor.dtype for tensor in tensors if isinstance(tensor, np.ndarray | np.generic)}
    return dtype_name(dtypes.pop()) if len(dtypes) == 1 and problem.dtype not in dtypes else ""


# ---------------------------------------------------------------- one field


def _compare(found: dict, shapes: Shapes, dtype: np.dtype) -> Iterator[Odd]:
    for name in [*shapes, *(name for name in found if name not in shapes)]:
        tensor = found.get(name)
        if name not in shapes:
            yield Odd(
                name, "extra", "nothing of that name is expected" if name else "none are expected"
            )
        elif name not in found:
            yield Odd(name, "missing", "missing")
        elif tensor is None:
            yield Odd(name, "missing", "missing, found None in its place")
        elif not isinstance(tensor, np.ndarray | np.generic):
            yield Odd(name, "type", f"expected an array, found {type(tensor).__name__}")
        elif tensor.shape != shapes[name]:
            yield Odd(name, "shape", f"expected shape {shapes[name]}, found {tensor.shape}")
        elif tensor.dtype != dtype:
            yield Odd(name, "dtype", f"expected {dtype}, found {dtype_name(tensor.dtype)}")


def _told(field: str, shapes: Shapes, mistakes: list[Odd]) -> Iterator[str]:
    """One message a kind of mistake; the first tensor stands for all that have it."""
    for kind in dict.fromkeys(mistake.kind for mistake in mistakes):
        first, *others = [mistake for mistake in mistakes if mistake.kind == kind]
        names = [first.name, *(mistake.name for mistake in others)]
        label = f"{field} of {first.name}" if first.name else field
        if not others:
            yield f"{label}: {first.words}"
        elif kind == "missing":
            yield f"{field}: {'all missing' if len(names) == len(shapes) else f'missing {_listed(names)}'}"
        elif kind == "extra":
            yield f"{field}: nothing is expected of the names {_listed(names)}"
        else:
            yield f"{label}: {first.words} (and {len(others)} more like it)"


def _listed(names: list[str]) -> str:
    shown = (
        names if len(names) <= LISTED else [*names[: LISTED - 1], f"{len(names) - LISTED + 1} more"]
    )
    return f"{', '.join(map(str, shown[:-1]))} and {shown[-1]}"


def _span(steps: object) -> str:
    try:
        found = np.asarray(() if steps is None else steps)
    except ValueError:
        return f"a {type(steps).__name__} of no numbers"
    if not found.size:
        return "none"
    dtype = "" if found.dtype.kind in "iu" else f" of dtype {dtype_name(found.dtype)}"
    return f"{found.size} from {found.flat[0]} to {found.flat[-1]}{dtype}"
