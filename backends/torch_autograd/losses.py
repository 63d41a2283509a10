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
    """Return a loss by a function of nn.functional, which has a mean of its own.

    Args:
        function: like F.mse_loss, of output, targets and reduction.
        names: the settings of the loss that it takes by the same name.
    """

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        options = {name: getattr(loss, name) for name in names}
        reduction = "mean" if loss.reduction == "mean" else "sum"
        total = loss.factor * function(output, targets, reduction=reduction, **options)
        return total / len(output) if loss.reduction == "batch_mean" else total

    return loss_of_batch


def of_terms(terms: Callable) -> Callable:
    """Return a loss by its terms, a function of output and targets; they are summed here."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        each = terms(output, targets)
        number = {"sum": 1, "mean": each.numel(), "batch_mean": len(output)}[loss.reduction]
        return loss.factor * each.sum() / number

    return loss_of_batch


def of_added(terms: Callable) -> Callable:
    """Return a loss that a package adds, by its terms, a function of loss, output and targets."""
    return lambda loss, output, targets: of_terms(partial(terms, loss))(loss, output, targets)


def log_cosh(output: Tensor, targets: Tensor) -> Tensor:
    """Compute log cosh(y - t) as logaddexp(d, -d) - log 2, which does not overflow."""
    return torch.logaddexp(output - targets, targets - output) - math.log(2)


def binary_cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Compute -(t log y + (1 - t) log(1 - y)), with 0 log 0 = 0.

    F.binary_cross_entropy clamps the logarithms, and its derivative from 1e-12.
    """
    of_class = torch.where(targets == 0, 1, output)
    of_others = torch.where(targets == 1, 0, output)
    return -(targets * torch.log(of_class) + (1 - targets) * torch.log1p(-of_others))


def by_class(function: Callable, *names: str) -> Callable:
    """Return a loss of classes; a mean is divided by the sum of their weights where they have some.

    Args:
        function: like F.cross_entropy, of rows of outputs, rows of targets, weight and reduction.
        names: the settings of the loss that it takes by the same name.
    """

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
    """Compute the sum of -t y: by F.nll_loss where each target is one class, whose number it takes.

    A compiled program, which can't ask what the targets are, computes the sum of products.
    """
    if not torch.compiler.is_compiling() and _are_classes(targets):
        return F.nll_loss(rows, targets.argmax(dim=-1), weight=weight, reduction=reduction)
    return -(rows * (targets if weight is None else targets * weight)).sum()


def _are_classes(targets: Tensor) -> bool:
    """Tell whether each row has a 1 and zeros."""
    return bool(((targets == 0) | (targets == 1)).all() and (targets.sum(dim=-1) == 1).all())


def gaussian_nll(output: Tensor, targets: Tensor) -> Tensor:
    """Compute (s + (m - t)² e^-s) / 2 of means and logarithms of variances, side by side.

    F.gaussian_nll_loss takes variances and clamps them.
    """
    mean, log_variance = output.chunk(2, dim=-1)
    return (log_variance + (mean - targets).square() * torch.exp(-log_variance)) / 2


LOSSES = {
    "weighted_sum": of_terms(torch.mul),
    "weighted_squares": of_terms(lambda y, t: t * y.square()),
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
    "hinge": of_terms(lambda y, t: F.relu(1 - t * y)),
    "squared_hinge": of_terms(lambda y, t: F.relu(1 - t * y).square()),
    "gaussian_nll": of_terms(gaussian_nll),
    "cosine": of_terms(lambda y, t: 1 - F.cosine_similarity(y, t, dim=-1, eps=0.0)),
} | {kind: of_added(terms) for kind, terms in added_losses("torch").items()}
