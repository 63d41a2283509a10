"""Training in JAX: the gradient of a batch's loss, and the loop, all compiled as one program."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from backproof.backends.jax_autograd.arithmetic import COMPILER_OPTIONS
from backproof.backends.jax_autograd.losses import PENALTIES, of_real_samples, where_real
from backproof.backends.jax_autograd.network import Arrays, forward, zero_taps
from backproof.backends.jax_autograd.optimizers import state_of
from backproof.backends.jax_autograd.recipe import Recipe, recipe_of
from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem


class Batch(NamedTuple):
    """Inputs, targets, and, if some batch is short, which samples do not only pad it."""

    inputs: Array
    targets: Array
    real: Array | None


def loss_of(
    recipe: Recipe, trained: Arrays, taps: Arrays, others: Arrays, batch: Batch, *, training: bool
) -> tuple[Array, tuple[Arrays, Arrays]]:
    """Return the loss of a batch with the penalties; the values, and the buffers behind the step.

    Args:
        recipe: what is compiled.
        trained: the parameters to differentiate by, by path.
        taps: zeros that are added behind the values, to differentiate by.
        others: the frozen parameters, the masks of the step, and the buffers before it, by path.
        batch: (samples, *positions, features) of inputs, and targets.
        training: whether this is a step of training.
    """
    numbers, (x, t, real) = others | trained, batch
    numbers |= {path: tie.of(numbers) for path, tie in recipe.tied}
    output, values, buffers = forward(recipe, numbers, x, taps, real, training=training)
    loss = of_real_samples(recipe.loss, output, t, real)
    for penalty in recipe.penalties:
        for path in penalty.parameters:
            loss = loss + penalty.coefficient * jnp.sum(PENALTIES[penalty.kind](numbers[path]))
    return loss, (values, buffers)


class Samples(NamedTuple):
    """All that is given: inputs and targets; the samples, and by path the masks, of each step."""

    inputs: Array
    targets: Array
    batches: Array
    masks: Arrays


class Carry(NamedTuple):
    """What a step takes over from the one before it."""

    parameters: Arrays
    state: optax.OptState
    buffers: Arrays


def start_of(recipe: Recipe, parameters: Arrays, buffers: Arrays) -> Carry:
    """Return what there is before the first step."""
    trained = {path: parameters[path] for path in recipe.trained}
    return Carry(parameters, recipe.transformation.init(trained), buffers)


def take_step(recipe: Recipe, samples: Samples, carry: Carry, k: Array) -> tuple[Carry, tuple]:
    """Make update number k, of rows where -1 pads a short batch.

    Returns:
        What the next step takes over; the record by field and name, and the scheduled rate or None.
    """
    rows, real = samples.batches[k], None
    if recipe.sizes:  # padding repeats a real sample: `where` lets the NaN of another one through
        real = rows >= 0
        rows = jnp.where(real, rows, rows[0])
    batch = Batch(samples.inputs[rows], samples.targets[rows], real)
    trained = {path: carry.parameters[path] for path in recipe.trained}
    others = carry.parameters | carry.buffers | {path: m[k] for path, m in samples.masks.items()}
    look = jax.value_and_grad(partial(loss_of, recipe, training=True), (0, 1), has_aux=True)
    looked, gradients_of = look(trained, zero_taps(recipe, batch.inputs), others, batch)
    (loss, (values, buffers)), (gradients, cotangents) = looked, gradients_of
    updates, state = recipe.transformation.update(gradients, carry.state, trained)
    if recipe.optimizer:  # -0.0 + 0.0 is 0.0
        trained = optax.apply_updates(trained, updates)
    after = Carry(carry.parameters | trained, state, carry.buffers | buffers)
    blank = partial(jax.tree.map, partial(where_real, real))
    record = {
        "loss": loss,
        "values": blank(values),
        "cotangents": blank(cotangents),
        "gradients": gradients,
        **snapshot(recipe, carry, "before"),
        **snapshot(recipe, after, "after"),
    }
    return after, (record, recipe.rate(k) if recipe.schedule else None)


def snapshot(recipe: Recipe, carry: Carry, when: str) -> dict[str, Arrays]:
    """Name the parameters, the state and the buffers, `before` or `after` an update."""
    state = state_of(recipe.optimizer, carry.state)
    return {when: carry.parameters, f"state_{when}": state, f"buffers_{when}": carry.buffers}


class Loops(NamedTuple):
    """How to go through the steps, with the arguments of `lax.scan` and of `lax.fori_loop`."""

    scan: Callable
    fori_loop: Callable


def unpacked(record: dict, numbers: np.ndarray) -> dict:
    """Return the records of all steps, (R, numbers), by the names and shapes of one's."""
    leaves, structure = jax.tree.flatten(record)
    parts = np.split(numbers, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    arrays = [part.reshape(-1, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, arrays)


def train(
    loops: Loops,
    recipe: Recipe,
    parameters: Arrays,
    buffers: Arrays,
    samples: Samples,
    recorded: Array,
) -> tuple:
    """Scan over the recorded steps, and loop over those between them; then look at all samples.

    Returns:
        The packed records; the values of all samples by name; the loss of all samples.
    """
    step = partial(take_step, recipe, samples)

    def recorded_step(carry: Carry, interval: tuple) -> tuple:
        first, number = interval
        if len(recorded) < len(samples.batches):
            carry = loops.fori_loop(first, number, lambda k, carry: step(carry, k)[0], carry)
        carry, (record, rate) = step(carry, number)
        return carry, (ravel_pytree(record)[0], rate)  # one array compiles faster

    first = jnp.append(0, recorded[:-1] + 1)
    start = start_of(recipe, parameters, buffers)
    after, records = loops.scan(recorded_step, start, (first, recorded))
    everyone = jnp.full(len(samples.inputs), fill_value=True) if recipe.sizes else None
    batch = Batch(samples.inputs, samples.targets, everyone)
    numbers = after.parameters, zero_taps(recipe, batch.inputs), after.buffers
    final_loss, (values, _) = loss_of(recipe, *numbers, batch, training=False)
    return records, values, final_loss


in_one_scan = partial(train, Loops(lax.scan, lax.fori_loop))
compiled = jax.jit(in_one_scan, static_argnames="recipe", compiler_options=COMPILER_OPTIONS)

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
    start, recipe = time.perf_counter(), recipe_of(problem)
    masks = problem.masks_at(np.arange(problem.steps))
    samples = Samples(problem.inputs, problem.targets, problem.batches, masks)
    given = problem.parameters, problem.buffers
    forget_programs(recipe, problem)
    result = train(recipe, *given, samples, problem.recorded)
    (numbers, rates), values, final_loss = jax.tree.map(np.asarray, result)
    carry = jax.eval_shape(partial(start_of, recipe), *given)
    _, (record, _) = jax.eval_shape(partial(traced_step, recipe), samples, carry, 0)
    return Trajectory(
        steps=problem.recorded,
        final_values=values,
        final_loss=final_loss,
        learning_rates=rates,
        **unpacked(record, numbers),
        seconds=time.perf_counter() - start,
    )
