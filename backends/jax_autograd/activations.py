"""The activations in JAX: x is an array of any shape; softmaxes run over its last axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from backproof.backends.jax_autograd.arithmetic import rounded_once


def leaky_relu(x: Array, slope: float | Array) -> Array:
    """Compute leaky ReLU; jax.nn.leaky_relu has the derivative 1 at x = 0."""
    return jnp.where(x > 0, x, slope * x)


def hard_tanh(x: Array) -> Array:
    """Compute hard tanh; jax.nn.hard_tanh has the derivative 1 at x = -1 and x = 1."""
    return jnp.where(jnp.abs(x) < 1, x, lax.stop_gradient(jnp.clip(x, -1, 1)))


ACTIVATIONS = {
    "sigmoid": rounded_once(jax.nn.sigmoid),  # 1 / (1 + e⁻ˣ) is 0 in float16 from x = -11.1 on
    "tanh": jnp.tanh,
    "softsign": rounded_once(jax.nn.soft_sign),  # float16 may not hold the square in its derivative
    "softplus": lambda x, beta: rounded_once(lambda x: jax.nn.softplus(beta * x) / beta)(x),
    "log_sigmoid": jax.nn.log_sigmoid,
    "relu": jax.nn.relu,
    "leaky_relu": leaky_relu,
    "prelu": rounded_once(leaky_relu),
    "relu6": jax.nn.relu6,
    "hard_tanh": hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "elu": jax.nn.elu,
    "celu": lambda x, alpha: rounded_once(lambda x: jax.nn.celu(x, alpha))(x),
    "selu": jax.nn.selu,
    "silu": rounded_once(jax.nn.silu),  # like sigmoid
    "mish": jax.nn.mish,
    "gelu": lambda x, approximate: jax.nn.gelu(x, approximate=approximate == "tanh"),
    "softmax": rounded_once(jax.nn.softmax),
    "log_softmax": rounded_once(jax.nn.log_softmax),
    "identity": jax.nn.identity,
}
