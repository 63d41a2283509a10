"""Call a function of JAX arrays; its derivatives are taken by `jax.vjp`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from backproof.backends.trajectory import WrongReturn


def tensor(array: np.ndarray, _: Any) -> Array:
    """Copy an array.

    Raises:
        WrongReturn: if JAX would take it in another dtype.
    """
    made = jnp.array(array)
    if made.dtype != array.dtype and array.dtype.kind not in "iu":
        advice = 'JAX has float64 only after jax.config.update("jax_enable_x64", True)'
        raise WrongReturn(f"expected {array.dtype}, JAX made {made.dtype} of it; {advice}")
    return made


def fresh(made: Array, _: bool) -> Array:  # noqa: FBT001, one signature for all
    """Return the array, which nobody can change."""
    return made


def whole(made: Array) -> Array:
    """Return the array, of which there is no more than can be seen."""
    return made


def laid_out(made: Array, layout: str) -> Array | None:
    """Return the array; it has no other layout that a program could see."""
    return made if layout == "as it is" else None


def called(
    function: Callable, inputs: Mapping[str, Array], wanted: tuple[str, ...]
) -> tuple[Array, Callable[[Array], dict[str, Any]]]:
    """Compute y = function(*inputs); return it, and what takes the derivatives of Σ y dy.

    Raises:
        WrongReturn: if it does not return one array.
    """

    def of_wanted(*arrays: Array) -> Any:
        given = {**inputs, **dict(zip(wanted, arrays, strict=True))}
        return function(*given.values())

    y, pulled = jax.vjp(of_wanted, *(inputs[name] for name in wanted))
    if not isinstance(y, Array):
        raise WrongReturn(f"expected a function that returns an array, found a {type(y).__name__}")

    def back(dy: Array) -> dict[str, Any]:
        if y.shape != dy.shape or y.dtype != dy.dtype:
            return dict.fromkeys(wanted)
        return dict(zip(wanted, pulled(dy), strict=True))

    return y, back
