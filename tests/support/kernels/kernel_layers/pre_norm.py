"""A normalisation whose input goes on beside it, as the residual of a block."""

import numpy as np

from backproof import LayerConcept, Positive
from kernel_layers import rms_norm


class PreNorm(LayerConcept):
    """y = x beside rms_norm(x), twice as many features."""

    epsilon: Positive = 1e-6

    def shape(self, *before):
        """Twice the features."""
        return (*before[0][:-1], 2 * before[0][-1])

    def parameters(self, *before):
        """The weight."""
        return {"weight": before[0][-1:]}


def forward(x, weight, epsilon):
    """x | norm(x)."""
    return np.concatenate([x, rms_norm.forward(x, weight, epsilon)], axis=-1)


def backward(x, y, dy, weight, epsilon):
    """dx = the residual's + the norm's."""
    n = x.shape[-1]
    dx, dw = rms_norm.backward(x, None, dy[..., n:], weight, epsilon)
    return dy[..., :n] + dx, dw
