"""The layers in PyTorch, by kind."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.backends.torch_autograd.activations import ACTIVATIONS


def dropout(x: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    """F.dropout draws a mask of its own, and scales it like this."""
    return x if mask is None else x * (mask / (1 - rate))


LAYERS = ACTIVATIONS | {"dropout": dropout, "skip": torch.add}
