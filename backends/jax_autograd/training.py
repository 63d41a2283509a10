"""Training in JAX: the walk over the network, its gradient, and the loop, all compiled as one program."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from backproof.backends.jax_autograd.arithmetic import COMPILER_OPTIONS, rounded_once
from backproof.backends.jax_autograd.layers import LAYERS
from backproof.backends.jax_autograd.losses import PENALTIES, of_real_samples, where_real
from backproof.backends.jax_autograd.optimizers import OPTIMIZERS, state_of
from backproof.backends.jax_autograd.schedules import clip_gradients, schedule_of
from backproof.backends.trajectory import Trajectory
from backproof.cases.format.layers import Dense, Layer
from backproof.cases.format.losses import Loss, Penalty
from backproof.cases.format.optimizers import AnySchedule, Clip, Optimizer
from backproof.cases.format.schema import Tie, layer_widths
from backproof.cases.problem import Problem


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
    recipe: Recipe,
    trained: dict,
    taps: dict,
    others: dict,
    inputs: Array,
    targets: Array,
    real: Array | None,
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
    partial(train, Loops(lax.scan, lax.fori_loop)),
    static_argnames="recipe",
    compiler_options=COMPILER_OPTIONS,
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
    start, samples = (
        time.perf_counter(),
        Samples(problem.inputs, problem.targets, problem.batches, problem.masks),
    )
    recipe = recipe_of(problem)
    forget_programs(recipe, problem)
    result = train(recipe, problem.parameters, samples, problem.recorded)
    (numbers, rates), values, final_loss = jax.tree.map(np.asarray, result)
    carry = jax.eval_shape(partial(start_of, recipe), problem.parameters)
    _, record = jax.eval_shape(partial(traced_step, recipe), samples, carry, 0)
    records = unpacked(record, numbers, rates)
    seconds = time.perf_counter() - start
    return Trajectory(
        steps=problem.recorded,
        final_values=values,
        final_loss=final_loss,
        seconds=seconds,
        **records,
    )


def _zero_taps(recipe: Recipe, x: Array) -> dict[str, Array]:
    return {
        name: jnp.zeros((len(x), width), x.dtype) for name, width in layer_widths(recipe.network, x.shape[1]).items()
    }
