"""A loss: the fourth power of the difference."""

import numpy as np

from backproof import Criterion


class Quartic(Criterion):
    """Terms (y - t)^4."""


def forward(loss, y, t):
    """The terms."""
    return np.square(np.square(y - t))


def torch_forward(loss, y, t):
    """The terms in PyTorch."""
    return (y - t) ** 2 * (y - t) ** 2


jax_forward = torch_forward
