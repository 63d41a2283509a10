"""The update of each optimizer, by hand: one equation a line.

`init` makes the state before the first step, `update` the parameters and the state after a step. Parameters and
gradients are dictionaries by path, a state is one by `NAME/PATH`.
"""

from __future__ import annotations

from cases.schema import Optimizer, Sgd

# ---------------------------------------------------------------- sgd


def sgd_init(optimizer: Sgd, parameters: dict) -> dict:
    """Gradient descent remembers nothing."""
    return {}


def sgd_update(optimizer: Sgd, parameters: dict, gradients: dict, state: dict) -> tuple[dict, dict]:
    """w ← w - η g."""
    return {path: w - optimizer.learning_rate * gradients[path] for path, w in parameters.items()}, state


# ---------------------------------------------------------------- any optimizer

OPTIMIZERS = {"sgd": (sgd_init, sgd_update)}


def init(optimizer: Optimizer | None, parameters: dict) -> dict:
    """The state before the first step."""
    return OPTIMIZERS[optimizer.kind][0](optimizer, parameters) if optimizer else {}


def update(optimizer: Optimizer | None, parameters: dict, gradients: dict, state: dict) -> tuple[dict, dict]:
    """Parameters and state after a step; without an optimizer both stay as they are."""
    return OPTIMIZERS[optimizer.kind][1](optimizer, parameters, gradients, state) if optimizer else (parameters, state)
