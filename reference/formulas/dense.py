"""Forward and backward of layers with weights, by hand.

Shapes: x and y are (*steps, samples, *positions, features), a weight (*steps, in, out), a bias
(*steps, out). A cotangent dy is the derivative of the loss by y. The backward formulas are the
chain rule as in Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5.
"""

from __future__ import annotations

from backproof.reference.formulas.positions import beside, over_rows, rows
from backproof.reference.numbers.contraction import contract


def dense_forward(x, weight, bias=None):
    """y = x W + b, at every position."""
    y = contract("i,io->o", x, weight)
    return y if bias is None else y + beside(bias, y)


def dense_backward(x, y, dy, weight, bias=None):
    """dx = dy Wᵀ,  dW = xᵀ dy,  db = Σ dy over the samples and positions."""
    dx, dbias = contract("o,io->i", dy, weight), () if bias is None else (over_rows(dy, bias),)
    if x.ndim > weight.ndim:
        x, dy = rows(x, weight.ndim - 2), rows(dy, weight.ndim - 2)
    return dx, contract("ni,no->io", x, dy), *dbias
