"""Mistakes of one optimizer: another formula for its step, or for what it remembers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.cases.format.optimizers import Optimizer
from backproof.reference.numbers.balls import floats
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene


def formulas(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """New parameters or states by another formula."""
    path = scene.tensor if scene.phase == "update" else scene.tensor.partition("/")[2]
    if path not in scene.used:
        return
    g, before = scene.used[path], {name: scene.state[f"{name}/{path}"] for name in optimizer.state}
    decay, decoupled = (
        getattr(optimizer, "weight_decay", 0),
        getattr(optimizer, "is_decoupled", False),
    )
    g = g if decoupled else g + decay * scene.parameters[path]
    recorded = [name for name in optimizer.state if f"{name}/{path}" in scene.run.state_after]
    now = {name: floats(scene.run.state_after[f"{name}/{path}"][0]) for name in recorded}
    if scene.phase == "update" and len(now) == len(optimizer.state):
        shrink = scene.rate * decay if decoupled else 0
        for words, step in _other_steps(optimizer, g, before, now, scene.step + 1):
            yield Mistake(words, {scene.key: -scene.rate * step - shrink * scene.parameters[path]})
    elif scene.phase == "state":
        name = scene.tensor.partition("/")[0]
        for words, memory in _other_states(optimizer, name, g, before, scene):
            yield Mistake(words, {scene.key: memory})


def _other_steps(
    o: Optimizer, g: np.ndarray, before: Arrays, now: Arrays, t: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Steps in units of the learning rate, from the memory before and after the update."""
    match o.kind:
        case "momentum":
            yield "the velocity before the update in place of the one after it", before["velocity"]
        case "adagrad":
            yield (
                "the accumulator before the update",
                g / (np.sqrt(before["accumulator"]) + o.epsilon),
            )
        case "adadelta":
            s, u, u_now = (
                now["mean_square"],
                before["mean_square_update"],
                now["mean_square_update"],
            )
            yield (
                "the mean square of the updates after this one",
                g * np.sqrt(u_now + o.epsilon) / np.sqrt(s + o.epsilon),
            )
            yield (
                "an epsilon that is forgotten in the numerator",
                g * np.sqrt(u) / np.sqrt(s + o.epsilon),
            )
        case "rmsprop":
            yield (
                "the mean square before the update",
                g / (np.sqrt(before["mean_square"]) + o.epsilon),
            )
        case "rprop":
            own, direction = now["previous_gradient"], np.sign(g)
            yield "the gradient in place of its sign", own * now["step_size"] / o.learning_rate
            yield (
                "the step size before the update",
                direction * before["step_size"] / o.learning_rate,
            )
            yield (
                "a gradient that is not set to 0 where it turned",
                direction * now["step_size"] / o.learning_rate,
            )
        case "adamax":
            yield "no correction of the bias", now["first_moment"] / now["infinity_norm"]
        case "adam" | "adamw" | "nadam" | "radam":
            yield from _other_steps_of_moments(o, g, now, t)
        case _:
            return


def _other_steps_of_moments(
    o: Optimizer, g: np.ndarray, now: Arrays, t: int
) -> Iterator[tuple[str, np.ndarray]]:
    m, v = now["first_moment"], now["second_moment"]
    if getattr(o, "amsgrad", False):
        v = now["largest_second_moment"]
    ahead, corrected = m / (1 - o.beta1**t), v / (1 - o.beta2**t)
    root = np.sqrt(corrected) + o.epsilon
    yield "no correction of the bias", m / (np.sqrt(v) + o.epsilon)
    yield "a corrected second moment and a first one that is not", m / root
    yield "a corrected first moment and a second one that is not", ahead / (np.sqrt(v) + o.epsilon)
    yield "epsilon inside the root", ahead / np.sqrt(corrected + o.epsilon)
    yield (
        "epsilon inside the root, before the correction,",
        ahead * np.sqrt(1 - o.beta2**t) / np.sqrt(v + o.epsilon),
    )
    yield (
        "epsilon before the correction of the bias",
        ahead * np.sqrt(1 - o.beta2**t) / (np.sqrt(v) + o.epsilon),
    )
    yield "the second moment without its root", ahead / (corrected + o.epsilon)
    yield "the gradient in place of the first moment", g / root
    if o.kind != "adam":
        yield "Adam's step", ahead / root
    nesterov = (
        (1 - o.beta1) * g / (1 - o.beta1**t) + o.beta1 * m / (1 - o.beta1 ** (t + 1))
    ) / root
    yield "Nesterov's momentum without Dozat's schedule, optax' form,", nesterov
    if o.kind == "nadam":
        yield from _other_steps_of_nadam(o, g, m, now["momentum_product"], root, t)
    if o.kind == "radam":
        yield "a step that is never rectified", ahead
        yield "epsilon after the correction, optax' form,", ahead * _rectifier(o.beta2, t) / root


def _other_steps_of_nadam(o: Optimizer, g, m, q, root, t: int) -> Iterator[tuple[str, np.ndarray]]:
    now, later = (o.beta1 * (1 - 0.96 ** (s * o.momentum_decay) / 2) for s in (t, t + 1))
    words = "the momentum of this step twice in the product of the next one"
    yield words, ((1 - now) * g / (1 - q) + later * m / (1 - q * now * later)) / root


def _rectifier(beta2: float, t: int) -> float:
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 5:
        return math.nan
    return math.sqrt(
        (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    )


def _other_states(
    o: Optimizer, name: str, g: np.ndarray, before: Arrays, scene: Scene
) -> Iterator[tuple[str, np.ndarray]]:
    """What is remembered, by another formula."""
    t, memory, right = scene.step + 1, before[name], scene.truth
    decays = {
        "first_moment": "beta1",
        "second_moment": "beta2",
        "mean_square": "rho",
        "largest_second_moment": "beta2",
    }
    decay = getattr(o, decays.get(name, ""), None)
    if name == "velocity" and o.kind == "momentum":
        ahead = g + o.momentum * memory
        yield "an average of Nesterov's gradient", o.momentum * memory + (1 - o.momentum) * ahead
        yield "a sum of Nesterov's gradient", o.momentum * memory + ahead
        yield "the learning rate inside the velocity", o.momentum * memory + scene.rate * g
        yield "the velocity with the wrong sign", o.momentum * memory - g
    if name == "accumulator":
        yield "a sum of the gradients in place of their squares", memory + g
        yield "a sum of the absolute gradients in place of their squares", memory + np.abs(g)
    if name == "infinity_norm":
        yield "a sum in place of the maximum", o.beta2 * memory + np.abs(g) + o.epsilon
        yield "a maximum without epsilon", np.maximum(o.beta2 * memory, np.abs(g))
    if name == "average":
        yield "the last value in place of the average", scene.after[scene.tensor.partition("/")[2]]
    if decay is not None:
        if name in ("first_moment", "second_moment") and hasattr(o, "beta2"):
            words = "a moment that is stored after the correction of its bias"
            yield words, right / (1 - decay**t)
        yield "a sum in place of the average", memory + (g if name == "first_moment" else g * g)
        yield (
            "a decayed sum without 1 - β",
            decay * memory + (g if name == "first_moment" else g * g),
        )
        if name != "first_moment":
            yield (
                "the absolute gradient in place of its square",
                decay * memory + (1 - decay) * np.abs(g),
            )
        if name != "first_moment":
            yield "the gradient in place of its square", decay * memory + (1 - decay) * g
        yield (
            "β and 1 - β exchanged",
            (1 - decay) * memory + decay * (g if name == "first_moment" else g * g),
        )
    if name == "largest_second_moment":
        second = floats(scene.run.state_after[f"second_moment/{scene.tensor.partition('/')[2]}"][0])
        words = "the largest second moment after the correction of the bias, optax' form,"
        yield words, np.maximum(memory, second / (1 - o.beta2**t))
        yield "the second moment in place of the largest one", second
