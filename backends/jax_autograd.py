"""JAX: jax.nn forward, jax.grad backward, optax updates, one jitted lax.scan. Independent of `reference/`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
from cases.schema import Adadelta, Dense, Layer, Loss, Optimizer, layer_widths

PACKAGES = ("jax", "jaxlib", "optax")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

# A fusion recomputes what it consumes and may contract x w - t into one fused multiply-add; then the value on record is
# not the one that the loss was computed from. The algebraic simplifier moves a factor from one product into the next.
# Without the two passes every operation consumes what is recorded; with no excess precision a 16-bit one does, too.
COMPILER_OPTIONS = {"xla_disable_hlo_passes": "fusion,algsimp", "xla_allow_excess_precision": False}

# XLA rounds a sum of 16-bit numbers after every term. jnp.sum adds in float32, but the derivative of a broadcast is a
# sum of XLA's own. So what is broadcast, over the samples or over the units, is float32 where it is differentiated.


def wide(x: Array) -> Array:
    """The same numbers in float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def rounded_once(function: Callable) -> Callable:
    """The function of x and other arrays, computed in float32 at least."""
    return lambda *arrays: function(*map(wide, arrays)).astype(arrays[0].dtype)


# ---------------------------------------------------------------- the tables


def leaky_relu(x: Array, slope: float | Array) -> Array:
    """jax.nn.leaky_relu has the derivative 1 at x = 0."""
    return jnp.where(x > 0, x, slope * x)


def hard_tanh(x: Array) -> Array:
    """jax.nn.hard_tanh has the derivative 1 at x = -1 and x = 1."""
    return jnp.where(jnp.abs(x) < 1, x, lax.stop_gradient(jnp.clip(x, -1, 1)))


ACTIVATIONS = {
    "sigmoid": rounded_once(jax.nn.sigmoid),  # 1 / (1 + e⁻ˣ) is 0 in float16 from x = -11.1 on
    "tanh": jnp.tanh,
    "softsign": rounded_once(jax.nn.soft_sign),  # its derivative is divided by a square, which float16 may not hold
    "softplus": lambda x, beta: rounded_once(lambda x: jax.nn.softplus(beta * x) / beta)(x),
    "log_sigmoid": jax.nn.log_sigmoid,
    "relu": jax.nn.relu,
    "leaky_relu": leaky_relu,
    "prelu": rounded_once(leaky_relu),
    "relu6": jax.nn.relu6,
    "hard_tanh": hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "elu": jax.nn.elu,
    "celu": lambda x, alpha: rounded_once(lambda x: jax.nn.celu(x, alpha))(x),
    "selu": jax.nn.selu,
    "silu": rounded_once(jax.nn.silu),  # likewise
    "mish": jax.nn.mish,
    "gelu": lambda x, approximate: jax.nn.gelu(x, approximate=approximate == "tanh"),
    "softmax": rounded_once(jax.nn.softmax),
    "log_softmax": rounded_once(jax.nn.log_softmax),
    "identity": jax.nn.identity,
}


def absolute_error(_: Loss, output: Array, targets: Array) -> Array:
    """jnp.abs has the derivative 1 at 0; jnp.sign of it is 0 there."""
    return (output - targets) * lax.stop_gradient(jnp.sign(output - targets))


def huber(difference: Array, delta: float) -> Array:
    """The derivative of optax.huber_loss is a small difference plus delta minus delta, an ulp of delta off."""
    size = jnp.abs(difference)
    return jnp.where(size <= delta, jnp.square(difference) / 2, delta * (size - delta / 2))


def binary_cross_entropy(_: Loss, output: Array, targets: Array) -> Array:
    """optax has one of logits only; jnp.log1p(-y) is 128 ulp off in float64 near y = 0.41."""
    return -(targets * jnp.log(output) + (1 - targets) * jnp.log(1 - output))


def softmax_cross_entropy(loss: Loss, output: Array, targets: Array) -> Array:
    """optax.softmax_cross_entropy of optax.smooth_labels, which may be weighted by class."""
    labels = optax.smooth_labels(targets, loss.label_smoothing) if loss.label_smoothing else targets
    return rounded_once(optax.softmax_cross_entropy)(output, weighted(loss, labels))


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
    "huber": lambda loss, output, targets: huber(output - targets, loss.delta),
    "smooth_l1": lambda loss, output, targets: huber(output - targets, loss.beta) / loss.beta,
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
    "cosine": lambda _, output, targets: rounded_once(optax.cosine_distance)(output, targets),
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


class Memory(NamedTuple):
    """The state of a transformation that optax lacks: how many updates there were, and what is remembered by name."""

    count: Array
    memory: dict[str, dict]


def of_rule(optimizer: Optimizer, rule: Callable, start: float = 0.0) -> optax.GradientTransformation:
    """The direction of a step by a rule of one gradient, the number of the update and what is remembered."""

    def init(parameters: dict) -> Memory:
        filled = {path: jnp.full_like(w, start) for path, w in parameters.items()}
        return Memory(jnp.zeros((), jnp.int32), dict.fromkeys(optimizer.state, filled))

    def update(gradients: dict, state: Memory, _: dict) -> tuple[dict, Memory]:
        t, directions, memory = state.count + 1, {}, {name: {} for name in optimizer.state}
        for path, g in gradients.items():
            directions[path], *new = rule(g, t, *(state.memory[name][path] for name in optimizer.state))
            for name, value in zip(optimizer.state, new, strict=True):
                memory[name][path] = value
        return directions, Memory(t, memory)

    return optax.GradientTransformation(init, update)


def along(optimizer: Optimizer, *directions: optax.GradientTransformation) -> optax.GradientTransformation:
    """A step of the learning rate against the directions."""
    return optax.chain(*directions, optax.scale(-optimizer.learning_rate))


def momentum(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.sgd, which has no dampening."""
    if not optimizer.dampening:
        return optax.sgd(optimizer.learning_rate, optimizer.momentum, nesterov=optimizer.nesterov)

    def dampened(g: Array, t: Array, v: Array) -> tuple[Array, Array]:
        v = optimizer.momentum * v + jnp.where(t > 1, (1 - optimizer.dampening) * g, g)
        return g + optimizer.momentum * v if optimizer.nesterov else v, v

    return along(optimizer, of_rule(optimizer, dampened))


def adagrad(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.adagrad adds epsilon inside the root."""

    def rule(g: Array, _: Array, s: Array) -> tuple[Array, Array]:
        s = s + jnp.square(g)
        return g / (jnp.sqrt(s) + optimizer.epsilon), s

    return along(optimizer, of_rule(optimizer, rule, start=optimizer.initial_accumulator))


def rmsprop(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.rmsprop with epsilon outside the root; it multiplies the learning rate before the momentum."""
    scale = optax.scale_by_stddev if optimizer.centered else optax.scale_by_rms
    scaled = scale(decay=optimizer.rho, eps=optimizer.epsilon, eps_in_sqrt=False)
    trace = [optax.trace(optimizer.momentum)] if optimizer.momentum else []
    return along(optimizer, scaled, *trace)


def adam(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.adam; optax.amsgrad takes the largest after the correction of the bias."""
    if optimizer.amsgrad:
        return along(optimizer, amsgrad(optimizer))
    return optax.adam(optimizer.learning_rate, optimizer.beta1, optimizer.beta2, optimizer.epsilon)


def adamw(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.adamw."""
    betas, decay = (optimizer.beta1, optimizer.beta2), optimizer.weight_decay
    if optimizer.amsgrad:
        return along(optimizer, amsgrad(optimizer), optax.add_decayed_weights(decay))
    return optax.adamw(optimizer.learning_rate, *betas, eps=optimizer.epsilon, weight_decay=decay)


def amsgrad(optimizer: Optimizer) -> optax.GradientTransformation:
    """Adam's direction with the largest second moment so far."""

    def rule(g: Array, t: Array, m: Array, v: Array, largest: Array) -> tuple[Array, ...]:
        m = optimizer.beta1 * m + (1 - optimizer.beta1) * g
        v = optimizer.beta2 * v + (1 - optimizer.beta2) * jnp.square(g)
        largest = jnp.maximum(largest, v)
        count = t.astype(jnp.promote_types(g.dtype, jnp.float32))
        first, second = ((1 - beta**count).astype(g.dtype) for beta in (optimizer.beta1, optimizer.beta2))
        return m / first / (jnp.sqrt(largest / second) + optimizer.epsilon), m, v, largest

    return of_rule(optimizer, rule)


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "lion": lambda optimizer: optax.lion(optimizer.learning_rate, optimizer.beta1, optimizer.beta2, weight_decay=0.0),
    "adagrad": adagrad,
    "adadelta": lambda optimizer: optax.adadelta(optimizer.learning_rate, optimizer.rho, optimizer.epsilon),
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "adamax": lambda optimizer: optax.adamax(
        optimizer.learning_rate, optimizer.beta1, optimizer.beta2, optimizer.epsilon
    ),
}
STATE = {  # optax' names for what an optimizer remembers
    "velocity": "trace", "first_moment": "mu", "second_moment": "nu", "infinity_norm": "nu", "mean_square": "nu",
    "mean_gradient": "mu", "accumulator": "", "largest_second_moment": "",
}  # fmt: skip


def state_of(optimizer: Optimizer | None, state: optax.OptState) -> dict[str, Array]:
    """The state by `NAME/PARAM`."""
    names = optimizer.state if optimizer else ()
    memory = optax.tree_utils.tree_get(state, "memory") or {}
    of_adadelta = {"mean_square": "e_g", "mean_square_update": "e_x"} if isinstance(optimizer, Adadelta) else {}
    trees = {
        name: memory.get(name) or optax.tree_utils.tree_get(state, of_adadelta.get(name) or STATE[name])
        for name in names
    }
    return {f"{name}/{path}": value for name, tree in trees.items() for path, value in tree.items()}


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
            x = rounded_once(jnp.add)(x, parameters[f"{layer.name}.bias"]) if layer.bias else x
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
    state_before = state_of(recipe.optimizer, state)
    updates, state = optimizer.update(gradients, state, before)
    after = optax.apply_updates(before, updates)
    blank = partial(jax.tree.map, lambda value: jnp.where(real[:, None], value, 0))
    record = {
        "loss": loss, "values": blank(values), "cotangents": blank(cotangents),
        "gradients": gradients, "before": before, "after": after,
        "state_before": state_before, "state_after": state_of(recipe.optimizer, state),
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
