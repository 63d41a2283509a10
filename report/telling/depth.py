"""How gradients shrink on their way back: their size by layer, beside the bound that the chain rule gives.

Behind a dense layer W stands an activation whose derivative is at most s, so one layer back the cotangent of the
preactivation is at most s ‖W‖ times as large: for a sigmoid chain 0.25 |w| a layer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Arrays, Trajectory
from backproof.cases.format.layers import Activation, Dense, Dropout, Skip
from backproof.cases.problem import Problem
from backproof.reference.formulas.layers import layer_backward, layer_forward
from backproof.reference.numbers.balls import floats


class LayerGradient(NamedTuple):
    """One dense layer at step 0: Euclidean sizes over all its elements and samples."""

    layer: str
    gradient: float
    cotangent: float
    bound: float


def gradients_by_layer(problem: Problem, run: Trajectory) -> list[LayerGradient]:
    """The size of each dense layer's gradient and preactivation cotangent, with the bound from the last layer's.

    None where the layers are no chain, or where some dense layer has no weight of its own that is trained.
    """
    weights = {f"{layer.name}.weight" for layer in problem.network if isinstance(layer, Dense)}
    if any(isinstance(layer, Skip) for layer in problem.network) or not weights <= {*problem.trained}:
        return []
    rows, bound = [], None
    for layer in reversed(problem.network):
        if not isinstance(layer, Dense):
            initial = {path: floats(values[0]) for path, values in run.before.items()}
            bound = bound and bound * steepest(layer, initial, problem.widths[layer.name])
            continue
        path = f"{layer.name}.weight"
        cotangent = float(np.linalg.norm(floats(run.cotangents[layer.name][0])))
        bound = bound or cotangent
        rows.append(LayerGradient(layer.name, float(np.linalg.norm(floats(run.gradients[path][0]))), cotangent, bound))
        bound *= float(np.linalg.norm(floats(run.before[path][0]), 2))
    return rows[::-1]


def steepest(layer: Activation | Dropout, parameters: Arrays, units: int) -> float:
    """The largest derivative of an activation; of a softmax a bound on the norm of its Jacobian diag(y) - y yᵀ."""
    if isinstance(layer, Dropout):
        return 1 / (1 - layer.rate)
    if layer.kind in ("softmax", "log_softmax"):
        return 0.5 if layer.kind == "softmax" else 1 + math.sqrt(units)
    x = np.repeat(np.linspace(-10, 10, 2001)[:, None], units, axis=1)
    dx, _ = layer_backward(layer, parameters, x, layer_forward(layer, parameters, x), np.ones_like(x))
    return float(np.abs(dx).max())
