"""The layers in JAX, by kind: x is (samples, *positions, features)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from backproof.backends.added import added_layers
from backproof.backends.jax_autograd.activations import ACTIVATIONS
from backproof.backends.jax_autograd.arithmetic import rounded_once


def dense(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Compute x W + b; jax.nn has no dense layer."""
    return x @ weight if bias is None else rounded_once(jnp.add)(x @ weight, bias)


def dropout(x: Array, rate: float, mask: Array | None) -> Array:
    """Compute x / (1 - rate) where the mask is 1, as flax does with a mask that it draws itself."""
    return x if mask is None else jnp.where(mask != 0, x / (1 - rate), 0)


LAYERS = ACTIVATIONS | {"dense": dense, "dropout": dropout, "skip": jnp.add} | added_layers("jax")
