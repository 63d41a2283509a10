"""A gate of two values with a GELU."""

from backproof import LayerConcept
from backproof.reference.formulas.activations import gelu_backward, gelu_forward


class Geglu(LayerConcept):
    """y = gelu(a) b, in gelu's tanh form, of two values of one shape."""

    takes = 2


def forward(a, b):
    """gelu(a) b."""
    return gelu_forward(a, "tanh") * b


def backward(a, b, y, dy):
    """da = dy b gelu'(a),  db = dy gelu(a)."""
    return gelu_backward(a, None, dy * b, "tanh"), dy * gelu_forward(a, "tanh")
