"""How JAX computes here: on one thread, in float64 where asked for, and nothing twice."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("NPROC", "1")  # one thread; read when jax is imported

import jax
import jax.numpy as jnp
from jax import Array

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

# A fusion recomputes what it consumes and may contract x w - t into one multiply-add; then the
# value on record is not the one that the loss was computed from. The algebraic simplifier moves a
# factor from one product into the next. Without the two passes every operation consumes what is
# recorded; with no excess precision a 16-bit one does, too. Moving reshapes changes no number, but
# takes a fifth of the time to compile. LLVM takes more than half of it to optimise the loop of each
# operation, which most programs run a few hundred times; not optimised, it rounds every product.
COMPILER_OPTIONS = {
    "xla_disable_hlo_passes": "fusion,algsimp,reshape-mover",
    "xla_allow_excess_precision": False,
    "xla_backend_optimization_level": 0,
}


def where_known(option: str, value: bool | str) -> dict[str, bool | str]:  # noqa: FBT001
    """Return a compiler option, or nothing if this version of XLA has none of that name."""
    try:
        jax.jit(lambda x: x, compiler_options={option: value})(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return {option: value}


# For operations that are not fused the older emitters compile in two thirds of the time.
COMPILER_OPTIONS |= where_known("xla_cpu_use_fusion_emitters", value=False)

# XLA rounds a sum of 16-bit numbers after every term. jnp.sum adds in float32, but the derivative
# of a broadcast is a sum of XLA's own. So what is broadcast, over the samples or over the units, is
# float32 where it is differentiated.


def wide(x: Array) -> Array:
    """Return the same numbers in float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def rounded_once(function: Callable) -> Callable:
    """Return the function of x and other arrays, computed in float32 at least, then rounded."""
    return lambda *arrays: function(*map(wide, arrays)).astype(arrays[0].dtype)


def settings() -> dict[str, str]:
    """Return how the backend computes: `threads`, `x64`, `matrix products`."""
    x64 = "yes" if jax.config.jax_enable_x64 else "no: x64 is off"
    products = f"XLA on {jax.default_backend()}"
    return {"threads": os.environ["NPROC"], "x64": x64, "matrix products": products}
