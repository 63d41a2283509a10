"""The hand-written reference as a backend: NumPy only. The one file here that imports `reference/`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from backproof.backends.registry import Unsupported
from backproof.backends.returned import WrongReturn, checked, checked_update
from backproof.backends.trajectory import Recorder, Trajectory
from backproof.cases.problem import Problem
from backproof.reference.numbers.half import half
from backproof.reference.training import Derivatives, forward, operands, total_loss, train

PACKAGES = ("numpy", "scipy")
# What the reference computes beside somebody's own function.
BESIDE_GRADIENTS = frozenset({"learning rate", "update", "state"})
BESIDE_UPDATE = frozenset({"value", "loss", "cotangent", "gradient", "learning rate"})


def run(problem: Problem) -> Trajectory:
    """Train by the hand-written backward pass."""
    return _run(problem, None, _of_all_samples)


def run_gradients(problem: Problem, gradients: Callable, *, masked: bool = False) -> Trajectory:
    """Train by somebody's own `gradients(parameters, inputs, targets)`, which takes `masks` as well where it is masked.

    Theirs are the loss and the gradients of each batch; batches, clipping, schedule and optimizer are the reference's.

    Raises:
        Unsupported: if there are masks, and the function does not take them.
        WrongReturn: if it returns something else.
    """
    if problem.masks and not masked:
        raise Unsupported(
            "gradients(parameters, inputs, targets) is not given the masks of dropout; add a parameter `masks`"
        )
    if problem.buffers:
        raise Unsupported(
            "gradients(parameters, inputs, targets) is not given the buffers of layers"
        )
    has_loss: list[bool] = []

    def differentiate(
        problem: Problem, parameters: dict, masks: dict, x, t, _: dict
    ) -> Derivatives:
        more = {"masks": _own(masks)} if masked else {}
        loss, found = checked(
            gradients(_own(parameters), np.array(x), np.array(t), **more), problem
        )
        has_loss.append(loss is not None)
        loss = np.array(np.nan if loss is None else loss, problem.dtype)
        own = {path: half(np.array(values)) for path, values in found.items()}
        return Derivatives(half(loss), {}, {}, own, {})

    def of_all_samples(problem: Problem, after: dict, _: dict) -> tuple:
        return {}, differentiate(problem, after, {}, problem.inputs, problem.targets, {}).loss

    run = replace(
        _run(problem, differentiate, of_all_samples), scope="gradients", borrowed=BESIDE_GRADIENTS
    )
    if any(has_loss) and not all(has_loss):
        raise WrongReturn(
            f"a loss is returned at some steps, but none at step {has_loss.index(False)}"
        )
    return run if all(has_loss) else replace(run, loss=None, final_loss=None)


def run_update(problem: Problem, function: Callable) -> Trajectory:
    """Train by somebody's own `update(parameters, gradients, state, step) -> (parameters, state)`.

    Theirs is the update of each step; batches, loss, gradients and clipping are the reference's. The state is what they
    returned at the step before, {} at first. It is on record where the optimizer's names are in it; the rates are not.

    Raises:
        Unsupported: if the case asks for no update.
        WrongReturn: if it returns something else.
    """
    if not problem.optimizer:
        raise Unsupported("the case has no `training`, so there is no update to judge")
    names = [f"{name}/{path}" for name in problem.optimizer.state for path in problem.trained]
    memory, has_state = {}, True

    def advance(_, parameters: dict, gradients: dict, __, step: int) -> tuple[dict, dict]:
        nonlocal memory, has_state
        given = _own({path: parameters[path] for path in problem.trained})
        result = function(given, _own(gradients), memory, step)
        found, memory, state = checked_update(result, memory, names, problem)
        has_state &= len(state) == len(names)
        after = {path: half(np.array(values)) for path, values in found.items()}
        return parameters | after, {name: half(np.array(values)) for name, values in state.items()}

    run = _run(problem, None, _of_all_samples, advance)
    run = replace(run, learning_rates=None, borrowed=BESIDE_UPDATE)
    return run if has_state else replace(run, state_before={}, state_after={})


def _own(arrays: dict) -> dict[str, np.ndarray]:
    """Plain copies, which somebody's code may write into."""
    return {name: np.array(values) for name, values in arrays.items()}


def _run(
    problem: Problem,
    differentiate: Callable | None,
    of_all_samples: Callable,
    advance: Callable | None = None,
) -> Trajectory:
    start, record = time.perf_counter(), Recorder(problem)
    with np.errstate(all="ignore"), threadpool_limits(1):
        for number, step in enumerate(train(problem, half, float, differentiate, advance)):
            if number in record.wanted:
                record.add(
                    step.loss, step.learning_rate, values=step.values, cotangents=step.cotangents,
                    gradients=step.gradients, before=step.before, after=step.after,
                    state_before=step.state_before, state_after=step.state_after,
                    buffers_before=step.buffers_before, buffers_after=step.buffers_after,
                )  # fmt: skip
        values, loss = of_all_samples(problem, step.after, step.buffers_after)
    return record.trajectory(problem, _plain(values), _plain(loss), time.perf_counter() - start)


def _of_all_samples(problem: Problem, after: dict, buffers: dict) -> tuple:
    """The values and the loss after the last step, without masks."""
    values, _ = forward(
        problem.network, operands(problem, after, buffers), half(problem.inputs), training=False
    )
    return values, total_loss(problem, after, values[problem.output], half(problem.targets))


def _plain(numbers):
    """Arrays as they are on record, one or many by name."""
    if isinstance(numbers, dict):
        return {name: np.asarray(array) for name, array in numbers.items()}
    return np.asarray(numbers)


def settings() -> dict[str, str]:
    """How the backend computes."""
    blas = {
        library["internal_api"] for library in threadpool_info() if library["user_api"] == "blas"
    }
    return {
        "threads": "1",
        "x64": "yes",
        "matrix products": ", ".join(sorted(blas)) or "NumPy's own",
    }
