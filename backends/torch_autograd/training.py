"""Training in PyTorch: the loss of a batch, autograd, and the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from backproof.backends.added import row
from backproof.backends.torch_autograd.arrays import (
    to_array,
    to_arrays,
    to_gradients,
    to_tensor,
    to_tensors,
)
from backproof.backends.torch_autograd.losses import LOSSES, PENALTIES
from backproof.backends.torch_autograd.network import Network, Tensors, forward, resolve
from backproof.backends.torch_autograd.optimizers import OPTIMIZERS, state_of
from backproof.backends.torch_autograd.schedules import clip_gradients, last_change, scheduler_of
from backproof.backends.trajectory import Recorder, Trajectory
from backproof.cases.problem import Problem


def look(
    problem: Problem,
    network: Network,
    parameters: Tensors,
    others: Tensors,
    inputs: Tensor,
    targets: Tensor,
    taps: Tensors | None = None,
    *,
    training: bool = True,
) -> tuple[Tensor, Tensors, Tensors]:
    """Return the loss of a batch with the penalties, the values, and the buffers behind the step.

    Args:
        problem: what is run.
        network: its nodes, each with its rule.
        parameters: by path.
        others: the masks and the buffers before the step, by path.
        inputs: (samples, *positions, features).
        targets: (samples, *positions, outputs).
        taps: what is added to each value, if anything is.
        training: whether this is a step of training.
    """
    tied = {path: tie.of(parameters) for path, tie in problem.tied.items()}
    values, buffers = forward(network, parameters | tied | others, inputs, taps, training=training)
    output = values[network[-1][0].name]  # a compiled program can't look a cached property up
    loss = row(LOSSES, "loss", problem.loss.kind)(problem.loss, output, targets)
    for penalty in problem.penalties:
        for path in penalty.parameters:
            loss = loss + penalty.coefficient * PENALTIES[penalty.kind](parameters[path]).sum()
    return loss, values, buffers


def gradients_of(
    looked: Callable, parameters: Tensors, others: Tensors, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensors, Tensors]:
    """Look at a batch and go back: parameters and values have their gradients in `.grad` then."""
    for parameter in parameters.values():
        parameter.grad = None
    loss, values, buffers = looked(parameters, others, inputs.requires_grad_(), targets)
    for value in values.values():
        value.retain_grad()
    loss.backward()
    return loss, values, buffers


def run(problem: Problem, take_gradients: Callable | None = None) -> Trajectory:
    """Train by autograd, step by step; `take_gradients` may have them in another way."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, problem.dtype.name))  # of some scalars of torch.optim
    try:
        return _train(problem, take_gradients)
    finally:
        torch.set_default_dtype(before)


def _train(problem: Problem, take_gradients: Callable | None) -> Trajectory:
    start, record = time.perf_counter(), Recorder(problem)
    looked = partial(look, problem, resolve(problem.network))
    take_gradients = take_gradients or partial(gradients_of, looked)
    inputs, targets = to_tensor(problem.inputs), to_tensor(problem.targets)
    parameters, buffers = to_tensors(problem.parameters), to_tensors(problem.buffers)
    trained = {path: parameters[path].requires_grad_() for path in problem.trained}
    settings, optimizer = problem.optimizer, None
    if settings:
        optimizer = row(OPTIMIZERS, "optimizer", settings.kind)(settings, [*trained.values()])
    scheduler = problem.schedule and scheduler_of(problem.schedule, optimizer)

    def snapshot(when: str) -> dict[str, Any]:
        state = state_of(settings, optimizer, trained)
        found = {when: parameters, f"state_{when}": state, f"buffers_{when}": buffers}
        return {group: to_arrays(tensors) for group, tensors in found.items()}

    for number, rows in enumerate(problem.batches):
        batch, is_recorded, step = torch.from_numpy(rows[rows >= 0]), number in record.wanted, {}
        masks = {path: mask[: len(batch)] for path, mask in problem.masks_at(number).items()}
        others = to_tensors(masks) | buffers
        loss, values, after = take_gradients(parameters, others, inputs[batch], targets[batch])
        if is_recorded:
            step = snapshot("before") | {
                "loss": to_array(loss),
                "values": to_arrays(values),
                "cotangents": to_gradients(values),
                "gradients": to_gradients(trained),
                "learning_rate": optimizer.param_groups[0]["lr"] if scheduler else None,
            }
        if optimizer:
            clip_gradients(problem.clip, [*trained.values()])
            optimizer.step()
        buffers = buffers | after
        if is_recorded:
            record.add(**step, **snapshot("after"))
        if scheduler and number < last_change(problem.schedule):
            scheduler.step()
    with torch.no_grad():
        final_loss, values, _ = looked(parameters, buffers, inputs, targets, training=False)
    seconds = time.perf_counter() - start
    return record.trajectory(problem, to_arrays(values), to_array(final_loss), seconds)
