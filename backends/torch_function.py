"""Call a function of torch tensors; its derivatives are taken by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backproof.backends.trajectory import WrongReturn


def tensor(array: np.ndarray, like: Tensor | None) -> Tensor:
    """Copy an array into a tensor on the device of another one, its axes in the same order."""
    if array.dtype.name == "bfloat16":  # whose bits torch takes from NumPy as integers only
        made = torch.from_numpy(array.view(np.int16).copy(order="K")).view(torch.bfloat16)
    else:
        made = torch.from_numpy(array.copy(order="K"))
    return made if like is None else made.to(like.device)


def fresh(made: Tensor, differentiated: bool) -> Tensor:  # noqa: FBT001, one signature for all
    """Return the tensor as a leaf of the graph."""
    return made.detach().requires_grad_(differentiated)


def whole(made: Tensor) -> Tensor:
    """Return the storage that a tensor is a part of, in one axis."""
    size = made.untyped_storage().nbytes() // made.element_size()
    return made.detach().as_strided((size,), (1,), 0)


def laid_out(made: Tensor, layout: str) -> Tensor | None:
    """Copy a tensor to another layout in memory; None where it has too few axes."""
    if layout == "as it is":
        return made
    if layout == "transposed" and made.ndim > 1:
        return made.mT.contiguous().mT
    if layout == "expanded":
        few = made
        for axis in range(made.ndim):
            first = few.narrow(axis, 0, 1)
            few = first.clone() if (few == first).all() else few
        return few.expand(made.shape)
    if layout == "every second element" and made.ndim:
        buffer = made.repeat_interleave(2, -1)
        buffer[..., 1::2] = torch.nan if made.is_floating_point() else made.flip(-1)
        return buffer[..., ::2]
    return None


def called(
    function: Callable, inputs: Mapping[str, Tensor], wanted: tuple[str, ...]
) -> tuple[Tensor, Callable[[Tensor], dict[str, Any]]]:
    """Compute y = function(*inputs); return it, and what takes the derivatives of Σ y dy.

    The graph is kept, so that it may be gone through twice. Where nothing comes back, it is None.

    Raises:
        WrongReturn: if it does not return one tensor.
    """
    y = function(*inputs.values())
    if not isinstance(y, Tensor):
        of = f" of {len(y)}" if isinstance(y, tuple | list) else ""
        raise WrongReturn(
            f"expected a function that returns a tensor, found a {type(y).__name__}{of}"
        )
    leaves = [inputs[name] for name in wanted]

    def back(dy: Tensor) -> dict[str, Any]:
        if not y.requires_grad or y.shape != dy.shape or y.dtype != dy.dtype:
            return dict.fromkeys(wanted)  # the value is told, or that nothing comes back
        found = torch.autograd.grad(y, leaves, dy, allow_unused=True, retain_graph=True)
        return dict(zip(wanted, found, strict=True))

    return y, back
