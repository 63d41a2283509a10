"""The hand-written reference as a backend: NumPy only; alone here it imports `reference/`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from backproof.backends.registry import Unsupported
from backproof.backends.returned import WrongReturn, checked, checked_update
from backproof.backends.trajectory import BY_SAMPLE, BY_STEP, Recorder, Trajectory
from backproof.cases.problem import Problem
from backproof.reference.numbers.half import half
from backproof.reference.training import Derivatives, forward, operands, total_loss, train

PACKAGES = ("numpy", "scipy")
# What the reference computes beside somebody's own function.
BESIDE_GRADIENTS = frozenset({"learning rate", "update", "state"})
BESIDE_UPDATE = frozenset({"value", "loss", "cotangent", "gradient", "learning rate"})

NOT_GIVEN = "gradients(parameters, inputs, targets) is not given"


def run_gradients(problem: Problem, gradients: Callable, *, masked: bool = False) -> Trajectory:
    """Train by somebody's own `gradients(parameters, inputs, targets)`.

    Theirs are the loss and the gradients of each batch; batches, clipping, schedule and optimizer
    are the reference's.

    Args:
        problem: what is run.
        gradients: returns (loss, gradients by path), or the gradients alone.
        masked: whether it takes `masks` as well, those of the step by path.

    Raises:
        Unsupported: if there are masks, and the function does not take them.
        WrongReturn: if it returns something else.
    """
    if problem.masks and not masked:
        raise Unsupported(f"{NOT_GIVEN} the masks of dropout; add a parameter `masks`")
    if problem.buffers:
        raise Unsupported(f"{NOT_GIVEN} the buffers of layers")
    has_loss: list[bool] = []

    def differentiate(_: Problem, parameters: dict, masks: dict, x, t, __: dict) -> Derivatives:
        more = {"masks": _own(masks)} if masked else {}
        result = gradients(_own(parameters), np.array(x), np.array(t), **more)
        loss, found = checked(result, problem)
        has_loss.append(loss is not None)
        loss = np.array(np.nan if loss is None else loss, problem.dtype)
        return Derivatives(half(loss), {}, {}, _halves(found), {})

    def of_all_samples(_: Problem, after: dict, __: dict) -> tuple:
        return {}, differentiate(problem, after, {}, problem.inputs, problem.targets, {}).loss

    found = run(problem, differentiate, of_all_samples)
    found = replace(found, scope="gradients", borrowed=BESIDE_GRADIENTS)
    if any(has_loss) and not all(has_loss):
        step = has_loss.index(False)
        raise WrongReturn(f"a loss is returned at some steps, but none at step {step}")
    return found if all(has_loss) else replace(found, loss=None, final_loss=None)


def run_update(problem: Problem, function: Callable) -> Trajectory:
    """Train by somebody's own `update(parameters, gradients, state, step) -> (parameters, state)`.

    Theirs is the update of each step; batches, loss, gradients and clipping are the reference's.
    The state is what they returned at the step before, {} at first. It is on record where the
    optimizer's names are in it; the rates are not.

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
        return parameters | _halves(found), _halves(state)

    trajectory = run(problem, advance=advance)
    trajectory = replace(trajectory, learning_rates=None, borrowed=BESIDE_UPDATE)
    return trajectory if has_state else replace(trajectory, state_before={}, state_after={})


def _own(arrays: dict) -> dict[str, np.ndarray]:
    """Copy arrays by name into plain ones, which somebody's code may write into."""
    return {name: np.array(values) for name, values in arrays.items()}


def _halves(arrays: dict) -> dict:
    """Copy arrays by name into numbers that the reference computes with."""
    return {name: half(np.array(values)) for name, values in arrays.items()}


def run(
    problem: Problem,
    differentiate: Callable | None = None,
    of_all_samples: Callable | None = None,
    advance: Callable | None = None,
) -> Trajectory:
    """Train by the hand-written backward pass, or where they are given by other functions.

    Args:
        problem: what is run.
        differentiate: gives the loss and the derivatives of a batch, as in `train`.
        of_all_samples: gives the values and the loss behind the last step.
        advance: gives the parameters and the state behind a step, as in `train`.
    """
    start, record = time.perf_counter(), Recorder(problem)
    with np.errstate(all="ignore"), threadpool_limits(1):
        for number, step in enumerate(train(problem, half, float, differentiate, advance)):
            if number in record.wanted:
                groups = {group: getattr(step, group) for group in (*BY_SAMPLE, *BY_STEP)}
                record.add(step.loss, step.learning_rate, **groups)
        look = of_all_samples or _of_all_samples
        values, loss = look(problem, step.after, step.buffers_after)
    values = {name: np.asarray(value) for name, value in values.items()}
    return record.trajectory(problem, values, np.asarray(loss), time.perf_counter() - start)


def _of_all_samples(problem: Problem, after: dict, buffers: dict) -> tuple:
    """Compute the values and the loss of all samples after the last step, without masks."""
    given = operands(problem, after, buffers)
    values, _ = forward(problem.network, given, half(problem.inputs), training=False)
    return values, total_loss(problem, after, values[problem.output], half(problem.targets))


def settings() -> dict[str, str]:
    """Return how the backend computes: `threads`, `x64`, `matrix products`."""
    blas = {pool["internal_api"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    products = ", ".join(sorted(blas)) or "NumPy's own"
    return {"threads": "1", "x64": "yes", "matrix products": products}
