"""JAX: jax.nn forward, jax.grad backward, optax updates, one jitted lax.scan. Independent of `reference/`."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import NamedTuple

os.environ.setdefault("NPROC", "1")  # one thread; read when jax is imported

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from backends.trajectory import Trajectory
from cases.problem import Problem
from cases.schema import Dense, Layer, Loss, Optimizer, layer_widths

PACKAGES = ("jax", "jaxlib", "optax")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

# A fusion recomputes what it consumes and may contract x w - t into one fused multiply-add; then the value on record is
# not the one that the loss was computed from. Without the pass every operation consumes what is recorded.
COMPILER_OPTIONS = {"xla_disable_hlo_passes": "fusion"}

# ---------------------------------------------------------------- the tables


def leaky_relu(x: Array, slope: float | Array) -> Array:
    """jax.nn.leaky_relu has the derivative 1 at x = 0."""
    return jnp.where(x > 0, x, slope * x)


def hard_tanh(x: Array) -> Array:
    """jax.nn.hard_tanh has the derivative 1 at x = -1 and x = 1."""
    return jnp.where(jnp.abs(x) < 1, x, lax.stop_gradient(jnp.clip(x, -1, 1)))


ACTIVATIONS = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softsign": jax.nn.soft_sign,
    "softplus": lambda x, beta: jax.nn.softplus(beta * x) / beta,
    "log_sigmoid": jax.nn.log_sigmoid,
    "relu": jax.nn.relu,
    "leaky_relu": leaky_relu,
    "prelu": leaky_relu,
    "relu6": jax.nn.relu6,
    "hard_tanh": hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "elu": jax.nn.elu,
    "celu": jax.nn.celu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "gelu": lambda x, approximate: jax.nn.gelu(x, approximate=approximate == "tanh"),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "identity": jax.nn.identity,
}


def absolute_error(_: Loss, output: Array, targets: Array) -> Array:
    """jnp.abs has the derivative 1 at 0; jnp.sign of it is 0 there."""
    return (output - targets) * lax.stop_gradient(jnp.sign(output - targets))


def binary_cross_entropy(_: Loss, output: Array, targets: Array) -> Array:
    """optax has one of logits only; jnp.log1p(-y) is 128 ulp off in float64 near y = 0.41."""
    return -(targets * jnp.log(output) + (1 - targets) * jnp.log(1 - output))


def softmax_cross_entropy(loss: Loss, output: Array, targets: Array) -> Array:
    """optax.softmax_cross_entropy of optax.smooth_labels, which may be weighted by class."""
    labels = optax.smooth_labels(targets, loss.label_smoothing) if loss.label_smoothing else targets
    return optax.softmax_cross_entropy(output, weighted(loss, labels))


def weighted(loss: Loss, targets: Array) -> Array:
    """Targets times the weight of their class."""
    return targets if loss.class_weights is None else targets * jnp.array(loss.class_weights, targets.dtype)


def gaussian_nll(_: Loss, output: Array, targets: Array) -> Array:
    """optax has none."""
    mean, log_variance = jnp.split(output, 2, axis=1)
    return (log_variance + jnp.square(mean - targets) * jnp.exp(-log_variance)) / 2


LOSSES = {  # the terms: one for each output and sample, or one for each sample
    "squared_error": lambda _, output, targets: optax.squared_error(output, targets),
    "absolute_error": absolute_error,
    "huber": lambda loss, output, targets: optax.huber_loss(output, targets, delta=loss.delta),
    "smooth_l1": lambda loss, output, targets: optax.huber_loss(output, targets, delta=loss.beta) / loss.beta,
    "log_cosh": lambda _, output, targets: optax.log_cosh(output, targets),
    "binary_cross_entropy": binary_cross_entropy,
    "sigmoid_binary_cross_entropy": lambda _, output, targets: optax.sigmoid_binary_cross_entropy(output, targets),
    "softmax_cross_entropy": softmax_cross_entropy,
    "negative_log_likelihood": lambda loss, output, targets: -jnp.sum(weighted(loss, targets) * output, axis=1),
    "kl_divergence": lambda _, output, targets: targets * (jnp.log(jnp.where(targets == 0, 1, targets)) - output),
    "poisson": lambda _, output, targets: jnp.exp(output) - targets * output,
    "hinge": lambda _, output, targets: jax.nn.relu(1 - targets * output),
    "squared_hinge": lambda _, output, targets: jnp.square(jax.nn.relu(1 - targets * output)),
    "gaussian_nll": gaussian_nll,
    "cosine": lambda _, output, targets: optax.cosine_distance(output, targets),
}


def of_real_samples(loss: Loss, output: Array, targets: Array, real: Array) -> Array:
    """The factor times the sum of the terms of the real samples, divided by their number for a mean."""
    terms = LOSSES[loss.kind](loss, output, targets)
    total = loss.factor * jnp.sum(jnp.where(real.reshape(-1, *[1] * (terms.ndim - 1)), terms, 0))
    if loss.reduction == "sum":
        return total
    if loss.by_class and loss.class_weights and loss.reduction == "mean":
        return total / jnp.sum(jnp.where(real[:, None], weighted(loss, targets), 0))
    terms_of_each = terms[0].size if loss.reduction == "mean" else 1
    return total / (jnp.sum(real) * terms_of_each).astype(output.dtype)


def sgd(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.sgd without momentum."""
    return optax.sgd(optimizer.learning_rate)


OPTIMIZERS = {"sgd": sgd}

# ---------------------------------------------------------------- the run


class Recipe(NamedTuple):
    """What a program is compiled for, beside the shapes of its arrays; runs that share both share the program."""

    network: tuple[Layer, ...]
    loss: Loss
    optimizer: Optimizer | None


def forward(recipe: Recipe, parameters: dict, inputs: Array, taps: dict) -> tuple[Array, dict]:
    """The output, and the values of every layer; a zero tap added behind each value has its cotangent as gradient."""
    values, x = {"input": inputs}, inputs + taps["input"]
    for layer in recipe.network:
        if isinstance(layer, Dense):
            x = x @ parameters[f"{layer.name}.weight"]
            x = x + parameters[f"{layer.name}.bias"] if layer.bias else x
        else:
            x = ACTIVATIONS[layer.kind](x, *layer.arguments(parameters))
        values[layer.name] = x
        x = x + taps[layer.name]
    return x, values


def loss_of(recipe: Recipe, parameters: dict, taps: dict, inputs: Array, targets: Array, real: Array) -> tuple:
    """The loss of the real samples, and the values on the way there."""
    output, values = forward(recipe, parameters, inputs, taps)
    return of_real_samples(recipe.loss, output, targets, real), values


def take_step(recipe: Recipe, optimizer: optax.GradientTransformation, inputs: Array, targets: Array, carry, rows):
    """One update, and what there is to record of it. Rows of -1 pad a short batch."""
    before, state = carry
    real = rows >= 0
    rows = jnp.where(real, rows, rows[0])  # padding repeats a real sample: `where` lets the NaN of another one through
    x, t = inputs[rows], targets[rows]
    gradient = jax.value_and_grad(partial(loss_of, recipe), argnums=(0, 1), has_aux=True)
    (loss, values), (gradients, cotangents) = gradient(before, _zero_taps(recipe, x), x, t, real)
    updates, state = optimizer.update(gradients, state, before)
    after = optax.apply_updates(before, updates)
    blank = partial(jax.tree.map, lambda value: jnp.where(real[:, None], value, 0))
    record = {
        "loss": loss, "values": blank(values), "cotangents": blank(cotangents),
        "gradients": gradients, "before": before, "after": after,
    }  # fmt: skip
    return (after, state), record


@partial(jax.jit, static_argnames="recipe", compiler_options=COMPILER_OPTIONS)
def train(recipe: Recipe, parameters: dict, inputs: Array, targets: Array, batches: Array, recorded: Array) -> tuple:
    """Scan over the recorded steps, with a loop over the steps between them; then look at all samples once more."""
    optimizer = OPTIMIZERS[recipe.optimizer.kind](recipe.optimizer) if recipe.optimizer else optax.set_to_zero()
    step = partial(take_step, recipe, optimizer, inputs, targets)

    def recorded_step(carry, interval):
        first, number = interval
        if len(recorded) < len(batches):
            carry = lax.fori_loop(first, number, lambda k, carry: step(carry, batches[k])[0], carry)
        return step(carry, batches[number])

    first = jnp.append(0, recorded[:-1] + 1)
    (after, _), records = lax.scan(recorded_step, (parameters, optimizer.init(parameters)), (first, recorded))
    everyone = jnp.full(len(inputs), fill_value=True)
    final_loss, values = loss_of(recipe, after, _zero_taps(recipe, inputs), inputs, targets, everyone)
    return records, values, final_loss


def run(problem: Problem) -> Trajectory:
    """Train by jax.grad in one jitted scan."""
    start, recipe = time.perf_counter(), Recipe(problem.network, problem.loss, problem.optimizer)
    arguments = (problem.parameters, problem.inputs, problem.targets, problem.batches, problem.recorded)
    records, values, final_loss = jax.tree.map(np.asarray, train(recipe, *arguments))
    seconds = time.perf_counter() - start
    return Trajectory(steps=problem.recorded, final_values=values, final_loss=final_loss, seconds=seconds, **records)


def _zero_taps(recipe: Recipe, x: Array) -> dict[str, Array]:
    return {
        name: jnp.zeros((len(x), width), x.dtype) for name, width in layer_widths(recipe.network, x.shape[1]).items()
    }


def settings() -> dict[str, str]:
    """How the backend computes."""
    x64 = "yes" if jax.config.jax_enable_x64 else "no: x64 is off"
    return {"threads": os.environ["NPROC"], "x64": x64, "matrix products": f"XLA on {jax.default_backend()}"}
