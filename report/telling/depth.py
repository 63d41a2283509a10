"""How gradients shrink on their way back: their size by layer, beside the bound that the chain rule gives.

Behind a dense layer W stands an activation whose derivative is at most s, so one layer back the cotangent of the
preactivation is at most s ‖W‖ times as large: for a sigmoid chain 0.25 |w| a layer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Arrays, Trajectory
from backproof.cases.format.network import Node
from backproof.cases.problem import Problem
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.formulas.layers import layer_backward, layer_forward
from backproof.reference.numbers.balls import floats


class LayerGradient(NamedTuple):
    """One layer with a weight at step 0: Euclidean sizes over all its elements and samples."""

    layer: str
    gradient: float
    cotangent: float
    bound: float


def gradients_by_layer(problem: Problem, run: Trajectory) -> list[LayerGradient]:
    """The size of each dense layer's gradient and preactivation cotangent, with the bound from the last layer's.

    None where the layers are no chain of layers that have a bound, or where some dense layer has no weight of its own
    that is trained.
    """
    if not _is_chain(problem):
        return []
    rows, bound = [], None
    for layer in reversed(problem.network):
        if layer.kind != "dense":
            initial = {path: floats(values[0]) for path, values in run.before.items()}
            bound = bound and bound * steepest(layer, initial)
            continue
        path = layer.parameters[0]
        cotangent = float(np.linalg.norm(floats(run.cotangents[layer.name][0])))
        bound = bound or cotangent
        rows.append(
            LayerGradient(
                layer.name, float(np.linalg.norm(floats(run.gradients[path][0]))), cotangent, bound
            )
        )
        bound *= float(np.linalg.norm(floats(run.before[path][0]), 2))
    return rows[::-1]


def _is_chain(problem: Problem) -> bool:
    """Each layer takes the value before it, and has a bound or a weight of its own that is trained."""
    return all(
        node.inputs == (before,)
        and (
            node.kind in (*ACTIVATIONS, *BOUNDS)
            or (node.kind == "dense" and node.parameters[0] in problem.trained)
        )
        for node, before in zip(problem.network, problem.shapes, strict=False)
    )


BOUNDS = {
    "dropout": lambda node: 1 / (1 - node.settings["rate"]),
    "softmax": lambda _: 0.5,
    "log_softmax": lambda node: 1 + math.sqrt(node.shape[-1]),
}


def steepest(layer: Node, parameters: Arrays) -> float:
    """The largest derivative of an activation; of a softmax a bound on the norm of its Jacobian diag(y) - y yᵀ."""
    if layer.kind in BOUNDS:
        return BOUNDS[layer.kind](layer)
    x = np.repeat(np.linspace(-10, 10, 2001)[:, None], layer.shape[-1], axis=1)
    numbers = parameters | {layer.inputs[0]: x}
    y, _ = layer_forward(layer, numbers)
    (_, dx), *_ = layer_backward(layer, numbers, y, np.ones_like(x))
    return float(np.abs(dx).max())
