"""The hand-written reference as a backend: NumPy only. The one file here that imports `reference/`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from backends import Unsupported
from backends.trajectory import Recorder, Trajectory
from cases.problem import Problem
from reference.backprop import Derivatives, derivatives, forward, operands, total_loss, train
from reference.half import half

PACKAGES = ("numpy", "scipy")
OF_THE_REFERENCE = frozenset({"learning rate", "update", "state"})  # beside somebody's own gradients


def run(problem: Problem) -> Trajectory:
    """Train by the hand-written backward pass."""
    return _run(problem, derivatives, _of_all_samples)


def run_gradients(problem: Problem, gradients: Callable) -> Trajectory:
    """Train by somebody's own `gradients(parameters, inputs, targets)`, plain arrays in and out.

    Theirs are the loss and the gradients of each batch; batches, clipping, schedule and optimizer are the reference's.

    Raises:
        Unsupported: if there are masks, which the function is not given.
        ValueError: if it returns something else.
    """
    if problem.masks:
        raise Unsupported("gradients(parameters, inputs, targets) is not given masks of dropout; write run(problem)")

    def differentiate(problem: Problem, parameters: dict, _: dict, x, t) -> Derivatives:
        given = {path: np.array(values) for path, values in parameters.items()}  # of its own: it may write into them
        loss, found = checked(gradients(given, np.array(x), np.array(t)), problem)
        return Derivatives(half(loss), {}, {}, {path: half(np.array(found[path])) for path in problem.trained})

    def of_all_samples(problem: Problem, after: dict) -> tuple:
        return {}, differentiate(problem, after, {}, problem.inputs, problem.targets).loss

    return replace(_run(problem, differentiate, of_all_samples), scope="gradients", borrowed=OF_THE_REFERENCE)


def checked(result: object, problem: Problem) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The loss and the gradients that a function returned, if it did; a loss may be a Python number."""
    expected = "expected (loss, gradients), the gradients in a dictionary by parameter"
    if not isinstance(result, tuple | list) or len(result) != 2 or not isinstance(result[1], Mapping):
        raise ValueError(f"{expected}, found {_what(result)}")
    loss, gradients = result
    loss = np.asarray(loss, problem.dtype if isinstance(loss, int | float) else None)
    if wrong := [*_odd("the loss", loss, (), problem), *_odd_gradients(gradients, problem)]:
        raise ValueError("; ".join(wrong))
    return loss, gradients


def _odd_gradients(gradients: Mapping, problem: Problem) -> Iterator[str]:
    for path in [*problem.trained, *(path for path in gradients if path not in problem.trained)]:
        if path not in gradients:
            yield f"gradient of {path}: missing"
        elif path not in problem.trained:
            yield f"gradient of {path}: nothing of that name is trained"
        else:
            yield from _odd(f"gradient of {path}", gradients[path], problem.parameters[path].shape, problem)


def _odd(name: str, found: object, shape: tuple, problem: Problem) -> Iterator[str]:
    if not isinstance(found, np.ndarray | np.generic) or (found.shape, found.dtype) != (shape, problem.dtype):
        yield f"{name}: expected {problem.dtype} of shape {shape}, found {_what(found)}"


def _what(found: object) -> str:
    is_array = isinstance(found, np.ndarray | np.generic)
    return f"{found.dtype} of shape {found.shape}" if is_array else f"a {type(found).__name__}"


def _run(problem: Problem, differentiate: Callable, of_all_samples: Callable) -> Trajectory:
    start, record = time.perf_counter(), Recorder(problem)
    with np.errstate(all="ignore"), threadpool_limits(1):
        for number, step in enumerate(train(problem, half, float, differentiate)):
            if number in record.wanted:
                record.add(**{field: _plain(numbers) for field, numbers in step._asdict().items()})
        values, loss = of_all_samples(problem, step.after)
    return record.trajectory(problem, _plain(values), _plain(loss), time.perf_counter() - start)


def _of_all_samples(problem: Problem, after: dict) -> tuple:
    """The values and the loss after the last step, without masks."""
    values = forward(problem.network, operands(problem, after), half(problem.inputs))
    return values, total_loss(problem, after, values[problem.network[-1].name], half(problem.targets))


def _plain(numbers):
    """Arrays as they are on record, one or many by name."""
    if isinstance(numbers, dict):
        return {name: np.asarray(array) for name, array in numbers.items()}
    return np.asarray(numbers)


def settings() -> dict[str, str]:
    """How the backend computes."""
    blas = {library["internal_api"] for library in threadpool_info() if library["user_api"] == "blas"}
    return {"threads": "1", "x64": "yes", "matrix products": ", ".join(sorted(blas)) or "NumPy's own"}
