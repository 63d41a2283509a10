"""Mistakes of a schedule: the rate of another step, other settings, another curve."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from backproof.cases.format.optimizers import CosineDecay, LinearDecay, Schedule
from backproof.reference.formulas.schedules import learning_rates
from backproof.report.judging.mistakes.scene import Mistakes, Scene


def rates(scene: Scene) -> Mistakes:
    """Yield wrong learning rates."""
    problem, k, schedule = scene.problem, scene.step, scene.problem.schedule

    def of(step: int, other=schedule) -> float:
        return learning_rates(replace(problem, schedule=other), [step])[0]

    base = problem.optimizer.learning_rate
    yield scene.here("the rate of the next step", of(k + 1))
    yield scene.here("the rate of the step before", of(max(k - 1, 0)))
    yield scene.here("the rate without its schedule", base)
    for words, other in _other_schedules(schedule):
        yield scene.here(words, of(k, other))
    for words, factor in _unbounded(schedule, k):
        yield scene.here(words, base * factor)
    if (then := getattr(schedule, "then", None)) is not None:
        words = "a decay that is counted from the start, not from the end of the warm-up,"
        yield scene.here(words, of(k, then))


CURVES = {"linear_decay": (LinearDecay, "a line"), "cosine_decay": (CosineDecay, "half a cosine")}


def _other_schedules(schedule: Schedule) -> Iterator[tuple[str, Schedule]]:
    """Yield other settings, and a line for half a cosine or the other way round."""
    own = dict(schedule)
    changes = [
        ("every", "a change at every step", 1),
        ("end", "an end of 0", 0.0),
        ("start", "a start from 0", 0.0),
        ("steps", "one step more", own.get("steps", 0) + 1),
        ("steps", "one step less", own.get("steps", 0) - 1),
        ("rise", "a rise of one step more", own.get("rise", 0) + 1),
        ("fall", "a fall of one step more", own.get("fall", 0) + 1),
    ]
    for name, words, choice in changes:
        if name in own and choice != own[name]:
            yield words, schedule.model_copy(update={name: choice})
    for kind, (other, words) in CURVES.items():
        if schedule.kind in CURVES and kind != schedule.kind:
            changed = other(steps=own["steps"], end=own["end"])
            yield f"{words} in the place of {schedule.kind}", changed


def _unbounded(schedule: Any, k: int) -> Iterator[tuple[str, float]]:
    """Yield factors by another formula."""
    match schedule.kind:
        case "step_decay":
            yield "a decay that goes on between the steps", schedule.factor ** (k / schedule.every)
        case "exponential_decay":
            yield "exp(-(1 - factor) k)", math.exp(-(1 - schedule.factor) * k)
        case "linear_decay":
            yield "a line that goes on below its end", 1 + (schedule.end - 1) * k / schedule.steps
        case "cosine_decay":
            waves = {
                "a cosine that rises again behind its end": math.pi,
                "a whole wave in place of half a one": 2 * math.pi,
            }
            for words, length in waves.items():
                wave = (1 + math.cos(length * k / schedule.steps)) / 2
                yield words, schedule.end + (1 - schedule.end) * wave
        case "one_cycle" if k >= schedule.rise + schedule.fall:
            yield "an end of 0", 0.0
