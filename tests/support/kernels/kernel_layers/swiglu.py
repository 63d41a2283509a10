"""A gate of two values, as in feed-forward blocks of language models."""

from scipy.special import expit

from backproof import LayerConcept


class Swiglu(LayerConcept):
    """y = silu(a) b, of two values of one shape."""

    takes = 2


def forward(a, b):
    """a σ(a) b."""
    return a * expit(a) * b


def backward(a, b, y, dy):
    """da = dy b (σ + a σ (1 - σ)),  db = dy a σ."""
    s = expit(a)
    return dy * b * (s + a * s * (1 - s)), dy * (a * s)
