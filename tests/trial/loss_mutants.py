"""Wrong rules for the losses, each on a small network that has it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from backproof.reference.formulas import losses as right
from backproof.reference.formulas.activations import log_softmax_forward, softmax_forward
from tests.trial.planting import Mutant, instead


def value(name: str, rule: Callable, wrong: Callable, **more) -> Mutant:
    """Wrong terms of the loss."""
    kind = rule.__name__.removesuffix("_forward")
    return Mutant(f"{kind}: {name}", rule, instead(wrong), "loss", on=f"with {kind}", **more)


def slope(name: str, rule: Callable, wrong: Callable, **more) -> Mutant:
    """A wrong derivative."""
    kind = rule.__name__.removesuffix("_backward")
    last = "sigmoid1" if kind == "binary_cross_entropy" else "readout"
    return Mutant(f"{kind}: {name}", rule, instead(wrong), f"cotangent {last}", on=f"with {kind}", **more)


def smoothed(_, t, outputs=2):
    """The right targets of the example."""
    return 0.9 * t + 0.1 / outputs


huber, smooth_l1, cosine = right.huber_forward, right.smooth_l1_forward, right.cosine_forward

LOSS_MUTANTS = [
    value("targets forgotten", right.weighted_sum_forward, lambda _, y, t: y),
    slope("of the targets", right.weighted_sum_backward, lambda _, y, t: y),
    slope("a cotangent of ones", right.weighted_sum_backward, lambda _, y, t: 0 * t + 1),
    value("weights squared too", right.weighted_squares_forward, lambda _, y, t: (t * y) ** 2),
    slope("factor 2 missing", right.weighted_squares_backward, lambda _, y, t: t * y),
    value("absolute error", right.squared_error_forward, lambda _, y, t: abs(y - t)),
    slope("derivative of half of it", right.squared_error_backward, lambda _, y, t: y - t),
    value("squared", right.absolute_error_forward, lambda _, y, t: (y - t) ** 2),
    slope("derivative 1 at an exact fit", right.absolute_error_backward, lambda _, y, t: np.where(y >= t, y.dtype.type(1), y.dtype.type(-1))),
    slope("sign of t - y", right.absolute_error_backward, lambda _, y, t: np.sign(t - y)),
    value("half forgotten", right.huber_forward, lambda loss, y, t: 2 * huber(loss, y, t)),
    value("not joined at delta", right.huber_forward,
          lambda loss, y, t: np.where(abs(y - t) <= loss.delta, (y - t) ** 2 / 2, loss.delta * abs(y - t))),
    slope("not cut off", right.huber_backward, lambda _, y, t: y - t),
    slope("cut off at 1", right.huber_backward, lambda loss, y, t: np.clip((y - t) / loss.delta, -1, 1)),
    value("Huber's, not divided by beta", right.smooth_l1_forward,
          lambda loss, y, t: smooth_l1(loss, y, t) * loss.beta),
    slope("not divided by beta", right.smooth_l1_backward, lambda loss, y, t: np.clip(y - t, -loss.beta, loss.beta)),
    value("log 2 forgotten", right.log_cosh_forward, lambda _, y, t: np.logaddexp(y - t, t - y)),
    value("its parabola", right.log_cosh_forward, lambda _, y, t: (y - t) ** 2 / 2),
    slope("sigmoid for tanh", right.log_cosh_backward, lambda _, y, t: expit(y - t)),
    value("of the ones only", right.binary_cross_entropy_forward, lambda _, y, t: -t * np.log(y)),
    value("logarithm of base 2", right.binary_cross_entropy_forward,
          lambda _, y, t: -(t * np.log2(y) + (1 - t) * np.log2(1 - y))),
    slope("of logits, y - t", right.binary_cross_entropy_backward, lambda _, y, t: y - t),
    slope("an epsilon of 1e-3 in the denominators", right.binary_cross_entropy_backward,
          lambda _, y, t: (1 - t) / (1 - y + 1e-3) - t / (y + 1e-3)),
    value("of probabilities in place of logits", right.sigmoid_binary_cross_entropy_forward,
          lambda _, y, t: -(t * np.log(expit(expit(y))) + (1 - t) * np.log(1 - expit(expit(y))))),
    slope("sigmoid's derivative once more", right.sigmoid_binary_cross_entropy_backward,
          lambda _, y, t: (expit(y) - t) * expit(y) * expit(-y)),
    slope("t - sigmoid(y)", right.sigmoid_binary_cross_entropy_backward, lambda _, y, t: t - expit(y)),
    value("softmax forgotten", right.softmax_cross_entropy_forward,
          lambda loss, y, t: -(smoothed(loss, t) * y).sum(axis=-1, keepdims=True)),
    value("smoothing forgotten", right.softmax_cross_entropy_forward,
          lambda loss, y, t: -(t * log_softmax_forward(y)).sum(axis=-1, keepdims=True)),
    value("smoothing shared by the other classes only", right.softmax_cross_entropy_forward,
          lambda loss, y, t: -((0.9 * t + 0.1 * (1 - t)) * log_softmax_forward(y)).sum(axis=-1, keepdims=True)),
    slope("softmax's Jacobian once more", right.softmax_cross_entropy_backward,
          lambda loss, y, t: (s := softmax_forward(y)) * ((s - t) - ((s - t) * s).sum(axis=-1, keepdims=True))),
    slope("derivative without smoothing", right.softmax_cross_entropy_backward, lambda _, y, t: softmax_forward(y) - t),
    value("sign forgotten", right.negative_log_likelihood_forward, lambda _, y, t: (t * y).sum(axis=-1, keepdims=True)),
    value("logarithm once more", right.negative_log_likelihood_forward,
          lambda _, y, t: -(t * np.log(abs(y))).sum(axis=-1, keepdims=True)),
    slope("of a softmax, y - t", right.negative_log_likelihood_backward, lambda _, y, t: y - t),
    value("entropy of the targets forgotten", right.kl_divergence_forward, lambda _, y, t: -t * y),
    value("reversed", right.kl_divergence_forward, lambda _, y, t: np.exp(y) * (y - np.log(t))),
    slope("of the reversed divergence", right.kl_divergence_backward, lambda _, y, t: np.exp(y) - t),
    value("of the rate in place of its logarithm", right.poisson_forward, lambda _, y, t: y - t * np.log(abs(y))),
    slope("squared error's", right.poisson_backward, lambda _, y, t: 2 * (np.exp(y) - t)),
    value("1 + t y", right.hinge_forward, lambda _, y, t: np.maximum(1 + t * y, 0)),
    value("margin 0, the perceptron's", right.hinge_forward, lambda _, y, t: np.maximum(-t * y, 0)),
    slope("mask forgotten", right.hinge_backward, lambda _, y, t: -t),
    value("not squared", right.squared_hinge_forward, lambda _, y, t: np.maximum(1 - t * y, 0)),
    slope("factor 2 missing", right.squared_hinge_backward, lambda _, y, t: -t * np.maximum(1 - t * y, 0)),
    value("variance for its logarithm", right.gaussian_nll_forward,
          lambda _, y, t: (np.log(abs(y[..., 1:])) + (y[..., :1] - t) ** 2 / abs(y[..., 1:])) / 2),
    value("log variance forgotten", right.gaussian_nll_forward,
          lambda _, y, t: (y[..., :1] - t) ** 2 * np.exp(-y[..., 1:]) / 2),
    slope("variance taken for a constant", right.gaussian_nll_backward,
          lambda _, y, t: np.concatenate([(y[..., :1] - t) * np.exp(-y[..., 1:]), 0 * t], axis=-1)),
    value("similarity for distance", right.cosine_forward, lambda loss, y, t: 1 - cosine(loss, y, t)),
    value("norm of the targets forgotten", right.cosine_forward,
          lambda _, y, t: 1 - (y * t).sum(axis=-1, keepdims=True) / np.linalg.norm(y, axis=-1, keepdims=True)),
    slope("norms taken for constants", right.cosine_backward,
          lambda _, y, t: -t / (np.linalg.norm(y, axis=-1, keepdims=True) * np.linalg.norm(t, axis=-1, keepdims=True))),
]  # fmt: skip
