"""The optimizers in JAX, by kind, and what they remember."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax import Array
from optax import GradientTransformation as Transformation

from backproof.backends.added import added_optimizers
from backproof.backends.jax_recording.states import names_of
from backproof.cases.format.optimizers import Optimizer

MOMENTS = ("learning_rate", "beta1", "beta2", "epsilon")


def of_optax(function: Callable, *names: str, **keywords: str) -> Callable:
    """Return a function that makes an optimizer of optax from these settings of the format."""

    def make(optimizer: Optimizer) -> Transformation:
        options = {keyword: getattr(optimizer, name) for keyword, name in keywords.items()}
        return function(*[getattr(optimizer, name) for name in names], **options)

    return make


sgd = of_optax(optax.sgd, "learning_rate")


class Memory(NamedTuple):
    """The state of a transformation that optax lacks.

    Attributes:
        count: how many updates there were.
        memory: what is remembered, by name and then by path.
    """

    count: Array
    memory: dict[str, dict[str, Array]]


def of_rule(optimizer: Optimizer, rule: Callable) -> Transformation:
    """Return the transformation of gradients into directions by a rule for one parameter.

    Args:
        optimizer: says what is remembered, and from where it starts.
        rule: takes a gradient, its parameter, the number of the update from 1 on, and what is
            remembered; returns the direction, and what is remembered for the next update.
    """

    def init(parameters: dict) -> Memory:
        def full(start: float) -> dict[str, Array]:
            return {path: jnp.full_like(w, start) for path, w in parameters.items()}

        memory = {name: full(start) for name, start in optimizer.starts.items()}
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


def along(optimizer: Optimizer, *directions: Transformation) -> Transformation:
    """Step by the learning rate against the directions, and against w where decay is decoupled."""
    decay = [optax.add_decayed_weights(optimizer.weight_decay)] if optimizer.is_decoupled else []
    return optax.chain(*directions, *decay, optax.scale_by_learning_rate(optimizer.learning_rate))


def momentum(optimizer: Optimizer) -> Transformation:
    """Make an optax.sgd; as that has no dampening, a rule for it."""
    if not optimizer.dampening:
        return optax.sgd(optimizer.learning_rate, optimizer.momentum, nesterov=optimizer.nesterov)

    def dampened(g: Array, _: Array, t: Array, v: Array) -> tuple[Array, Array]:
        v = optimizer.momentum * v + jnp.where(t > 1, (1 - optimizer.dampening) * g, g)
        return g + optimizer.momentum * v if optimizer.nesterov else v, v

    return along(optimizer, of_rule(optimizer, dampened))


def asgd(optimizer: Optimizer) -> Transformation:
    """Make averaged gradient descent, which optax lacks, by its rule."""

    def rule(g: Array, w: Array, t: Array, average: Array) -> tuple[Array, Array]:
        t, eta = t.astype(float), optimizer.learning_rate
        rate = (eta / (1 + optimizer.lambd * eta * (t - 1)) ** optimizer.alpha).astype(w.dtype)
        share = (1 / jnp.maximum(1, t - 1 - optimizer.t0)).astype(w.dtype)
        direction = rate * (optimizer.lambd * w + g)
        return direction, average + (w - direction - average) * share

    return optax.chain(of_rule(optimizer, rule), optax.scale(-1.0))


def rprop(optimizer: Optimizer) -> Transformation:
    """Make Rprop by its rule: optax.rprop of 0.2.8 emits the update of the step before."""

    def rule(g: Array, _: Array, __: Array, previous: Array, step_size: Array) -> tuple[Array, ...]:
        sign = jnp.sign(g * previous)
        smaller = jnp.where(sign < 0, optimizer.decrease, 1)
        scale = jnp.where(sign > 0, optimizer.increase, smaller).astype(g.dtype)
        step_size = jnp.clip(step_size * scale, optimizer.smallest_step, optimizer.largest_step)
        g = jnp.where(sign < 0, 0, g)
        return jnp.sign(g) * step_size, g, step_size

    return optax.chain(of_rule(optimizer, rule), optax.scale(-1.0))


def adagrad(optimizer: Optimizer) -> Transformation:
    """Make an optax.adagrad, or where epsilon is added outside the root a rule for it."""
    rate, epsilon = optimizer.learning_rate, optimizer.epsilon
    if optimizer.epsilon_inside:
        return optax.adagrad(rate, optimizer.initial_accumulator, epsilon)

    def rule(g: Array, _: Array, __: Array, s: Array) -> tuple[Array, Array]:
        s = s + jnp.square(g)
        return g / (jnp.sqrt(s) + epsilon), s

    return along(optimizer, of_rule(optimizer, rule))


def rmsprop(optimizer: Optimizer) -> Transformation:
    """Make RMSprop of optax' parts: optax.rmsprop takes the learning rate before the momentum."""
    scale = optax.scale_by_stddev if optimizer.centered else optax.scale_by_rms
    scaled = of_optax(scale, "rho", "epsilon", "initial_mean_square", eps_in_sqrt="epsilon_inside")(
        optimizer
    )
    trace = [optax.trace(optimizer.momentum)] if optimizer.momentum else []
    return along(optimizer, scaled, *trace)


def adam(optimizer: Optimizer) -> Transformation:
    """Make an optax.adam or optax.adamw, or a rule with what they lack.

    optax.amsgrad takes the largest second moment after the correction of the bias.
    """
    if optimizer.amsgrad or optimizer.epsilon_hat or optimizer.beta1_decay != 1:
        return along(optimizer, of_rule(optimizer, partial(adam_rule, optimizer)))
    if optimizer.is_decoupled:
        return of_optax(optax.adamw, *MOMENTS, weight_decay="weight_decay")(optimizer)
    return of_optax(optax.adam, *MOMENTS)(optimizer)


def count_like(g: Array, t: Array) -> Array:
    """Return the number t of the update in the dtype of g, or in float32 if that is wider."""
    return t.astype(jnp.promote_types(g.dtype, jnp.float32))


def correction(beta: float, g: Array, t: Array) -> Array:
    """Compute 1 - beta^t."""
    return (1 - beta ** count_like(g, t)).astype(g.dtype)


def averages(
    optimizer: Optimizer, g: Array, m: Array, v: Array, fading: Array | None = None
) -> tuple[Array, Array]:
    """Update the averages m of a gradient and v of its square; beta1 may fade by a factor."""
    beta1 = optimizer.beta1 if fading is None else optimizer.beta1 * fading
    kept, taken = (jnp.asarray(share, g.dtype) for share in (beta1, 1 - beta1))
    return kept * m + taken * g, optimizer.beta2 * v + (1 - optimizer.beta2) * jnp.square(g)


def adam_rule(
    optimizer: Optimizer, g: Array, _: Array, t: Array, m: Array, v: Array, *largest: Array
) -> tuple:
    """Compute Adam's direction with what optax.adam lacks, and its memory."""
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


def nadam(optimizer: Optimizer) -> Transformation:
    """Make NAdam by its rule: optax.nadam has no schedule of momenta."""

    def rule(g: Array, _: Array, t: Array, m: Array, v: Array, q: Array) -> tuple[Array, ...]:
        decays = (0.96 ** ((t + later) * optimizer.momentum_decay) for later in jnp.arange(2.0))
        now, later = ((optimizer.beta1 * (1 - decay / 2)).astype(g.dtype) for decay in decays)
        m, v = averages(optimizer, g, m, v)
        q = q * now
        root = jnp.sqrt(v / correction(optimizer.beta2, g, t)) + optimizer.epsilon
        return ((1 - now) * g / (1 - q) + later * m / (1 - q * later)) / root, m, v, q

    return along(optimizer, of_rule(optimizer, rule))


def radam(optimizer: Optimizer) -> Transformation:
    """Make RAdam by its rule: optax.radam adds epsilon after the correction of the bias."""
    longest = 2 / (1 - optimizer.beta2) - 1

    def rectification(t: Array) -> Array:
        """Compute r sqrt(1 - beta2^t) in float64, or 0 where nothing is rectified."""
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


def of_added(step: Callable, optimizer: Optimizer) -> Transformation:
    """Make an optimizer that a package adds, by its `jax_step(optimizer, w, g, t, *memory)`.

    It returns what is subtracted from w, and the memory for the next step.
    """

    def rule(g: Array, w: Array, t: Array, *memory: Array) -> tuple[Array, ...]:
        rate = optimizer.learning_rate
        rate = jnp.asarray(rate(t - 1), w.dtype) if callable(rate) else rate
        down, memory = step(optimizer.model_copy(update={"learning_rate": rate}), w, g, t, *memory)
        return down, *memory

    step_down = optax.chain(of_rule(optimizer, rule), optax.scale(-1.0))
    decay = getattr(optimizer, "weight_decay", 0)
    if not decay or not optimizer.is_decoupled:
        return step_down
    return optax.chain(step_down, optax.add_decayed_weights(-optimizer.learning_rate * decay))


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "asgd": asgd,
    "lion": of_optax(optax.lion, "learning_rate", "beta1", "beta2", weight_decay="weight_decay"),
    "rprop": rprop,
    "adagrad": adagrad,
    "adadelta": of_optax(optax.adadelta, "learning_rate", "rho", "epsilon"),
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "adamax": of_optax(optax.adamax, *MOMENTS),
    "nadam": nadam,
    "radam": radam,
} | {kind: partial(of_added, step) for kind, step in added_optimizers("jax").items()}


def state_of(optimizer: Optimizer | None, state: optax.OptState) -> dict[str, Array]:
    """Return the state by `NAME/PARAM`; of a rule of ours it stands in a memory."""
    if optimizer is None:
        return {}
    names = names_of(optimizer.kind)
    memory = optax.tree_utils.tree_get(state, "memory") or {}
    found = {}
    for name in optimizer.state:
        tree = memory.get(name) or optax.tree_utils.tree_get(state, names[name])
        found |= {f"{name}/{path}": value for path, value in tree.items()}
    return found
