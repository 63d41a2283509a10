"""Value and derivative of each loss, by hand.

Shapes: outputs y and targets t are (..., rows, outputs), losses (...). Each pair of functions gives
the terms of the sum and their derivatives by y; the factor and the mean, which all losses share,
come after. Classes are targets with a 1 at the class and 0 elsewhere.
"""

from __future__ import annotations

import numpy as np

from backproof.cases.format.losses import Loss, Penalty
from backproof.reference.formulas import activations
from backproof.reference.formulas.activations import softplus
from backproof.reference.formulas.added import added_losses
from backproof.reference.numbers.protocol import by_any_form, elementary, flushed_with, positive

Axes = tuple[int, ...]

# ---------------------------------------------------------------- weighted outputs


def weighted_sum_forward(loss, y, t):
    """t y."""
    return t * y


def weighted_sum_backward(loss, y, t):
    """t."""
    return t


def weighted_squares_forward(loss, y, t):
    """t y²."""
    return t * np.square(y)


def weighted_squares_backward(loss, y, t):
    """2 t y."""
    return 2 * (t * y)


# ---------------------------------------------------------------- of a difference d = y - t


def squared_error_forward(loss, y, t):
    """(y - t)²."""
    return np.square(y - t)


def squared_error_backward(loss, y, t):
    """2 (y - t)."""
    return 2 * (y - t)


def absolute_error_forward(loss, y, t):
    """|y - t|."""
    return np.abs(y - t)


def absolute_error_backward(loss, y, t):
    """The sign of y - t, 0 where it is 0."""
    return np.sign(y - t)


def huber_forward(loss, y, t):
    """d² / 2 where |d| <= δ, else δ (|d| - δ / 2): with c = d between ±δ, c (d - c / 2)."""
    c = _clipped(y - t, loss.delta)
    return c * (y - t - c / 2)


def huber_backward(loss, y, t):
    """d, but at most δ and at least -δ."""
    return _clipped(y - t, loss.delta)


def smooth_l1_forward(loss, y, t):
    """d² / 2β where |d| <= β, else |d| - β / 2."""
    c = _clipped(y - t, loss.beta)
    return c * (y - t - c / 2) / loss.beta


def smooth_l1_backward(loss, y, t):
    """d / β, but at most 1 and at least -1."""
    return _clipped(y - t, loss.beta) / loss.beta


def _clipped(d, limit: float):
    return np.maximum(np.minimum(d, limit), -limit)


def log_cosh_forward(loss, y, t):
    """log((e^d + e^-d) / 2) = l(d) - l(0),  l(d) = log(e^d + e^-d)."""
    return _log_of_two_exponentials(y - t) - _log_of_two_exponentials(0 * y)


def log_cosh_backward(loss, y, t):
    """tanh d = (e^d - e^-d) / (e^d + e^-d)."""
    d = y - t
    return np.exp(d - _log_of_two_exponentials(d)) - np.exp(-d - _log_of_two_exponentials(d))


def _log_of_two_exponentials(d):
    """log(e^d + e^-d) = |d| + log(1 + e^-2|d|)."""
    return elementary(np.abs(d) + np.log1p(np.exp(-2 * np.abs(d))))


# ---------------------------------------------------------------- of probabilities and classes


def binary_cross_entropy_forward(loss, y, t):
    """-(t log y + (1 - t) log(1 - y)); a term whose factor is 0 is 0."""
    return -(t * np.log(_unless_zero(t, y)) + (1 - t) * np.log(_unless_zero(1 - t, 1 - y)))


def binary_cross_entropy_backward(loss, y, t):
    """(1 - t) / (1 - y) - t / y = (y - t) / (y (1 - y)), which rounds twice more where t = 1."""
    of_others, of_class = (1 - t) / _unless_zero(1 - t, 1 - y), t / _unless_zero(t, y)
    return by_any_form(y, lambda: of_others - of_class, lambda: of_others - 1 * (1 * of_class))


def _unless_zero(factor, probability):
    """Return a probability, or 1 where its factor is 0."""
    return np.maximum(probability, 1 - positive(np.abs(factor)))


def sigmoid_binary_cross_entropy_forward(loss, y, t):
    """-(t log σ(y) + (1 - t) log(1 - σ(y))) = (1 - t) y + log(1 + e⁻ʸ)."""
    return (1 - t) * y + elementary(softplus(-y))


def sigmoid_binary_cross_entropy_backward(loss, y, t):
    """σ(y) - t = σ(y) - t (σ(y) + σ(-y)), as a program that sums both logarithms rounds."""
    up, down = (elementary(np.exp(x - softplus(x))) for x in (y, -y))
    return up - t * (up + down)


def softmax_cross_entropy_forward(loss, y, t):
    """-Σ w s log softmax(y) over n classes, of weights w, targets s = (1 - ε) t + ε / n."""
    logarithms = activations.log_softmax_forward(y)
    return -(_smoothed(loss, y, t) * logarithms).sum(axis=-1, keepdims=True)


def softmax_cross_entropy_backward(loss, y, t):
    """softmax(y) Σ w s - w s."""
    logarithms = activations.log_softmax_forward(y)
    return activations.log_softmax_backward(y, logarithms, -_smoothed(loss, y, t))


def _smoothed(loss, y, t):
    """w ((1 - ε) t + ε / n) = w (t + ε (1 - n t) / n) for n classes."""
    n = y.shape[-1]
    if loss.label_smoothing:
        t = t + loss.label_smoothing * (1 - n * t) / n
    return _weighted(loss, t)


def _weighted(loss, t):
    """Multiply targets by the weights of their classes."""
    if loss.class_weights is None:
        return t
    return t * np.array(loss.class_weights, dtype=getattr(t, "dtype", None))


def negative_log_likelihood_forward(loss, y, t):
    """-Σ w t y over the classes, of logarithms of probabilities."""
    return -(_weighted(loss, t) * y).sum(axis=-1, keepdims=True)


def negative_log_likelihood_backward(loss, y, t):
    """-w t."""
    return -_weighted(loss, t)


def kl_divergence_forward(loss, y, t):
    """t (log t - y), of logarithms y of probabilities; 0 where t = 0."""
    return t * (np.log(t + (1 - positive(t))) - y)


def kl_divergence_backward(loss, y, t):
    """-t."""
    return -t


def poisson_forward(loss, y, t):
    """eʸ - t y."""
    return np.exp(y) - t * y


def poisson_backward(loss, y, t):
    """eʸ - t."""
    return np.exp(y) - t


# ---------------------------------------------------------------- margins, distributions, vectors


def hinge_forward(loss, y, t):
    """max(0, 1 - t y)."""
    return np.maximum(1 - t * y, 0)


def hinge_backward(loss, y, t):
    """-t where t y < 1, else 0."""
    return -t * positive(1 - t * y)


def squared_hinge_forward(loss, y, t):
    """max(0, 1 - t y)²."""
    return np.square(np.maximum(1 - t * y, 0))


def squared_hinge_backward(loss, y, t):
    """-2 t max(0, 1 - t y)."""
    return -2 * t * np.maximum(1 - t * y, 0)


def gaussian_nll_forward(loss, y, t):
    """(s + (m - t)² e⁻ˢ) / 2 of means m and log variances s."""
    m, s = _halves(y)
    return (s + np.square(m - t) * np.exp(-s)) / 2


def gaussian_nll_backward(loss, y, t):
    """dm = (m - t) e⁻ˢ,  ds = (1 - (m - t)² e⁻ˢ) / 2."""
    m, s = _halves(y)
    share = loss.factor / 2 if loss.reduction == "sum" else loss.factor / (2 * _number(loss, y, t))
    dm = (m - t) * flushed_with(np.exp(-s), share)
    return np.concatenate([dm, (1 - np.square(m - t) * np.exp(-s)) / 2], axis=-1)


def _halves(y):
    n = y.shape[-1] // 2
    return y[..., :n], y[..., n:]


def cosine_forward(loss, y, t):
    """1 - y·t / (|y| |t|)."""
    return 1 - (y * t).sum(axis=-1, keepdims=True) / (_norm(y) * _norm(t))


def cosine_backward(loss, y, t):
    """(y (y·t) / |y|² - t) / (|y| |t|)."""
    along = (y * t).sum(axis=-1, keepdims=True) / np.square(y).sum(axis=-1, keepdims=True)
    return (y * along - t) / (_norm(y) * _norm(t))


def _norm(y):
    return np.sqrt(np.square(y).sum(axis=-1, keepdims=True))


# ---------------------------------------------------------------- any loss

LOSSES = {
    "weighted_sum": (weighted_sum_forward, weighted_sum_backward),
    "weighted_squares": (weighted_squares_forward, weighted_squares_backward),
    "squared_error": (squared_error_forward, squared_error_backward),
    "absolute_error": (absolute_error_forward, absolute_error_backward),
    "huber": (huber_forward, huber_backward),
    "smooth_l1": (smooth_l1_forward, smooth_l1_backward),
    "log_cosh": (log_cosh_forward, log_cosh_backward),
    "binary_cross_entropy": (binary_cross_entropy_forward, binary_cross_entropy_backward),
    "sigmoid_binary_cross_entropy": (
        sigmoid_binary_cross_entropy_forward,
        sigmoid_binary_cross_entropy_backward,
    ),
    "softmax_cross_entropy": (softmax_cross_entropy_forward, softmax_cross_entropy_backward),
    "negative_log_likelihood": (negative_log_likelihood_forward, negative_log_likelihood_backward),
    "kl_divergence": (kl_divergence_forward, kl_divergence_backward),
    "poisson": (poisson_forward, poisson_backward),
    "hinge": (hinge_forward, hinge_backward),
    "squared_hinge": (squared_hinge_forward, squared_hinge_backward),
    "gaussian_nll": (gaussian_nll_forward, gaussian_nll_backward),
    "cosine": (cosine_forward, cosine_backward),
} | added_losses()


def loss_forward(loss: Loss, y, t, positions: int = 1):
    """Compute the loss, (...): the factor times the sum of the terms, or times their mean.

    A row is a sample, or one of so many `positions` of a sample.
    """
    total = loss.factor * LOSSES[loss.kind][0](loss, y, t).sum(axis=(-2, -1))
    return total if loss.reduction == "sum" else total / _number(loss, y, t, positions)


def loss_backward(loss: Loss, y, t, positions: int = 1):
    """Compute the cotangent of y, of its shape."""
    dy = loss.factor * LOSSES[loss.kind][1](loss, y, t)
    return dy if loss.reduction == "sum" else dy / _number(loss, y, t, positions, keepdims=True)


def _number(loss: Loss, y, t, positions: int = 1, *, keepdims: bool = False):
    """Count what a mean divides by: terms, rows, samples, or the weights of their classes."""
    rows = y.shape[-2]
    if loss.reduction == "batch_mean":
        return rows // positions
    if loss.by_class and loss.class_weights:
        return _weighted(loss, t).sum(axis=(-2, -1), keepdims=keepdims)
    return rows * (1 if loss.by_sample else t.shape[-1])


# ---------------------------------------------------------------- penalties


def penalty_forward(penalties: tuple[Penalty, ...], parameters: dict, axes: dict[str, Axes]):
    """Σ λ Σ |w| and Σ λ Σ w², (...), over the `axes` of each parameter; 0 without penalties."""
    terms = {"l1": np.abs, "l2": np.square}
    sums = (
        penalty.coefficient * terms[penalty.kind](parameters[path]).sum(axis=axes[path])
        for penalty in penalties
        for path in penalty.parameters
    )
    return sum(sums, 0)


def penalty_backward(penalties: tuple[Penalty, ...], path: str, w):
    """Yield λ sign(w), 0 at w = 0, or 2 λ w of each penalty on the parameter of that path."""
    for penalty in (penalty for penalty in penalties if path in penalty.parameters):
        yield penalty.coefficient * (np.sign(w) if penalty.kind == "l1" else 2 * w)
