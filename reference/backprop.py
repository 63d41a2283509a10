"""Backpropagation and the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cases.problem import Problem
from cases.schema import Layer
from reference.layers import layer_backward, layer_forward
from reference.losses import loss_backward, loss_forward
from reference.optimizers import init, update


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


def forward(network: tuple[Layer, ...], parameters: dict, inputs) -> dict:
    """The values of `input` and of every layer, in order."""
    x, values = inputs, {"input": inputs}
    for layer in network:
        x = values[layer.name] = layer_forward(layer, parameters, x)
    return values


def backward(network: tuple[Layer, ...], parameters: dict, values: dict, dy) -> tuple[dict, dict]:
    """The cotangents of every layer and of `input`, from the last one's dy back, and the gradients by path."""
    cotangents, gradients = {network[-1].name: dy}, {}
    names = list(values)
    for layer, before in reversed(list(zip(network, names[:-1], strict=True))):
        dy, own = layer_backward(layer, parameters, values[before], values[layer.name], dy)
        cotangents[before] = dy
        gradients |= own
    return cotangents, gradients


def train(problem: Problem, number: Callable[[np.ndarray], Any] = np.asarray) -> Iterator[Step]:
    """Run the problem, every step of it; `number` turns its arrays into the kind of number to compute with."""
    inputs, targets = number(problem.inputs), number(problem.targets)
    parameters = {path: number(values) for path, values in problem.parameters.items()}
    state = init(problem.optimizer, parameters)
    for number_of_step, rows in enumerate(problem.batches):
        x, t = inputs[rows[rows >= 0]], targets[rows[rows >= 0]]
        values = forward(problem.network, parameters, x)
        y = values[problem.network[-1].name]
        cotangents, gradients = backward(problem.network, parameters, values, loss_backward(problem.loss, y, t))
        after, state_after = update(problem.optimizer, parameters, gradients, state, number_of_step)
        loss = loss_forward(problem.loss, y, t)
        yield Step(loss, values, cotangents, gradients, parameters, after, state, state_after)
        parameters, state = after, state_after
