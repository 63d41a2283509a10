"""Mistakes without a formula: the right numbers times a factor, elsewhere, or of another step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from backproof.reference.training import forward, total_loss
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene, Tensors, only

NO_DERIVATIVE = "a derivative that is never computed"
NOTHING = {"update": "a parameter that is frozen", "loss": "a loss that is never computed"}

# ---------------------------------------------------------------- times a number


def of_known_factors(scene: Scene) -> Mistakes:
    """Yield nothing, or the truth times a number that stands for something."""
    yield scene.here(NOTHING.get(scene.phase, NO_DERIVATIVE), 0 * scene.truth)
    of_the_loss = scene.phase == "loss" or scene.key == ("cotangent", scene.problem.output)
    for words, factor in known(scene, of_loss=of_the_loss):
        yield scene.here(words, factor * scene.truth)
    if len(scene.checks) > 1:
        gradients = only("gradient", scene.truths)
        for words, factor in [(NO_DERIVATIVE, 0), *known(scene, of_loss=True)]:
            told = words.rstrip(",")
            yield Mistake(f"{told}, in every gradient,", _times(gradients, factor))
            if factor:
                told = f"{told}, in the loss and in every gradient,"
                yield Mistake(told, _times(scene.truths, factor))
        yield Mistake(NOTHING["loss"], _times(scene.truths, 0))


def known(scene: Scene, *, of_loss: bool) -> Iterator[tuple[str, float]]:
    """Yield numbers that stand for something, in words."""
    updated, loss = scene.phase == "update", scene.problem.loss
    samples, size = len(scene.batch), scene.problem.batches.shape[1]
    yield "a step uphill" if updated else "a wrong sign", -1
    twice = "twice the learning rate, or an update made twice," if updated else "a missing factor ½"
    yield twice, 2
    yield "half the learning rate" if updated else "a missing factor 2", 1 / 2
    yield from _of_means(scene, of_loss=of_loss)
    if samples < size:
        yield f"a mean over {size} samples where the batch has {samples}", samples / size
    if updated:
        rate = scene.problem.optimizer.learning_rate
        yield "a forgotten learning rate", 1 / rate
        yield "the learning rate squared", rate
    if of_loss and loss.factor not in (1 / 2, 2):
        yield "the loss without its factor", 1 / loss.factor
    if scene.phase == "loss":
        yield "a logarithm of base 2", 1 / math.log(2)
    if of_loss and loss.kind == "smooth_l1":
        yield "a loss that is not divided by beta", loss.beta


def _of_means(scene: Scene, *, of_loss: bool) -> Iterator[tuple[str, float]]:
    """Yield the factors of a mean for a sum, or of a sum for a mean; layers add up."""
    problem, samples = scene.problem, len(scene.batch)
    outputs, positions = problem.targets.shape[-1], _positions(scene, of_loss=of_loss)
    reduction = problem.loss.reduction if of_loss else "sum"
    numbers = {"positions": positions}
    if of_loss:
        numbers["outputs"] = outputs
    elif scene.phase == "gradient" and scene.tensor.endswith(".slope"):
        numbers["units"] = problem.shapes[scene.tensor.rpartition(".")[0]][-1]
    over = {"batch": samples}
    for what, number in numbers.items():
        if number > 1:
            over |= {what: number, f"batch and the {what}": samples * number}
    for what, number in over.items():
        is_mean = reduction == "mean" or (reduction == "batch_mean" and what == "batch")
        if number == 1 or (reduction == "batch_mean" and what.startswith("batch and")):
            continue  # the second is one over the batch already
        if is_mean:
            yield f"a sum over the {what} in place of a mean ({number})", number
        else:
            yield f"a mean over the {what} in place of a sum ({number})", 1 / number
    terms = samples * positions * outputs
    if terms > 1 and reduction == "mean":
        words = f"a mean that divides by {terms - 1}, one less than there are terms,"
        yield words, terms / (terms - 1)


def _positions(scene: Scene, *, of_loss: bool) -> int:
    """Count a sample's positions where the sum is: in the output, or in a parameter's layer."""
    if of_loss:
        return scene.problem.positions
    layer = scene.tensor.rpartition(".")[0]
    return math.prod(scene.problem.shapes[layer][:-1]) if layer in scene.problem.shapes else 1


def of_any_factor(scene: Scene) -> Mistakes:
    """Yield one factor for the whole tensor, or for all gradients."""
    if (factor := scene.factor) is None:
        return
    told = "every element" if scene.truth.size > 1 else "it"
    told = "every change" if scene.phase == "update" else told
    words, single = f"is {written(factor)} times what is right", scene.truth.size == 1
    yield scene.here(f"{told} {words}", factor * scene.truth, statement=True, again=single)
    if len(scene.checks) > 1:
        gradients = _times(only("gradient", scene.truths), factor)
        yield Mistake(f"every gradient {words}", gradients, statement=True)


def of_a_changing_factor(scene: Scene) -> Mistakes:
    """Yield one factor for the whole tensor, but another one at other steps."""
    if scene.factor is not None and scene.truth.size > 1:
        words = "every element is the right one times one factor, which changes from step to step"
        yield scene.here(words, scene.factor * scene.truth, statement=True, again=True)


def written(factor: float) -> str:
    """Write five digits of a factor, or how far it is from 1."""
    off = factor - 1
    return f"(1 {'+' if off > 0 else '-'} {abs(off):.3g})" if abs(off) < 1e-3 else f"{factor:.5g}"


def _times(tensors: Tensors, factor: float) -> Tensors:
    return {key: factor * array for key, array in tensors.items()}


# ---------------------------------------------------------------- in other places


def of_other_places(scene: Scene) -> Mistakes:
    """Yield the right numbers elsewhere, averaged, cut off, or with something added."""
    truth, found = scene.truth, scene.found[scene.key]
    if np.isnan(found).all():
        return
    if truth.ndim == 2 and scene.phase in ("gradient", "update"):
        is_square = len(truth) == len(truth.T)
        words = "the transpose" if is_square else "the transpose, reshaped,"
        yield scene.here(words, truth.T.reshape(truth.shape))
    if truth.ndim:
        yield scene.here("the units in the order turned around", truth[..., ::-1])
        yield scene.here("the mean of all elements in every one", truth.mean() + 0 * truth)
        yield scene.here("the sum of all elements in every one", truth.sum() + 0 * truth)
    if truth.size > 2:
        added = np.median(found - truth)
        yield scene.here(f"{added:.3g} added to every element", truth + added)
    limit = np.abs(found).max(initial=0)
    cut, others = (np.abs(truth) > limit).sum(), (np.abs(truth) < limit).any()
    if cut and (others or cut > 1):
        again = bool(cut == 1 or not others)
        yield scene.here(f"a cut at ±{limit:.3g}", np.clip(truth, -limit, limit), again=again)
    if scene.phase in ("gradient", "update"):
        yield from _with_decay(scene)


def _with_decay(scene: Scene) -> Mistakes:
    """Yield the truth with some of the parameter itself added."""
    w = scene.parameters[scene.tensor]
    square = (w * w).sum()
    if w.size < 2 or not square:
        return
    share = float((w * (scene.found[scene.key] - scene.truth)).sum() / square)
    decay = f" of {-share / scene.rate:.3g}" if scene.phase == "update" else ""
    words = f"{share:.3g} times the parameter added, a weight decay{decay},"
    yield scene.here(words, scene.truth + share * w)


# ---------------------------------------------------------------- of another tensor or step


def of_other_tensors(scene: Scene) -> Mistakes:
    """Yield another parameter's gradient, in the gradient or in the update."""
    is_update = scene.phase == "update"
    if not is_update and scene.phase != "gradient":
        return
    for path, gradient in (scene.gradients if is_update else scene.all_gradients()).items():
        if path != scene.tensor and gradient.shape == scene.truth.shape:
            words = f"the gradient of {path}"
            if is_update:
                yield Mistake(words, scene.updated(scene.gradients | {scene.tensor: gradient}))
            else:
                yield scene.here(words, gradient)


def of_other_steps(scene: Scene) -> Mistakes:
    """Yield what the step before gives, or adds, and what the parameters after the update give."""
    if scene.phase in ("loss", "cotangent", "gradient"):
        after = scene.numbers_after
        yield Mistake("weights that are already updated", scene.computed(numbers=after))
        values, _ = forward(scene.problem.network, after, scene.inputs)
        loss = total_loss(scene.problem, after, values[scene.problem.output], scene.targets)
        yield Mistake("the loss after the update", {("loss", "loss"): np.asarray(loss)})
    if (earlier := scene.earlier) is None or scene.key not in earlier.found:
        return
    before, right = earlier.found[scene.key], earlier.truths
    if before.shape != scene.truth.shape:
        return
    if scene.phase in ("loss", "gradient", "value"):
        every = {key: right[key] for key in only(scene.phase, scene.found)}
        yield Mistake(f"the {scene.phase} of the step before", every)
    if scene.phase == "gradient":
        gradients = only("gradient", scene.truths)
        added = {key: truth + earlier.found[key] for key, truth in gradients.items()}
        yield Mistake("a gradient that is not reset between steps", added)
    if scene.phase == "loss":
        yield scene.here("the sum with the loss of the step before", scene.truth + right[scene.key])
        yield scene.here("a sum of the losses so far", scene.truth + before)
    if scene.phase == "update":
        yield Mistake("the gradient of the step before", scene.updated(earlier.gradients))
