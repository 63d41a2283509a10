"""The losses and penalties in JAX, by kind."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from backproof.backends.added import added_losses, row
from backproof.backends.jax_autograd.arithmetic import rounded_once
from backproof.cases.format.losses import Loss

PENALTIES = {"l1": lambda w: w * lax.stop_gradient(jnp.sign(w)), "l2": jnp.square}


def absolute_error(_: Loss, output: Array, targets: Array) -> Array:
    """Compute |y - t|, with the derivative 0 at 0, where that of jnp.abs is 1."""
    return (output - targets) * lax.stop_gradient(jnp.sign(output - targets))


def huber(difference: Array, delta: float) -> Array:
    """Compute d² / 2 up to delta, and delta (|d| - delta / 2) beyond.

    The derivative of optax.huber_loss computes d + delta - delta, an ulp of delta off.
    """
    size = jnp.abs(difference)
    return jnp.where(size <= delta, jnp.square(difference) / 2, delta * (size - delta / 2))


def binary_cross_entropy(_: Loss, output: Array, targets: Array) -> Array:
    """Compute -(t log y + (1 - t) log(1 - y)), with 0 log 0 = 0.

    optax has one of logits only; jnp.log1p(-y) is 128 ulp off in float64 near y = 0.41.
    """
    of_class, of_others = jnp.where(targets == 0, 1, output), jnp.where(targets == 1, 0, output)
    return -(targets * jnp.log(of_class) + (1 - targets) * jnp.log(1 - of_others))


def softmax_cross_entropy(loss: Loss, output: Array, targets: Array) -> Array:
    """Compute optax.softmax_cross_entropy of optax.smooth_labels, weighted by class if asked."""
    labels = optax.smooth_labels(targets, loss.label_smoothing) if loss.label_smoothing else targets
    return rounded_once(optax.softmax_cross_entropy)(output, weighted(loss, labels))


def weighted(loss: Loss, targets: Array) -> Array:
    """Multiply targets, (samples, *positions, classes), by the weights of the classes, if any."""
    if loss.class_weights is None:
        return targets
    return targets * jnp.array(loss.class_weights, targets.dtype)


def gaussian_nll(_: Loss, output: Array, targets: Array) -> Array:
    """Compute (s + (m - t)² e^-s) / 2 of means and logarithms of variances, side by side."""
    mean, log_variance = jnp.split(output, 2, axis=-1)
    return (log_variance + jnp.square(mean - targets) * jnp.exp(-log_variance)) / 2


def without_settings(terms: Callable) -> Callable:
    """Return the row of a function of output and targets alone."""
    return lambda _, output, targets: terms(output, targets)


LOSSES = {  # the terms: one for each output and sample, or one for each sample
    "weighted_sum": lambda _, output, targets: targets * output,
    "weighted_squares": lambda _, output, targets: targets * jnp.square(output),
    "squared_error": without_settings(optax.squared_error),
    "absolute_error": absolute_error,
    "huber": lambda loss, output, targets: huber(output - targets, loss.delta),
    "smooth_l1": lambda loss, output, targets: huber(output - targets, loss.beta) / loss.beta,
    "log_cosh": without_settings(optax.log_cosh),
    "binary_cross_entropy": binary_cross_entropy,
    "sigmoid_binary_cross_entropy": without_settings(optax.sigmoid_binary_cross_entropy),
    "softmax_cross_entropy": softmax_cross_entropy,
    "negative_log_likelihood": lambda loss, y, t: -jnp.sum(weighted(loss, t) * y, axis=-1),
    "kl_divergence": lambda _, y, t: t * (jnp.log(jnp.where(t == 0, 1, t)) - y),
    "poisson": lambda _, output, targets: jnp.exp(output) - targets * output,
    "hinge": lambda _, output, targets: jax.nn.relu(1 - targets * output),
    "squared_hinge": lambda _, output, targets: jnp.square(jax.nn.relu(1 - targets * output)),
    "gaussian_nll": gaussian_nll,
    "cosine": without_settings(rounded_once(optax.cosine_distance)),
} | added_losses("jax")


def where_real(real: Array | None, values: Array) -> Array:
    """Put zeros in the place of the samples (the first axis) that only pad a batch, if any do."""
    if real is None:
        return values
    return jnp.where(real.reshape(-1, *[1] * (values.ndim - 1)), values, 0)


def of_real_samples(loss: Loss, output: Array, targets: Array, real: Array | None) -> Array:
    """Compute the loss of a batch: factor times the sum, or the mean, of its terms.

    Args:
        loss: with its settings.
        output: (samples, *positions, outputs).
        targets: likewise.
        real: (samples,), false for samples that only pad the batch, or None if none do.
    """
    terms = row(LOSSES, "loss", loss.kind)(loss, output, targets)
    total = loss.factor * jnp.sum(where_real(real, terms))
    if loss.reduction == "sum":
        return total
    if loss.by_class and loss.class_weights and loss.reduction == "mean":
        return total / jnp.sum(where_real(real, weighted(loss, targets)))
    terms_of_each = terms[0].size if loss.reduction == "mean" else 1
    samples = len(output) if real is None else jnp.sum(real)
    return total / jnp.asarray(samples * terms_of_each, output.dtype)
