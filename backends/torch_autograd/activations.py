"""The activations in PyTorch: x is a tensor of any shape; softmaxes run over its last axis."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import Tensor


def softplus(x: Tensor, beta: float) -> Tensor:
    """F.softplus returns x itself from beta x = 20 on, which is 2e-9 beside the truth: as good as it for 16 bits."""
    if x.dtype.itemsize == 2:
        return F.softplus(x, beta)
    return torch.logaddexp(beta * x, torch.zeros_like(x)) / beta


def hard_sigmoid(x: Tensor) -> Tensor:
    """The derivative of F.hardsigmoid is a float32 1/6 in float64 too."""
    return F.relu6(x + 3) / 6


def celu(x: Tensor, alpha: float) -> Tensor:
    """F.celu divides by a float32 alpha in float64 too; for 16 bits, whose parts may underflow, that is enough."""
    if x.dtype.itemsize == 2:
        return F.celu(x, alpha)
    return F.relu(x) + alpha * torch.expm1(torch.clamp(x, max=0) / alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """F.prelu has a slope for each channel, in axis 1."""
    return F.prelu(x.movedim(-1, 1), slope).movedim(1, -1)


def gelu(x: Tensor, approximate: str) -> Tensor:
    """F.gelu has no correct digit on the far negative side, where 1 + erf cancels; erfc doesn't."""
    return (
        F.gelu(x, approximate="tanh")
        if approximate == "tanh"
        else x * torch.erfc(-x * 0.5**0.5) / 2
    )


ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "softplus": softplus,
    "log_sigmoid": F.logsigmoid,
    "relu": F.relu,
    "leaky_relu": lambda x, slope: F.leaky_relu(x, negative_slope=slope),
    "prelu": prelu,
    "relu6": F.relu6,
    "hard_tanh": F.hardtanh,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": F.hardswish,
    "elu": F.elu,
    "celu": celu,
    "selu": F.selu,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": gelu,
    "softmax": partial(F.softmax, dim=-1),
    "log_softmax": partial(F.log_softmax, dim=-1),
    "identity": torch.clone,
}
