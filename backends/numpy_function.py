"""Call a pair (forward, backward) of NumPy functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backproof.backends.trajectory import WrongReturn


def tensor(array: np.ndarray, _: Any) -> np.ndarray:
    """Return the array."""
    return array


def fresh(array: np.ndarray, _: bool) -> np.ndarray:  # noqa: FBT001, one signature for all
    """Copy an array."""
    return array.copy()


def laid_out(array: np.ndarray, layout: str) -> np.ndarray | None:
    """Copy an array to another layout in memory; None where it has too few axes."""
    if layout == "contiguous":
        return array.copy()
    if layout == "transposed" and array.ndim > 1:
        return np.swapaxes(np.swapaxes(array, -1, -2).copy(), -1, -2)
    if layout == "expanded":
        return np.broadcast_to(array.reshape(-1)[:1].reshape((1,) * array.ndim), array.shape)
    if layout == "every second element" and array.ndim:
        buffer = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
        buffer[..., ::2] = array
        return buffer[..., ::2]
    return None


def called(
    pair: Any, inputs: Mapping[str, np.ndarray], wanted: tuple[str, ...], dy: np.ndarray
) -> tuple[Any, dict[str, Any]]:
    """Go forward and backward.

    `forward(*inputs)` returns y, or y and what `backward(dy, saved)` needs; without that it is
    `backward(dy, *inputs)`. It returns the derivatives in the order of the inputs, or by name.

    Raises:
        WrongReturn: if it returns something else.
    """
    if not isinstance(pair, tuple):
        raise WrongReturn(
            "NumPy arrays: expected a pair (forward, backward) of functions; of a function of "
            "tensors hand tensors over, or say framework='torch' or framework='jax'"
        )
    forward, backward = pair
    y = forward(*inputs.values())
    saved: tuple = tuple(inputs.values())
    if isinstance(y, tuple):
        y, *saved_by_it = y
        saved = tuple(saved_by_it)
    value = np.array(y, copy=True) if isinstance(y, np.ndarray) else y
    return value, named(backward(dy, *saved), wanted, backward)


def named(found: Any, wanted: tuple[str, ...], backward: Callable) -> dict[str, Any]:
    """Return derivatives by name."""
    if isinstance(found, Mapping):
        return {name: found.get(name) for name in wanted}
    several = found if isinstance(found, tuple | list) else (found,)
    if len(several) != len(wanted):
        name = getattr(backward, "__name__", "backward")
        expected = f"expected the derivatives by {', '.join(wanted)}, in this order or by name"
        raise WrongReturn(f"{name}: {expected}; found {len(several)}")
    return dict(zip(wanted, several, strict=True))
