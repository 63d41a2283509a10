"""Wrong rules for values with positions: a sum or a mean over too few axes or too many, and axes mixed up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from backproof.reference import training
from backproof.reference.formulas import activations, combining, dense, losses
from tests.trial.planting import Mutant


def positions(name: str, rule: Callable, wrong: Callable, noticed: str = "") -> Mutant:
    """A wrong rule on the network whose samples have three positions."""
    return Mutant(name, rule, wrong, noticed, on="positions")


def mixed_up(x):
    """Samples read as positions, and positions as samples."""
    return np.swapaxes(x, 0, 1).reshape(x.shape)


def gradients(change: Callable) -> Callable:
    """The gradients of x and dy as they are changed; the input's cotangent is right."""

    def plant(right):
        def backward(x, y, dy, *parameters):
            return right(x, y, dy, *parameters)[0], *right(*change(x, y, dy), *parameters)[1:]

        return backward

    return plant


def db(change: Callable) -> Callable:
    """The gradient of a dense layer's bias by a formula of dy."""
    return lambda right: lambda x, y, dy, *parameters: (*right(x, y, dy, *parameters)[:2], change(dy))


def over_positions(formula: Callable) -> Callable:
    """What is meant for the units, along the positions."""
    return lambda _: lambda *xs: np.swapaxes(formula(*(np.swapaxes(x, 1, 2) for x in xs)), 1, 2)


def problem(change: Callable) -> Callable:
    """Train another problem than the one that is asked for."""
    return lambda right: lambda asked, *more: right(change(asked), *more)


def of_rows(right):
    """Every position counts as a sample."""
    return lambda loss, y, t, _: right(loss, y, t, 1)


def each_alone(x, dy):
    """The products of every position by themselves, added up."""
    return sum(x[:, position].mT @ dy[:, position] for position in range(x.shape[1]))


def read_position_by_position(asked):
    """The numbers of a file that has the positions first."""
    samples, length, features = asked.inputs.shape
    return replace(asked, inputs=asked.inputs.reshape(length, samples, features).swapaxes(0, 1))


softmax, softmax_back = activations.softmax_forward, activations.softmax_backward

POSITION_MUTANTS = [
    positions("positions: bias gradient of the first one only", dense.dense_backward,
              db(lambda dy: dy[:, 0].sum(axis=0)), "gradient readout.bias"),
    positions("positions: bias gradient averaged over them", dense.dense_backward,
              db(lambda dy: dy.mean(axis=1).sum(axis=0)), "gradient readout.bias"),
    positions("positions: gradients of the first one only", dense.dense_backward,
              gradients(lambda x, y, dy: (x[:, :1], y[:, :1], dy[:, :1])), "gradient readout.weight"),
    positions("positions: gradients without the last one", dense.dense_backward,
              gradients(lambda x, y, dy: (x[:, :-1], y[:, :-1], dy[:, :-1])), "gradient readout.weight"),
    positions("positions: mixed up with samples in the gradient", dense.dense_backward,
              gradients(lambda x, y, dy: (mixed_up(x), y, dy)), "gradient readout.weight"),
    positions("positions: mixed up with samples in the value", dense.dense_forward,
              lambda right: lambda x, *parameters: right(mixed_up(x), *parameters), "value hidden"),
    positions("positions: bias added to the first one only", dense.dense_forward,
              lambda right: lambda x, weight, b: right(x, weight) + b * (np.arange(3) == 0)[:, None], "value hidden"),
    positions("positions: softmax over them", activations.softmax_forward, over_positions(softmax), "value shares"),
    positions("positions: softmax's sum over them", activations.softmax_backward,
              over_positions(softmax_back), "cotangent hidden"),
    positions("positions: gradient of a slope of the first one only", activations.prelu_backward,
              gradients(lambda x, y, dy: (x[:, :1], y[:, :1], dy[:, :1])), "gradient slopes.slope"),
    positions("positions: gradient of a slope averaged over them", activations.prelu_backward,
              gradients(lambda x, y, dy: (x, y, dy / 3)), "gradient slopes.slope"),
    positions("positions: one mask for all", combining.dropout_forward,
              lambda right: lambda x, mask, rate: right(x, mask if mask is None else mask[:, :1], rate),
              "value dropout"),
    positions("positions: the skip of the one before", combining.skip_forward,
              lambda right: lambda x, other: right(x, np.roll(other, 1, axis=1)), "value around"),
    positions("positions: counted as samples in the loss", losses.loss_forward, of_rows, "loss"),
    positions("positions: counted as samples in the derivative of the loss", losses.loss_backward, of_rows,
              "cotangent squashed"),
    positions("positions: of the targets turned around", training.train,
              problem(lambda asked: replace(asked, targets=asked.targets[:, ::-1])), "loss"),
    positions("positions: of the inputs read as samples", training.train, problem(read_position_by_position),
              "value input"),
    positions("positions: of the inputs turned around", training.train,
              problem(lambda asked: replace(asked, inputs=asked.inputs[:, ::-1])), "value input"),
]  # fmt: skip

SAME_WITH_POSITIONS = [
    positions("positions: a gradient of each, added up", dense.dense_backward,
              lambda right: lambda x, y, dy, *parameters: (
                  right(x, y, dy, *parameters)[0], each_alone(x, dy), dy.sum(axis=0).sum(axis=0))),
    positions("positions: samples and they exchanged before the sum", dense.dense_backward,
              gradients(lambda x, y, dy: (np.swapaxes(x, 0, 1), y, np.swapaxes(dy, 0, 1)))),
    positions("positions: every row a sample of its own", dense.dense_forward,
              lambda right: lambda x, *parameters: right(x.reshape(-1, x.shape[-1]), *parameters).reshape(
                  *x.shape[:-1], -1)),
]  # fmt: skip
