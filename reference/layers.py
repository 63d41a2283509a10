"""Forward and backward of each layer, by hand.

Shapes: x and y are (..., samples, units), weights (..., in, units), biases (..., units); leading axes, such as one
for many steps at once, are allowed everywhere. A cotangent dy is the derivative of the loss by y. Nothing here asks
what its numbers are: floats of any precision, values with error bounds (`rounding.py`) or balls (`proof.py`).

The backward formulas are the chain rule as in Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from cases.schema import Dense, Layer

# ---------------------------------------------------------------- dense


def dense_forward(x, weight, bias=None):
    """y = x W + b."""
    y = x @ weight
    return y if bias is None else y + bias[..., None, :]


def dense_backward(x, weight, dy):
    """dx = dy Wᵀ,  dW = xᵀ dy,  db = Σ dy over the samples."""
    return dy @ weight.mT, x.mT @ dy, dy.sum(axis=-2)


# ---------------------------------------------------------------- activations

# A derivative such as 1 - tanh² x = (1 - y)(1 + y) = 1 / cosh² x is an elementary function in its own right, and
# programs use every form of it. `elementary` says so: it changes no number, and adds 8 ulp to an error bound.
elementary = np.positive


def sigmoid_forward(x):
    """y = 1 / (1 + e⁻ˣ)."""
    return expit(x)


def sigmoid_backward(x, y, dy):
    """dx = dy y (1 - y)."""
    return dy * elementary(y * (1 - y))


def tanh_forward(x):
    """y = tanh x."""
    return np.tanh(x)


def tanh_backward(x, y, dy):
    """dx = dy (1 - y²)."""
    return dy * elementary(1 - y * y)


def relu_forward(x):
    """y = max(x, 0)."""
    return np.maximum(x, 0)


def relu_backward(x, y, dy):
    """dx = dy where x > 0, else 0; at the kink x = 0 the derivative is 0."""
    return dy * np.heaviside(x, 0)


def identity_forward(x):
    """y = x."""
    return x


def identity_backward(x, y, dy):
    """dx = dy."""
    return dy


ACTIVATIONS = {
    "sigmoid": (sigmoid_forward, sigmoid_backward),
    "tanh": (tanh_forward, tanh_backward),
    "relu": (relu_forward, relu_backward),
    "identity": (identity_forward, identity_backward),
}

# ---------------------------------------------------------------- any layer


def layer_forward(layer: Layer, parameters: dict, x):
    """The value of `layer` for the value x of the layer before it."""
    if isinstance(layer, Dense):
        return dense_forward(x, parameters[f"{layer.name}.weight"], parameters.get(f"{layer.name}.bias"))
    forward, _ = ACTIVATIONS[layer.kind]
    return forward(x)


def layer_backward(layer: Layer, parameters: dict, x, y, dy):
    """The cotangent of x, and the gradients of the layer's own parameters by path; y is the layer's value for x."""
    if isinstance(layer, Dense):
        dx, dweight, dbias = dense_backward(x, parameters[f"{layer.name}.weight"], dy)
        gradients = {f"{layer.name}.weight": dweight, f"{layer.name}.bias": dbias}
        return dx, {path: gradient for path, gradient in gradients.items() if path in parameters}
    _, backward = ACTIVATIONS[layer.kind]
    return backward(x, y, dy), {}
