"""One gate a head, for all features of it."""

import numpy as np
from scipy.special import expit

from backproof import LayerConcept


class HeadGate(LayerConcept):
    """y = x sigmoid(g) of x (T, heads d) and g (T, heads)."""

    takes = 2


def forward(x, g):
    """x σ(g), the gate of its head."""
    of_head = np.arange(x.shape[-1]) // (x.shape[-1] // g.shape[-1])
    return x * expit(g)[..., of_head]
