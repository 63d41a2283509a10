"""The optimizers in JAX, by kind, and what they remember."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from backproof.backends.added import added_optimizers
from backproof.cases.format.optimizers import Adadelta, Optimizer


def sgd(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.sgd without momentum."""
    return optax.sgd(optimizer.learning_rate)


class Memory(NamedTuple):
    """The state of a transformation that optax lacks: how many updates there were, and what is remembered by name."""

    count: Array
    memory: dict[str, dict]


def of_rule(optimizer: Optimizer, rule: Callable) -> optax.GradientTransformation:
    """The direction of a step by a rule of one gradient, its parameter, the number of the update, and the memory."""

    def init(parameters: dict) -> Memory:
        memory = {
            name: {path: jnp.full_like(w, start) for path, w in parameters.items()}
            for name, start in optimizer.starts.items()
        }
        return Memory(jnp.zeros((), jnp.int32), memory)

    def update(gradients: dict, state: Memory, parameters: dict) -> tuple[dict, Memory]:
        t, directions, memory = state.count + 1, {}, {name: {} for name in optimizer.state}
        for path, g in gradients.items():
            remembered = (state.memory[name][path] for name in optimizer.state)
            directions[path], *new = rule(g, parameters[path], t, *remembered)
            for name, value in zip(optimizer.state, new, strict=True):
                memory[name][path] = value
        return directions, Memory(t, memory)

    return optax.GradientTransformation(init, update)


def along(
    optimizer: Optimizer, *directions: optax.GradientTransformation
) -> optax.GradientTransformation:
    """A step of the learning rate against the directions, and against w where weight decay is decoupled."""
    decay = [optax.add_decayed_weights(optimizer.weight_decay)] if optimizer.is_decoupled else []
    return optax.chain(*directions, *decay, optax.scale_by_learning_rate(optimizer.learning_rate))


def momentum(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.sgd, which has no dampening."""
    if not optimizer.dampening:
        return optax.sgd(optimizer.learning_rate, optimizer.momentum, nesterov=optimizer.nesterov)

    def dampened(g: Array, _: Array, t: Array, v: Array) -> tuple[Array, Array]:
        v = optimizer.momentum * v + jnp.where(t > 1, (1 - optimizer.dampening) * g, g)
        return g + optimizer.momentum * v if optimizer.nesterov else v, v

    return along(optimizer, of_rule(optimizer, dampened))


def asgd(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax has none."""

    def rule(g: Array, w: Array, t: Array, average: Array) -> tuple[Array, Array]:
        t, eta = t.astype(float), optimizer.learning_rate
        rate = (eta / (1 + optimizer.lambd * eta * (t - 1)) ** optimizer.alpha).astype(w.dtype)
        share = (1 / jnp.maximum(1, t - 1 - optimizer.t0)).astype(w.dtype)
        direction = rate * (optimizer.lambd * w + g)
        return direction, average + (w - direction - average) * share

    return optax.chain(of_rule(optimizer, rule), optax.scale(-1.0))


def rprop(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.rprop of 0.2.8 emits the update of the step before."""

    def rule(g: Array, _: Array, __: Array, previous: Array, step_size: Array) -> tuple[Array, ...]:
        sign = jnp.sign(g * previous)
        scale = jnp.where(
            sign > 0, optimizer.increase, jnp.where(sign < 0, optimizer.decrease, 1)
        ).astype(g.dtype)
        step_size = jnp.clip(step_size * scale, optimizer.smallest_step, optimizer.largest_step)
        g = jnp.where(sign < 0, 0, g)
        return jnp.sign(g) * step_size, g, step_size

    return optax.chain(of_rule(optimizer, rule), optax.scale(-1.0))


def adagrad(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.adagrad adds epsilon inside the root."""
    if optimizer.epsilon_inside:
        return optax.adagrad(
            optimizer.learning_rate, optimizer.initial_accumulator, optimizer.epsilon
        )

    def rule(g: Array, _: Array, __: Array, s: Array) -> tuple[Array, Array]:
        s = s + jnp.square(g)
        return g / (jnp.sqrt(s) + optimizer.epsilon), s

    return along(optimizer, of_rule(optimizer, rule))


def rmsprop(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.rmsprop multiplies the learning rate before the momentum."""
    scale = optax.scale_by_stddev if optimizer.centered else optax.scale_by_rms
    scaled = scale(
        optimizer.rho,
        optimizer.epsilon,
        optimizer.initial_mean_square,
        eps_in_sqrt=optimizer.epsilon_inside,
    )
    trace = [optax.trace(optimizer.momentum)] if optimizer.momentum else []
    return along(optimizer, scaled, *trace)


def adam(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.adam; optax.amsgrad takes the largest after the correction of the bias."""
    if optimizer.amsgrad or optimizer.epsilon_hat or optimizer.beta1_decay != 1:
        return along(optimizer, of_rule(optimizer, partial(adam_rule, optimizer)))
    betas = optimizer.beta1, optimizer.beta2
    if optimizer.is_decoupled:
        return optax.adamw(
            optimizer.learning_rate,
            *betas,
            eps=optimizer.epsilon,
            weight_decay=optimizer.weight_decay,
        )
    return optax.adam(optimizer.learning_rate, *betas, optimizer.epsilon)


def count_like(g: Array, t: Array) -> Array:
    """The number of the update, in float32 at least."""
    return t.astype(jnp.promote_types(g.dtype, jnp.float32))


def correction(beta: float, g: Array, t: Array) -> Array:
    """1 - beta^t."""
    return (1 - beta ** count_like(g, t)).astype(g.dtype)


def averages(
    optimizer: Optimizer, g: Array, m: Array, v: Array, fading: Array | None = None
) -> tuple[Array, Array]:
    """The averages of the gradient and of its square."""
    beta1 = optimizer.beta1 if fading is None else optimizer.beta1 * fading
    kept, taken = (jnp.asarray(share, g.dtype) for share in (beta1, 1 - beta1))
    return kept * m + taken * g, optimizer.beta2 * v + (1 - optimizer.beta2) * jnp.square(g)


def adam_rule(
    optimizer: Optimizer, g: Array, _: Array, t: Array, m: Array, v: Array, *largest: Array
) -> tuple:
    """Adam's direction with what optax.adam lacks."""
    fading = optimizer.beta1_decay ** (count_like(g, t) - 1) if optimizer.beta1_decay != 1 else None
    m, v = averages(optimizer, g, m, v, fading)
    largest = tuple(jnp.maximum(before, v) for before in largest)
    square = (largest or [v])[0]
    first, second = (correction(beta, g, t) for beta in (optimizer.beta1, optimizer.beta2))
    if optimizer.epsilon_hat:
        root = (jnp.sqrt(square) + optimizer.epsilon) / jnp.sqrt(second)
    else:
        root = jnp.sqrt(square / second) + optimizer.epsilon
    return m / first / root, m, v, *largest


def nadam(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.nadam has no schedule of momenta."""

    def rule(g: Array, _: Array, t: Array, m: Array, v: Array, q: Array) -> tuple[Array, ...]:
        decays = (0.96 ** ((t + later) * optimizer.momentum_decay) for later in jnp.arange(2.0))
        now, later = ((optimizer.beta1 * (1 - decay / 2)).astype(g.dtype) for decay in decays)
        m, v = averages(optimizer, g, m, v)
        q = q * now
        root = jnp.sqrt(v / correction(optimizer.beta2, g, t)) + optimizer.epsilon
        return ((1 - now) * g / (1 - q) + later * m / (1 - q * later)) / root, m, v, q

    return along(optimizer, of_rule(optimizer, rule))


def radam(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.radam adds epsilon after the correction of the bias."""
    longest = 2 / (1 - optimizer.beta2) - 1

    def rectification(t: Array) -> Array:
        """R sqrt(1 - beta2^t) in float64, or 0."""
        correction = 1 - optimizer.beta2**t
        length = longest - 2 * t * (1 - correction) / correction
        r = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        return jnp.where(length > 5, jnp.sqrt(jnp.where(length > 5, r, 0) * correction), 0)

    def rule(g: Array, _: Array, t: Array, m: Array, v: Array) -> tuple[Array, ...]:
        m, v = averages(optimizer, g, m, v)
        ahead, rectified = m / correction(optimizer.beta1, g, t), rectification(t.astype(float))
        adaptive = ahead * rectified.astype(g.dtype) / (jnp.sqrt(v) + optimizer.epsilon)
        return jnp.where(rectified > 0, adaptive, ahead), m, v

    return along(optimizer, of_rule(optimizer, rule))


def of_added(step: Callable, optimizer: Optimizer) -> optax.GradientTransformation:
    """An optimizer that a package adds: what a function of w, g, t and its memory returns is subtracted from w."""

    def rule(g: Array, w: Array, t: Array, *memory: Array) -> tuple[Array, ...]:
        rate = optimizer.learning_rate
        rate = jnp.asarray(rate(t - 1), w.dtype) if callable(rate) else rate
        down, memory = step(optimizer.model_copy(update={"learning_rate": rate}), w, g, t, *memory)
        return down, *memory

    return optax.chain(of_rule(optimizer, rule), optax.scale(-1.0), *_decoupled(optimizer))


def _decoupled(optimizer: Optimizer) -> list[optax.GradientTransformation]:
    """The decay of an added optimizer that does not pass through the gradient."""
    if not getattr(optimizer, "weight_decay", 0) or not optimizer.is_decoupled:
        return []
    return [optax.add_decayed_weights(-optimizer.learning_rate * optimizer.weight_decay)]


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "asgd": asgd,
    "lion": lambda optimizer: optax.lion(
        optimizer.learning_rate,
        optimizer.beta1,
        optimizer.beta2,
        weight_decay=optimizer.weight_decay,
    ),
    "rprop": rprop,
    "adagrad": adagrad,
    "adadelta": lambda optimizer: optax.adadelta(
        optimizer.learning_rate, optimizer.rho, optimizer.epsilon
    ),
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "adamax": lambda optimizer: optax.adamax(
        optimizer.learning_rate, optimizer.beta1, optimizer.beta2, optimizer.epsilon
    ),
    "nadam": nadam,
    "radam": radam,
} | {kind: partial(of_added, step) for kind, step in added_optimizers("jax").items()}
STATE = {  # optax' names for what an optimizer remembers
    "velocity": "trace", "first_moment": "mu", "second_moment": "nu", "infinity_norm": "nu", "mean_square": "nu",
    "mean_gradient": "mu", "accumulator": "sum_of_squares",
}  # fmt: skip


def state_of(optimizer: Optimizer | None, state: optax.OptState) -> dict[str, Array]:
    """The state by `NAME/PARAM`."""
    names = optimizer.state if optimizer else ()
    memory = optax.tree_utils.tree_get(state, "memory") or {}
    of_adadelta = (
        {"mean_square": "e_g", "mean_square_update": "e_x"}
        if isinstance(optimizer, Adadelta)
        else {}
    )
    trees = {
        name: memory.get(name)
        or optax.tree_utils.tree_get(state, of_adadelta.get(name) or STATE[name])
        for name in names
    }
    return {f"{name}/{path}": value for name, tree in trees.items() for path, value in tree.items()}
