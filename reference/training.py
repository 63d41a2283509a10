"""Backpropagation and the training loop."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from backproof.cases.format.network import Node
from backproof.cases.problem import Problem
from backproof.reference.formulas import layers, losses
from backproof.reference.formulas.combining import add
from backproof.reference.formulas.layers import Nodes, named, resolved
from backproof.reference.formulas.optimizers import at_rate, clipped, init, update
from backproof.reference.formulas.positions import rows
from backproof.reference.formulas.schedules import learning_rates


class Derivatives(NamedTuple):
    """The loss of a batch, its derivatives by everything, and the buffers after it."""

    loss: Any
    values: dict[str, Any]
    cotangents: dict[str, Any]
    gradients: dict[str, Any]
    buffers_after: dict[str, Any]


class Step(NamedTuple):
    """One step: `Derivatives` of its batch, and what stood before and after its update."""

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
    """Collect by name what layers take beside values.

    Args:
        problem: says which parameters are tied.
        parameters: by path.
        others: masks and buffers of a step, by path.
    """
    numbers = dict(parameters)
    for path, tie in problem.tied.items():
        numbers[path] = tie.of(parameters)
    for more in others:
        numbers.update(more)
    return numbers


def forward(
    network: Nodes, numbers: dict, inputs, *, recorded: Mapping | None = None, training: bool = True
) -> tuple[dict, dict]:
    """Compute the values of `input` and of every node, in order, and the buffers after the step.

    Args:
        network: the nodes.
        numbers: the operands of a step (`operands`).
        inputs: (..., samples, *positions, features).
        recorded: values by name, which are taken as given in place of those that are computed.
        training: False after the last step, where there are no masks, and buffers stay as they are.
    """
    recorded, after = recorded or {}, {}
    values = {"input": recorded.get("input", inputs)}
    given = {**numbers, **values}
    for one in resolved(network):
        if one.same:
            y = one.forward(*map(given.__getitem__, one.taken))
        else:
            y, buffers = layers.layer_forward(one, given, training=training)
            after |= buffers
        name = one.node.name
        given[name] = values[name] = recorded.get(name, y)
    return values, after


def total_loss(problem: Problem, parameters: dict, y, t):
    """Compute the loss of outputs y for targets t, (..., samples, *positions, outputs), (...).

    The penalties on the parameters are added to it.
    """
    y, t = by_row(problem, y), by_row(problem, t)
    loss = losses.loss_forward(problem.loss, y, t, problem.positions)
    if problem.penalties:
        loss = loss + losses.penalty_forward(problem.penalties, parameters, problem.axes)
    return loss


def loss_cotangent(problem: Problem, y, t, slope: Callable | None = None):
    """Compute the cotangent of the outputs y, of their shape.

    `slope(loss, y, t, positions)` is another derivative of the loss, of y and t by row.
    """
    outputs, targets = by_row(problem, y), by_row(problem, t)
    dy = (slope or losses.loss_backward)(problem.loss, outputs, targets, problem.positions)
    return np.reshape(dy, y.shape) if len(problem.output_shape) > 1 else dy


def by_row(problem: Problem, x):
    """Lay outputs or targets out as (..., rows, outputs), a row for each sample and position."""
    positions = len(problem.output_shape) - 1
    return rows(x, len(x.shape) - positions - 2) if positions else x


# ---------------------------------------------------------------- backward


def way_back(
    network: Nodes, numbers, dy, *, recorded=None, outputs=None, rules=None, training: bool = True
) -> Iterator[tuple[Node, dict[str, Any]]]:
    """Walk the chain rule from the last node back to the first.

    Args:
        network: the nodes.
        numbers: values and operands by name.
        dy: the cotangent of the last node's value.
        recorded: cotangents by name, of some values or all, which are taken as given in place of
            those that are computed.
        outputs: values by name that a node's own backward formula takes for y.
        rules: by name of a node, another formula in the place of its own.
        training: False after the last step.

    Yields:
        Each node behind which the walk stands, and the sums so far: by name the cotangents of
        values, and by path the gradients of what nodes take. Those of the node itself, and of its
        value, are whole.
    """
    operations = resolved(network)
    sums: dict[str, Any] = {operations[-1].node.name: dy}
    taken = ChainMap(recorded, sums) if recorded else sums
    values, rules = outputs or numbers, rules or {}
    at = numbers.__getitem__
    for one in reversed(operations):
        node = one.node
        y, dy = values[node.name], taken[node.name]
        if node.name in rules:
            found = rules[node.name](node, numbers, y, dy)
        elif one.same:
            found = one.backward(*map(at, node.inputs), y, dy, *map(at, node.parameters))
            found = named(one, found)
        else:
            found = layers.layer_backward(one, numbers, y, dy, training=training)
        for name, derivative in found:
            add(sums, name, derivative)
        yield node, sums


def backward(network: Nodes, numbers: dict, values: dict, dy, **how) -> tuple[dict, dict]:
    """Compute the cotangents of `input` and of every node, and the gradients by path.

    The gradient of a tied parameter is that of the layer which takes it. `dy` is the cotangent of
    the last node's value, `how` is that of `way_back`.
    """
    sums: dict[str, Any] = {}
    for _, sums in way_back(network, numbers | values, dy, **how):  # noqa: B007
        pass
    return {name: sums.pop(name) for name in values}, sums


def trained(problem: Problem, parameters: dict, gradients: dict, paths: tuple[str, ...]) -> dict:
    """Compute the whole gradients of the parameters of these paths.

    Those of tied ones are added to `gradients`, those of each layer, and those of penalties.
    """
    if not (problem.tied or problem.penalties):
        return {path: gradients[path] for path in paths}
    sums: dict[str, Any] = {}
    for path, gradient in gradients.items():
        tie = problem.tied.get(path)
        if tie:
            add(sums, tie.parameter, gradient.mT if tie.transposed else gradient)
        else:
            add(sums, path, gradient)
    for path in paths:
        for derivative in losses.penalty_backward(problem.penalties, path, parameters[path]):
            add(sums, path, derivative)
    return {path: sums[path] for path in paths}


# ---------------------------------------------------------------- training


def derivatives(
    problem: Problem,
    parameters,
    masks,
    x,
    t,
    buffers=None,
    *,
    training: bool = True,
    network=None,
    recorded: tuple[Mapping, Mapping] = ({}, {}),
) -> Derivatives:
    """Go forward and backward on a batch.

    Args:
        problem: that is run.
        parameters: by path.
        masks: of the step, by path.
        x: inputs, (..., samples, *positions, features).
        t: targets, (..., samples, *positions, outputs).
        buffers: before the step, by path.
        training: False after the last step.
        network: the problem's, if it is resolved already.
        recorded: values and cotangents by name, which are taken as given.
    """
    network, (taken, cotangents) = network or problem.network, recorded
    numbers = operands(problem, parameters, masks, buffers or {})
    values, buffers_after = forward(network, numbers, x, recorded=taken, training=training)
    y = values[problem.output]
    dy = loss_cotangent(problem, y, t)
    how = {"recorded": cotangents, "training": training}
    cotangents, gradients = backward(network, numbers, values, dy, **how)
    gradients = trained(problem, parameters, gradients, problem.trained)
    loss = total_loss(problem, parameters, y, t)
    return Derivatives(loss, values, cotangents, gradients, buffers_after)


def train(
    problem: Problem,
    number: Callable[[np.ndarray], Any] = np.asarray,
    real: Callable[[float], Any] = float,
    differentiate: Callable[..., Derivatives] | None = None,
    advance: Callable[..., tuple[dict, dict]] | None = None,
) -> Iterator[Step]:
    """Run the problem, and yield every step of it.

    Args:
        problem: to run.
        number: turns its arrays into the kind of number to compute with.
        real: does so with the learning rates of a schedule, one by one.
        differentiate: computes the derivatives of a batch, in the place of `derivatives`.
        advance: makes an update, in the place of `update`.
    """
    differentiate = differentiate or partial(derivatives, network=resolved(problem.network))
    inputs, targets = number(problem.inputs), number(problem.targets)
    parameters = {path: number(values) for path, values in problem.parameters.items()}
    buffers = {path: number(values) for path, values in problem.buffers.items()}
    state = init(problem.optimizer, {path: parameters[path] for path in problem.trained})
    rates = learning_rates(problem, range(problem.steps), real) or [None] * problem.steps
    sizes, masks = (problem.batches >= 0).sum(axis=1).tolist(), {}
    for step, (batch, size, rate) in enumerate(zip(problem.batches, sizes, rates, strict=True)):
        x, t = inputs.take(batch[:size], axis=0), targets.take(batch[:size], axis=0)
        if problem.masks:
            masks = {path: number(mask[:size]) for path, mask in problem.masks_at(step).items()}
        found = differentiate(problem, parameters, masks, x, t, buffers)
        used = clipped(problem.clip, found.gradients, problem.axes)
        optimizer = at_rate(problem.optimizer, rate)
        after, state_after = (advance or update)(optimizer, parameters, used, state, step)
        yield Step(*found, buffers, parameters, after, state, state_after, rate)
        parameters, state, buffers = after, state_after, found.buffers_after
