"""Wrong rules for what layers share: skips, masks, ties, frozen parameters, penalties; and for clips and schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from backproof.backends.jax_autograd import schedules as jax_schedules
from backproof.backends.torch_autograd import schedules as torch_schedules
from backproof.reference import training
from backproof.reference.formulas import combining, losses, optimizers, schedules
from tests.trial.examples import SCHEDULES
from tests.trial.planting import Mutant, instead

BELOW = "below the rounding of float32"


def shared(name: str, rule: Callable, wrong: Callable, noticed: str, **more) -> Mutant:
    """A wrong rule on the network that shares."""
    return Mutant(name, rule, wrong, noticed, on="shared", **more)


def clip(kind: str, name: str, wrong: Callable, **more) -> Mutant:
    """Wrong gradients for the optimizer, of the clip and the right ones."""
    noticed = {"noticed": "update hidden.weight", "on": f"clipped by {kind}"} | more
    rule = lambda clip, found, _: wrong(clip, found)  # noqa: E731
    return Mutant(f"clip by {kind}: {name}", optimizers.clipped, instead(rule), **noticed)


def schedule(kind: str, name: str, wrong: Callable, **more) -> Mutant:
    """A wrong schedule, of the right one, its settings and the number of the step."""
    rule = schedules.SCHEDULES[kind]
    plant = lambda right: lambda settings, k, real: wrong(right, settings, k)  # noqa: E731
    return Mutant(f"{kind}: {name}", rule, plant, "learning rate", on=kind, **more)


def early(right, settings, k):
    """Counted from 1."""
    return right(settings, k + 1, float)


def late(right, settings, k):
    """Changes a step later."""
    return right(settings, max(k - 1, 0), float)


def gradients(change: Callable) -> Callable:
    """Other gradients by layer, of the problem and the right ones, before ties and penalties."""
    return lambda right: lambda asked, parameters, found, paths: right(asked, parameters, change(asked, found), paths)


def updating(change: Callable) -> Callable:
    """Another update, of the parameters before and after."""

    def plant(right):
        def update(optimizer, parameters, *others):
            after, state = right(optimizer, parameters, *others)
            return change(parameters, after), state

        return update

    return plant


def untied(right):
    """The tied weight is a copy of the start."""
    first = {}

    def operands(asked, parameters, *masks):
        return right(asked, parameters, *masks) | {
            path: first.setdefault(path, tie.of(parameters)) for path, tie in asked.tied.items()
        }

    return operands


def first_mask(right):
    """One mask for every step."""
    return lambda asked, *more: right(
        replace(asked, masks={name: mask[:1] for name, mask in asked.masks.items()}), *more
    )


def next_mask(right):
    """The masks one step early."""
    return lambda asked, *more: right(
        replace(asked, masks={name: np.roll(mask, -1, 0) for name, mask in asked.masks.items()}), *more
    )


def lengths(found: dict) -> float:
    """The norm of all gradients together."""
    return np.sqrt(sum((g * g).sum() for g in found.values()))


SHARING_MUTANTS = [
    # ------------------------------------------------------------ skips
    shared("skip: not added", combining.skip_forward, instead(lambda x, other: x), "value around"),
    shared("skip: the layer before twice", combining.skip_forward, instead(lambda x, other: 2 * x), "value around"),
    shared("skip: a mean", combining.skip_forward, instead(lambda x, other: (x + other) / 2), "value around"),
    shared("skip: subtracted", combining.skip_forward, instead(lambda x, other: x - other), "value around"),
    shared("skip: detached", combining.skip_backward, instead(lambda x, other, y, dy: (dy, 0 * dy)), "cotangent tanh1"),
    shared("skip: back through the skip alone", combining.skip_backward,
           instead(lambda x, other, y, dy: (0 * dy, dy)), "cotangent decoder"),
    shared("skip: its cotangent shared out", combining.skip_backward,
           instead(lambda x, other, y, dy: (dy / 2, dy / 2)), "cotangent decoder"),
    shared("skip: sums not added up, the last one kept", training.add,
           instead(lambda sums, name, derivative: sums.update({name: derivative})), "gradient middle.weight"),
    # ------------------------------------------------------------ dropout
    shared("dropout: not scaled", combining.dropout_forward,
           instead(lambda x, mask, rate: x if mask is None else x * mask), "value dropout"),
    shared("dropout: scaled by the rate", combining.dropout_forward,
           instead(lambda x, mask, rate: x if mask is None else x * mask / rate), "value dropout"),
    shared("dropout: mask turned around", combining.dropout_forward,
           instead(lambda x, mask, rate: x if mask is None else x * (1 - mask) / (1 - rate)), "value dropout"),
    shared("dropout: off in training", combining.dropout_forward, instead(lambda x, mask, rate: x), "value dropout"),
    shared("dropout: scaled after the last step", combining.dropout_forward,
           lambda right: lambda x, mask, rate: x * (1 - rate) if mask is None else right(x, mask, rate),
           "value dropout", step=6),
    shared("dropout: mask forgotten backward", combining.dropout_backward,
           instead(lambda x, y, dy, mask, rate: dy / (1 - rate)), "cotangent tanh1"),
    shared("dropout: not scaled backward", combining.dropout_backward,
           instead(lambda x, y, dy, mask, rate: dy * mask), "cotangent tanh1"),
    shared("dropout: one mask for every step", training.train, first_mask, "value dropout", step=1),
    shared("dropout: masks a step early", training.train, next_mask, "value dropout"),
    # ------------------------------------------------------------ ties, frozen parameters
    shared("tied: gradient of the second layer forgotten", training.trained,
           gradients(lambda asked, found: {p: g for p, g in found.items() if p not in asked.tied}),
           "gradient encoder.weight"),
    shared("tied: gradient of the first layer forgotten", training.trained,
           gradients(lambda asked, found: {p: g for p, g in found.items() if p != "encoder.weight"}),
           "gradient encoder.weight"),
    shared("tied: a mean of the gradients", training.trained,
           gradients(lambda asked, found: {p: g / (1 + (p.endswith("coder.weight"))) for p, g in found.items()}),
           "gradient encoder.weight"),
    shared("tied: a copy of the start", training.operands, untied, "value decoder", step=1),
    shared("frozen: updated", optimizers.update,
           updating(lambda before, after: after | {"middle.bias": before["middle.bias"] * (1 - 1e-6)}),
           "update middle.bias"),
    shared("frozen: another one in its place", optimizers.update,
           updating(lambda before, after: after | {"decoder.bias": before["decoder.bias"]}), "update decoder.bias"),
    # ------------------------------------------------------------ penalties, weight decay
    shared("penalty: not in the loss", losses.penalty_forward, instead(lambda *_: 0), "loss"),
    shared("penalty: twice in the loss", losses.penalty_forward,
           lambda right: lambda *operands: 2 * right(*operands), "loss"),
    shared("penalty: frozen parameters left out", losses.penalty_forward,
           lambda right: lambda penalties, parameters, axes: right(penalties, parameters | {
               "middle.bias": 0 * parameters["middle.bias"]}, axes), "loss"),
    shared("penalty: not in the gradient", losses.penalty_backward,
           instead(lambda penalties, path, w: iter(())), "gradient middle.weight"),
    shared("penalty: ½ forgotten or too many", losses.penalty_backward,
           lambda right: lambda *operands: (term / 2 for term in right(*operands)), "gradient middle.weight"),
    shared("penalty: its sign", losses.penalty_backward,
           lambda right: lambda *operands: (-term for term in right(*operands)), "gradient middle.weight"),
    shared("penalty: L2 for L1", losses.penalty_backward,
           lambda right: lambda penalties, path, w: (2 * p.coefficient * w for p in penalties if path in p.parameters),
           "gradient encoder.weight"),
    shared("penalty: the first one only", losses.penalty_backward,
           lambda right: lambda penalties, *operands: right(penalties[:1], *operands), "gradient middle.weight"),
    shared("decay: of weights only", optimizers.decayed,
           lambda right: lambda o, w, g: right(o, w, g) if w.ndim > 1 else (w, g), "update encoder.bias"),
    shared("decay: doubled", optimizers.decayed,
           lambda right: lambda o, w, g: (w, g + 2 * o.weight_decay * w), "update encoder.weight"),
    shared("decay: of the gradient", optimizers.decayed,
           lambda right: lambda o, w, g: (w, g + o.weight_decay * g), "update encoder.weight"),
    # ------------------------------------------------------------ clips
    clip("norm", "forgotten", lambda clip, found: found),
    clip("norm", "each by its own norm", lambda clip, found: {
        p: g * min(1, clip.maximum / np.linalg.norm(g)).astype(g.dtype) for p, g in found.items()}),
    clip("norm", "largest element for the norm", lambda clip, found: {
        p: g * (clip.maximum / max(abs(x).max() for x in found.values())) for p, g in found.items()}),
    clip("norm", "squared norm", lambda clip, found: {
        p: g * (clip.maximum / lengths(found) ** 2).astype(g.dtype) for p, g in found.items()}),
    clip("norm", "an epsilon of 1e-6, torch's", lambda clip, found: {
        p: g * (clip.maximum / (lengths(found) + 1e-6)).astype(g.dtype) for p, g in found.items()}, blind=BELOW),
    clip("value", "forgotten", lambda clip, found: found),
    clip("value", "on the upper side only", lambda clip, found: {
        p: np.minimum(g, clip.maximum) for p, g in found.items()}),
    clip("value", "by the norm", lambda clip, found: {
        p: g * min(1, clip.maximum / lengths(found)).astype(g.dtype) for p, g in found.items()}),
    clip("value", "signs of the maximum", lambda clip, found: {p: np.sign(g) * g.dtype.type(clip.maximum) for p, g in found.items()}),
    Mutant("torch: clip_grad_norm_, which has an epsilon", torch_schedules.clip_gradients,
           instead(lambda clip, parameters: torch.nn.utils.clip_grad_norm_(parameters, clip.maximum)),
           "update hidden.weight", on="clipped by norm", backend="torch", blind=BELOW),
    # ------------------------------------------------------------ schedules
    *(schedule(kind, "counted from 1", early, step=1 if kind == "step_decay" else 0) for kind in SCHEDULES),
    *(schedule(kind, "a step late", late, step=2 if kind == "step_decay" else 1) for kind in SCHEDULES),
    schedule("step_decay", "at every step", lambda right, s, k: s.factor**k, step=1),
    schedule("step_decay", "not in steps", lambda right, s, k: s.factor ** (k / s.every), step=1),
    schedule("exponential_decay", "natural", lambda right, s, k: math.exp(-(1 - s.factor) * k), step=1),
    schedule("linear_decay", "on below its end", lambda right, s, k: 1 + (s.end - 1) * k / s.steps, step=4),
    schedule("cosine_decay", "up again behind its end, CosineAnnealingLR's",
             lambda right, s, k: s.end + (1 - s.end) * (1 + math.cos(math.pi * k / s.steps)) / 2, step=4),
    schedule("cosine_decay", "a line", lambda right, s, k: 1 + (s.end - 1) * min(k / s.steps, 1), step=1),
    schedule("cosine_decay", "whole wave", lambda right, s, k: s.end + (1 - s.end) * (
        1 + math.cos(2 * math.pi * k / s.steps)) / 2, step=1),
    schedule("one_cycle", "to 0 at its end", lambda right, s, k: right(s, k, float) - s.end * (k >= s.rise + s.fall), step=4),
    schedule("warm_up", "the decay counted from the start", lambda right, s, k: right(s, k, float) if k < s.steps else (
        schedules.factor(s.then, k, float)), step=2),
    schedule("warm_up", "from 0", lambda right, s, k: k / s.steps if k < s.steps else right(s, k, float)),
    Mutant("schedule: the optimizer does not see it", optimizers.at_rate, instead(lambda optimizer, rate: optimizer),
           "update hidden.weight", step=1, on="exponential_decay"),
    Mutant("jax: a schedule of an integer count, which is float32", jax_schedules.schedule_of,
           instead(lambda schedule, rate: lambda count: jax_schedules.SCHEDULES[schedule.kind](schedule, rate)(
               count).astype(float)), "update hidden.weight", on="exponential_decay", backend="jax",
           blind="there it is no mistake"),
]  # fmt: skip

SAME_IN_OTHER_WORDS = [
    shared("dropout: where in place of a product", combining.dropout_forward,
           instead(lambda x, mask, rate: x if mask is None else np.where(mask > 0, x / (1 - rate), 0 * x)), ""),
    shared("skip: turned around", combining.skip_forward, instead(lambda x, other: other + x), ""),
]  # fmt: skip
