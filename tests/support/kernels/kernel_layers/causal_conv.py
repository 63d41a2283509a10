"""A convolution over time, of each feature by itself, that sees no later position."""

import numpy as np

from backproof import Count, LayerConcept, gather


class CausalConv(LayerConcept):
    """y_t = sum_w x_(t - w) W_w over the taps, of W `NAME.weight` (taps, features); 0 before the first position."""

    shaping = ("taps",)
    taps: Count

    def parameters(self, *before):
        """The weight."""
        return {"weight": (self.taps, before[0][-1])}


def forward(x, weight):
    """Σ_w x[t - w] W[w]."""
    time, taps = x.shape[-2], weight.shape[-2]
    seen = np.maximum(np.arange(time)[:, None] - np.arange(taps), -1)
    return (gather(x, seen, axis=-2) * weight[..., None, None, :, :]).sum(axis=-2)
