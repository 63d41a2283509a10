"""Forward and backward of each layer, by hand; the activations are in `activations.py`.

Shapes: x and y are (..., samples, units), weights (..., in, units), biases (..., units); leading axes, such as one
for many steps at once, are allowed everywhere. A cotangent dy is the derivative of the loss by y. Nothing here asks
what its numbers are: floats of any precision, values with error bounds or balls (`numbers/`).

The backward formulas are the chain rule as in Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5.
"""

from __future__ import annotations

from collections.abc import Mapping

from backproof.cases.format.layers import Dense, Layer
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.numbers.protocol import number_like

# ---------------------------------------------------------------- dense


def dense_forward(x, weight, bias=None):
    """y = x W + b."""
    y = x @ weight
    return y if bias is None else y + bias[..., None, :]


def dense_backward(x, weight, dy):
    """dx = dy Wᵀ,  dW = xᵀ dy,  db = Σ dy over the samples."""
    return dy @ weight.mT, x.mT @ dy, dy.sum(axis=-2)


# ---------------------------------------------------------------- dropout, skip


def dropout_forward(x, mask, rate):
    """y = m x / (1 - rate); y = x without a mask."""
    return x if mask is None else x * mask / (1 - number_like(x, rate))


def dropout_backward(x, y, dy, mask, rate):
    """dx = m dy / (1 - rate)."""
    return dropout_forward(dy, mask, rate)


def skip_forward(x, other):
    """y = x + the value of another layer."""
    return x + other


def skip_backward(x, y, dy, other):
    """dx = dy, and dy for the other layer."""
    return dy, dy


# ---------------------------------------------------------------- any layer

FUNCTIONS = ACTIVATIONS | {"dropout": (dropout_forward, dropout_backward), "skip": (skip_forward, skip_backward)}


def layer_forward(layer: Layer, numbers: Mapping, x):
    """The value of `layer` for the value x of the layer before it.

    `numbers` holds what else it may take, by name: parameters, masks, and the values of the layers before.
    """
    if isinstance(layer, Dense):
        return dense_forward(x, numbers[f"{layer.name}.weight"], numbers.get(f"{layer.name}.bias"))
    forward, _ = FUNCTIONS[layer.kind]
    return forward(x, *layer.arguments(numbers))


def layer_backward(layer: Layer, numbers: Mapping, x, y, dy):
    """The cotangent of x, and by name the derivatives by the layer's parameters and by the values of other layers.

    y is the layer's value for x.
    """
    if isinstance(layer, Dense):
        dx, dweight, dbias = dense_backward(x, numbers[f"{layer.name}.weight"], dy)
        gradients = {f"{layer.name}.weight": dweight, f"{layer.name}.bias": dbias}
        return dx, {path: gradient for path, gradient in gradients.items() if path in numbers}
    _, backward = FUNCTIONS[layer.kind]
    result = backward(x, y, dy, *layer.arguments(numbers))
    dx, *others = result if layer.operands else (result,)
    return dx, dict(zip(layer.operands, others, strict=True))
