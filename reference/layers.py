"""Forward and backward of each layer, by hand; the activations are in `activations.py`.

Shapes: x and y are (..., samples, units), weights (..., in, units), biases (..., units); leading axes, such as one
for many steps at once, are allowed everywhere. A cotangent dy is the derivative of the loss by y. Nothing here asks
what its numbers are: floats of any precision, values with error bounds (`rounding.py`) or balls (`proof.py`).

The backward formulas are the chain rule as in Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5.
"""

from __future__ import annotations

from cases.schema import Dense, Layer, Prelu
from reference.activations import ACTIVATIONS

# ---------------------------------------------------------------- dense


def dense_forward(x, weight, bias=None):
    """y = x W + b."""
    y = x @ weight
    return y if bias is None else y + bias[..., None, :]


def dense_backward(x, weight, dy):
    """dx = dy Wᵀ,  dW = xᵀ dy,  db = Σ dy over the samples."""
    return dy @ weight.mT, x.mT @ dy, dy.sum(axis=-2)


# ---------------------------------------------------------------- any layer


def layer_forward(layer: Layer, parameters: dict, x):
    """The value of `layer` for the value x of the layer before it."""
    if isinstance(layer, Dense):
        return dense_forward(x, parameters[f"{layer.name}.weight"], parameters.get(f"{layer.name}.bias"))
    forward, _ = ACTIVATIONS[layer.kind]
    return forward(x, *layer.arguments(parameters))


def layer_backward(layer: Layer, parameters: dict, x, y, dy):
    """The cotangent of x, and the gradients of the layer's own parameters by path; y is the layer's value for x."""
    if isinstance(layer, Dense):
        dx, dweight, dbias = dense_backward(x, parameters[f"{layer.name}.weight"], dy)
        gradients = {f"{layer.name}.weight": dweight, f"{layer.name}.bias": dbias}
        return dx, {path: gradient for path, gradient in gradients.items() if path in parameters}
    _, backward = ACTIVATIONS[layer.kind]
    result = backward(x, y, dy, *layer.arguments(parameters))
    if not isinstance(layer, Prelu):
        return result, {}
    dx, dslope = result
    return dx, {f"{layer.name}.slope": dslope}
