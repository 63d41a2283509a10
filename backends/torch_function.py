"""Call a function of torch tensors; its derivatives are taken by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backproof.backends.trajectory import WrongReturn


def tensor(array: np.ndarray, like: Tensor | None) -> Tensor:
    """Copy an array into a tensor on the device of another one."""
    if array.dtype.name == "bfloat16":  # whose bits torch takes from NumPy as integers only
        made = torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    else:
        made = torch.from_numpy(array.copy())
    return made if like is None else made.to(like.device)


def fresh(made: Tensor, differentiated: bool) -> Tensor:  # noqa: FBT001, one signature for all
    """Return a tensor of its own, a leaf of the graph."""
    return made.detach().clone().requires_grad_(differentiated)


def laid_out(made: Tensor, layout: str) -> Tensor | None:
    """Copy a tensor to another layout in memory; None where it has too few axes."""
    if layout == "contiguous":
        return made.clone()
    if layout == "transposed" and made.ndim > 1:
        return made.mT.contiguous().mT
    if layout == "expanded":
        return made.flatten()[:1].clone().expand(made.shape) if made.ndim else made.clone()
    if layout == "every second element" and made.ndim:
        shape = (*made.shape[:-1], 2 * made.shape[-1])
        buffer = torch.full(shape, torch.nan, dtype=made.dtype, device=made.device)
        buffer[..., ::2] = made
        return buffer[..., ::2]
    return None


def called(
    function: Callable, inputs: Mapping[str, Tensor], wanted: tuple[str, ...], dy: Tensor
) -> tuple[Any, dict[str, Any]]:
    """Compute y = function(*inputs), and the derivatives of Σ y dy; None where none comes back.

    Raises:
        WrongReturn: if it does not return one tensor.
    """
    y = function(*inputs.values())
    if not isinstance(y, Tensor):
        of = f" of {len(y)}" if isinstance(y, tuple | list) else ""
        raise WrongReturn(
            f"expected a function that returns a tensor, found a {type(y).__name__}{of}"
        )
    value = y.detach().clone()
    if not y.requires_grad or y.shape != dy.shape or y.dtype != dy.dtype:
        return value, dict.fromkeys(wanted)  # the value is told, or that nothing comes back
    leaves = [inputs[name] for name in wanted]
    found = torch.autograd.grad(y, leaves, dy, allow_unused=True)
    return value, dict(zip(wanted, found, strict=True))
