"""Wrong ways to pass a cotangent back through a layer, each a rule in the place of the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from backproof.cases.format.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS, SELU_ALPHA
from backproof.report.judging.mistakes.formulas import (
    OTHERS,
    Backward,
    layer_backward,
    layer_forward,
)
from backproof.report.judging.mistakes.layers import PRODUCTS, SETTINGS, other_settings

OTHER_SIDE = "the derivative"
EVEN = {"sigmoid", "tanh", "softsign"}  # their derivative at -x is that at x
GATES = {
    "relu",
    "leaky_relu",
    "prelu",
    "relu6",
    "hard_tanh",
    "hard_sigmoid",
    "hard_swish",
    "elu",
    "celu",
    "selu",
}


def kinks(layer: Node) -> Iterator[tuple[str, Backward]]:
    """What stands on the other side of a kink, or between its sides."""
    if layer.kind not in GATES:
        return

    def beside(n, x, y, dy, to):
        return layer_backward(layer, n, np.nextafter(x, to), y, dy)[0]

    def half(n, x, y, dy):
        return (beside(n, x, y, dy, np.inf) + beside(n, x, y, dy, -np.inf)) / 2

    def other_side(n, x, y, dy):
        return 2 * half(n, x, y, dy) - layer_backward(layer, n, x, y, dy)[0]

    yield f"{OTHER_SIDE} on the other side of the kink of {layer.kind}", _alone(layer, other_side)
    yield f"half a derivative at the kink of {layer.kind}", _alone(layer, half)


def slopes(layer: Node) -> Iterator[tuple[str, Backward]]:
    """Wrong ways to pass a cotangent back through this layer, each a rule in the place of the right one."""
    if layer.kind in SLOPES:
        yield from SLOPES[layer.kind]()
    elif layer.kind in ACTIVATIONS and layer.kind != "identity":
        yield from _activation_slopes(layer)


def other_slopes(layer: Node) -> Iterator[tuple[str, Backward]]:
    """The derivatives and values of other activations in the place of this one's."""
    if layer.kind not in ACTIVATIONS or layer.kind == "identity":
        return
    kind, alone = layer.kind, partial(_alone, layer)
    for other_kind, other in OTHERS.items():
        if other_kind not in (kind, "identity"):
            words = f"the derivative of {other_kind}, not of {kind}"
            yield (
                words,
                alone(
                    lambda n, x, y, dy, o=other: layer_backward(
                        o, n, x, layer_forward(o, n, x), dy
                    )[0]
                ),
            )
            if other_kind in ("sigmoid", "tanh", "softsign"):
                words = f"the formula of {other_kind}'s derivative, with this y,"
                yield words, alone(lambda n, x, y, dy, o=other: layer_backward(o, n, x, y, dy)[0])
            yield (
                f"the value of {other_kind} in place of the derivative",
                alone(lambda n, x, y, dy, o=other: dy * layer_forward(o, n, x)),
            )


def _dense_slopes() -> Iterator[tuple[str, Backward]]:
    def with_weight(change: Callable) -> Backward:
        def rule(layer, numbers, x, y, dy):
            path = layer.parameters[0]
            W = change(numbers[path])
            _, others = layer_backward(layer, numbers, x, y, dy)
            return (
                dy @ W.T if W.T.shape == numbers[path].T.shape else np.full_like(x, np.nan)
            ), others

        return rule

    yield "the weight where its transpose belongs", with_weight(lambda W: W.T)
    yield (
        "the reshaped weight in place of its transpose",
        with_weight(lambda W: W.reshape(W.T.shape).T if len(W) != len(W.T) else np.nan * W),
    )
    yield "the signs of the weight in its place", with_weight(np.sign)


def _of_mask(change: Callable) -> Backward:
    def rule(layer, numbers, x, y, dy):
        return change(dy, numbers[layer.masks["mask"]], layer.settings["rate"]), {}

    return rule


def _shared_out(layer, numbers, x, y, dy):
    return dy / 2, {layer.inputs[1]: dy / 2}


def _dropout_slopes() -> Iterator[tuple[str, Backward]]:
    yield (
        "a mask that is forgotten in the backward pass",
        _of_mask(lambda dy, mask, rate: dy / (1 - rate)),
    )
    yield (
        "a mask that is not scaled in the backward pass",
        _of_mask(lambda dy, mask, rate: dy * mask),
    )
    yield "dropout left out of the backward pass", _of_mask(lambda dy, mask, rate: dy)


def _skip_slopes() -> Iterator[tuple[str, Backward]]:
    yield "a cotangent that is shared out between the two", _shared_out


SLOPES = {"dense": _dense_slopes, "dropout": _dropout_slopes, "skip": _skip_slopes}


def _alone(layer: Node, change: Callable) -> Backward:
    """Another cotangent of x; what comes back to a slope is right."""

    def rule(_, numbers, x, y, dy):
        return change(numbers, x, y, dy), layer_backward(layer, numbers, x, y, dy)[1]

    return rule


def _activation_slopes(layer: Node) -> Iterator[tuple[str, Backward]]:
    kind = layer.kind
    right = layer_backward

    alone = partial(_alone, layer)

    def of(numbers, x, y, dy):
        return right(layer, numbers, x, y, dy)[0]

    yield f"the derivative of {kind} left out", alone(lambda n, x, y, dy: dy)
    yield (
        f"the derivative of {kind} taken twice",
        alone(lambda n, x, y, dy: of(n, x, y, of(n, x, y, dy))),
    )
    for words, other in other_settings(layer):
        yield (
            f"the derivative of {words}",
            alone(
                lambda n, x, y, dy, other=other: right(other, n, x, layer_forward(other, n, x), dy)[
                    0
                ]
            ),
        )
    if kind in GATES:
        yield from _gate_slopes(kind, alone, of)
    if kind in PRODUCTS:
        yield (
            f"{PRODUCTS[kind]} alone, the product rule forgotten,",
            alone(lambda n, x, y, dy: dy * y / x),
        )
    if kind in ("softmax", "log_softmax"):
        yield from _softmax_slopes(layer, alone)
    yield (
        f"the derivative of {kind} at its value y in place of x",
        alone(lambda n, x, y, dy: right(layer, n, y, layer_forward(layer, n, y), dy)[0]),
    )
    yield (
        f"the derivative of {kind} with x where its formula has y",
        alone(lambda n, x, y, dy: of(n, x, x, dy)),
    )
    yield (
        f"the derivative of {kind} without the cotangent",
        alone(lambda n, x, y, dy: of(n, x, y, np.ones_like(dy))),
    )
    yield f"the value of {kind} in place of its derivative", alone(lambda n, x, y, dy: dy * y)
    if kind not in GATES and kind not in EVEN:
        yield (
            f"the derivative of {kind} at -x",
            alone(lambda n, x, y, dy: right(layer, n, -x, layer_forward(layer, n, -x), dy)[0]),
        )
    for words, change in _FORGOTTEN.get(kind, {}).items():
        yield words, alone(lambda n, x, y, dy, change=change: dy * change(x, y))


_FORGOTTEN: dict[str, dict[str, Callable]] = {
    "sigmoid": {
        "y (1 + y) for y (1 - y)": lambda x, y: y * (1 + y),
        "1/4, the steepest derivative, everywhere": lambda x, y: 0 * y + 0.25,
    },
    "tanh": {
        "1 - y, the square forgotten,": lambda x, y: 1 - y,
        "1 + y² for 1 - y²": lambda x, y: 1 + y * y,
    },
    "softsign": {
        "1 / (1 + |x|), the square forgotten,": lambda x, y: 1 / (1 + np.abs(x)),
    },
    "softplus": {
        "sigmoid of the value y in place of x": lambda x, y: 1 / (1 + np.exp(-y)),
        "sigmoid's derivative in place of sigmoid": lambda x, y: (
            np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2
        ),
    },
    "log_sigmoid": {
        "1 - y for 1 - exp(y)": lambda x, y: 1 - y,
        "sigmoid of the value y in place of -x": lambda x, y: 1 / (1 + np.exp(-y)),
    },
    "silu": {
        "y in place of sigmoid(x)": lambda x, y: y + 1 / (1 + np.exp(-x)),
        "1 + y for 1 - y": lambda x, y: y + (1 + y) / (1 + np.exp(-x)),
    },
    "mish": {
        "sigmoid(x) forgotten in the chain": lambda x, y: (
            np.tanh(np.logaddexp(x, 0)) + x * (1 - np.tanh(np.logaddexp(x, 0)) ** 2)
        ),
    },
    "elu": {"y in place of y + alpha on the negative side": lambda x, y: np.where(x > 0, 1.0, y)},
    "selu": {
        "elu's derivative, without the scale,": lambda x, y: np.where(
            x > 0, 1.0, SELU_ALPHA * np.exp(x)
        )
    },
}


def _gate_slopes(kind: str, alone: Callable, of: Callable) -> Iterator[tuple[str, Backward]]:
    """Other masks, and other slopes."""
    yield "a mask that is turned around", alone(lambda n, x, y, dy: dy - of(n, x, y, dy))
    yield "a mask of the cotangent in place of x", alone(lambda n, x, y, dy: dy * (dy > 0))
    yield "a mask of x and of the cotangent", alone(lambda n, x, y, dy: of(n, x, y, dy) * (dy > 0))
    for slope in SETTINGS["slope"]:
        yield (
            f"a slope of {slope:g} below 0",
            alone(lambda n, x, y, dy, slope=slope: np.where(x > 0, dy, slope * dy)),
        )
    yield "1/5, Keras' slope, in place of 1/6", alone(lambda n, x, y, dy: dy * (np.abs(x) < 3) / 5)


def _softmax_slopes(layer: Node, alone: Callable) -> Iterator[tuple[str, Backward]]:
    def over(dy, *axes):
        return dy.sum(axis=axes, keepdims=True)

    if layer.kind == "softmax":
        yield "softmax's diagonal alone, y (1 - y)", alone(lambda n, x, y, dy: dy * y * (1 - y))
        yield "y dy, without the sum over the units,", alone(lambda n, x, y, dy: dy * y)
        yield "a sum of dy without y", alone(lambda n, x, y, dy: y * (dy - over(dy, -1)))
        for what, axis in OTHER_AXES.items():
            words = f"a sum over the {what} in place of the units"
            yield words, alone(lambda n, x, y, dy, axis=axis: y * (dy - over(dy * y, axis)))
    else:
        yield (
            "the cotangent alone in place of its sum over the units",
            alone(lambda n, x, y, dy: dy - np.exp(y) * dy),
        )
        yield "y in place of exp(y)", alone(lambda n, x, y, dy: dy - y * over(dy, -1))
        for what, axis in OTHER_AXES.items():
            words = f"a sum over the {what} in place of the units"
            yield words, alone(lambda n, x, y, dy, axis=axis: dy - np.exp(y) * over(dy, axis))


OTHER_AXES = {"samples": 0, "positions": -2}
