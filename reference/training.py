"""Backpropagation and the training loop."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from backproof.cases.network import Node
from backproof.cases.problem import Problem
from backproof.reference.formulas.combining import add
from backproof.reference.formulas.layers import layer_backward, layer_forward
from backproof.reference.formulas.losses import loss_backward, loss_forward, penalty_backward, penalty_forward
from backproof.reference.formulas.optimizers import at_rate, clipped, init, update
from backproof.reference.formulas.positions import rows
from backproof.reference.formulas.schedules import learning_rates

Backward = Callable[[Node, Mapping[str, Any], Any, Any], Iterable[tuple[str, Any]]]


class Derivatives(NamedTuple):
    """What is computed on a batch: the loss, its derivatives by everything, and the buffers after it."""

    loss: Any
    values: dict[str, Any]
    cotangents: dict[str, Any]
    gradients: dict[str, Any]
    buffers_after: dict[str, Any] = {}


class Step(NamedTuple):
    """One step: what was computed on its batch, and parameters, state and buffers before and after its update."""

    loss: Any
    values: dict[str, Any]
    cotangents: dict[str, Any]
    gradients: dict[str, Any]
    buffers_after: dict[str, Any]
    buffers_before: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    state_before: dict[str, Any]
    state_after: dict[str, Any]
    learning_rate: Any


# ---------------------------------------------------------------- forward


def operands(problem: Problem, parameters: dict, *others: dict) -> dict:
    """Collect by name what layers take beside values: parameters, tied ones too, masks and buffers of a step."""
    tied = {path: tie.of(parameters) for path, tie in problem.tied.items()}
    numbers = parameters | tied
    for more in others:
        numbers |= more
    return numbers


def forward(network: tuple[Node, ...], numbers: dict, inputs, *, training: bool = True) -> tuple[dict, dict]:
    """Compute the values of `input` and of every node, in order, and the buffers after the step.

    Args:
        network: the nodes.
        numbers: the operands of a step (`operands`).
        inputs: (..., samples, *positions, features).
        training: False after the last step, where there are no masks, and buffers stay as they are.
    """
    values, after = {"input": inputs}, {}
    given = ChainMap(values, numbers)
    for node in network:
        values[node.name], buffers = layer_forward(node, given, training=training)
        after |= buffers
    return values, after


def total_loss(problem: Problem, parameters: dict, y, t):
    """Compute the loss of outputs y for targets t, (..., samples, *positions, outputs), and the penalties."""
    loss = loss_forward(problem.loss, *_by_row(problem, y, t), positions_of(problem))
    return loss + penalty_forward(problem.penalties, parameters, problem.axes)


def loss_cotangent(problem: Problem, y, t, slope: Callable = loss_backward):
    """Compute the cotangent of the outputs y."""
    dy = slope(problem.loss, *_by_row(problem, y, t), positions_of(problem))
    return dy if dy.shape == y.shape else np.reshape(dy, y.shape)


def positions_of(problem: Problem) -> int:
    """How many positions the output has."""
    return math.prod(problem.shapes[problem.output][:-1])


def _by_row(problem: Problem, *values):
    """Outputs and targets as (..., rows, outputs), a row for each sample and position."""
    positions = len(problem.shapes[problem.output]) - 1
    return (rows(value, len(value.shape) - positions - 2) for value in values)


# ---------------------------------------------------------------- backward


class Passed(NamedTuple):
    """What the way back has found at a node: its whole cotangent, and the gradients that its own parameters get here."""

    name: str
    cotangent: Any
    gradients: dict[str, Any]


def way_back(
    network: tuple[Node, ...],
    numbers: Mapping[str, Any],
    dy,
    *,
    recorded: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    rules: Mapping[str, Backward] | None = None,
    training: bool = True,
) -> Iterator[Passed]:
    """Walk the chain rule from the last node back to `input`.

    Args:
        network: the nodes.
        numbers: values and operands by name.
        dy: the cotangent of the last node's value.
        recorded: cotangents by name, which are taken as given in place of those that are computed.
        outputs: values by name that a node's own backward formula takes for y.
        rules: by name of a node, another formula in the place of its own.
        training: False after the last step.
    """
    sums: dict[str, Any] = {network[-1].name: dy}
    for node in reversed(network):
        cotangent, gradients = sums.pop(node.name), {}
        taken = recorded[node.name] if recorded else cotangent
        y = (outputs or numbers)[node.name]
        rule = (rules or {}).get(node.name, partial(layer_backward, training=training))
        for name, derivative in rule(node, numbers, y, taken):
            add(gradients if name in node.parameters else sums, name, derivative)
        yield Passed(node.name, cotangent, gradients)
    yield Passed("input", sums["input"], {})


def backward(network: tuple[Node, ...], numbers: dict, values: dict, dy, *, training: bool = True) -> tuple[dict, dict]:
    """Compute the cotangents of every node and of `input`, from the last one's dy back, and the gradients by path.

    The gradient of a tied parameter is that of the layer which takes it.
    """
    cotangents, gradients = {}, {}
    for name, cotangent, own in way_back(network, ChainMap(values, numbers), dy, training=training):
        cotangents[name] = cotangent
        gradients |= own
    return cotangents, gradients


def trained(problem: Problem, parameters: dict, gradients: dict, paths: tuple[str, ...]) -> dict:
    """Compute the whole gradients of the parameters of these paths: those of tied ones added, and of penalties."""
    sums: dict = {}
    for path, gradient in gradients.items():
        tie = problem.tied.get(path)
        add(sums, tie.parameter if tie else path, gradient.mT if tie and tie.transposed else gradient)
    for path in paths:
        for derivative in penalty_backward(problem.penalties, path, parameters[path]):
            add(sums, path, derivative)
    return {path: sums[path] for path in paths}


# ---------------------------------------------------------------- training


def derivatives(
    problem: Problem, parameters: dict, masks: dict, x, t, buffers: dict | None = None, *, training: bool = True
) -> Derivatives:
    """Go forward and backward on a batch of inputs x and targets t; after the last step not in `training`."""
    numbers = operands(problem, parameters, masks, buffers or {})
    values, buffers_after = forward(problem.network, numbers, x, training=training)
    y = values[problem.output]
    dy = loss_cotangent(problem, y, t)
    cotangents, gradients = backward(problem.network, numbers, values, dy, training=training)
    gradients = trained(problem, parameters, gradients, problem.trained)
    return Derivatives(total_loss(problem, parameters, y, t), values, cotangents, gradients, buffers_after)


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
    buffers = {path: number(values) for path, values in problem.buffers.items()}
    state = init(problem.optimizer, {path: parameters[path] for path in problem.trained})
    rates = learning_rates(problem, range(problem.steps), real) or [None] * problem.steps
    for number_of_step, (batch, rate) in enumerate(zip(problem.batches, rates, strict=True)):
        samples = batch[batch >= 0]
        x, t = inputs[samples], targets[samples]
        masks = {path: number(mask[: len(samples)]) for path, mask in problem.masks_at(number_of_step).items()}
        found = differentiate(problem, parameters, masks, x, t, buffers)
        used = clipped(problem.clip, found.gradients, problem.axes)
        after, state_after = (advance or update)(
            at_rate(problem.optimizer, rate), parameters, used, state, number_of_step
        )
        yield Step(*found, buffers, parameters, after, state, state_after, rate)
        parameters, state, buffers = after, state_after, found.buffers_after
