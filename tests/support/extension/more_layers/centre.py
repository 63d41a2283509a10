"""A layer with a buffer: it subtracts the mean of the batch, and remembers a running one for later."""

from backproof import LayerConcept, Share


class Centre(LayerConcept):
    """y = x - m, m the mean over the samples of a step; after the last step m is the running mean.

    Buffer `NAME.mean` (features,): mean <- momentum mean + (1 - momentum) m, from 0 on.
    """

    momentum: Share = 0.75

    def shape(self, *before):
        """That of x."""
        if len(before[0]) != 1:
            raise ValueError(f"expected features alone, found the shape {before[0]}")
        return before[0]

    def buffers(self, *before):
        """The running mean."""
        return {"mean": (before[0], 0.0)}


def forward(x, momentum, mean, training):
    """y, and while it trains the buffer after the step."""
    if not training:
        return x - mean[..., None, :]
    m = x.sum(axis=-2, keepdims=True) / x.shape[-2]
    return x - m, {"mean": momentum * mean + (1 - momentum) * m[..., 0, :]}


def backward(x, y, dy, momentum, mean, training):
    """dx = dy - the mean of dy; dy after the last step."""
    return dy - dy.sum(axis=-2, keepdims=True) / dy.shape[-2] if training else dy


def torch_forward(x, momentum, mean, training):
    """The same in PyTorch."""
    if not training:
        return x - mean
    m = x.mean(dim=0)
    return x - m, {"mean": momentum * mean + (1 - momentum) * m.detach()}


def jax_forward(x, momentum, mean, training):
    """The same in JAX."""
    if not training:
        return x - mean
    m = x.sum(axis=0) / len(x)
    return x - m, {"mean": momentum * mean + (1 - momentum) * m}
