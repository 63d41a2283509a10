"""The layers in PyTorch, by kind: x is (samples, *positions, features)."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.backends.added import added_layers
from backproof.backends.torch_autograd.activations import ACTIVATIONS


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W + b, of a weight (in, units); F.linear takes its transpose."""
    return x @ weight if bias is None else x @ weight + bias


def dropout(x: Tensor, rate: float, mask: Tensor | None) -> Tensor:
    """Compute x mask / (1 - rate), as F.dropout does with a mask that it draws itself."""
    return x if mask is None else x * (mask / (1 - rate))


OURS = {"dense": dense, "dropout": dropout, "skip": torch.add}
LAYERS = ACTIVATIONS | OURS | added_layers("torch")
