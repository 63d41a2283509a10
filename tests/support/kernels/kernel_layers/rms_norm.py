"""Root mean square normalisation."""

import numpy as np

from backproof import LayerConcept, Positive, beside


class RmsNorm(LayerConcept):
    """y = x / sqrt(mean(x^2) + epsilon) w, the mean over the features, of w `NAME.weight` (features,)."""

    epsilon: Positive = 1e-6

    def parameters(self, *before):
        """The weight."""
        return {"weight": before[0][-1:]}


def inverse_rms(x, epsilon):
    """1 / sqrt(mean(x²) + ε) of each row."""
    return 1 / np.sqrt(np.square(x).sum(axis=-1, keepdims=True) / x.shape[-1] + epsilon)


def forward(x, weight, epsilon):
    """x r w."""
    return x * inverse_rms(x, epsilon) * beside(weight, x)


def backward(x, y, dy, weight, epsilon):
    """dx = r (w dy - n mean(n w dy)), n = x r;  dw = Σ dy n."""
    r, scaled = inverse_rms(x, epsilon), dy * beside(weight, x)
    n = x * r
    mean = (scaled * n).sum(axis=-1, keepdims=True) / x.shape[-1]
    axes = tuple(range(len(weight.shape) - 1, len(x.shape) - 1))
    return r * (scaled - n * mean), (dy * n).sum(axis=axes)
