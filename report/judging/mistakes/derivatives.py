"""Wrong ways to pass a cotangent back through a layer, each a rule in place of the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import expit

from backproof.cases.format.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS, SELU_ALPHA
from backproof.report.judging.mistakes.formulas import (
    Backward,
    layer_backward,
    layer_forward,
    others,
)
from backproof.report.judging.mistakes.layers import PRODUCTS, SETTINGS, other_settings

Rules = Iterator[tuple[str, Backward]]
Changes = Iterator[tuple[str, Callable[..., np.ndarray]]]

OTHER_SIDE = "the derivative"
EVEN = {"sigmoid", "tanh", "softsign"}  # their derivative at -x is that at x
GATES = {"relu", "leaky_relu", "prelu", "relu6", "hard_tanh", "hard_sigmoid", "hard_swish"}
GATES |= {"elu", "celu", "selu"}
OVER_SAMPLES = "a sum over the samples in place of the units"
OVER_POSITIONS = "a sum over the positions in place of the units"


def kinks(layer: Node) -> Rules:
    """Yield the rules with the derivative on the other side of a kink, or between its sides."""
    if layer.kind not in GATES:
        return

    def half(x, y, dy, of):
        return (of(np.nextafter(x, np.inf), y) + of(np.nextafter(x, -np.inf), y)) / 2

    def other_side(x, y, dy, of):
        return 2 * half(x, y, dy, of) - of(x, y)

    yield f"{OTHER_SIDE} on the other side of the kink of {layer.kind}", _alone(layer, other_side)
    yield f"half a derivative at the kink of {layer.kind}", _alone(layer, half)


def slopes(layer: Node) -> Rules:
    """Yield wrong rules for the way back through this layer, in words."""
    yield from SLOPES.get(layer.kind, {}).items()
    if layer.kind in ACTIVATIONS and layer.kind != "identity":
        for words, change in _activation_slopes(layer):
            yield words, _alone(layer, change)


def other_slopes(layer: Node) -> Rules:
    """Yield the rules that use the derivative or the value of another activation."""
    for other in others(layer):
        if "identity" not in (layer.kind, other.kind):
            for words, change in _slopes_of_another(layer.kind, other):
                yield words, _alone(layer, change)


def _alone(layer: Node, change: Callable[..., np.ndarray]) -> Backward:
    """Return the layer's rule with another cotangent of x; what comes back to a slope is right.

    `change(x, y, dy, of)` is given the right cotangent as a function `of(x, y, dy, node)`, in which
    y is computed from x unless it is given.
    """

    def rule(_, numbers, x, y, dy):
        def of(x, y=None, dy=dy, node=layer):
            y = layer_forward(node, numbers, x) if y is None else y
            return layer_backward(node, numbers, x, y, dy)[0]

        return change(x, y, dy, of), layer_backward(layer, numbers, x, y, dy)[1]

    return rule


def _slopes_of_another(kind: str, other: Node) -> Changes:
    yield f"the derivative of {other.kind}, not of {kind}", lambda x, y, dy, of: of(x, node=other)
    if other.kind in EVEN:
        words = f"the formula of {other.kind}'s derivative, with this y,"
        yield words, lambda x, y, dy, of: of(x, y, node=other)
    words = f"the value of {other.kind} in place of the derivative"
    yield words, lambda x, y, dy, of: dy * layer_forward(other, {}, x)


# ---------------------------------------------------------------- dense layers, dropout, skips


def _with_weight(change: Callable[[np.ndarray], np.ndarray]) -> Backward:
    """Return the rule of a dense layer with another weight."""

    def rule(layer, numbers, x, y, dy):
        right = numbers[layer.parameters[0]]
        W = change(right)
        dx = dy @ W.T if W.shape == right.shape else np.full_like(x, np.nan)
        return dx, layer_backward(layer, numbers, x, y, dy)[1]

    return rule


def _of_mask(change: Callable[..., np.ndarray]) -> Backward:
    """Return a rule of dropout: a function of dy, the mask and the rate."""

    def rule(layer, numbers, x, y, dy):
        return change(dy, numbers[layer.masks["mask"]], layer.settings["rate"]), {}

    return rule


SLOPES: dict[str, dict[str, Backward]] = {
    "dense": {
        "the weight where its transpose belongs": _with_weight(lambda W: W.T),
        "the reshaped weight in place of its transpose": _with_weight(
            lambda W: W.reshape(W.T.shape).T if len(W) != len(W.T) else np.nan * W
        ),
        "the signs of the weight in its place": _with_weight(np.sign),
    },
    "dropout": {
        "a mask that is forgotten in the backward pass": _of_mask(
            lambda dy, _, rate: dy / (1 - rate)
        ),
        "a mask that is not scaled in the backward pass": _of_mask(lambda dy, mask, _: dy * mask),
        "dropout left out of the backward pass": _of_mask(lambda dy, *_: dy),
    },
    "skip": {
        "a cotangent that is shared out between the two": lambda layer, n, x, y, dy: (
            (dy / 2, {layer.inputs[1]: dy / 2})
        ),
    },
}

# ---------------------------------------------------------------- activations


def _activation_slopes(layer: Node) -> Changes:
    kind = layer.kind
    yield f"the derivative of {kind} left out", lambda x, y, dy, of: dy
    yield f"the derivative of {kind} taken twice", lambda x, y, dy, of: of(x, y, of(x, y))
    for words, other in other_settings(layer):
        yield f"the derivative of {words}", lambda x, y, dy, of, other=other: of(x, node=other)
    if kind in GATES:
        yield from _gate_slopes()
    if kind in PRODUCTS:
        words = f"{PRODUCTS[kind]} alone, the product rule forgotten,"
        yield words, lambda x, y, dy, of: dy * y / x
    yield from _SOFTMAX_SLOPES.get(kind, {}).items()
    yield f"the derivative of {kind} at its value y in place of x", lambda x, y, dy, of: of(y)
    yield f"the derivative of {kind} with x where its formula has y", lambda x, y, dy, of: of(x, x)
    words = f"the derivative of {kind} without the cotangent"
    yield words, lambda x, y, dy, of: of(x, y, np.ones_like(dy))
    yield f"the value of {kind} in place of its derivative", lambda x, y, dy, of: dy * y
    if kind not in GATES and kind not in EVEN:
        yield f"the derivative of {kind} at -x", lambda x, y, dy, of: of(-x)
    for words, formula in _FORGOTTEN.get(kind, {}).items():
        yield words, lambda x, y, dy, of, formula=formula: dy * formula(x, y)


def _gate_slopes() -> Changes:
    """Yield other masks, and other slopes."""
    yield "a mask that is turned around", lambda x, y, dy, of: dy - of(x, y)
    yield "a mask of the cotangent in place of x", lambda x, y, dy, of: dy * (dy > 0)
    yield "a mask of x and of the cotangent", lambda x, y, dy, of: of(x, y) * (dy > 0)
    for slope in SETTINGS["slope"]:
        words = f"a slope of {slope:g} below 0"
        yield words, lambda x, y, dy, of, slope=slope: np.where(x > 0, dy, slope * dy)
    yield "1/5, Keras' slope, in place of 1/6", lambda x, y, dy, of: dy * (np.abs(x) < 3) / 5


def _sum(dy: np.ndarray, axis: int = -1) -> np.ndarray:
    return dy.sum(axis=axis, keepdims=True)


_SOFTMAX_SLOPES: dict[str, dict[str, Callable[..., np.ndarray]]] = {
    "softmax": {
        "softmax's diagonal alone, y (1 - y)": lambda x, y, dy, of: dy * y * (1 - y),
        "y dy, without the sum over the units,": lambda x, y, dy, of: dy * y,
        "a sum of dy without y": lambda x, y, dy, of: y * (dy - _sum(dy)),
        OVER_SAMPLES: lambda x, y, dy, of: y * (dy - _sum(dy * y, 0)),
        OVER_POSITIONS: lambda x, y, dy, of: y * (dy - _sum(dy * y, -2)),
    },
    "log_softmax": {
        "the cotangent alone in place of its sum over the units": (
            lambda x, y, dy, of: dy - np.exp(y) * dy
        ),
        "y in place of exp(y)": lambda x, y, dy, of: dy - y * _sum(dy),
        OVER_SAMPLES: lambda x, y, dy, of: dy - np.exp(y) * _sum(dy, 0),
        OVER_POSITIONS: lambda x, y, dy, of: dy - np.exp(y) * _sum(dy, -2),
    },
}


def _mish_without_sigmoid(x: np.ndarray, _: np.ndarray) -> np.ndarray:
    share = np.tanh(np.logaddexp(x, 0))
    return share + x * (1 - share**2)


# What the derivative is taken for, a function of x and y.
_FORGOTTEN: dict[str, dict[str, Callable[..., np.ndarray]]] = {
    "sigmoid": {
        "y (1 + y) for y (1 - y)": lambda x, y: y * (1 + y),
        "1/4, the steepest derivative, everywhere": lambda x, y: 0 * y + 0.25,
    },
    "tanh": {
        "1 - y, the square forgotten,": lambda x, y: 1 - y,
        "1 + y² for 1 - y²": lambda x, y: 1 + y * y,
    },
    "softsign": {"1 / (1 + |x|), the square forgotten,": lambda x, y: 1 / (1 + np.abs(x))},
    "softplus": {
        "sigmoid of the value y in place of x": lambda x, y: expit(y),
        "sigmoid's derivative in place of sigmoid": lambda x, y: expit(x) * expit(-x),
    },
    "log_sigmoid": {
        "1 - y for 1 - exp(y)": lambda x, y: 1 - y,
        "sigmoid of the value y in place of -x": lambda x, y: expit(y),
    },
    "silu": {
        "y in place of sigmoid(x)": lambda x, y: y + expit(x),
        "1 + y for 1 - y": lambda x, y: y + (1 + y) * expit(x),
    },
    "mish": {"sigmoid(x) forgotten in the chain": _mish_without_sigmoid},
    "elu": {"y in place of y + alpha on the negative side": lambda x, y: np.where(x > 0, 1.0, y)},
    "selu": {
        "elu's derivative, without the scale,": lambda x, y: np.where(
            x > 0, 1.0, SELU_ALPHA * np.exp(x)
        )
    },
}
