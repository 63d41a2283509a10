"""The layers in JAX, by kind."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from backproof.backends.jax_autograd.activations import ACTIVATIONS


def dropout(x: Array, mask: Array | None, rate: float) -> Array:
    """flax draws a mask of its own, and selects like this."""
    return x if mask is None else jnp.where(mask != 0, x / (1 - rate), 0)


LAYERS = ACTIVATIONS | {"dropout": dropout, "skip": jnp.add}
