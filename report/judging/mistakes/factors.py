"""Mistakes that need no formula: the right numbers times a factor, in other places, cut off, or of another step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from backproof.reference.training import forward, total_loss
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene, Tensors

# ---------------------------------------------------------------- times a number


def of_known_factors(scene: Scene) -> Mistakes:
    """Nothing, or the truth times a number that stands for something."""
    nothing = {"update": "a parameter that is frozen", "loss": "a loss that is never computed"}
    yield Mistake(nothing.get(scene.phase, "a derivative that is never computed"), _times(scene, 0))
    for words, factor in known(scene, of_loss=_is_of_the_loss(scene)):
        yield Mistake(words, _times(scene, factor))
    if len(scene.checks) > 1:
        for words, factor in [
            ("a derivative that is never computed", 0),
            *known(scene, of_loss=True),
        ]:
            yield Mistake(
                f"{words.rstrip(',')}, in every gradient,", _gradients_times(scene, factor)
            )
            if factor:
                told = f"{words.rstrip(',')}, in the loss and in every gradient,"
                yield Mistake(told, {key: factor * truth for key, truth in scene.truths.items()})
        yield Mistake(
            "a loss that is never computed", {key: 0 * truth for key, truth in scene.truths.items()}
        )


def known(scene: Scene, *, of_loss: bool) -> Iterator[tuple[str, float]]:
    """Numbers that stand for something."""
    updated = scene.phase == "update"
    samples, size, factor = (
        len(scene.batch),
        scene.problem.batches.shape[1],
        scene.problem.loss.factor,
    )
    yield "a step uphill" if updated else "a wrong sign", -1
    yield (
        "twice the learning rate, or an update made twice," if updated else "a missing factor ½",
        2,
    )
    yield "half the learning rate" if updated else "a missing factor 2", 1 / 2
    yield from _of_means(scene, of_loss=of_loss)
    if samples < size:
        yield f"a mean over {size} samples where the batch has {samples}", samples / size
    if updated:
        rate = scene.problem.optimizer.learning_rate
        yield "a forgotten learning rate", 1 / rate
        yield "the learning rate squared", rate
    if of_loss and factor not in (1 / 2, 2):
        yield "the loss without its factor", 1 / factor
    if scene.phase == "loss":
        yield "a logarithm of base 2", 1 / math.log(2)
    if of_loss and scene.problem.loss.kind == "smooth_l1":
        yield "a loss that is not divided by beta", scene.problem.loss.beta


def _is_of_the_loss(scene: Scene) -> bool:
    """A factor of the loss would be in it."""
    return scene.phase == "loss" or scene.key == ("cotangent", scene.last)


def _of_means(scene: Scene, *, of_loss: bool) -> Iterator[tuple[str, float]]:
    """A mean for a sum, or a sum for a mean, as far as the loss has them; what layers add up is a sum."""
    samples, outputs, positions = (
        len(scene.batch),
        scene.problem.targets.shape[-1],
        _positions(scene, of_loss=of_loss),
    )
    over, reduction = {"batch": samples}, "sum"
    over |= (
        {"positions": positions, "batch and the positions": samples * positions}
        if positions > 1
        else {}
    )
    if of_loss:
        reduction = scene.problem.loss.reduction
        over |= (
            {"outputs": outputs, "batch and the outputs": samples * outputs} if outputs > 1 else {}
        )
    elif scene.phase == "gradient" and scene.tensor.endswith(".slope"):
        units = scene.problem.shapes[scene.tensor.rpartition(".")[0]][-1]
        over |= {"units": units, "batch and the units": samples * units} if units > 1 else {}
    for what, number in over.items():
        is_mean = reduction == "mean" or (reduction == "batch_mean" and what == "batch")
        if reduction == "batch_mean" and what.startswith("batch and"):
            continue  # it is one over the batch already
        if number > 1 and is_mean:
            yield f"a sum over the {what} in place of a mean ({number})", number
        elif number > 1:
            yield f"a mean over the {what} in place of a sum ({number})", 1 / number
    terms = samples * positions * outputs
    if terms > 1 and reduction == "mean":
        yield (
            f"a mean that divides by {terms - 1}, one less than there are terms,",
            terms / (terms - 1),
        )


def _positions(scene: Scene, *, of_loss: bool) -> int:
    """How many positions a sample has where the sum is: in the output, or in a parameter's layer."""
    if of_loss:
        return scene.problem.positions
    layer = scene.tensor.rpartition(".")[0]
    return math.prod(scene.problem.shapes[layer][:-1]) if layer in scene.problem.shapes else 1


def of_any_factor(scene: Scene) -> Mistakes:
    """One factor for the whole tensor, or for all gradients."""
    factor = scene.factor
    if factor is None:
        return
    told = (
        "every change"
        if scene.phase == "update"
        else "every element"
        if scene.truth.size > 1
        else "it"
    )
    words = f"{told} is {written(factor)} times what is right"
    yield Mistake(words, _times(scene, factor), statement=True, again=scene.truth.size == 1)
    if len(scene.checks) > 1:
        words = f"every gradient is {written(factor)} times what is right"
        yield Mistake(words, _gradients_times(scene, factor), statement=True)


def of_a_changing_factor(scene: Scene) -> Mistakes:
    """One factor for the whole tensor, but another one at other steps."""
    factor = scene.factor
    if factor is not None and scene.truth.size > 1:
        words = "every element is the right one times one factor, which changes from step to step"
        yield Mistake(words, _times(scene, factor), statement=True, again=True)


def written(factor: float) -> str:
    """Six digits, or how far it is from 1."""
    off = factor - 1
    return f"(1 {'+' if off > 0 else '-'} {abs(off):.3g})" if abs(off) < 1e-3 else f"{factor:.5g}"


def _times(scene: Scene, factor: float) -> Tensors:
    return {scene.key: factor * scene.truth}


def _gradients_times(scene: Scene, factor: float) -> Tensors:
    return {key: factor * truth for key, truth in scene.truths.items() if key[0] == "gradient"}


# ---------------------------------------------------------------- in other places


def of_other_places(scene: Scene) -> Mistakes:
    """The right numbers elsewhere, averaged, cut off, or with something added."""
    truth, found = scene.truth, scene.found[scene.key]
    if np.isnan(found).all():
        return
    if truth.ndim == 2 and scene.phase in ("gradient", "update", "start", "continuity"):
        if len(truth) == len(truth.T):
            yield Mistake("the transpose", {scene.key: truth.T})
        else:
            yield Mistake("the transpose, reshaped,", {scene.key: truth.T.reshape(truth.shape)})
    if truth.ndim:
        yield Mistake("the units in the order turned around", {scene.key: truth[..., ::-1]})
        yield Mistake(
            "the mean of all elements in every one", {scene.key: truth.mean() + 0 * truth}
        )
        yield Mistake("the sum of all elements in every one", {scene.key: truth.sum() + 0 * truth})
    if truth.size > 2:
        added = np.median(found - truth)
        yield Mistake(f"{added:.3g} added to every element", {scene.key: truth + added})
    limit = np.abs(found).max(initial=0)
    cut, others = (np.abs(truth) > limit).sum(), (np.abs(truth) < limit).any()
    if cut and (others or cut > 1):
        yield Mistake(
            f"a cut at ±{limit:.3g}",
            {scene.key: np.clip(truth, -limit, limit)},
            again=cut == 1 or not others,
        )
    if scene.phase in ("gradient", "update"):
        yield from _with_decay(scene)


def _with_decay(scene: Scene) -> Mistakes:
    """Some of the parameter itself is added."""
    w = scene.parameters[scene.tensor]
    square = (w * w).sum()
    if w.size < 2 or not square:
        return
    share = float((w * (scene.found[scene.key] - scene.truth)).sum() / square)
    decay = f" of {-share / scene.rate:.3g}" if scene.phase == "update" else ""
    words = f"{share:.3g} times the parameter added, a weight decay{decay},"
    yield Mistake(words, {scene.key: scene.truth + share * w})


# ---------------------------------------------------------------- of another tensor, of another step


def of_other_tensors(scene: Scene) -> Mistakes:
    """Another parameter's gradient, in the gradient or in the update."""
    if scene.phase == "gradient":
        for path, gradient in scene.all_gradients().items():
            if path != scene.tensor and gradient.shape == scene.truth.shape:
                yield Mistake(f"the gradient of {path}", {scene.key: gradient})
    if scene.phase == "update":
        for path, gradient in scene.gradients.items():
            if path != scene.tensor and gradient.shape == scene.truth.shape:
                swapped = scene.gradients | {scene.tensor: gradient}
                yield Mistake(f"the gradient of {path}", scene.updated(swapped))


def of_other_steps(scene: Scene) -> Mistakes:
    """The step before in the place of this one or added to it; the parameters after the update."""
    if scene.phase in ("loss", "cotangent", "gradient"):
        yield Mistake(
            "weights that are already updated", scene.computed(numbers=scene.numbers_after)
        )
        values, _ = forward(scene.problem.network, scene.numbers_after, scene.inputs)
        loss = total_loss(scene.problem, scene.numbers_after, values[scene.last], scene.targets)
        yield Mistake("the loss after the update", {("loss", "loss"): np.asarray(loss)})
    if (earlier := scene.earlier) is None or scene.key not in earlier.found:
        return
    before = earlier.found[scene.key]
    if before.shape != scene.truth.shape:
        return
    what = {"loss": "loss", "gradient": "gradient", "value": "value"}.get(scene.phase)
    if what:
        every = {key: earlier.truths[key] for key in scene.found if key[0] == scene.phase}
        yield Mistake(f"the {what} of the step before", every)
    if scene.phase == "gradient":
        added = {
            key: scene.truths[key] + earlier.found[key]
            for key in scene.found
            if key[0] == "gradient"
        }
        yield Mistake("a gradient that is not reset between steps", added)
    if scene.phase == "loss":
        yield Mistake(
            "the sum with the loss of the step before",
            {scene.key: scene.truth + earlier.truths[scene.key]},
        )
        yield Mistake("a sum of the losses so far", {scene.key: scene.truth + before})
    if scene.phase == "update":
        yield Mistake("the gradient of the step before", scene.updated(earlier.gradients))
