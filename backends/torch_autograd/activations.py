"""The activations in PyTorch: x is a tensor of any shape; softmaxes run over its last axis."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import Tensor


def softplus(x: Tensor, beta: float) -> Tensor:
    """Compute log(1 + e^(beta x)) / beta.

    F.softplus returns x itself from beta x = 20 on, 2e-9 beside the truth: only 16 bits can't tell.
    """
    if x.dtype.itemsize == 2:
        return F.softplus(x, beta)
    return torch.logaddexp(beta * x, torch.zeros_like(x)) / beta


def hard_sigmoid(x: Tensor) -> Tensor:
    """Compute relu6(x + 3) / 6; the derivative of F.hardsigmoid is a float32 1/6 in float64 too."""
    return F.relu6(x + 3) / 6


def celu(x: Tensor, alpha: float) -> Tensor:
    """Compute relu(x) + alpha (e^(min(x, 0) / alpha) - 1).

    F.celu divides by a float32 alpha in float64 too. That is enough for 16 bits, where the parts of
    the formula may underflow.
    """
    if x.dtype.itemsize == 2:
        return F.celu(x, alpha)
    return F.relu(x) + alpha * torch.expm1(torch.clamp(x, max=0) / alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Compute F.prelu, whose channels are axis 1, along the last; the slope is (features,)."""
    return F.prelu(x.movedim(-1, 1), slope).movedim(1, -1)


def gelu(x: Tensor, approximate: str) -> Tensor:
    """Compute x times the normal distribution function, by its tanh approximation if asked.

    F.gelu has no correct digit on the far negative side, where 1 + erf cancels; erfc doesn't.
    """
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
