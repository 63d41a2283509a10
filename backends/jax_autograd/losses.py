"""The losses and penalties in JAX, by kind."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from backproof.backends.added import added_losses, row
from backproof.backends.jax_autograd.arithmetic import rounded_once
from backproof.cases.format.losses import Loss

PENALTIES = {"l1": lambda w: w * lax.stop_gradient(jnp.sign(w)), "l2": jnp.square}


def absolute_error(_: Loss, output: Array, targets: Array) -> Array:
    """jnp.abs has the derivative 1 at 0; jnp.sign of it is 0 there."""
    return (output - targets) * lax.stop_gradient(jnp.sign(output - targets))


def huber(difference: Array, delta: float) -> Array:
    """The derivative of optax.huber_loss is a small difference plus delta minus delta, an ulp of delta off."""
    size = jnp.abs(difference)
    return jnp.where(size <= delta, jnp.square(difference) / 2, delta * (size - delta / 2))


def binary_cross_entropy(_: Loss, output: Array, targets: Array) -> Array:
    """optax has one of logits only; jnp.log1p(-y) is 128 ulp off in float64 near y = 0.41, and 0 log 0 is NaN."""
    of_class, of_others = jnp.where(targets == 0, 1, output), jnp.where(targets == 1, 0, output)
    return -(targets * jnp.log(of_class) + (1 - targets) * jnp.log(1 - of_others))


def softmax_cross_entropy(loss: Loss, output: Array, targets: Array) -> Array:
    """optax.softmax_cross_entropy of optax.smooth_labels, which may be weighted by class."""
    labels = optax.smooth_labels(targets, loss.label_smoothing) if loss.label_smoothing else targets
    return rounded_once(optax.softmax_cross_entropy)(output, weighted(loss, labels))


def weighted(loss: Loss, targets: Array) -> Array:
    """Targets times the weight of their class."""
    return (
        targets
        if loss.class_weights is None
        else targets * jnp.array(loss.class_weights, targets.dtype)
    )


def gaussian_nll(_: Loss, output: Array, targets: Array) -> Array:
    """optax has none."""
    mean, log_variance = jnp.split(output, 2, axis=-1)
    return (log_variance + jnp.square(mean - targets) * jnp.exp(-log_variance)) / 2


LOSSES = {  # the terms: one for each output and sample, or one for each sample
    "weighted_sum": lambda _, output, targets: targets * output,
    "weighted_squares": lambda _, output, targets: targets * jnp.square(output),
    "squared_error": lambda _, output, targets: optax.squared_error(output, targets),
    "absolute_error": absolute_error,
    "huber": lambda loss, output, targets: huber(output - targets, loss.delta),
    "smooth_l1": lambda loss, output, targets: huber(output - targets, loss.beta) / loss.beta,
    "log_cosh": lambda _, output, targets: optax.log_cosh(output, targets),
    "binary_cross_entropy": binary_cross_entropy,
    "sigmoid_binary_cross_entropy": lambda _, output, targets: optax.sigmoid_binary_cross_entropy(
        output, targets
    ),
    "softmax_cross_entropy": softmax_cross_entropy,
    "negative_log_likelihood": lambda loss, output, targets: (
        -jnp.sum(weighted(loss, targets) * output, axis=-1)
    ),
    "kl_divergence": lambda _, output, targets: (
        targets * (jnp.log(jnp.where(targets == 0, 1, targets)) - output)
    ),
    "poisson": lambda _, output, targets: jnp.exp(output) - targets * output,
    "hinge": lambda _, output, targets: jax.nn.relu(1 - targets * output),
    "squared_hinge": lambda _, output, targets: jnp.square(jax.nn.relu(1 - targets * output)),
    "gaussian_nll": gaussian_nll,
    "cosine": lambda _, output, targets: rounded_once(optax.cosine_distance)(output, targets),
} | added_losses("jax")


def where_real(real: Array | None, values: Array) -> Array:
    """Zeros in the place of the samples that only pad a batch, if any do."""
    return (
        values if real is None else jnp.where(real.reshape(-1, *[1] * (values.ndim - 1)), values, 0)
    )


def of_real_samples(loss: Loss, output: Array, targets: Array, real: Array | None) -> Array:
    """The factor times the sum of the terms of the real samples, divided by their number for a mean."""
    terms = row(LOSSES, "loss", loss.kind)(loss, output, targets)
    total = loss.factor * jnp.sum(where_real(real, terms))
    if loss.reduction == "sum":
        return total
    if loss.by_class and loss.class_weights and loss.reduction == "mean":
        return total / jnp.sum(where_real(real, weighted(loss, targets)))
    terms_of_each = terms[0].size if loss.reduction == "mean" else 1
    samples = len(output) if real is None else jnp.sum(real)
    return total / jnp.asarray(samples * terms_of_each, output.dtype)
