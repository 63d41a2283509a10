"""Is everything there that a trajectory must hold, and nothing else? Names, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from backproof.backends.trajectory import (
    ALONE,
    GROUPS,
    MAY_LACK,
    SCOPES,
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
    """A tensor that is not as it should be: its name, what of it is wrong, and how in words."""

    name: str
    kind: str
    words: str


def structure_mistakes(problem: Problem, run: Trajectory) -> list[str]:
    """Return a message for all tensors of a field with the same mistake, none for a whole run.

    A state, learning rates or a loss that are absent as a whole are no mistake where the rest is
    judged without them; nor is what a run of `some` may lack.
    """
    if not (isinstance(run.scope, str) and run.scope in SCOPES):
        return [f"scope: expected layers, some or gradients, found {run.scope!r}"]
    run = settled(run, problem.recorded)
    if run.steps is not problem.recorded:
        return [f"steps: expected {_span(problem.recorded)}, found {_span(run.steps)}"]
    try:
        found = {group: dict(by_name(run, group)) for group in GROUPS}
    except Incomplete as reason:
        return [str(reason)]
    for name in ALONE:  # what has no names of its own, if it is there
        tensor = getattr(run, name)
        found[name] = {} if tensor is None else {"": tensor}
    other = _other_dtype(problem, found)
    told = [f"every array is {other} where {problem.dtype} was asked"] if other else []
    for field, shapes in _expected(problem, run, found).items():
        dtype = np.dtype(np.float64) if field == "learning_rates" else problem.dtype
        mistakes = _compare(found[field], shapes, dtype)
        told += _told(field, shapes, [one for one in mistakes if not other or one.kind != "dtype"])
    return told


def _expected(problem: Problem, run: Trajectory, found: Mapping) -> dict[str, Shapes]:
    """Return the shape of every tensor, by field and name; of `some` without what may lack."""
    expected: dict[str, Shapes] = {field: {} for field in FIELDS}
    for field, name, shape, _ in tensors_of(problem, layers=run.scope != "gradients"):
        may_lack = run.scope == "some" and field in MAY_LACK
        # Where nothing is updated, a gradient that is not there would be compared nowhere.
        decides = field == "gradients" and problem.optimizer is None
        if not may_lack or decides or name in found[field]:
            expected[field][name] = shape
    if run.scope == "gradients" and not run.final_values:
        expected["final_values"] = {}
    if without_state(problem, run):
        expected |= {"state_before": {}, "state_after": {}}
    if without_rates(problem, run):
        expected["learning_rates"] = {}
    if without_loss(run):
        expected |= {"loss": {}, "final_loss": {}}
    return expected


def _other_dtype(problem: Problem, found: dict[str, dict[str, Any]]) -> str:
    """Return the dtype of all arrays, if they agree on one that was not asked for; else nothing."""
    dtypes = {
        tensor.dtype
        for field, tensors in found.items()
        for tensor in tensors.values()
        if field not in ("steps", "learning_rates") and isinstance(tensor, np.ndarray | np.generic)
    }
    return dtype_name(dtypes.pop()) if len(dtypes) == 1 and problem.dtype not in dtypes else ""


# ---------------------------------------------------------------- one field


def _compare(found: dict[str, Any], shapes: Shapes, dtype: np.dtype) -> Iterator[Odd]:
    """Yield the tensors of a field that are not as expected, at most one mistake each."""
    for name, shape in shapes.items():
        tensor = found.get(name)
        if name not in found:
            yield Odd(name, "missing", "missing")
        elif tensor is None:
            yield Odd(name, "missing", "missing, found None in its place")
        elif not isinstance(tensor, np.ndarray | np.generic):
            yield Odd(name, "type", f"expected an array, found {type(tensor).__name__}")
        elif tensor.shape != shape:
            yield Odd(name, "shape", f"expected shape {shape}, found {tensor.shape}")
        elif tensor.dtype != dtype:
            yield Odd(name, "dtype", f"expected {dtype}, found {dtype_name(tensor.dtype)}")
    for name in found:
        if name not in shapes:
            words = "nothing of that name is expected" if name else "none are expected"
            yield Odd(name, "extra", words)


def _told(field: str, shapes: Shapes, mistakes: list[Odd]) -> Iterator[str]:
    """Yield one message a kind of mistake; the first tensor stands for all that have it."""
    for kind in dict.fromkeys(mistake.kind for mistake in mistakes):
        first, *others = [mistake for mistake in mistakes if mistake.kind == kind]
        names = [first.name, *(mistake.name for mistake in others)]
        label = f"{field} of {first.name}" if first.name else field
        if not others:
            yield f"{label}: {first.words}"
        elif kind == "missing":
            which = "all missing" if len(names) == len(shapes) else f"missing {_listed(names)}"
            yield f"{field}: {which}"
        elif kind == "extra":
            yield f"{field}: nothing is expected of the names {_listed(names)}"
        else:
            yield f"{label}: {first.words} (and {len(others)} more like it)"


def _listed(names: list[str]) -> str:
    """Return at most three names in words, and how many more there are."""
    shown = list(map(str, names))
    if len(names) > LISTED:
        shown[LISTED - 1 :] = [f"{len(names) - LISTED + 1} more"]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _span(steps: object) -> str:
    """Return the steps in words, whatever a run has in their place."""
    try:
        found = np.asarray(() if steps is None else steps)
    except ValueError:
        return f"a {type(steps).__name__} of no numbers"
    if not found.size:
        return "none"
    dtype = "" if found.dtype.kind in "iu" else f" of dtype {dtype_name(found.dtype)}"
    return f"{found.size} from {found.flat[0]} to {found.flat[-1]}{dtype}"
