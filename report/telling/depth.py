"""How gradients shrink on their way back: their size by layer, beside the bound of the chain rule.

Behind a dense layer W stands an activation whose derivative is at most s, so one layer back the
cotangent of the preactivation is at most s ‖W‖ times as large: for a sigmoid chain 0.25 |w|.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """Compute the sizes at step 0, with the bound from the last dense layer's cotangent.

    Returns:
        a row for each dense layer, in order; none where the layers are no chain of layers with a
        bound, or where a dense layer has no weight of its own that is trained.
    """
    if not _is_chain(problem):
        return []
    rows: list[LayerGradient] = []
    initial = {path: floats(values[0]) for path, values in run.before.items()}
    bound = 0.0  # behind the last dense layer there is none
    for layer in reversed(problem.network):
        if layer.kind != "dense":
            bound = bound and bound * steepest(layer, initial)
            continue
        path = layer.parameters[0]
        gradient = float(np.linalg.norm(floats(run.gradients[path][0])))
        cotangent = float(np.linalg.norm(floats(run.cotangents[layer.name][0])))
        bound = bound or cotangent
        rows.append(LayerGradient(layer.name, gradient, cotangent, bound))
        bound *= float(np.linalg.norm(initial[path], 2))
    return rows[::-1]


def _is_chain(problem: Problem) -> bool:
    """Tell whether each layer takes the value before it, and has a bound or a trained weight."""
    known, trained = {*ACTIVATIONS, *BOUNDS}, problem.trained
    return all(
        node.inputs == (before,)
        and (node.kind in known or (node.kind == "dense" and node.parameters[0] in trained))
        for node, before in zip(problem.network, problem.shapes, strict=False)
    )


BOUNDS: dict[str, Callable[[Node], float]] = {
    "dropout": lambda node: 1 / (1 - node.settings["rate"]),
    "softmax": lambda _: 0.5,
    "log_softmax": lambda node: 1 + math.sqrt(node.shape[-1]),
}


def steepest(layer: Node, parameters: Arrays) -> float:
    """Compute the largest derivative of an activation.

    Of a softmax it is a bound on the norm of its Jacobian diag(y) - y yᵀ.
    """
    if layer.kind in BOUNDS:
        return BOUNDS[layer.kind](layer)
    x = np.repeat(np.linspace(-10, 10, 2001)[:, None], layer.shape[-1], axis=1)
    numbers = parameters | {layer.inputs[0]: x}
    y, _ = layer_forward(layer, numbers)
    (_, dx), *_ = layer_backward(layer, numbers, y, np.ones_like(x))
    return float(np.abs(dx).max())
