"""Mistakes of one layer: another value in its place."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator
from itertools import starmap

import numpy as np
from scipy.special import erf, expit

from backproof.cases.format.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE
from backproof.reference.formulas.combining import dropout_forward
from backproof.reference.training import operands
from backproof.report.judging.mistakes.formulas import (
    Numbers,
    layer_backward,
    layer_forward,
    others,
    with_settings,
)
from backproof.report.judging.mistakes.scene import Mistakes, Scene, Words

SETTINGS: dict[str, tuple] = {
    "slope": (0.0, 0.01, 0.1, 0.2, 0.25, 0.3),
    "alpha": (1.0, 0.1, 0.01),
    "beta": (1.0,),
    "approximate": ("none", "tanh"),
}
PRODUCTS = {
    "silu": "sigmoid(x)",
    "mish": "tanh(softplus(x))",
    "gelu": "Phi(x)",
    "hard_swish": "hard_sigmoid(x)",
}


def other_settings(layer: Node) -> Iterator[tuple[str, Node]]:
    """Yield the layer with other settings, in words."""
    for name, choices in SETTINGS.items():
        present = layer.settings.get(name)
        for choice in choices:
            if present is not None and choice != present:
                if name == "approximate":
                    words = f"gelu's {'tanh' if choice == 'tanh' else 'exact'} form"
                else:
                    words = f"{layer.kind} with {name} {choice:g} in place of {present:g}"
                yield words, with_settings(layer, **{name: choice})


# ---------------------------------------------------------------- forward


def values(scene: Scene) -> Mistakes:
    """Yield a wrong value of a layer, from the values before it."""
    if (layer := scene.layer(scene.tensor)) is not None:
        yield from starmap(scene.here, wrong_values(scene, layer))


def other_values(scene: Scene) -> Mistakes:
    """Yield the value of another activation in the place of this one."""
    if (layer := scene.layer(scene.tensor)) is not None:
        yield from starmap(scene.here, other_kinds(scene, layer))


def wrong_values(scene: Scene, layer: Node) -> Words:
    """Yield wrong values of a layer, in words."""
    x = scene.values[layer.inputs[0]]
    if layer.kind in VALUES:
        yield from VALUES[layer.kind](scene, layer, x)
    if x.ndim > 2:
        value = layer_forward(layer, ChainMap(scene.values, scene.numbers), mixed_up(x))
        yield "samples and positions mixed up", value


def other_kinds(scene: Scene, layer: Node) -> Words:
    """Yield the values of other activations."""
    for other in others(layer):
        x = scene.values[layer.inputs[0]]
        yield f"{other.kind} in its place", layer_forward(other, scene.numbers, x)


def mixed_up(x: np.ndarray) -> np.ndarray:
    """Read samples as positions, and positions as samples: x is (samples, *positions, features)."""
    return np.swapaxes(x, 0, 1).reshape(x.shape)


def _in_one(x: np.ndarray, axis: int, place: int) -> np.ndarray:
    """Return 1 at one place along an axis of x and 0 elsewhere, to be multiplied with x."""
    rest = [other for other in range(x.ndim) if other != axis]
    return np.expand_dims(np.arange(x.shape[axis]) == place, rest)


def _dense(scene: Scene, layer: Node, x: np.ndarray) -> Words:
    W: np.ndarray = scene.numbers[layer.parameters[0]]
    b = scene.numbers[layer.parameters[1]] if len(layer.parameters) > 1 else 0.0
    y = x @ W
    yield "a forgotten bias", y
    yield "a bias that is subtracted", y - b
    yield "a bias that is added twice", y + b + b
    if W.shape[0] == W.shape[1]:
        yield "the transposed weight", x @ W.T + b
    for sample in (0, len(x) - 1):
        yield f"a bias that only sample {sample} has", y + b * _in_one(y, 0, sample)
    for position in (0, x.shape[1] - 1) if x.ndim > 2 else ():
        yield f"a bias that only position {position} has", y + b * _in_one(y, 1, position)
    for unit in range(min(x.shape[-1], 64)):
        yield f"input {unit} left out", y - x[..., [unit]] * W[unit] + b
    parameters = {path: w.astype(float) for path, w in scene.problem.parameters.items()}
    start = operands(scene.problem, parameters)
    yield "the parameters of the start", layer_forward(layer, start, x)
    if scene.earlier:
        yield "the parameters of the step before", layer_forward(layer, scene.earlier.numbers, x)
    if layer.parameters[0] in scene.problem.tied:
        yield "a tied weight that is still the one of the start", x @ start[layer.parameters[0]] + b
    yield "the parameters after the update", layer_forward(layer, scene.numbers_after, x)


def _skip(scene: Scene, layer: Node, x: np.ndarray) -> Words:
    source, other = layer.inputs[1], scene.values[layer.inputs[1]]
    yield "a skip that is not added", x
    yield f"{source} alone", other
    yield f"{source} subtracted", x - other
    yield "a mean in place of a sum", (x + other) / 2
    yield "the layer before twice", x + x
    yield f"{source} twice", other + other


def _dropout(scene: Scene, layer: Node, x: np.ndarray) -> Words:
    mask, rate = scene.numbers[layer.masks["mask"]], layer.settings["rate"]
    yield "a mask that is not scaled by 1 / (1 - rate)", x * mask
    yield "a mask that is scaled by 1 / rate", x * mask / (rate or 1)
    yield "a mask that is turned around", x * (1 - mask) / (1 - rate)
    yield "a forgotten mask", x / (1 - rate)
    yield "no dropout at all", x
    if x.ndim > 2:
        yield "one mask for all positions", x * mask[:, :1] / (1 - rate)
    masks, n = scene.problem.masks[layer.masks["mask"]], len(x)
    for words, step in (("before", scene.step - 1), ("after", scene.step + 1)):
        value = dropout_forward(x, masks[step % len(masks)][:n], rate)
        yield f"the mask of the step {words} this one", value
    yield "the mask of the first step", dropout_forward(x, masks[0][:n], rate)


def _activation(scene: Scene, layer: Node, x: np.ndarray) -> Words:
    kind, numbers = layer.kind, ChainMap(scene.values, scene.numbers)

    def of(x: np.ndarray, layer: Node = layer) -> np.ndarray:
        return layer_forward(layer, numbers, x)

    for words, other in other_settings(layer):
        yield words, of(x, other)
    own, _ = layer_backward(layer, numbers, x, of(x), np.ones_like(x))
    yield "its derivative in place of its value", own
    yield "the absolute value in its place", np.abs(x)
    for factor in (-1, 2, 0.5, 2 / 3, 1.702):
        written = "-" if factor == -1 else f"{factor:.4g} "
        yield f"{kind} of {written}x", of(factor * x)
    yield f"{kind} applied twice", of(of(x))
    if kind in ("softmax", "log_softmax"):
        for axis, what in enumerate(("samples", *["positions"] * (x.ndim - 2))):
            value = np.swapaxes(of(np.swapaxes(x, axis, -1)), axis, -1)
            yield f"{kind} over the {what} in place of the units", value
        yield f"{kind} over all samples and units", of(x.reshape(1, -1)).reshape(x.shape)
        yield f"{kind} of base 2", of(np.log(2) * x)
    if kind in PRODUCTS:
        yield f"{PRODUCTS[kind]} alone, without its factor x,", of(x) / x
    for words, formula in _OTHER_VALUES.get(kind, {}).items():
        yield words, formula(x)
    yield from _other_sides(layer, numbers, x)


VALUES = {"dense": _dense, "skip": _skip, "dropout": _dropout}
VALUES |= dict.fromkeys(ACTIVATIONS, _activation)


def _other_sides(layer: Node, numbers: Numbers, x: np.ndarray) -> Words:
    """Yield another function on one side of 0."""
    kind, slope = layer.kind, layer.settings.get("slope", 0.0)
    slope = next((numbers[path] for path in layer.parameters), slope)
    if kind in ("relu", "leaky_relu", "prelu"):
        yield "the smaller of x and 0", np.minimum(x, 0)
    if kind in ("leaky_relu", "prelu"):
        yield "the slope on the wrong side", np.where(x > 0, slope * x, x)
        yield "the slope times x on both sides", np.maximum(x, 0) + slope * x
    if kind in ("relu", "prelu"):
        for other in SETTINGS["slope"]:
            yield f"a slope of {other:g}", np.where(x > 0, x, other * x)
    if kind in ("elu", "selu", "celu"):
        alpha = layer.settings.get("alpha", 1.0)
        yield f"exp(x) without - 1 in {kind}", np.where(x > 0, x, alpha * np.exp(x))
        yield "an exponent that is not divided by alpha", np.where(x > 0, x, alpha * np.expm1(x))


_OTHER_VALUES: dict[str, dict[str, Callable]] = {
    "softsign": {
        "1 + x for 1 + |x|": lambda x: x / (1 + x),
        "(1 + |x|)² for 1 + |x|": lambda x: x / (1 + np.abs(x)) ** 2,
    },
    "hard_sigmoid": {"x / 5 + 1/2, Keras' form,": lambda x: np.clip(x / 5 + 0.5, 0, 1)},
    "selu": {
        "selu without its scale": lambda x: np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
        "selu's scale and alpha exchanged": lambda x: (
            SELU_ALPHA * np.where(x > 0, x, SELU_SCALE * np.expm1(x))
        ),
    },
    "silu": {"x sigmoid(1.702 x)": lambda x: x * expit(1.702 * x)},
    "mish": {"x softplus(x), without tanh,": lambda x: x * np.logaddexp(x, 0)},
    "gelu": {
        "x sigmoid(1.702 x)": lambda x: x * expit(1.702 * x),
        "erf(x) for erf(x / √2)": lambda x: x * (1 + erf(x)) / 2,
    },
    "log_sigmoid": {
        "the logarithm of sigmoid's derivative": lambda x: -np.logaddexp(-x, 0) - np.logaddexp(x, 0)
    },
}
