"""JAX: jax.nn forward, jax.grad backward, optax updates, one jitted lax.scan. Independent of `reference/`."""

from __future__ import annotations

import os
import time
from collections import ChainMap
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

os.environ.setdefault("NPROC", "1")  # one thread; read when jax is imported

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from backproof.backends.trajectory import Trajectory
from backproof.cases.format.layers import Dense, Layer
from backproof.cases.format.losses import Loss, Penalty
from backproof.cases.format.optimizers import Adadelta, AnySchedule, Clip, Optimizer
from backproof.cases.format.schema import Tie, layer_widths
from backproof.cases.problem import Problem

PACKAGES = ("jax", "jaxlib", "optax")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

# A fusion recomputes what it consumes and may contract x w - t into one fused multiply-add; then the value on record is
# not the one that the loss was computed from. The algebraic simplifier moves a factor from one product into the next.
# Without the two passes every operation consumes what is recorded; with no excess precision a 16-bit one does, too.
COMPILER_OPTIONS = {"xla_disable_hlo_passes": "fusion,algsimp", "xla_allow_excess_precision": False}


def where_known(option: str, value: bool | str) -> dict[str, bool | str]:  # noqa: FBT001
    """A compiler option, unless this version of XLA has none of that name."""
    try:
        jax.jit(lambda x: x, compiler_options={option: value})(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return {option: value}


# For operations that are not fused the older emitters compile in two thirds of the time.
COMPILER_OPTIONS |= where_known("xla_cpu_use_fusion_emitters", value=False)

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


def dropout(x: Array, mask: Array | None, rate: float) -> Array:
    """flax draws a mask of its own, and selects like this."""
    return x if mask is None else jnp.where(mask != 0, x / (1 - rate), 0)


LAYERS = ACTIVATIONS | {"dropout": dropout, "skip": jnp.add}
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
    return targets if loss.class_weights is None else targets * jnp.array(loss.class_weights, targets.dtype)


def gaussian_nll(_: Loss, output: Array, targets: Array) -> Array:
    """optax has none."""
    mean, log_variance = jnp.split(output, 2, axis=1)
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


def where_real(real: Array | None, values: Array) -> Array:
    """Zeros in the place of the samples that only pad a batch, if any do."""
    return values if real is None else jnp.where(real.reshape(-1, *[1] * (values.ndim - 1)), values, 0)


def of_real_samples(loss: Loss, output: Array, targets: Array, real: Array | None) -> Array:
    """The factor times the sum of the terms of the real samples, divided by their number for a mean."""
    terms = LOSSES[loss.kind](loss, output, targets)
    total = loss.factor * jnp.sum(where_real(real, terms))
    if loss.reduction == "sum":
        return total
    if loss.by_class and loss.class_weights and loss.reduction == "mean":
        return total / jnp.sum(where_real(real, weighted(loss, targets)))
    terms_of_each = terms[0].size if loss.reduction == "mean" else 1
    samples = len(output) if real is None else jnp.sum(real)
    return total / jnp.asarray(samples * terms_of_each, output.dtype)


# ---------------------------------------------------------------- optimizers


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


def along(optimizer: Optimizer, *directions: optax.GradientTransformation) -> optax.GradientTransformation:
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
        scale = jnp.where(sign > 0, optimizer.increase, jnp.where(sign < 0, optimizer.decrease, 1)).astype(g.dtype)
        step_size = jnp.clip(step_size * scale, optimizer.smallest_step, optimizer.largest_step)
        g = jnp.where(sign < 0, 0, g)
        return jnp.sign(g) * step_size, g, step_size

    return optax.chain(of_rule(optimizer, rule), optax.scale(-1.0))


def adagrad(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.adagrad adds epsilon inside the root."""
    if optimizer.epsilon_inside:
        return optax.adagrad(optimizer.learning_rate, optimizer.initial_accumulator, optimizer.epsilon)

    def rule(g: Array, _: Array, __: Array, s: Array) -> tuple[Array, Array]:
        s = s + jnp.square(g)
        return g / (jnp.sqrt(s) + optimizer.epsilon), s

    return along(optimizer, of_rule(optimizer, rule))


def rmsprop(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.rmsprop multiplies the learning rate before the momentum."""
    scale = optax.scale_by_stddev if optimizer.centered else optax.scale_by_rms
    scaled = scale(
        optimizer.rho, optimizer.epsilon, optimizer.initial_mean_square, eps_in_sqrt=optimizer.epsilon_inside
    )
    trace = [optax.trace(optimizer.momentum)] if optimizer.momentum else []
    return along(optimizer, scaled, *trace)


def adam(optimizer: Optimizer) -> optax.GradientTransformation:
    """optax.adam; optax.amsgrad takes the largest after the correction of the bias."""
    if optimizer.amsgrad or optimizer.epsilon_hat or optimizer.beta1_decay != 1:
        return along(optimizer, of_rule(optimizer, partial(adam_rule, optimizer)))
    betas = optimizer.beta1, optimizer.beta2
    if optimizer.is_decoupled:
        return optax.adamw(optimizer.learning_rate, *betas, eps=optimizer.epsilon, weight_decay=optimizer.weight_decay)
    return optax.adam(optimizer.learning_rate, *betas, optimizer.epsilon)


def count_like(g: Array, t: Array) -> Array:
    """The number of the update, in float32 at least."""
    return t.astype(jnp.promote_types(g.dtype, jnp.float32))


def correction(beta: float, g: Array, t: Array) -> Array:
    """1 - beta^t."""
    return (1 - beta ** count_like(g, t)).astype(g.dtype)


def averages(optimizer: Optimizer, g: Array, m: Array, v: Array, fading: Array | None = None) -> tuple[Array, Array]:
    """The averages of the gradient and of its square."""
    beta1 = optimizer.beta1 if fading is None else optimizer.beta1 * fading
    kept, taken = (jnp.asarray(share, g.dtype) for share in (beta1, 1 - beta1))
    return kept * m + taken * g, optimizer.beta2 * v + (1 - optimizer.beta2) * jnp.square(g)


def adam_rule(optimizer: Optimizer, g: Array, _: Array, t: Array, m: Array, v: Array, *largest: Array) -> tuple:
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


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "asgd": asgd,
    "lion": lambda optimizer: optax.lion(
        optimizer.learning_rate, optimizer.beta1, optimizer.beta2, weight_decay=optimizer.weight_decay
    ),
    "rprop": rprop,
    "adagrad": adagrad,
    "adadelta": lambda optimizer: optax.adadelta(optimizer.learning_rate, optimizer.rho, optimizer.epsilon),
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "adamax": lambda optimizer: optax.adamax(
        optimizer.learning_rate, optimizer.beta1, optimizer.beta2, optimizer.epsilon
    ),
    "nadam": nadam,
    "radam": radam,
}
STATE = {  # optax' names for what an optimizer remembers
    "velocity": "trace", "first_moment": "mu", "second_moment": "nu", "infinity_norm": "nu", "mean_square": "nu",
    "mean_gradient": "mu", "accumulator": "sum_of_squares",
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


# ---------------------------------------------------------------- clipping and schedules


def clip_gradients(clip: Clip) -> optax.GradientTransformation:
    """optax.clip, and optax.clip_by_global_norm, which has no epsilon."""
    if clip.kind == "value":
        return optax.clip(clip.maximum)
    if not clip.epsilon:
        return optax.clip_by_global_norm(clip.maximum)

    def scaled(gradients: dict, _: dict) -> dict:
        share = jnp.minimum(1, clip.maximum / (optax.tree_utils.tree_norm(gradients) + clip.epsilon))
        return jax.tree.map(lambda g: g * share, gradients)

    return optax.stateless(scaled)


def _warm_up(schedule: AnySchedule, rate: float) -> optax.Schedule:
    up = optax.linear_schedule(schedule.start * rate, rate, schedule.steps)
    return optax.join_schedules([up, schedule_of(schedule.then, rate)], [schedule.steps]) if schedule.then else up


SCHEDULES = {
    "step_decay": lambda schedule, rate: optax.exponential_decay(rate, schedule.every, schedule.factor, staircase=True),
    "exponential_decay": lambda schedule, rate: optax.exponential_decay(rate, 1, schedule.factor),
    "linear_decay": lambda schedule, rate: optax.linear_schedule(rate, schedule.end * rate, schedule.steps),
    "cosine_decay": lambda schedule, rate: optax.cosine_decay_schedule(rate, schedule.steps, schedule.end),
    "one_cycle": lambda schedule, rate: optax.piecewise_interpolate_schedule(
        "cosine", schedule.start * rate,
        {schedule.rise: 1 / schedule.start, schedule.rise + schedule.fall: schedule.end},
    ),
    "warm_up": _warm_up,
}  # fmt: skip


def schedule_of(schedule: AnySchedule, rate: float) -> optax.Schedule:
    """The schedule of optax; of an integer count many of them are float32, in float64 as well."""
    of_float = SCHEDULES[schedule.kind](schedule, rate)
    return lambda count: jnp.asarray(of_float(jnp.asarray(count, float)), float)


# ---------------------------------------------------------------- the run


class Recipe(NamedTuple):
    """What a program is compiled for, beside the shapes of its arrays; runs that share both share the program."""

    network: tuple[Layer, ...]
    loss: Loss
    optimizer: Optimizer | None
    trained: tuple[str, ...]
    tied: tuple[tuple[str, Tie], ...]
    penalties: tuple[Penalty, ...]
    clip: Clip | None
    schedule: AnySchedule | None
    padded: bool  # some batch is short

    @property
    def rate(self) -> optax.ScalarOrSchedule:
        """The learning rate, or what it is at each step."""
        rate = self.optimizer.learning_rate
        return schedule_of(self.schedule, rate) if self.schedule else rate

    @property
    def transformation(self) -> optax.GradientTransformation:
        """From gradients to updates."""
        if self.optimizer is None:
            return optax.set_to_zero()
        optimizer = self.optimizer.model_copy(update={"learning_rate": self.rate})
        decay = getattr(optimizer, "weight_decay", 0)
        coupled = [optax.add_decayed_weights(decay)] if decay and not optimizer.is_decoupled else []
        clip = [clip_gradients(self.clip)] if self.clip else []
        return optax.chain(*clip, *coupled, OPTIMIZERS[optimizer.kind](optimizer))

    def with_tied(self, parameters: dict) -> dict:
        """All parameters, also those that are another one."""
        return parameters | {path: tie.of(parameters) for path, tie in self.tied}


def recipe_of(problem: Problem) -> Recipe:
    """All of a problem but its arrays."""
    made = {"tied": tuple(problem.tied.items()), "padded": bool((problem.batches < 0).any())}
    return Recipe(**{name: made[name] if name in made else getattr(problem, name) for name in Recipe._fields})


def forward(recipe: Recipe, numbers: dict, inputs: Array, taps: dict) -> tuple[Array, dict]:
    """The output, and the values of every layer; a zero tap added behind each value has its cotangent as gradient.

    `numbers` holds the parameters and the masks of the step.
    """
    values, x = {"input": inputs}, inputs + taps["input"]
    tapped = {"input": x}
    for layer in recipe.network:
        if isinstance(layer, Dense):
            x = x @ numbers[f"{layer.name}.weight"]
            x = rounded_once(jnp.add)(x, numbers[f"{layer.name}.bias"]) if layer.bias else x
        else:
            x = LAYERS[layer.kind](x, *layer.arguments(ChainMap(tapped, numbers)))
        values[layer.name] = x
        x = tapped[layer.name] = x + taps[layer.name]
    return x, values


def loss_of(
    recipe: Recipe, trained: dict, taps: dict, others: dict, inputs: Array, targets: Array, real: Array | None
) -> tuple[Array, dict]:
    """The loss of the real samples with the penalties, and the values on the way there.

    `others` holds the frozen parameters and the masks of the step.
    """
    parameters = others | trained
    output, values = forward(recipe, recipe.with_tied(parameters), inputs, taps)
    loss = of_real_samples(recipe.loss, output, targets, real)
    for penalty in recipe.penalties:
        for path in penalty.parameters:
            loss = loss + penalty.coefficient * jnp.sum(PENALTIES[penalty.kind](parameters[path]))
    return loss, values


class Samples(NamedTuple):
    """All that is given: inputs and targets, the samples of each step, and the masks."""

    inputs: Array
    targets: Array
    batches: Array
    masks: dict[str, Array]


def start_of(recipe: Recipe, parameters: dict) -> tuple[dict, optax.OptState]:
    """Parameters and state before the first step."""
    return parameters, recipe.transformation.init({path: parameters[path] for path in recipe.trained})


def take_step(recipe: Recipe, samples: Samples, carry, k: Array):
    """Update number k, and what there is to record of it. Rows of -1 pad a short batch."""
    before, state = carry
    rows = samples.batches[k]
    real = rows >= 0 if recipe.padded else None
    if recipe.padded:  # padding repeats a real sample: `where` lets the NaN of another one through
        rows = jnp.where(real, rows, rows[0])
    x, t = samples.inputs[rows], samples.targets[rows]
    masks = {f"{layer}.mask": masks[k % len(masks)] for layer, masks in samples.masks.items()}
    trained = {path: before[path] for path in recipe.trained}
    gradient = jax.value_and_grad(partial(loss_of, recipe), argnums=(0, 1), has_aux=True)
    (loss, values), (gradients, cotangents) = gradient(trained, _zero_taps(recipe, x), before | masks, x, t, real)
    state_before = state_of(recipe.optimizer, state)
    updates, state = recipe.transformation.update(gradients, state, trained)
    if recipe.optimizer:  # -0.0 + 0.0 is 0.0
        trained = optax.apply_updates(trained, updates)
    after = before | trained
    blank = partial(jax.tree.map, partial(where_real, real))
    record = {
        "loss": loss, "values": blank(values), "cotangents": blank(cotangents),
        "gradients": gradients, "before": before, "after": after,
        "state_before": state_before, "state_after": state_of(recipe.optimizer, state),
        RATES: recipe.rate(k) if recipe.schedule else None,
    }  # fmt: skip
    return (after, state), record


RATES = "learning_rates"


class Loops(NamedTuple):
    """How to go through the steps, with the arguments of `lax.scan` and of `lax.fori_loop`."""

    scan: Callable
    fori_loop: Callable


def packed(record: dict) -> tuple[Array, Array | None]:
    """One array of all numbers of a step, which compiles faster than one for each; and its learning rate."""
    numbers = {name: value for name, value in record.items() if name != RATES}
    return jnp.concatenate([value.ravel() for value in jax.tree.leaves(numbers)]), record[RATES]


def unpacked(record: dict, numbers: np.ndarray, rates: np.ndarray | None) -> dict:
    """The records of all steps, shaped as that of one step."""
    leaves, structure = jax.tree.flatten({name: value for name, value in record.items() if name != RATES})
    parts = np.split(numbers, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    arrays = [part.reshape(-1, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return {**jax.tree.unflatten(structure, arrays), RATES: rates}


def train(loops: Loops, recipe: Recipe, parameters: dict, samples: Samples, recorded: Array) -> tuple:
    """Scan over the recorded steps, with a loop over the steps between them; then look at all samples once more."""
    step = partial(take_step, recipe, samples)

    def recorded_step(carry, interval):
        first, number = interval
        if len(recorded) < len(samples.batches):
            carry = loops.fori_loop(first, number, lambda k, carry: step(carry, k)[0], carry)
        carry, record = step(carry, number)
        return carry, packed(record)

    first = jnp.append(0, recorded[:-1] + 1)
    (after, _), records = loops.scan(recorded_step, start_of(recipe, parameters), (first, recorded))
    everyone = jnp.full(len(samples.inputs), fill_value=True) if recipe.padded else None
    taps = _zero_taps(recipe, samples.inputs)
    final_loss, values = loss_of(recipe, after, taps, {}, samples.inputs, samples.targets, everyone)
    return records, values, final_loss


compiled = jax.jit(
    partial(train, Loops(lax.scan, lax.fori_loop)), static_argnames="recipe", compiler_options=COMPILER_OPTIONS
)


PROGRAMS: set[tuple] = set()
MOST_PROGRAMS = 32  # each maps hundreds of pieces of memory, and a process may have 65,530 of them


def forget_programs(recipe: Recipe, problem: Problem) -> None:
    """Make room for a new program where many are compiled."""
    PROGRAMS.add((recipe, problem.dtype, problem.batches.shape, problem.inputs.shape))
    if len(PROGRAMS) > MOST_PROGRAMS:
        PROGRAMS.clear()
        jax.clear_caches()


traced_step = jax.jit(take_step, static_argnums=0)  # traced once for problems of one structure


def run(problem: Problem, train: Callable = compiled) -> Trajectory:
    """Train by jax.grad, in one jitted scan unless another way to train is given."""
    start, samples = time.perf_counter(), Samples(problem.inputs, problem.targets, problem.batches, problem.masks)
    recipe = recipe_of(problem)
    forget_programs(recipe, problem)
    result = train(recipe, problem.parameters, samples, problem.recorded)
    (numbers, rates), values, final_loss = jax.tree.map(np.asarray, result)
    carry = jax.eval_shape(partial(start_of, recipe), problem.parameters)
    _, record = jax.eval_shape(partial(traced_step, recipe), samples, carry, 0)
    records = unpacked(record, numbers, rates)
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
