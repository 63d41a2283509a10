"""JAX: jax.nn forward, jax.grad backward, optax updates, one jitted lax.scan; or without jit.

Independent of `reference/` and of the other backends.
"""

from backproof.backends.jax_autograd.arithmetic import settings
from backproof.backends.jax_autograd.training import run

__all__ = ["PACKAGES", "run", "settings"]

PACKAGES = ("jax", "jaxlib", "optax")
