"""Mistakes of the loss and of its derivative."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np

from cases.losses import Loss
from reference.activations import log_softmax_forward, softmax_backward, softmax_forward
from reference.losses import LOSSES, loss_backward, loss_forward, penalty_forward
from reference.proof import floats
from report.mistakes.scene import Mistake, Mistakes, Scene

KINDS = {kind.kind: kind for kind in get_args(get_args(Loss)[0])}
REDUCTIONS = {"sum": "a sum in place of a mean", "mean": "a mean over all terms", "batch_mean": "a mean over the batch"}
OTHER_SETTINGS = {"delta": (1.0,), "beta": (1.0,), "label_smoothing": (0.0,), "class_weights": (None,)}


def settings(scene: Scene) -> Mistakes:
    """Other settings of the loss: in both passes or only in one."""
    yield from _instead(scene, _other_settings(scene.problem.loss))


def _instead(scene: Scene, others: Iterator[tuple[str, Loss]]) -> Mistakes:
    if scene.key not in (("loss", "loss"), ("cotangent", scene.last)) and scene.run.has_layers:
        return
    for words, other in others:
        yield from _told(scene, words, scene.computed(replace(scene.problem, loss=other)))


def _told(scene: Scene, words: str, both: dict) -> Mistakes:
    """Locally what is judged; end to end both passes, the loss alone and the gradients alone."""
    look = f"look at the {scene.problem.loss.kind} loss"
    yield Mistake(words, both, look)
    if not scene.run.has_layers:
        loss = {key: array for key, array in both.items() if key[0] == "loss"}
        yield Mistake(f"{words} in the loss alone", loss, look)
        slopes = {key: array for key, array in both.items() if key[0] == "gradient"}
        yield Mistake(f"{words} in the derivative alone", slopes, f"look at the derivative of the loss")


def other_kinds(scene: Scene) -> Mistakes:
    """Another loss of the format."""
    yield from _instead(scene, _other_kinds(scene.problem.loss))


def _other_settings(here: Loss) -> Iterator[tuple[str, Loss]]:
    for name, choices in OTHER_SETTINGS.items():
        for choice in choices:
            if name in type(here).model_fields and getattr(here, name) != choice:
                written = "no" if choice in (None, 0.0) else f"{choice:g} for the"
                yield f"{written} {name.replace('_', ' ')}", here.model_copy(update={name: choice})


def _other_kinds(here: Loss) -> Iterator[tuple[str, Loss]]:
    own = {"gaussian_nll"}  # of twice as many outputs as targets
    common = {"factor": here.factor, "reduction": here.reduction}
    for kind, other in KINDS.items():
        if kind != here.kind and not {kind, here.kind} & own:
            yield f"{kind} in the place of {here.kind}", other(**common)
            for factor in (2, 1 / 2):
                words = f"{factor:g} times {kind} in the place of {here.kind}"
                yield words, other.model_construct(**(other(**common).model_dump() | {"factor": factor * here.factor}))


def values(scene: Scene) -> Mistakes:
    """The loss by another formula; the penalties are right."""
    if scene.phase != "loss":
        return
    loss, y, t = scene.problem.loss, scene.output, scene.targets
    rest = penalty_forward(scene.problem.penalties, scene.numbers)
    for words, value in _other_values(loss, y, t):
        yield Mistake(words, {scene.key: np.asarray(value + rest, np.float64)})
    for words, targets in other_targets(scene):
        yield Mistake(words, {scene.key: np.asarray(loss_forward(loss, y, targets) + rest)})


def other_targets(scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """The targets of other samples, or in another order."""
    first, batch, size = scene.problem.batches[0], scene.batch, len(scene.batch)
    targets = floats(scene.problem.targets)
    others = {
        "the targets of the first batch": targets[first[first >= 0][:size]],
        "the targets in the order turned around": targets[::-1][batch],
        "the targets of the batch in the order turned around": targets[batch][::-1],
        "the columns of the targets in the order turned around": targets[batch][:, ::-1],
        "the targets of one sample for all": targets[first[[0] * size]],
        "the targets of the next samples": targets[(batch + 1) % len(targets)],
    }
    yield from ((words, other) for words, other in others.items() if other.shape == scene.targets.shape)


def _other_values(loss: Loss, y: np.ndarray, t: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    def of(terms: np.ndarray) -> np.ndarray:
        number = {"sum": 1, "mean": terms.size, "batch_mean": len(y)}[loss.reduction]
        return loss.factor * terms.sum() / number

    right = loss_forward(loss, y, t)
    terms = LOSSES[loss.kind][0](loss, y, t)
    yield "the root of the loss", np.sqrt(right)
    yield "the loss with -t for t", loss_forward(loss, y, -t)
    yield "the loss with outputs and targets exchanged", loss_forward(loss, t, y) if y.shape == t.shape else np.nan
    yield "the square of the terms", of(np.square(terms))
    yield "the square of the sum in place of the sum of the squares", of(terms) * (y - t).sum() ** 2 / terms.sum()
    if loss.kind != "softmax_cross_entropy":
        yield "the outputs without the targets", of(y)
    yield from ((words, of(other)) for words, other in _other_terms(loss, y, t))


def _other_terms(loss: Loss, y: np.ndarray, t: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Other terms of the sum."""
    d, one = y - t if y.shape == t.shape else 0 * t, -1
    sigmoid = 1 / (1 + np.exp(-y))
    match loss.kind:
        case "weighted_squares":
            yield "the squares of the weights", np.square(t * y)
        case "log_cosh":
            yield "log 2 that is not subtracted", np.logaddexp(d, -d)
            yield "the parabola d² / 2", d * d / 2
        case "huber" | "smooth_l1":
            limit = loss.delta if loss.kind == "huber" else loss.beta
            joined = np.where(np.abs(d) <= limit, d * d / 2, limit * np.abs(d)) / (1 if loss.kind == "huber" else limit)
            yield "a straight part that is not joined to the parabola", joined
        case "binary_cross_entropy":
            yield "the term t log y alone", -t * np.log(y)
            yield "the term (1 - t) log(1 - y) alone", -(1 - t) * np.log(1 - y)
            eps = 1e-7
            yield "outputs that are cut off at 1e-7", -(t * np.log(y + eps) + (1 - t) * np.log(1 - y + eps))
        case "sigmoid_binary_cross_entropy":
            twice = 1 / (1 + np.exp(-sigmoid))
            yield "sigmoid taken twice, of probabilities in place of logits,", _cross_entropy(twice, t)
            yield "a forgotten sigmoid", _cross_entropy(y, t)
        case "softmax_cross_entropy":
            smoothing, n = loss.label_smoothing, y.shape[-1]
            s = (1 - smoothing) * t + smoothing / n
            log_p = log_softmax_forward(y)
            yield "a forgotten softmax", -(s * y).sum(axis=one, keepdims=True)
            spread = (1 - smoothing) * t + smoothing * (1 - t) / (n - 1)
            yield "smoothing that the other classes share alone", -(spread * log_p).sum(axis=one, keepdims=True)
            again = log_softmax_forward(softmax_forward(y))
            yield "softmax taken twice, of probabilities in place of logits,", -(s * again).sum(axis=one, keepdims=True)
            yield from (
                (f"{eps:g} added inside the logarithm", -(s * np.log(np.exp(log_p) + eps)).sum(axis=one, keepdims=True))
                for eps in (1e-8, 1e-7, 1e-9, 1e-10, 1e-12, 1e-15)
            )
        case "negative_log_likelihood":
            yield "a logarithm taken once more", -(t * np.log(np.abs(y))).sum(axis=one, keepdims=True)
        case "kl_divergence":
            yield "the entropy of the targets left out", -t * y
            yield "the divergence the other way round", np.exp(y) * (y - np.log(t))
        case "poisson":
            yield "a rate where its logarithm is given", y - t * np.log(np.abs(y))
        case "hinge" | "squared_hinge":
            power = 1 if loss.kind == "hinge" else 2
            yield "a margin of 0, the perceptron's,", np.maximum(-t * y, 0) ** power
        case "gaussian_nll":
            n = y.shape[-1] // 2
            m, s = y[..., :n], y[..., n:]
            yield "the log variance left out", np.square(m - t) * np.exp(-s) / 2
            variance = np.abs(s)
            yield "a variance where its logarithm is given", (np.log(variance) + np.square(m - t) / variance) / 2
        case "cosine":
            length = np.linalg.norm(y, axis=one, keepdims=True)
            along = (y * t).sum(axis=one, keepdims=True)
            yield "the similarity in place of the distance", along / length / np.linalg.norm(t, axis=one, keepdims=True)
            yield "the length of the targets left out", 1 - along / length
            yield "the lengths left out", 1 - along
        case _:
            return


def _cross_entropy(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


# ---------------------------------------------------------------- its derivative


def slopes(scene: Scene) -> Mistakes:
    """The derivative of the loss by another formula."""
    if scene.run.has_layers and scene.key != ("cotangent", scene.last):
        return
    for words, change in _other_slopes(scene.problem.loss):

        def slope(loss, y, t, change=change):
            right = loss_backward(loss, y, t)
            return change(y, t, right)

        look = f"look at the derivative of the {scene.problem.loss.kind} loss"
        yield Mistake(words, scene.computed(slope=slope), look)


def _other_slopes(loss: Loss) -> Iterator[tuple[str, object]]:
    """Of the outputs, the targets and the right derivative."""

    def of(terms, y, t):
        """A derivative of these terms."""
        own = LOSSES[loss.kind][1](loss, y, t)
        weight = loss_backward(loss, y, t)[own != 0].sum() / own[own != 0].sum() if own.any() else np.nan
        return terms * weight

    kind = loss.kind
    yield "a cotangent of ones", lambda y, t, right: 0 * right + 1
    yield "ones in place of the derivative of the terms", lambda y, t, right: of(0 * y + 1, y, t)
    yield "the outputs in place of the derivative", lambda y, t, right: of(y, y, t)
    yield "the signs of the derivative", lambda y, t, right: np.sign(right)
    yield "the derivative with -t for t", lambda y, t, right: loss_backward(loss, y, -t)
    yield "the derivative on the other side of the kink", lambda y, t, right: _other_side(loss, y, t, right)
    yield "half a derivative at the kink", lambda y, t, right: (_other_side(loss, y, t, right) + right) / 2
    if kind not in ("squared_error", "huber"):
        yield "y - t in place of the derivative", lambda y, t, right: of(y - t, y, t)
    yield "sigmoid's derivative once more", lambda y, t, right: right * _sigmoid(y) * _sigmoid(-y)
    yield "softmax's derivative once more", lambda y, t, right: softmax_backward(y, softmax_forward(y), right)
    if kind == "huber":
        yield "a derivative that is not cut off at delta", lambda y, t, right: of(y - t, y, t)
        yield "a cut at 1 of d / delta, in place of delta,", lambda y, t, right: right / loss.delta
    if kind == "smooth_l1":
        yield "a derivative that is not divided by beta", lambda y, t, right: right * loss.beta
    if kind == "log_cosh":
        yield "sigmoid(d) in place of tanh(d)", lambda y, t, right: of(_sigmoid(y - t), y, t)
    if kind == "hinge":
        yield "a forgotten mask", lambda y, t, right: of(-t, y, t)
    if kind == "kl_divergence":
        yield "exp(y) - t, of the softmax's cross-entropy,", lambda y, t, right: of(np.exp(y) - t, y, t)
    if kind == "gaussian_nll":
        yield "a variance that is taken for a constant", lambda y, t, right: right * _first_half(y)
        yield "a mean that is taken for a constant", lambda y, t, right: right * (1 - _first_half(y))
    if kind == "cosine":
        norms = lambda y, t: np.linalg.norm(y, axis=-1, keepdims=True) * np.linalg.norm(t, axis=-1, keepdims=True)  # noqa: E731
        yield "lengths that are taken for constants", lambda y, t, right: of(-t / norms(y, t), y, t)
    if kind == "binary_cross_entropy":
        for epsilon in (1e-3, 1e-5, 1e-7, 1e-8, 1e-10, 1e-12):
            yield (
                f"{epsilon:g} added to the denominators",
                lambda y, t, right, e=epsilon: of((1 - t) / (1 - y + e) - t / (y + e), y, t),
            )


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _first_half(y: np.ndarray) -> np.ndarray:
    return (np.arange(y.shape[-1]) < y.shape[-1] // 2).astype(np.float64)


def _other_side(loss: Loss, y: np.ndarray, t: np.ndarray, right: np.ndarray) -> np.ndarray:
    """At a kink the derivative of its upper side, elsewhere the right one."""
    return loss_backward(loss, np.nextafter(y, np.inf), t)
