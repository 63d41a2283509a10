"""The losses and penalties in PyTorch, by kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import Tensor

from backproof.backends.added import added_losses
from backproof.cases.format.losses import Loss

PENALTIES = {"l1": torch.abs, "l2": torch.square}


# Outputs and targets are (samples, *positions, outputs).


def of_torch(function: Callable, *names: str) -> Callable:
    """Make a loss of one of nn.functional, which has a mean of its own, and these settings."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        options = {name: getattr(loss, name) for name in names}
        reduction = "mean" if loss.reduction == "mean" else "sum"
        total = loss.factor * function(output, targets, reduction=reduction, **options)
        return total / len(output) if loss.reduction == "batch_mean" else total

    return loss_of_batch


def of_terms(terms: Callable) -> Callable:
    """Make a loss that nn.functional lacks, of its terms."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        each = terms(output, targets)
        number = {"sum": 1, "mean": each.numel(), "batch_mean": len(output)}[loss.reduction]
        return loss.factor * each.sum() / number

    return loss_of_batch


def of_added(terms: Callable) -> Callable:
    """Make a loss that a package adds, of its terms."""
    return lambda loss, output, targets: of_terms(partial(terms, loss))(loss, output, targets)


def log_cosh(output: Tensor, targets: Tensor) -> Tensor:
    """logaddexp(d, -d) - log 2 does not overflow."""
    return torch.logaddexp(output - targets, targets - output) - math.log(2)


def binary_cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """F.binary_cross_entropy clamps the logarithms, and its derivative from 1e-12; 0 log 0 is NaN."""
    of_class = torch.where(targets == 0, 1, output)
    of_others = torch.where(targets == 1, 0, output)
    return -(targets * torch.log(of_class) + (1 - targets) * torch.log1p(-of_others))


def by_class(function: Callable, *names: str) -> Callable:
    """Make a loss of classes, whose weights, if there are some, are also what a mean divides by."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        options = {name: getattr(loss, name) for name in names}
        weights = loss.class_weights and torch.tensor(loss.class_weights, dtype=output.dtype)
        rows, of_rows = output.flatten(0, -2), targets.flatten(0, -2)
        total = function(rows, of_rows, weight=weights, reduction="sum", **options)
        by_weight = loss.reduction == "mean" and weights is not None
        mean = (of_rows * weights).sum() if by_weight else len(rows)
        number = {"sum": 1, "mean": mean, "batch_mean": len(output)}[loss.reduction]
        return loss.factor * total / number

    return loss_of_batch


def negative_log_likelihood(
    rows: Tensor, targets: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """F.nll_loss takes the number of the class; of a distribution it is the sum of products.

    So it is in a compiled program too, which can't ask what the targets are.
    """
    if not torch.compiler.is_compiling() and _are_classes(targets):
        return F.nll_loss(rows, targets.argmax(dim=-1), weight=weight, reduction=reduction)
    return -(rows * (targets if weight is None else targets * weight)).sum()


def _are_classes(targets: Tensor) -> bool:
    """Tell whether each row has a 1 and zeros."""
    return bool(((targets == 0) | (targets == 1)).all() and (targets.sum(dim=-1) == 1).all())


def gaussian_nll(output: Tensor, targets: Tensor) -> Tensor:
    """F.gaussian_nll_loss takes variances and clamps them."""
    mean, log_variance = output.chunk(2, dim=-1)
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
    "cosine": of_terms(
        lambda output, targets: 1 - F.cosine_similarity(output, targets, dim=-1, eps=0.0)
    ),
} | {kind: of_added(terms) for kind, terms in added_losses("torch").items()}
