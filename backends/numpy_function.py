"""Call a pair (forward, backward) of NumPy functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backproof.backends.trajectory import WrongReturn


def tensor(array: np.ndarray, _: Any) -> np.ndarray:
    """Copy an array, with its axes in the same order in memory."""
    return array.copy(order="K")


def fresh(array: np.ndarray, _: bool) -> np.ndarray:  # noqa: FBT001, one signature for all
    """Return the array."""
    return array


def whole(array: np.ndarray) -> np.ndarray:
    """Return the buffer that an array is a part of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def laid_out(array: np.ndarray, layout: str) -> np.ndarray | None:
    """Copy an array to another layout in memory; None where it has too few axes."""
    if layout == "as it is":
        return array
    if layout == "transposed" and array.ndim > 1:
        return np.swapaxes(np.swapaxes(array, -1, -2).copy(), -1, -2)
    if layout == "expanded":
        few = array
        for axis in range(array.ndim):
            first = few.take([0], axis)
            few = first.copy() if (few == first).all() else few
        return np.broadcast_to(few, array.shape)
    if layout == "every second element" and array.ndim:
        buffer = np.repeat(array, 2, axis=-1)
        buffer[..., 1::2] = array[..., ::-1] if array.dtype.kind in "biu" else np.nan
        return buffer[..., ::2]
    return None


def called(
    pair: Any, inputs: Mapping[str, np.ndarray], wanted: tuple[str, ...]
) -> tuple[Any, Callable[[np.ndarray], dict[str, Any]]]:
    """Go forward; return y, and what goes backward from it.

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
    return y, lambda dy: named(backward(dy, *saved), wanted, backward)


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
