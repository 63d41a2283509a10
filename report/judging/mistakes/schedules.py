"""Mistakes of a schedule: the rate of another step, other settings, another curve."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from backproof.cases.format.optimizers import AnySchedule
from backproof.reference.formulas.schedules import learning_rates
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene


def rates(scene: Scene) -> Mistakes:
    """A wrong learning rate."""
    problem, k, schedule = scene.problem, scene.step, scene.problem.schedule

    def of(step: int, other=schedule) -> dict:
        (rate,) = learning_rates(replace(problem, schedule=other), [step])
        return {scene.key: np.asarray(rate)}

    base = problem.optimizer.learning_rate
    yield Mistake("the rate of the next step", of(k + 1))
    yield Mistake("the rate of the step before", of(max(k - 1, 0)))
    yield Mistake("the rate without its schedule", {scene.key: np.asarray(base)})
    for words, other in _other_schedules(schedule):
        yield Mistake(words, of(k, other))
    for words, factor in _unbounded(schedule, k):
        yield Mistake(words, {scene.key: np.asarray(base * factor)})
    if (then := getattr(schedule, "then", None)) is not None:
        yield Mistake(
            "a decay that is counted from the start, not from the end of the warm-up,", of(k, then)
        )


def _other_schedules(schedule: AnySchedule) -> Iterator[tuple[str, AnySchedule]]:
    """Other settings, and a line for half a cosine or the other way round."""
    changes = {
        "every": {"a change at every step": 1},
        "end": {"an end of 0": 0.0},
        "start": {"a start from 0": 0.0},
        "steps": {
            "one step more": getattr(schedule, "steps", 0) + 1,
            "one step less": getattr(schedule, "steps", 2) - 1,
        },
        "rise": {"a rise of one step more": getattr(schedule, "rise", 0) + 1},
        "fall": {"a fall of one step more": getattr(schedule, "fall", 0) + 1},
    }
    for name, choices in changes.items():
        for words, choice in choices.items():
            if name in type(schedule).model_fields and choice != getattr(schedule, name):
                yield words, schedule.model_copy(update={name: choice})
    from_kinds = {"linear_decay": "a line", "cosine_decay": "half a cosine"}
    for kind, words in from_kinds.items():
        if schedule.kind in from_kinds and kind != schedule.kind:
            other = next(
                one for one in type(schedule).__mro__[1].__subclasses__() if one.kind == kind
            )
            yield (
                f"{words} in the place of {schedule.kind}",
                other(steps=schedule.steps, end=schedule.end),
            )


def _unbounded(schedule: AnySchedule, k: int) -> Iterator[tuple[str, float]]:
    """Factors by another formula."""
    match schedule.kind:
        case "step_decay":
            yield "a decay that goes on between the steps", schedule.factor ** (k / schedule.every)
        case "exponential_decay":
            yield "exp(-(1 - factor) k)", math.exp(-(1 - schedule.factor) * k)
        case "linear_decay":
            yield "a line that goes on below its end", 1 + (schedule.end - 1) * k / schedule.steps
        case "cosine_decay":
            wave = math.cos(math.pi * k / schedule.steps)
            yield (
                "a cosine that rises again behind its end",
                schedule.end + (1 - schedule.end) * (1 + wave) / 2,
            )
            whole = math.cos(2 * math.pi * k / schedule.steps)
            yield (
                "a whole wave in place of half a one",
                schedule.end + (1 - schedule.end) * (1 + whole) / 2,
            )
        case "one_cycle":
            if k >= schedule.rise + schedule.fall:
                yield "an end of 0", 0.0
        case _:
            return
