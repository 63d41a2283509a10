"""Backpropagation and the training loop."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from backproof.cases.format.layers import Layer
from backproof.cases.problem import Problem
from backproof.reference.formulas.layers import layer_backward, layer_forward
from backproof.reference.formulas.losses import loss_backward, loss_forward, penalty_backward, penalty_forward
from backproof.reference.formulas.optimizers import at_rate, clipped, init, update
from backproof.reference.formulas.schedules import learning_rates
from backproof.reference.formulas.sums import add


class Derivatives(NamedTuple):
    """What is computed on a batch: the loss, and its derivatives by everything."""

    loss: Any
    values: dict[str, Any]
    cotangents: dict[str, Any]
    gradients: dict[str, Any]


class Step(NamedTuple):
    """One step: what was computed on its batch, and the parameters and state before and after its update."""

    loss: Any
    values: dict[str, Any]
    cotangents: dict[str, Any]
    gradients: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    state_before: dict[str, Any]
    state_after: dict[str, Any]
    learning_rate: Any


def operands(problem: Problem, parameters: dict, masks: dict | None = None) -> dict:
    """What layers take beside the value before them, by name: parameters, tied ones too, and the masks of a step."""
    return parameters | {path: tie.of(parameters) for path, tie in problem.tied.items()} | (masks or {})


def forward(network: tuple[Layer, ...], numbers: dict, inputs) -> dict:
    """The values of `input` and of every layer, in order, with the operands `numbers`."""
    x, values = inputs, {"input": inputs}
    for layer in network:
        x = values[layer.name] = layer_forward(layer, ChainMap(values, numbers), x)
    return values


def backward(network: tuple[Layer, ...], numbers: dict, values: dict, dy) -> tuple[dict, dict]:
    """The cotangents of every layer and of `input`, from the last one's dy back, and the gradients by path.

    The gradient of a tied parameter is that of the layer which takes it.
    """
    cotangents, gradients = {network[-1].name: dy}, {}
    names = list(values)
    for layer, before in reversed(list(zip(network, names[:-1], strict=True))):
        dy = cotangents[layer.name]
        dx, others = layer_backward(layer, ChainMap(values, numbers), values[before], values[layer.name], dy)
        add(cotangents, before, dx)
        for name, derivative in others.items():
            add(cotangents if name in values else gradients, name, derivative)
    return cotangents, gradients


def trained(problem: Problem, parameters: dict, gradients: dict, paths: tuple[str, ...]) -> dict:
    """The whole gradients of the parameters of these paths: those of tied ones added, and of penalties."""
    sums: dict = {}
    for path, gradient in gradients.items():
        tie = problem.tied.get(path)
        add(sums, tie.parameter if tie else path, gradient.mT if tie and tie.transposed else gradient)
    for path in paths:
        for derivative in penalty_backward(problem.penalties, path, parameters[path]):
            add(sums, path, derivative)
    return {path: sums[path] for path in paths}


def total_loss(problem: Problem, parameters: dict, y, t):
    """The loss of outputs y for targets t, and the penalties."""
    return loss_forward(problem.loss, y, t) + penalty_forward(problem.penalties, parameters)


def derivatives(problem: Problem, parameters: dict, masks: dict, x, t) -> Derivatives:
    """Forward and backward on a batch of inputs x and targets t."""
    numbers = operands(problem, parameters, masks)
    values = forward(problem.network, numbers, x)
    y = values[problem.network[-1].name]
    cotangents, gradients = backward(problem.network, numbers, values, loss_backward(problem.loss, y, t))
    gradients = trained(problem, parameters, gradients, problem.trained)
    return Derivatives(total_loss(problem, parameters, y, t), values, cotangents, gradients)


def train(
    problem: Problem,
    number: Callable[[np.ndarray], Any] = np.asarray,
    real: Callable[[float], Any] = float,
    differentiate: Callable[..., Derivatives] = derivatives,
    advance: Callable[..., tuple[dict, dict]] | None = None,
) -> Iterator[Step]:
    """Run the problem, every step of it; `number` turns its arrays into the kind of number to compute with.

    `real` does so with the learning rates of a schedule, one by one; `differentiate` and `advance`, which makes an
    update, may be somebody else's.
    """
    inputs, targets = number(problem.inputs), number(problem.targets)
    parameters = {path: number(values) for path, values in problem.parameters.items()}
    state = init(problem.optimizer, {path: parameters[path] for path in problem.trained})
    rates = learning_rates(problem, range(problem.steps), real) or [None] * problem.steps
    for number_of_step, (rows, rate) in enumerate(zip(problem.batches, rates, strict=True)):
        samples = rows[rows >= 0]
        x, t = inputs[samples], targets[samples]
        masks = {name: number(mask[: len(samples)]) for name, mask in problem.masks_at(number_of_step).items()}
        found = differentiate(problem, parameters, masks, x, t)
        used = clipped(problem.clip, found.gradients)
        after, state_after = (advance or update)(
            at_rate(problem.optimizer, rate), parameters, used, state, number_of_step
        )
        yield Step(*found, parameters, after, state, state_after, rate)
        parameters, state = after, state_after
