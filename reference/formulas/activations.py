"""Forward and backward of each activation, by hand.

Forward gives y of x; backward gives the cotangent dx of x, from that of y.

Shapes and kinds of number are those of `layers.py`. What the formulas are, at kinks too, is said in
`cases/format/layers.py`; here they are written so that nothing overflows or cancels on the way to
y.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erfc, expit

from backproof.reference.formulas.positions import beside, over_rows
from backproof.reference.numbers import protocol
from backproof.reference.numbers.protocol import SQRT_2_BY_PI, SQRT_HALF, elementary, positive

# ---------------------------------------------------------------- sigmoids


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


def softsign_forward(x):
    """y = x / (1 + |x|)."""
    return x / (1 + np.abs(x))


def softsign_backward(x, y, dy):
    """dx = dy / (1 + |x|)² = dy (1 - |y|) / (1 + |x|).

    Of dy |y| a part may be flushed before its factor |x|.
    """
    dx = dy * (1 - elementary(np.abs(y))) / (1 + np.abs(x))
    return protocol.flushed_with(dx, 1 / (1 + np.abs(x)))


def softplus(x):
    """log(1 + eˣ) = max(x, 0) + log(1 + e^-|x|), which does not overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softplus_forward(x, beta):
    """y = log(1 + e^βx) / β."""
    return elementary(softplus(beta * x) / beta)


def softplus_backward(x, y, dy, beta):
    """dx = dy σ(βx), as programs write it: e^(βx - log(1 + e^βx))."""
    return dy * elementary(np.exp(beta * x - softplus(beta * x)))


def log_sigmoid_forward(x):
    """y = log σ(x) = -log(1 + e⁻ˣ)."""
    return -softplus_forward(-x, 1)


def log_sigmoid_backward(x, y, dy):
    """dx = dy σ(-x)."""
    return softplus_backward(-x, y, dy, 1)


# ---------------------------------------------------------------- piecewise


def relu_forward(x):
    """y = max(x, 0)."""
    return np.maximum(x, 0)


def relu_backward(x, y, dy):
    """dx = dy where x > 0, else 0; at the kink x = 0 the derivative is 0."""
    return dy * positive(x)


def leaky_relu_forward(x, slope):
    """y = x where x > 0, else slope x."""
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


def leaky_relu_backward(x, y, dy, slope):
    """dx = dy where x > 0, else slope dy."""
    return dy * (positive(x) + slope * (1 - positive(x)))


def prelu_forward(x, slope):
    """y = x where x > 0, else slope x, one slope for all units or one for each."""
    return leaky_relu_forward(x, beside(slope, x))


def prelu_backward(x, y, dy, slope):
    """dx as of the leaky relu,  dslope = Σ dy min(x, 0) over the samples and positions.

    Units that share one slope are summed over as well.
    """
    terms = dy * np.minimum(x, 0)
    axes = tuple(range(len(slope.shape) - 1, len(x.shape)))
    dslope = terms.sum(axis=axes)[..., None] if slope.shape[-1] == 1 else over_rows(terms, slope)
    return leaky_relu_backward(x, y, dy, beside(slope, x)), dslope


def relu6_forward(x):
    """y = min(max(x, 0), 6)."""
    return np.minimum(np.maximum(x, 0), 6)


def relu6_backward(x, y, dy):
    """dx = dy where 0 < x < 6, else 0."""
    return dy * positive(x) * positive(6 - x)


def hard_tanh_forward(x):
    """y = max(-1, min(x, 1))."""
    return np.maximum(-1, np.minimum(x, 1))


def hard_tanh_backward(x, y, dy):
    """dx = dy where -1 < x < 1, else 0."""
    return dy * positive(x + 1) * positive(1 - x)


def hard_sigmoid_forward(x):
    """y = relu6(x + 3) / 6."""
    return relu6_forward(x + 3) / 6


def hard_sigmoid_backward(x, y, dy):
    """dx = dy / 6 where -3 < x < 3, else 0."""
    return relu6_backward(x + 3, y, dy) / 6


def hard_swish_forward(x):
    """y = x hard_sigmoid(x)."""
    return x * hard_sigmoid_forward(x)


def hard_swish_backward(x, y, dy):
    """dx = dy (hard_sigmoid(x) + x hard_sigmoid'(x))."""
    value = hard_sigmoid_forward(x)
    return dy * value + hard_sigmoid_backward(x, value, dy * x)


# ---------------------------------------------------------------- exponential on the negative side


def elu_forward(x, alpha):
    """y = x where x > 0, else α (eˣ - 1)."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


def elu_backward(x, y, dy, alpha):
    """dx = dy where x > 0, else α eˣ dy = (α (eˣ - 1) + α) dy."""
    return dy * (positive(x) + (1 - positive(x)) * (alpha * np.expm1(np.minimum(x, 0)) + alpha))


def celu_forward(x, alpha):
    """y = x where x > 0, else α (e^(x/α) - 1)."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha)


def celu_backward(x, y, dy, alpha):
    """dx = dy where x > 0, else e^(x/α) dy = ((e^(x/α) - 1) + 1) dy."""
    return dy * (positive(x) + (1 - positive(x)) * (np.expm1(np.minimum(x, 0) / alpha) + 1))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al., 2017


def selu_forward(x):
    """y = scale elu(x)."""
    return SELU_SCALE * elu_forward(x, SELU_ALPHA)


def selu_backward(x, y, dy):
    """dx = scale elu'(x) dy."""
    return SELU_SCALE * elu_backward(x, y, dy, SELU_ALPHA)


# ---------------------------------------------------------------- x times a sigmoid

# The derivatives multiply dy from the left, as reverse mode does: where dy is tiny, a product may
# be flushed to zero before the factors that follow.


def silu_forward(x):
    """y = x σ(x)."""
    return x * expit(x)


def silu_backward(x, y, dy):
    """dx = dy σ(x) + dy x σ(x) (1 - σ(x))."""
    return dy * expit(x) + dy * x * expit(x) * (1 - expit(x))


def mish_forward(x):
    """y = x tanh(log(1 + eˣ))."""
    return x * np.tanh(softplus(x))


def mish_backward(x, y, dy):
    """dx = dy t + dy x (1 - t²) σ(x),  t = tanh(log(1 + eˣ))."""
    t = np.tanh(softplus(x))
    return dy * t + dy * x * elementary(1 - t * t) * elementary(np.exp(x - softplus(x)))


def gelu_forward(x, approximate):
    """y = x Φ(x), Φ(x) = erfc(-x / √2) / 2; or y = x (1 + tanh z) / 2."""
    return x * _normal(x) if approximate == "none" else x * (1 + np.tanh(_z(x))) / 2


def gelu_backward(x, y, dy, approximate):
    """dx = dy Φ(x) + dy x φ(x); or dy (1 + tanh z) / 2 + dy x (1 - tanh² z) z' / 2."""
    if approximate == "none":
        density = protocol.NORMAL_DENSITY * np.exp(-np.square(SQRT_HALF * x))
        return dy * _normal(x) + dy * x * density
    half, t = dy / 2, np.tanh(_z(x))
    along_z = SQRT_2_BY_PI * (half * x * elementary(1 - t * t))
    return half * (1 + t) + along_z + CUBIC * along_z * (3 * (x * x))


CUBIC = 0.044715  # Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016


def _normal(x):
    """Φ(x), the normal distribution function."""
    return erfc(-(SQRT_HALF * x)) / 2


def _z(x):
    return SQRT_2_BY_PI * (x + CUBIC * (x * x * x))


# ---------------------------------------------------------------- over the units of a sample


def softmax_forward(x):
    """y = eˣ / Σ eˣ; the largest x is subtracted first."""
    e = np.exp(_shifted(x))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(x, y, dy):
    """dx = y (dy - Σ dy y)."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def log_softmax_forward(x):
    """y = x - log Σ eˣ."""
    return _shifted(x) - np.log(np.exp(_shifted(x)).sum(axis=-1, keepdims=True))


def log_softmax_backward(x, y, dy):
    """dx = dy - eʸ Σ dy."""
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)


def _shifted(x):
    return x - np.maximum.reduce(x, axis=-1, keepdims=True)


def identity_forward(x):
    """y = x."""
    return x


def identity_backward(x, y, dy):
    """dx = dy."""
    return dy


ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "sigmoid": (sigmoid_forward, sigmoid_backward),
    "tanh": (tanh_forward, tanh_backward),
    "softsign": (softsign_forward, softsign_backward),
    "softplus": (softplus_forward, softplus_backward),
    "log_sigmoid": (log_sigmoid_forward, log_sigmoid_backward),
    "relu": (relu_forward, relu_backward),
    "leaky_relu": (leaky_relu_forward, leaky_relu_backward),
    "prelu": (prelu_forward, prelu_backward),
    "relu6": (relu6_forward, relu6_backward),
    "hard_tanh": (hard_tanh_forward, hard_tanh_backward),
    "hard_sigmoid": (hard_sigmoid_forward, hard_sigmoid_backward),
    "hard_swish": (hard_swish_forward, hard_swish_backward),
    "elu": (elu_forward, elu_backward),
    "celu": (celu_forward, celu_backward),
    "selu": (selu_forward, selu_backward),
    "silu": (silu_forward, silu_backward),
    "mish": (mish_forward, mish_backward),
    "gelu": (gelu_forward, gelu_backward),
    "softmax": (softmax_forward, softmax_backward),
    "log_softmax": (log_softmax_forward, log_softmax_backward),
    "identity": (identity_forward, identity_backward),
}
