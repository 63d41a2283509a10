"""Losses, activations and their derivatives as programs write them: the forms that a bound covers, by any arithmetic.

A loss takes outputs y and targets t, (samples, outputs), and their number n; a derivative of an activation takes its
input x, its value y and the cotangent dy of that.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from backproof.cases.format.losses import (
    BinaryCrossEntropy,
    GaussianNll,
    Huber,
    LogCosh,
    Poisson,
    SigmoidBinaryCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
    SquaredError,
    SquaredHinge,
)
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.numbers.protocol import SQRT_2_BY_PI

ALL = (-2, -1)
MEAN = {"factor": 1, "reduction": "mean"}


def exponentials(y):
    """e^(y - max y)."""
    return np.exp(y - np.maximum.reduce(y, axis=-1, keepdims=True))


def probabilities(y):
    """A softmax."""
    e = exponentials(y)
    return e / e.sum(axis=-1, keepdims=True)


def log_sum(y):
    """log Σ eʸ."""
    return np.maximum.reduce(y, axis=-1, keepdims=True) + np.log(exponentials(y).sum(axis=-1, keepdims=True))


def softplus(x):
    """log(1 + eˣ)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def halves(y):
    """Means and log variances."""
    return y[..., : y.shape[-1] // 2], y[..., y.shape[-1] // 2 :]


# ---------------------------------------------------------------- losses

LOSSES = {
    SquaredError(**MEAN): {
        "Σ d² / n": lambda y, t, n: np.square(y - t).sum(axis=ALL) / n,
        "Σ (d² / n)": lambda y, t, n: (np.square(y - t) / n).sum(axis=ALL),
        "Σ (1/n) d²": lambda y, t, n: (1 / n * np.square(y - t)).sum(axis=ALL),
        "(1/n) Σ d d": lambda y, t, n: 1 / n * ((y - t) * (y - t)).sum(axis=ALL),
        "a mean of means": lambda y, t, n: (np.square(y - t).sum(axis=-1) / y.shape[-1]).sum(axis=-1) / y.shape[-2],
    },
    SquaredError(factor=0.3, reduction="sum"): {
        "0.3 Σ d²": lambda y, t, n: 0.3 * np.square(y - t).sum(axis=ALL),
        "Σ 0.3 d²": lambda y, t, n: (0.3 * np.square(y - t)).sum(axis=ALL),
        "Σ (0.3 d) d": lambda y, t, n: (0.3 * (y - t) * (y - t)).sum(axis=ALL),
    },
    Huber(**MEAN, delta=0.7): {
        "optax": lambda y, t, n: (
            (
                0.5 * np.square(np.minimum(np.abs(y - t), 0.7)) + 0.7 * (np.abs(y - t) - np.minimum(np.abs(y - t), 0.7))
            ).sum(axis=ALL)
            / n
        ),
    },
    LogCosh(**MEAN): {
        "Keras": lambda y, t, n: (y - t + softplus(-2 * (y - t)) - np.log(0 * y + 2)).sum(axis=ALL) / n,
        "log((e^d + e^-d) / 2)": lambda y, t, n: np.log((np.exp(y - t) + np.exp(t - y)) / 2).sum(axis=ALL) / n,
    },
    BinaryCrossEntropy(**MEAN): {
        "log(1 - y)": lambda y, t, n: -(t * np.log(y) + (1 - t) * np.log(1 - y)).sum(axis=ALL) / n,
        "torch": lambda y, t, n: ((t - 1) * np.log1p(-y) - t * np.log(y)).sum(axis=ALL) / n,
    },
    SigmoidBinaryCrossEntropy(**MEAN): {
        "torch": lambda y, t, n: ((1 - t) * y + softplus(-y)).sum(axis=ALL) / n,
        "optax": lambda y, t, n: -(t * -softplus(-y) + (1 - t) * -softplus(y)).sum(axis=ALL) / n,
        "log σ": lambda y, t, n: -(t * np.log(expit(y)) + (1 - t) * np.log(expit(-y))).sum(axis=ALL) / n,
    },
    SoftmaxCrossEntropy(**MEAN): {
        "-Σ t (y - log Σ e^y)": lambda y, t, n: -(t * (y - log_sum(y))).sum(axis=ALL) / y.shape[-2],
        "log Σ e^y - Σ t y": lambda y, t, n: (log_sum(y)[..., 0] - (t * y).sum(axis=-1)).sum(axis=-1) / y.shape[-2],
        "-Σ t log softmax": lambda y, t, n: -(t * np.log(probabilities(y))).sum(axis=ALL) / y.shape[-2],
    },
    GaussianNll(**MEAN): {
        "d² / e^s": lambda y, t, n: (
            0.5 * (halves(y)[1] + np.square(halves(y)[0] - t) / np.exp(halves(y)[1])).sum(axis=ALL) / n
        ),
    },
}
DERIVATIVES_OF_LOSSES = {
    SquaredError(**MEAN): {
        "2 d / n": lambda y, t, n: 2 * (y - t) / n,
        "(2/n) d": lambda y, t, n: 2 / n * (y - t),
        "(d / n) 2": lambda y, t, n: (y - t) / n * 2,
        "((1/n) d) 2": lambda y, t, n: 1 / n * (y - t) * 2,
        "(1/n) d + (1/n) d": lambda y, t, n: 1 / n * (y - t) + 1 / n * (y - t),
    },
    SquaredError(factor=0.3, reduction="mean"): {
        "(0.6/n) d": lambda y, t, n: 0.6 / n * (y - t),
        "0.3 (2 d) / n": lambda y, t, n: 0.3 * (2 * (y - t)) / n,
        "(0.3/n) (2 d)": lambda y, t, n: 0.3 / n * (2 * (y - t)),
    },
    Huber(**MEAN, delta=0.7): {
        "(1/n) d": lambda y, t, n: 1 / n * np.maximum(np.minimum(y - t, 0.7), -0.7),
    },
    SmoothL1(**MEAN, beta=0.7): {
        "(1/n) (d / β)": lambda y, t, n: 1 / n * np.maximum(np.minimum((y - t) / 0.7, 1), -1),
    },
    LogCosh(**MEAN): {
        "tanh d": lambda y, t, n: np.tanh(y - t) / n,
    },
    BinaryCrossEntropy(**MEAN): {
        "(1 - t) / (1 - y) - t / y": lambda y, t, n: ((1 - t) / (1 - y) - t / y) / n,
        "-(t / y - (1 - t) / (1 - y))": lambda y, t, n: -(t / y - (1 - t) / (1 - y)) / n,
        "torch (y - t) / ((1 - y) y)": lambda y, t, n: (y - t) / ((1 - y) * y) / n,
        "(1/n) (y - t) / (y (1 - y))": lambda y, t, n: 1 / n * (y - t) / (y * (1 - y)),
    },
    SigmoidBinaryCrossEntropy(**MEAN): {
        "(σ(y) - t) / n": lambda y, t, n: (expit(y) - t) / n,
        "(1 / (1 + e^-y) - t) (1/n)": lambda y, t, n: (1 / (1 + np.exp(-y)) - t) * (1 / n),
    },
    SoftmaxCrossEntropy(**MEAN): {
        "(p - t) / n": lambda y, t, n: (probabilities(y) - t) / y.shape[-2],
        "p / n - t / n": lambda y, t, n: probabilities(y) / y.shape[-2] - t / y.shape[-2],
        "(1/n) (p Σ t - t)": lambda y, t, n: 1 / y.shape[-2] * (probabilities(y) * t.sum(axis=-1, keepdims=True) - t),
    },
    Poisson(**MEAN): {
        "(e^y - t) (1/n)": lambda y, t, n: (np.exp(y) - t) * (1 / n),
    },
    SquaredHinge(**MEAN): {
        "2 (-t) m / n": lambda y, t, n: 2 * np.maximum(1 - t * y, 0) * -t / n,
        "(2/n) m (-t)": lambda y, t, n: 2 / n * np.maximum(1 - y * t, 0) * -t,
    },
}

# ---------------------------------------------------------------- activations


def z_of_gelu(x):
    """√(2/π) (x + 0.044715 x³)."""
    return SQRT_2_BY_PI * (x + 0.044715 * x * x * x)


FORWARD = {
    ("sigmoid",): {
        "1 / (1 + e^-x)": lambda x: 1 / (1 + np.exp(-x)),
        "e^x / (1 + e^x)": lambda x: np.exp(x) / (1 + np.exp(x)),
    },
    ("softplus", ("beta", 1.0)): {
        "log1p(e^x)": lambda x: np.log1p(np.exp(x)),
        "max(x, 0) + log1p(e^-|x|)": softplus,
    },
    ("softmax",): {
        "e (1 / Σ e)": lambda x: exponentials(x) * (1 / exponentials(x).sum(axis=-1, keepdims=True)),
        "without a shift": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
        "e^(x - log Σ e^x)": lambda x: np.exp(x - np.maximum.reduce(x, axis=-1, keepdims=True)
                                              - np.log(exponentials(x).sum(axis=-1, keepdims=True))),
    },
    ("silu",): {"x / (1 + e^-x)": lambda x: x / (1 + np.exp(-x))},
    ("gelu", ("approximate", "tanh")): {
        "0.5 x (1 + tanh z)": lambda x: 0.5 * x * (1 + np.tanh(z_of_gelu(x))),
        "x 0.5 (1 + tanh z)": lambda x: x * (0.5 * (1 + np.tanh(z_of_gelu(x)))),
    },
    ("mish",): {"x tanh(softplus x)": lambda x: x * np.tanh(np.log1p(np.exp(x)))},
}  # fmt: skip
BACKWARD = {
    ("sigmoid",): {
        "dy y (1 - y)": lambda x, y, dy: dy * y * (1 - y),
        "dy (y (1 - y))": lambda x, y, dy: dy * (y * (1 - y)),
        "dy (y - y²)": lambda x, y, dy: dy * (y - y * y),
        "dy σ(x) σ(-x)": lambda x, y, dy: dy * expit(x) * expit(-x),
        "dy e^-|x| / (1 + e^-|x|)²": lambda x, y, dy: dy * np.exp(-np.abs(x)) / np.square(1 + np.exp(-np.abs(x))),
    },
    ("tanh",): {
        "dy (1 - y²)": lambda x, y, dy: dy * (1 - y * y),
        "dy (1 - y) (1 + y)": lambda x, y, dy: dy * (1 - y) * (1 + y),
        "JAX (dy + dy y) (1 - y)": lambda x, y, dy: (dy + dy * y) * (1 - y),
        "dy - dy y²": lambda x, y, dy: dy - dy * y * y,
    },
    ("softmax",): {
        "y (dy - Σ dy y)": lambda x, y, dy: y * (dy - (dy * y).sum(axis=-1, keepdims=True)),
        "y dy - y Σ dy y": lambda x, y, dy: y * dy - y * (dy * y).sum(axis=-1, keepdims=True),
    },
    ("silu",): {
        "dy σ (1 + x (1 - σ))": lambda x, y, dy: dy * (expit(x) * (1 + x * (1 - expit(x)))),
        "dy (y + σ (1 - y))": lambda x, y, dy: dy * (y + expit(x) * (1 - y)),
    },
    ("softplus", ("beta", 1.0)): {
        "dy σ(x)": lambda x, y, dy: dy * expit(x),
        "dy / (1 + e^-x)": lambda x, y, dy: dy / (1 + np.exp(-x)),
        "dy e^x / (1 + e^x)": lambda x, y, dy: dy * np.exp(x) / (1 + np.exp(x)),
    },
    ("softsign",): {
        "dy / (1 + |x|)²": lambda x, y, dy: dy / np.square(1 + np.abs(x)),
        "dy (1 - |y|)²": lambda x, y, dy: dy * np.square(1 - np.abs(y)),
    },
    ("gelu", ("approximate", "tanh")): {
        "dy (0.5 (1 + t) + 0.5 x (1 - t²) z')": lambda x, y, dy: dy * (
            0.5 * (1 + np.tanh(z_of_gelu(x)))
            + 0.5 * x * (1 - np.square(np.tanh(z_of_gelu(x)))) * (SQRT_2_BY_PI * (1 + 0.134145 * (x * x)))
        ),
    },
}  # fmt: skip


def rules_of(kind: tuple):
    """The reference's forward and backward function, and the settings."""
    name, *settings = kind
    return *ACTIVATIONS[name], dict(settings)
