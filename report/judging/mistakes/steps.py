"""Mistakes of one optimizer: another formula for its step, or for what it remembers."""

from __future__ import annotations

import math
from itertools import starmap
from typing import Any

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.cases.format.optimizers import Optimizer
from backproof.reference.numbers.balls import floats
from backproof.report.judging.mistakes.scene import Mistakes, Scene, Words

DECAYS = {
    "first_moment": "beta1",
    "second_moment": "beta2",
    "mean_square": "rho",
    "largest_second_moment": "beta2",
}


def formulas(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """Yield new parameters, or a new state, by another formula."""
    is_state = scene.phase == "state"
    name, _, path = scene.tensor.partition("/") if is_state else ("", "", scene.tensor)
    if path not in scene.used:
        return
    w = scene.parameters[path]
    before = {one: scene.state[f"{one}/{path}"] for one in optimizer.state}
    decay = getattr(optimizer, "weight_decay", 0)
    decoupled = getattr(optimizer, "is_decoupled", False)
    g = scene.used[path] + (0 if decoupled else decay) * w
    if is_state:
        yield from starmap(scene.here, _other_states(optimizer, name, g, before, scene))
        return
    after = scene.run.state_after
    now = {one: floats(after[key][0]) for one in before if (key := f"{one}/{path}") in after}
    if len(now) == len(before):
        shrink = scene.rate * decay if decoupled else 0
        for words, step in _other_steps(optimizer, g, before, now, scene.step + 1):
            yield scene.here(words, -scene.rate * step - shrink * w)


def _other_steps(o: Any, g: np.ndarray, before: Arrays, now: Arrays, t: int) -> Words:
    """Yield steps in units of the learning rate, from the memory before and after the update."""
    match o.kind:
        case "momentum":
            yield "the velocity before the update in place of the one after it", before["velocity"]
        case "adagrad":
            step = g / (np.sqrt(before["accumulator"]) + o.epsilon)
            yield "the accumulator before the update", step
        case "adadelta":
            u, direction = before["mean_square_update"], g / np.sqrt(now["mean_square"] + o.epsilon)
            later = np.sqrt(now["mean_square_update"] + o.epsilon)
            yield "the mean square of the updates after this one", later * direction
            yield "an epsilon that is forgotten in the numerator", np.sqrt(u) * direction
        case "rmsprop":
            step = g / (np.sqrt(before["mean_square"]) + o.epsilon)
            yield "the mean square before the update", step
        case "rprop":
            size, direction = now["step_size"] / o.learning_rate, np.sign(g)
            yield "the gradient in place of its sign", now["previous_gradient"] * size
            earlier = before["step_size"] / o.learning_rate
            yield "the step size before the update", direction * earlier
            yield "a gradient that is not set to 0 where it turned", direction * size
        case "adamax":
            yield "no correction of the bias", now["first_moment"] / now["infinity_norm"]
        case "adam" | "adamw" | "nadam" | "radam":
            yield from _other_steps_of_moments(o, g, now, t)


def _other_steps_of_moments(o: Any, g: np.ndarray, now: Arrays, t: int) -> Words:
    m, v = now["first_moment"], now["second_moment"]
    if getattr(o, "amsgrad", False):
        v = now["largest_second_moment"]
    share = 1 - o.beta2**t
    ahead, corrected = m / (1 - o.beta1**t), v / share
    root, uncorrected = np.sqrt(corrected) + o.epsilon, np.sqrt(v) + o.epsilon
    yield "no correction of the bias", m / uncorrected
    yield "a corrected second moment and a first one that is not", m / root
    yield "a corrected first moment and a second one that is not", ahead / uncorrected
    yield "epsilon inside the root", ahead / np.sqrt(corrected + o.epsilon)
    inside = ahead * np.sqrt(share) / np.sqrt(v + o.epsilon)
    yield "epsilon inside the root, before the correction,", inside
    yield "epsilon before the correction of the bias", ahead * np.sqrt(share) / uncorrected
    yield "the second moment without its root", ahead / (corrected + o.epsilon)
    yield "the gradient in place of the first moment", g / root
    if o.kind != "adam":
        yield "Adam's step", ahead / root
    nesterov = (1 - o.beta1) * g / (1 - o.beta1**t) + o.beta1 * m / (1 - o.beta1 ** (t + 1))
    yield "Nesterov's momentum without Dozat's schedule, optax' form,", nesterov / root
    if o.kind == "nadam":
        yield _other_step_of_nadam(o, g, m, now["momentum_product"], root, t)
    if o.kind == "radam":
        yield "a step that is never rectified", ahead
        yield "epsilon after the correction, optax' form,", ahead * _rectifier(o.beta2, t) / root


def _other_step_of_nadam(o: Any, g, m, q, root, t: int) -> tuple[str, np.ndarray]:
    now, later = (o.beta1 * (1 - 0.96 ** (s * o.momentum_decay) / 2) for s in (t, t + 1))
    words = "the momentum of this step twice in the product of the next one"
    return words, ((1 - now) * g / (1 - q) + later * m / (1 - q * now * later)) / root


def _rectifier(beta2: float, t: int) -> float:
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 5:
        return math.nan
    share = (length - 4) * (length - 2) / ((longest - 4) * (longest - 2))
    return math.sqrt(share * longest / length)


def _other_states(o: Any, name: str, g: np.ndarray, before: Arrays, scene: Scene) -> Words:
    """Yield what is remembered, by another formula."""
    memory, path = before[name], scene.tensor.partition("/")[2]
    if name == "velocity" and o.kind == "momentum":
        kept, ahead = o.momentum * memory, g + o.momentum * memory
        yield "an average of Nesterov's gradient", kept + (1 - o.momentum) * ahead
        yield "a sum of Nesterov's gradient", kept + ahead
        yield "the learning rate inside the velocity", kept + scene.rate * g
        yield "the velocity with the wrong sign", kept - g
    if name == "accumulator":
        yield "a sum of the gradients in place of their squares", memory + g
        yield "a sum of the absolute gradients in place of their squares", memory + np.abs(g)
    if name == "infinity_norm":
        yield "a sum in place of the maximum", o.beta2 * memory + np.abs(g) + o.epsilon
        yield "a maximum without epsilon", np.maximum(o.beta2 * memory, np.abs(g))
    if name == "average":
        yield "the last value in place of the average", scene.after[path]
    if (decay := getattr(o, DECAYS.get(name, ""), None)) is not None:
        yield from _other_averages(o, name, decay, g, memory, scene)
    if name == "largest_second_moment":
        second = floats(scene.run.state_after[f"second_moment/{path}"][0])
        words = "the largest second moment after the correction of the bias, optax' form,"
        yield words, np.maximum(memory, second / (1 - o.beta2 ** (scene.step + 1)))
        yield "the second moment in place of the largest one", second


def _other_averages(
    o: Any, name: str, decay: float, g: np.ndarray, memory: np.ndarray, scene: Scene
) -> Words:
    """Yield a decayed average of gradients or of their squares by another formula."""
    is_first = name == "first_moment"
    seen = g if is_first else g * g
    if name in ("first_moment", "second_moment") and hasattr(o, "beta2"):
        corrected = scene.truth / (1 - decay ** (scene.step + 1))
        yield "a moment that is stored after the correction of its bias", corrected
    yield "a sum in place of the average", memory + seen
    yield "a decayed sum without 1 - β", decay * memory + seen
    if not is_first:
        absolute = decay * memory + (1 - decay) * np.abs(g)
        yield "the absolute gradient in place of its square", absolute
        yield "the gradient in place of its square", decay * memory + (1 - decay) * g
    yield "β and 1 - β exchanged", (1 - decay) * memory + decay * seen
