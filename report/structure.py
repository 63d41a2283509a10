"""Is everything there that a trajectory must hold, and nothing else? Names, shapes and dtypes, before any number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backends.trajectory import Trajectory
from cases.problem import Problem
from reference.optimizers import init
from report.following import without_loss, without_rates, without_state


def structure_mistakes(problem: Problem, run: Trajectory) -> list[str]:
    """One message a missing, extra or ill-shaped tensor, empty if the trajectory is whole.

    A state, learning rates or a loss that are absent as a whole are no mistake where the rest is judged without them.
    """
    if run.scope not in ("layers", "gradients"):
        return [f"scope: expected layers or gradients, found {run.scope!r}"]
    steps = np.asarray(run.steps)
    if not np.array_equal(steps, problem.recorded):
        return [f"steps: expected {_span(problem.recorded)}, found {_span(steps)}"]
    return [
        message
        for field, shapes in _expected(problem, run).items()
        for message in _compare(problem, run, field, shapes)
    ]


def _expected(problem: Problem, run: Trajectory) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shape of every tensor, by field and name."""
    recorded, (_, size), samples = len(problem.recorded), problem.batches.shape, len(problem.inputs)
    layers = problem.widths if run.has_layers else {}
    final = layers or (dict([[*problem.widths.items()][-1]]) if run.final_values else {})
    parameters = {path: (recorded, *values.shape) for path, values in problem.parameters.items()}
    trained = {path: problem.parameters[path] for path in problem.trained}
    gradients = {path: parameters[path] for path in trained}
    remembered = {} if without_state(problem, run) else init(problem.optimizer, trained)
    state = {name: (recorded, *values.shape) for name, values in remembered.items()}
    by_sample = {name: (recorded, size, width) for name, width in layers.items()}
    return {
        "loss": {} if without_loss(run) else {"": (recorded,)},
        "values": by_sample, "cotangents": by_sample,
        "gradients": gradients, "before": parameters, "after": parameters,
        "state_before": state, "state_after": state,
        "final_values": {name: (samples, width) for name, width in final.items()},
        "final_loss": {} if without_loss(run) else {"": ()},
        "learning_rates": {"": (recorded,)} if problem.schedule and not without_rates(problem, run) else {},
    }  # fmt: skip


def _compare(problem: Problem, run: Trajectory, field: str, shapes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    found, dtype = getattr(run, field), np.dtype(np.float64) if field == "learning_rates" else problem.dtype
    tensors = found if isinstance(found, dict) else {} if found is None and not shapes else {"": found}
    for name in [*shapes, *(name for name in tensors if name not in shapes)]:
        label = f"{field} of {name}" if name else field
        if name not in shapes:
            yield f"{label}: nothing of that name is expected" if name else f"{label}: none are expected"
        elif name not in tensors:
            yield f"{label}: missing"
        elif tensors[name] is None:
            yield f"{label}: missing, found None in its place"
        elif not isinstance(tensors[name], np.ndarray | np.generic):
            yield f"{label}: expected an array, found {type(tensors[name]).__name__}"
        elif tensors[name].shape != shapes[name]:
            yield f"{label}: expected shape {shapes[name]}, found {tensors[name].shape}"
        elif tensors[name].dtype != dtype:
            yield f"{label}: expected {dtype}, found {tensors[name].dtype}"


def _span(steps: np.ndarray) -> str:
    if not steps.size:
        return "none"
    return f"{steps.size} from {steps.flat[0]} to {steps.flat[-1]}"
