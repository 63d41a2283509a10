"""What stands before an update in JAX: gradients are clipped, and learning rates follow schedules."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from backproof.cases.format.optimizers import AnySchedule, Clip


def clip_gradients(clip: Clip) -> optax.GradientTransformation:
    """optax.clip, and optax.clip_by_global_norm, which has no epsilon."""
    if clip.kind == "value":
        return optax.clip(clip.maximum)
    if not clip.epsilon:
        return optax.clip_by_global_norm(clip.maximum)

    def scaled(gradients: dict, _: dict) -> dict:
        share = jnp.minimum(
            1, clip.maximum / (optax.tree_utils.tree_norm(gradients) + clip.epsilon)
        )
        return jax.tree.map(lambda g: g * share, gradients)

    return optax.stateless(scaled)


def _warm_up(schedule: AnySchedule, rate: float) -> optax.Schedule:
    up = optax.linear_schedule(schedule.start * rate, rate, schedule.steps)
    return (
        optax.join_schedules([up, schedule_of(schedule.then, rate)], [schedule.steps])
        if schedule.then
        else up
    )


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
