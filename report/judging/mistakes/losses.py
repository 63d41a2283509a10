"""Mistakes of the loss and of its derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from scipy.special import expit

from backproof.cases.format.losses import KINDS, Loss
from backproof.reference.formulas.activations import (
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)
from backproof.reference.formulas.losses import LOSSES, loss_backward, loss_forward, penalty_forward
from backproof.reference.numbers.balls import floats
from backproof.reference.training import by_row, total_loss
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene, Words, only

Formula = Callable[..., np.ndarray]

MOST_PARTS = 64
OTHER_SETTINGS = {"delta": 1.0, "beta": 1.0, "label_smoothing": 0.0, "class_weights": None}


def settings(scene: Scene) -> Mistakes:
    """Yield losses with other settings: in both passes or only in one."""
    yield from _instead(scene, _other_settings(scene.problem.loss))


def parts(scene: Scene) -> Mistakes:
    """Yield a mean of the means over parts of the batch, the last of which is shorter."""
    problem, n = scene.problem, len(scene.batch)
    if problem.loss.reduction == "sum" or scene.phase not in ("loss", "cotangent", "gradient"):
        return
    output, look = scene.values[problem.output], "look at how the parts of a batch are added up"
    for size in range(1, min(n, MOST_PARTS)):
        if n % size == 0:
            continue
        ends = range(size, n, size)
        each = zip(np.split(output, ends), np.split(scene.targets, ends), strict=True)
        losses = [total_loss(problem, scene.numbers, y, t) for y, t in each]

        def slope(loss: Loss, y: np.ndarray, t: np.ndarray, positions: int, size: int = size):
            rows = range(size * positions, len(y), size * positions)
            both = zip(np.split(y, rows), np.split(t, rows), strict=True)
            found = [loss_backward(loss, *one, positions) for one in both]
            return np.concatenate(found) / len(found)

        tensors = scene.computed(slope=slope)
        if ("loss", "loss") in scene.checks:
            tensors["loss", "loss"] = np.asarray(np.mean(losses), np.float64)
        words = f"a mean of the means over {len(losses)} parts of the batch, of {size} samples and"
        yield Mistake(f"{words} {n - ends[-1]} in the last one,", tensors, look)


def other_kinds(scene: Scene) -> Mistakes:
    """Yield the other losses of the format."""
    yield from _instead(scene, _other_kinds(scene.problem.loss))


def _instead(scene: Scene, others: Iterator[tuple[str, Loss]]) -> Mistakes:
    """Yield other losses: locally in what is judged, end to end in both passes and in one alone."""
    if scene.run.has_layers and scene.key not in (
        ("loss", "loss"),
        ("cotangent", scene.problem.output),
    ):
        return
    look = f"look at the {scene.problem.loss.kind} loss"
    for words, other in others:
        both = scene.computed(replace(scene.problem, loss=other))
        yield Mistake(words, both, look)
        if not scene.run.has_layers:
            yield Mistake(f"{words} in the loss alone", only("loss", both), look)
            told = f"{words} in the derivative alone"
            yield Mistake(told, only("gradient", both), "look at the derivative of the loss")


def _other_settings(here: Loss) -> Iterator[tuple[str, Loss]]:
    for name, choice in OTHER_SETTINGS.items():
        if name in type(here).model_fields and getattr(here, name) != choice:
            written = f"{choice:g} for the" if choice else "no"
            yield f"{written} {name.replace('_', ' ')}", here.model_copy(update={name: choice})


def _other_kinds(here: Loss) -> Iterator[tuple[str, Loss]]:
    for kind, other in KINDS.items():
        # gaussian_nll is one of twice as many outputs as targets
        if kind != here.kind and "gaussian_nll" not in (kind, here.kind):
            words = f"{kind} in the place of {here.kind}"
            same = other(factor=here.factor, reduction=here.reduction)
            yield words, same
            for factor in (2, 1 / 2):
                scaled = same.model_copy(update={"factor": factor * here.factor})
                yield f"{factor:g} times {words}", scaled


def values(scene: Scene) -> Mistakes:
    """Yield the loss by another formula; the penalties are right."""
    if scene.phase != "loss":
        return
    problem = scene.problem
    output = scene.values[problem.output]
    y, t = by_row(problem, output), by_row(problem, scene.targets)
    rest = penalty_forward(problem.penalties, scene.numbers, problem.axes)
    for words, value in _other_values(problem.loss, y, t, problem.positions):
        yield scene.here(words, np.asarray(value + rest, np.float64))
    for words, targets in other_targets(scene):
        yield scene.here(words, total_loss(problem, scene.numbers, output, targets))


def other_targets(scene: Scene) -> Words:
    """Yield the targets of other samples, or in another order."""
    first, batch, size = scene.problem.batches[0], scene.batch, len(scene.batch)
    targets, right = floats(scene.problem.targets), scene.targets
    others = {
        "the targets of the first batch": targets[first[first >= 0][:size]],
        "the targets in the order turned around": targets[::-1][batch],
        "the targets of the batch in the order turned around": right[::-1],
        "the columns of the targets in the order turned around": right[..., ::-1],
        "the positions of the targets in the order turned around": (
            right[:, ::-1] if right.ndim > 2 else right
        ),
        "the targets of one sample for all": targets[first[[0] * size]],
        "the targets of the next samples": targets[(batch + 1) % len(targets)],
    }
    yield from ((words, other) for words, other in others.items() if other.shape == right.shape)


def _other_values(loss: Loss, y: np.ndarray, t: np.ndarray, positions: int) -> Words:
    """Yield wrong losses of outputs y and targets t, (rows, outputs)."""

    def of(terms: np.ndarray) -> np.ndarray:
        number = {"sum": 1, "mean": terms.size, "batch_mean": len(y) // positions}[loss.reduction]
        return loss.factor * terms.sum() / number

    terms = LOSSES[loss.kind][0](loss, y, t)
    yield "the root of the loss", np.sqrt(loss_forward(loss, y, t, positions))
    yield "the loss with -t for t", loss_forward(loss, y, -t, positions)
    yield "the square of the terms", of(np.square(terms))
    if y.shape == t.shape:
        yield "the loss with outputs and targets exchanged", loss_forward(loss, t, y, positions)
        square = of(terms) * (y - t).sum() ** 2 / terms.sum()
        yield "the square of the sum in place of the sum of the squares", square
        yield "the outputs without the targets", of(y)
    for words, formula in TERMS.get(loss.kind, {}).items():
        yield words, of(formula(loss, y, t))
    if loss.kind == "softmax_cross_entropy":
        for epsilon in (1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15):
            inside = np.log(softmax_forward(y) + epsilon)
            value = of(-_product(_smoothed(loss, t), inside))
            yield f"{epsilon:g} added inside the logarithm", value


def _product(t: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (t * y).sum(axis=-1, keepdims=True)


def _length(y: np.ndarray) -> np.ndarray:
    return np.linalg.norm(y, axis=-1, keepdims=True)


def _cross_entropy(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def _smoothed(loss: Loss, t: np.ndarray) -> np.ndarray:
    return (1 - loss.label_smoothing) * t + loss.label_smoothing / t.shape[-1]


def _shared_by_others(loss: Loss, t: np.ndarray) -> np.ndarray:
    """Return the targets with the smoothing shared by the classes that are not the target."""
    return (1 - loss.label_smoothing) * t + loss.label_smoothing * (1 - t) / (t.shape[-1] - 1)


def _not_joined(d: np.ndarray, limit: float) -> np.ndarray:
    return np.where(np.abs(d) <= limit, d * d / 2, limit * np.abs(d))


def _of_a_variance(loss: Loss, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    m, variance = np.split(y, 2, axis=-1)
    return (np.log(np.abs(variance)) + np.square(m - t) / np.abs(variance)) / 2


def _without_the_logarithm(loss: Loss, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    m, s = np.split(y, 2, axis=-1)
    return np.square(m - t) * np.exp(-s) / 2


# The terms of a wrong loss, of its settings, outputs and targets.
NOT_JOINED = "a straight part that is not joined to the parabola"
TWICE = "{} taken twice, of probabilities in place of logits,"
PERCEPTRON = "a margin of 0, the perceptron's,"
TERMS: dict[str, dict[str, Formula]] = {
    "weighted_squares": {"the squares of the weights": lambda loss, y, t: np.square(t * y)},
    "log_cosh": {
        "log 2 that is not subtracted": lambda loss, y, t: np.logaddexp(y - t, t - y),
        "the parabola d² / 2": lambda loss, y, t: np.square(y - t) / 2,
    },
    "huber": {NOT_JOINED: lambda loss, y, t: _not_joined(y - t, loss.delta)},
    "smooth_l1": {NOT_JOINED: lambda loss, y, t: _not_joined(y - t, loss.beta) / loss.beta},
    "binary_cross_entropy": {
        "the term t log y alone": lambda loss, y, t: -t * np.log(y),
        "the term (1 - t) log(1 - y) alone": lambda loss, y, t: -(1 - t) * np.log(1 - y),
    },
    "sigmoid_binary_cross_entropy": {
        TWICE.format("sigmoid"): lambda loss, y, t: _cross_entropy(expit(expit(y)), t),
        "a forgotten sigmoid": lambda loss, y, t: _cross_entropy(y, t),
    },
    "softmax_cross_entropy": {
        "a forgotten softmax": lambda loss, y, t: -_product(_smoothed(loss, t), y),
        "smoothing that the other classes share alone": lambda loss, y, t: (
            -_product(_shared_by_others(loss, t), log_softmax_forward(y))
        ),
        TWICE.format("softmax"): lambda loss, y, t: (
            -_product(_smoothed(loss, t), log_softmax_forward(softmax_forward(y)))
        ),
    },
    "negative_log_likelihood": {
        "a logarithm taken once more": lambda loss, y, t: -_product(t, np.log(np.abs(y)))
    },
    "kl_divergence": {
        "the entropy of the targets left out": lambda loss, y, t: -t * y,
        "the divergence the other way round": lambda loss, y, t: np.exp(y) * (y - np.log(t)),
    },
    "poisson": {
        "a rate where its logarithm is given": lambda loss, y, t: y - t * np.log(np.abs(y))
    },
    "hinge": {PERCEPTRON: lambda loss, y, t: np.maximum(-t * y, 0)},
    "squared_hinge": {PERCEPTRON: lambda loss, y, t: np.square(np.maximum(-t * y, 0))},
    "gaussian_nll": {
        "the log variance left out": _without_the_logarithm,
        "a variance where its logarithm is given": _of_a_variance,
    },
    "cosine": {
        "the similarity in place of the distance": lambda loss, y, t: (
            _product(t, y) / _length(y) / _length(t)
        ),
        "the length of the targets left out": lambda loss, y, t: 1 - _product(t, y) / _length(y),
        "the lengths left out": lambda loss, y, t: 1 - _product(t, y),
    },
}


# ---------------------------------------------------------------- its derivative


def slopes(scene: Scene) -> Mistakes:
    """Yield the derivative of the loss by another formula."""
    if scene.run.has_layers and scene.key != ("cotangent", scene.problem.output):
        return
    loss = scene.problem.loss
    look = f"look at the derivative of the {loss.kind} loss"
    for words, slope in (OF_ANY_LOSS | SLOPES.get(loss.kind, {})).items():
        if words != DIFFERENCE or loss.kind not in ("squared_error", "huber", "gaussian_nll"):
            yield Mistake(words, scene.computed(slope=slope), look)


# Each is called like the right one: with the loss, outputs and targets (rows, outputs), and the
# number of positions.


def _terms(formula: Formula) -> Formula:
    """Return the derivative of a loss whose terms have this derivative, a function of y and t.

    It has the factor of the right derivative, and is divided by as many terms.
    """

    def slope(loss: Loss, y: np.ndarray, t: np.ndarray, positions: int) -> np.ndarray:
        right, own = loss_backward(loss, y, t, positions), LOSSES[loss.kind][1](loss, y, t)
        share = right[own != 0].sum() / own[own != 0].sum() if own.any() else np.nan
        return formula(y, t) * share

    return slope


def _right_and(change: Formula) -> Formula:
    """Return the right derivative, changed by a function of it and of the outputs."""
    return lambda loss, y, t, positions: change(loss_backward(loss, y, t, positions), y)


def _beside(to: float) -> Formula:
    """Return the right derivative at the outputs next to y, upwards or downwards."""
    return lambda loss, y, t, positions: loss_backward(loss, np.nextafter(y, to), t, positions)


ABOVE, BELOW = _beside(np.inf), _beside(-np.inf)
DIFFERENCE = "y - t in place of the derivative"
OF_ANY_LOSS: dict[str, Formula] = {
    "a cotangent of ones": lambda loss, y, t, _: 0 * y + 1,
    "ones in place of the derivative of the terms": _terms(lambda y, t: 0 * y + 1),
    "the outputs in place of the derivative": _terms(lambda y, t: y),
    "the signs of the derivative": _right_and(lambda dy, y: np.sign(dy)),
    "the derivative with -t for t": lambda loss, y, t, count: loss_backward(loss, y, -t, count),
    "the derivative on the other side of the kink": ABOVE,
    "half a derivative at the kink": lambda *of: (ABOVE(*of) + BELOW(*of)) / 2,
    "sigmoid's derivative once more": _right_and(lambda dy, y: dy * expit(y) * expit(-y)),
    "softmax's derivative once more": _right_and(
        lambda dy, y: softmax_backward(y, softmax_forward(y), dy)
    ),
    DIFFERENCE: _terms(lambda y, t: y - t),
}


def _is_mean(y: np.ndarray) -> np.ndarray:
    return np.arange(y.shape[-1]) < y.shape[-1] // 2


def _with_epsilon(epsilon: float) -> Formula:
    return _terms(lambda y, t: (1 - t) / (1 - y + epsilon) - t / (y + epsilon))


SLOPES: dict[str, dict[str, Formula]] = {
    "huber": {
        "a derivative that is not cut off at delta": _terms(lambda y, t: y - t),
        "a cut at 1 of d / delta, in place of delta,": lambda loss, *of: (
            loss_backward(loss, *of) / loss.delta
        ),
    },
    "log_cosh": {"sigmoid(d) in place of tanh(d)": _terms(lambda y, t: expit(y - t))},
    "hinge": {"a forgotten mask": _terms(lambda y, t: -t)},
    "kl_divergence": {
        "exp(y) - t, of the softmax's cross-entropy,": _terms(lambda y, t: np.exp(y) - t)
    },
    "gaussian_nll": {
        "a variance that is taken for a constant": _right_and(lambda dy, y: dy * _is_mean(y)),
        "a mean that is taken for a constant": _right_and(lambda dy, y: dy * ~_is_mean(y)),
    },
    "cosine": {
        "lengths that are taken for constants": _terms(lambda y, t: -t / (_length(y) * _length(t)))
    },
    "binary_cross_entropy": {
        f"{epsilon:g} added to the denominators": _with_epsilon(epsilon)
        for epsilon in (1e-3, 1e-5, 1e-7, 1e-8, 1e-10, 1e-12)
    },
}
