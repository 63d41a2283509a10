"""The losses and penalties in PyTorch, by kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import Tensor

from backproof.cases.format.losses import Loss

PENALTIES = {"l1": torch.abs, "l2": torch.square}


def of_torch(function: Callable, *names: str) -> Callable:
    """A loss of nn.functional, times the factor; it has a mean of its own, and a batch's is its sum by the samples."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        options = {name: getattr(loss, name) for name in names}
        total = loss.factor * function(
            output, targets, reduction="mean" if loss.reduction == "mean" else "sum", **options
        )
        return total / len(output) if loss.reduction == "batch_mean" else total

    return loss_of_batch


def of_terms(terms: Callable) -> Callable:
    """A loss that nn.functional lacks, from its terms."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        each = terms(output, targets)
        total = loss.factor * each.sum()
        return total if loss.reduction == "sum" else total / (each.numel() if loss.reduction == "mean" else len(output))

    return loss_of_batch


def log_cosh(output: Tensor, targets: Tensor) -> Tensor:
    """logaddexp(d, -d) - log 2 does not overflow."""
    return torch.logaddexp(output - targets, targets - output) - math.log(2)


def binary_cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """F.binary_cross_entropy clamps the logarithms, and its derivative from 1e-12 on; 0 log 0 is NaN."""
    of_class, of_others = torch.where(targets == 0, 1, output), torch.where(targets == 1, 0, output)
    return -(targets * torch.log(of_class) + (1 - targets) * torch.log1p(-of_others))


def by_class(function: Callable, *names: str) -> Callable:
    """A loss of classes, whose weights, where there are some, are also what a mean divides by."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        options = {name: getattr(loss, name) for name in names}
        weight = None if loss.class_weights is None else torch.tensor(loss.class_weights, dtype=output.dtype)
        total = loss.factor * function(output, targets, weight=weight, reduction="sum", **options)
        weighted = loss.reduction == "mean" and weight is not None
        return total if loss.reduction == "sum" else total / ((targets * weight).sum() if weighted else len(output))

    return loss_of_batch


def negative_log_likelihood(output: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """F.nll_loss takes the number of the class; of a distribution over the classes it is the sum of products.

    So it is in a compiled program too, which can't ask what the targets are.
    """
    compiling = torch.compiler.is_compiling()
    if not compiling and bool(((targets == 0) | (targets == 1)).all() and (targets.sum(dim=1) == 1).all()):
        return F.nll_loss(output, targets.argmax(dim=1), weight=weight, reduction=reduction)
    return -(output * (targets if weight is None else targets * weight)).sum()


def gaussian_nll(output: Tensor, targets: Tensor) -> Tensor:
    """F.gaussian_nll_loss takes variances and clamps them."""
    mean, log_variance = output.chunk(2, dim=1)
    return (log_variance + (mean - targets).square() * torch.exp(-log_variance)) / 2


LOSSES = {
    "weighted_sum": of_terms(torch.mul),
    "weighted_squares": of_terms(lambda output, targets: targets * output.square()),
    "squared_error": of_torch(F.mse_loss),
    "absolute_error": of_torch(F.l1_loss),
    "huber": of_torch(F.huber_loss, "delta"),
    "smooth_l1": of_torch(F.smooth_l1_loss, "beta"),
    "log_cosh": of_terms(log_cosh),
    "binary_cross_entropy": of_terms(binary_cross_entropy),
    "sigmoid_binary_cross_entropy": of_torch(F.binary_cross_entropy_with_logits),
    "softmax_cross_entropy": by_class(F.cross_entropy, "label_smoothing"),
    "negative_log_likelihood": by_class(negative_log_likelihood),
    "kl_divergence": of_terms(partial(F.kl_div, reduction="none")),
    "poisson": of_torch(F.poisson_nll_loss),
    "hinge": of_terms(lambda output, targets: F.relu(1 - targets * output)),
    "squared_hinge": of_terms(lambda output, targets: F.relu(1 - targets * output).square()),
    "gaussian_nll": of_terms(gaussian_nll),
    "cosine": of_terms(lambda output, targets: 1 - F.cosine_similarity(output, targets, eps=0.0)),
}
