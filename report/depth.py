"""How gradients shrink on their way back: their size by layer, beside the bound that the chain rule gives.

Behind a dense layer W stands an activation whose derivative is at most s, so one layer back the cotangent of the
preactivation is at most s ‖W‖ times as large: for a sigmoid chain 0.25 |w| a layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.trajectory import Trajectory
from cases.problem import Problem
from cases.schema import Dense
from reference.layers import ACTIVATIONS


class LayerGradient(NamedTuple):
    """One dense layer at step 0: Euclidean sizes over all its elements and samples."""

    layer: str
    gradient: float
    cotangent: float
    bound: float


def gradients_by_layer(problem: Problem, run: Trajectory) -> list[LayerGradient]:
    """The size of each dense layer's gradient and preactivation cotangent, with the bound from the last layer's."""
    rows, bound = [], None
    for layer in reversed(problem.network):
        if not isinstance(layer, Dense):
            bound = bound and bound * steepest(layer.kind)
            continue
        path = f"{layer.name}.weight"
        cotangent = float(np.linalg.norm(run.cotangents[layer.name][0]))
        bound = bound or cotangent
        rows.append(LayerGradient(layer.name, float(np.linalg.norm(run.gradients[path][0])), cotangent, bound))
        bound *= float(np.linalg.norm(run.before[path][0], 2))
    return rows[::-1]


def steepest(activation: str) -> float:
    """The largest derivative of an activation."""
    forward, backward = ACTIVATIONS[activation]
    x = np.linspace(-10, 10, 2001)
    return float(np.abs(backward(x, forward(x), np.ones_like(x))).max())
