"""The layers in PyTorch, by kind: x is (samples, *positions, features)."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.backends.added import added_layers
from backproof.backends.torch_autograd.activations import ACTIVATIONS


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear takes a weight of (units, in); this one is (in, units)."""
    return x @ weight if bias is None else x @ weight + bias


def dropout(x: Tensor, rate: float, mask: Tensor | None) -> Tensor:
    """F.dropout draws a mask of its own, and scales it like this."""
    return x if mask is None else x * (mask / (1 - rate))


LAYERS = (
    ACTIVATIONS | {"dense": dense, "dropout": dropout, "skip": torch.add} | added_layers("torch")
)
