"""Copies from NumPy to torch and back, every bit of them."""

from __future__ import annotations

import numpy as np
import torch
from ml_dtypes import bfloat16
from torch import Tensor


def to_tensor(array: np.ndarray) -> Tensor:
    """Copy an array; torch takes no bfloat16 from NumPy, but the same bits as integers."""
    if array.dtype == bfloat16:
        return torch.tensor(array.view(np.int16)).view(torch.bfloat16)
    return torch.tensor(array)


def to_array(tensor: Tensor) -> np.ndarray:
    """Copy a tensor."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(bfloat16).copy()
    return tensor.numpy().copy()


def to_arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy tensors by name."""
    return {name: to_array(tensor) for name, tensor in tensors.items()}


def to_gradients(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy the gradients that tensors have in `.grad`, by name."""
    return to_arrays({name: tensor.grad for name, tensor in tensors.items()})
