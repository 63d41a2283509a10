"""Clipping gradients and scheduling learning rates in JAX."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from backproof.cases.format.optimizers import AnySchedule, Clip, OneCycle, WarmUp


def clip_gradients(clip: Clip) -> optax.GradientTransformation:
    """Return optax.clip or optax.clip_by_global_norm, or as that has no epsilon its formula."""
    if clip.kind == "value":
        return optax.clip(clip.maximum)
    if not clip.epsilon:
        return optax.clip_by_global_norm(clip.maximum)

    def scaled(gradients: dict, _: dict) -> dict:
        norm = optax.tree_utils.tree_norm(gradients)
        share = jnp.minimum(1, clip.maximum / (norm + clip.epsilon))
        return jax.tree.map(lambda g: g * share, gradients)

    return optax.stateless(scaled)


def _one_cycle(schedule: OneCycle, rate: float) -> optax.Schedule:
    """Return a rise and a fall along cosines; each end is a multiple of the rate before it."""
    ends = {schedule.rise: 1 / schedule.start, schedule.rise + schedule.fall: schedule.end}
    return optax.piecewise_interpolate_schedule("cosine", schedule.start * rate, ends)


def _warm_up(schedule: WarmUp, rate: float) -> optax.Schedule:
    """Return a linear rise to the rate, and what follows it."""
    up = optax.linear_schedule(schedule.start * rate, rate, schedule.steps)
    if schedule.then is None:
        return up
    return optax.join_schedules([up, schedule_of(schedule.then, rate)], [schedule.steps])


SCHEDULES: dict[str, Callable] = {
    "step_decay": lambda of, rate: optax.exponential_decay(
        rate, of.every, of.factor, staircase=True
    ),
    "exponential_decay": lambda of, rate: optax.exponential_decay(rate, 1, of.factor),
    "linear_decay": lambda of, rate: optax.linear_schedule(rate, of.end * rate, of.steps),
    "cosine_decay": lambda of, rate: optax.cosine_decay_schedule(rate, of.steps, of.end),
    "one_cycle": _one_cycle,
    "warm_up": _warm_up,
}


def schedule_of(schedule: AnySchedule, rate: float) -> optax.Schedule:
    """Return a schedule of optax, of float64 counts: of integers many compute in float32."""
    of_float = SCHEDULES[schedule.kind](schedule, rate)
    return lambda count: jnp.asarray(of_float(jnp.asarray(count, float)), float)
