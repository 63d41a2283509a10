"""Training in PyTorch: the walk over the network, autograd, and the loop."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable

import torch
from torch import Tensor

from backproof.backends.torch_autograd.arrays import to_array, to_arrays, to_gradients, to_tensor
from backproof.backends.torch_autograd.layers import LAYERS
from backproof.backends.torch_autograd.losses import LOSSES, PENALTIES
from backproof.backends.torch_autograd.optimizers import OPTIMIZERS, state_of
from backproof.backends.torch_autograd.schedules import clip_gradients, last_change, scheduler_of
from backproof.backends.trajectory import Recorder, Trajectory
from backproof.cases.format.layers import Dense
from backproof.cases.problem import Problem


def forward(
    problem: Problem,
    numbers: dict[str, Tensor],
    inputs: Tensor,
    taps: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The values of `input` and of every layer; where there are taps, each has its own added to it.

    `numbers` holds the parameters and masks.
    """
    x = inputs + taps["input"] if taps else inputs
    values = {"input": x}
    for layer in problem.network:
        if isinstance(layer, Dense):
            x = x @ numbers[f"{layer.name}.weight"]
            x = x + numbers[f"{layer.name}.bias"] if layer.bias else x
        else:
            x = LAYERS[layer.kind](x, *layer.arguments(ChainMap(values, numbers)))
        x = x + taps[layer.name] if taps else x
        values[layer.name] = x
    return values


def with_tied(problem: Problem, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """All parameters, also those that are another one."""
    return parameters | {path: tie.of(parameters) for path, tie in problem.tied.items()}


def loss_of(problem: Problem, parameters: dict[str, Tensor], values: dict[str, Tensor], targets: Tensor) -> Tensor:
    """The loss of the last layer's values, and the penalties."""
    loss = LOSSES[problem.loss.kind](problem.loss, values[problem.network[-1].name], targets)
    for penalty in problem.penalties:
        for path in penalty.parameters:
            loss = loss + penalty.coefficient * PENALTIES[penalty.kind](parameters[path]).sum()
    return loss


def gradients_of(
    problem: Problem,
    parameters: dict[str, Tensor],
    inputs: Tensor,
    targets: Tensor,
    masks: dict[str, Tensor],
) -> tuple:
    """The loss and the values of a batch, every one of them with its gradient retained in `.grad`."""
    for parameter in parameters.values():
        parameter.grad = None
    values = forward(problem, with_tied(problem, parameters) | masks, inputs.requires_grad_())
    for value in values.values():
        value.retain_grad()
    loss = loss_of(problem, parameters, values, targets)
    loss.backward()
    return loss, values


def run(problem: Problem, take_gradients: Callable | None = None) -> Trajectory:
    """Train by autograd, one step after the other; the gradients may be had in another way."""
    before, dtype = torch.get_default_dtype(), to_tensor(problem.inputs).dtype
    torch.set_default_dtype(dtype)  # torch.optim keeps some scalars in it
    try:
        return _train(problem, take_gradients or gradients_of)
    finally:
        torch.set_default_dtype(before)


def _train(problem: Problem, take_gradients: Callable) -> Trajectory:
    start, record = time.perf_counter(), Recorder(problem)
    inputs, targets = to_tensor(problem.inputs), to_tensor(problem.targets)
    parameters = {
        path: to_tensor(values).requires_grad_(path in problem.trained) for path, values in problem.parameters.items()
    }
    trained = {path: parameters[path] for path in problem.trained}
    optimizer = problem.optimizer and OPTIMIZERS[problem.optimizer.kind](problem.optimizer, [*trained.values()])
    scheduler = problem.schedule and scheduler_of(problem.schedule, optimizer)
    for number, rows in enumerate(problem.batches):
        batch = torch.from_numpy(rows[rows >= 0])
        masks = {name: to_tensor(mask[: len(batch)]) for name, mask in problem.masks_at(number).items()}
        loss, values = take_gradients(problem, parameters, inputs[batch], targets[batch], masks)
        gradients, rate = to_gradients(trained), optimizer and optimizer.param_groups[0]["lr"]
        before, state_before = (
            to_arrays(parameters),
            to_arrays(state_of(problem.optimizer, optimizer, trained)),
        )
        if optimizer:
            clip_gradients(problem.clip, [*trained.values()])
            optimizer.step()
        if number in record.wanted:
            record.add(
                loss=to_array(loss), values=to_arrays(values), cotangents=to_gradients(values),
                gradients=gradients, before=before, after=to_arrays(parameters),
                state_before=state_before, state_after=to_arrays(state_of(problem.optimizer, optimizer, trained)),
                learning_rate=rate if scheduler else None,
            )  # fmt: skip
        if scheduler and number < last_change(problem.schedule):
            scheduler.step()
    with torch.no_grad():
        values = forward(problem, with_tied(problem, parameters), inputs)
        final_loss = to_array(loss_of(problem, parameters, values, targets))
    return record.trajectory(problem, to_arrays(values), final_loss, time.perf_counter() - start)
