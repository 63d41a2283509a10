"""Copies from NumPy to torch and back, every bit of them."""

from __future__ import annotations

import numpy as np
import torch
from ml_dtypes import bfloat16
from torch import Tensor


def to_tensor(array: np.ndarray) -> Tensor:
    """Copy an array into a tensor; torch takes the bits of bfloat16 from NumPy as integers only."""
    if array.dtype == bfloat16:
        return torch.tensor(array.view(np.int16)).view(torch.bfloat16)
    return torch.tensor(array)


def to_tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Copy arrays into tensors, by name."""
    return {name: to_tensor(array) for name, array in arrays.items()}


def to_array(tensor: Tensor) -> np.ndarray:
    """Copy a tensor into an array."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(bfloat16).copy()
    return tensor.numpy().copy()


def to_arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy tensors into arrays, by name."""
    return {name: to_array(tensor) for name, tensor in tensors.items()}


def to_gradients(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy the gradients that tensors have in `.grad`, by name; what nobody took has zeros."""
    zeros = torch.zeros_like
    return to_arrays({name: zeros(w) if w.grad is None else w.grad for name, w in tensors.items()})
