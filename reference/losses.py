"""Value and derivative of each loss, by hand.

Shapes: outputs y and targets t are (..., samples, outputs), losses (...).
"""

from __future__ import annotations

import numpy as np

from cases.schema import Loss, SquaredError

# ---------------------------------------------------------------- squared error


def squared_error_forward(loss: SquaredError, y, t):
    """L = factor Σ (y - t)², for a mean divided by the number of terms."""
    total = loss.factor * np.square(y - t).sum(axis=(-2, -1))
    return total / _terms(y) if loss.reduction == "mean" else total


def squared_error_backward(loss: SquaredError, y, t):
    """dy = 2 factor (y - t), for a mean divided by the number of terms."""
    dy = 2 * loss.factor * (y - t)
    return dy / _terms(y) if loss.reduction == "mean" else dy


def _terms(y) -> int:
    return y.shape[-2] * y.shape[-1]


# ---------------------------------------------------------------- any loss

LOSSES = {"squared_error": (squared_error_forward, squared_error_backward)}


def loss_forward(loss: Loss, y, t):
    """The loss of outputs y for targets t."""
    forward, _ = LOSSES[loss.kind]
    return forward(loss, y, t)


def loss_backward(loss: Loss, y, t):
    """The cotangent of y."""
    _, backward = LOSSES[loss.kind]
    return backward(loss, y, t)
