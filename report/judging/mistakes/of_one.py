"""Known mistakes of one operation that was called alone: what they would give, compared whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import starmap
from typing import Any

import numpy as np
from ml_dtypes import finfo

from backproof.backends.trajectory import Arrays
from backproof.cases.format.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.precision import precision_of
from backproof.report.judging.asked import Asked
from backproof.report.judging.mistakes import derivatives, factors, layers
from backproof.report.judging.mistakes.scene import Mistakes, Scene, Tensors
from backproof.report.judging.operations import Check

FEW_SAMPLES, MOST_NUMBERS = 64, 500_000  # of samples that are left out in turn


class OneScene(Scene):
    """One operation as the mistakes see it; no run stands behind it.

    Attributes:
        asked: the operation.
        cotangent: with which it was called.
    """

    asked: Asked
    cotangent: np.ndarray | None

    def __init__(self, asked: Asked, check: Check, cotangent: np.ndarray | None):
        super().__init__(None, None, 0, check.phase, check.tensor)
        vars(self).update(asked=asked, cotangent=cotangent, checks={check[:2]: check})

    def start(self, key: tuple[str, str]) -> Any:
        """Return what is subtracted from a tensor: of a parameter, the change is compared."""
        return floats(self.asked.inputs["parameter"]) if key[0] == "update" else 0.0

    @property
    def precision(self):
        """The precision of the dtype."""
        return precision_of(self.asked.dtype)

    @cached_property
    def numbers(self) -> Arrays:
        """The inputs by name, and by the path that a node takes them by."""
        arrays = {name: floats(array) for name, array in self.asked.inputs.items()}
        node = self.asked.node
        return arrays | {f"{node.name}.{name}": array for name, array in arrays.items() if node}

    @property
    def values(self) -> Arrays:
        """The same: what layers take."""
        return self.numbers

    @property
    def parameters(self) -> Arrays:
        """The same: what a decay adds some of."""
        return self.numbers

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.asked.settings.learning_rate

    def truths_of(self, cotangent: np.ndarray | None, **others: np.ndarray) -> Tensors:
        """Compute the operation with another cotangent, and other inputs by name."""
        truths = self.asked.truths(self.asked.inputs | others, cotangent, self.asked.inner)
        return {(phase, name): floats(truth.value[0]) for phase, name, truth in truths}


# ---------------------------------------------------------------- families


def of_factors(scene: OneScene) -> Mistakes:
    """Yield zeros, and the truth times a number that stands for something."""
    nothing = "a derivative that is never computed"
    if scene.phase not in ("cotangent", "gradient"):
        nothing = "a result that is never computed"
    yield scene.here(nothing, 0 * scene.truth)
    yield scene.here("a wrong sign", -scene.truth)
    for words, number in _numbers(scene.asked).items():
        if number > 1:
            yield scene.here(
                f"a mean over the {words} in place of a sum ({number})", scene.truth / number
            )
            yield scene.here(
                f"a sum over the {words} in place of a mean ({number})", scene.truth * number
            )
    yield scene.here("a missing factor ½", 2 * scene.truth)
    yield scene.here("a missing factor 2", scene.truth / 2)


def _numbers(asked: Asked) -> dict[str, int]:
    """Return what a mean may divide by, in words."""
    shape = next((asked.inputs[name].shape for name in asked.by_sample), ())
    if not shape:
        return {}
    positions = int(np.prod(shape[1:-1]))
    numbers = {"samples": shape[0], "positions": positions, "features": shape[-1]}
    numbers["samples and positions"] = shape[0] * positions
    return numbers | {"elements": int(np.prod(shape))}


def of_values(scene: OneScene) -> Mistakes:
    """Yield another value of an activation."""
    node = scene.asked.node
    if scene.phase == "value" and node is not None and node.kind in ACTIVATIONS:
        for wrong in (layers.wrong_values, layers.other_kinds):
            yield from starmap(scene.here, wrong(scene, node))


def of_the_cotangent(scene: OneScene) -> Mistakes:
    """Yield the derivative of another cotangent: of ones, read in another order, or used twice."""
    dy, asked = scene.cotangent, scene.asked
    if dy is None or not asked.wanted:
        return
    yield from _with(scene, "a cotangent that is taken for ones", np.ones_like(dy))
    if dy.ndim > 1:
        turned = np.ascontiguousarray(np.swapaxes(dy, -1, -2)).reshape(dy.shape)
        yield from _with(scene, "a cotangent that is read as if it were contiguous", turned)
        back = np.swapaxes(dy.reshape(*dy.shape[:-2], *dy.shape[:-3:-1]), -1, -2)
        yield from _with(scene, "a cotangent whose axes are mixed up", back)
        yield from _with(
            scene,
            "the cotangent of the first sample for all",
            np.broadcast_to(dy[:1], dy.shape).copy(),
        )
        mean = np.broadcast_to(dy.mean(axis=0, keepdims=True, dtype=np.float64), dy.shape)
        yield from _with(
            scene, "the mean of the cotangent over the samples in every one", mean.astype(dy.dtype)
        )
    if dy.ndim:
        mean = np.full(dy.shape, dy.mean(dtype=np.float64)).astype(dy.dtype)
        yield from _with(scene, "the mean of the cotangent in every element", mean)


def _with(scene: OneScene, words: str, cotangent: np.ndarray) -> Mistakes:
    """Yield what another cotangent gives in the place of the wrong tensor."""
    tensors = scene.truths_of(cotangent)
    if scene.key in tensors:
        yield scene.here(words, tensors[scene.key])


def of_other_inputs(scene: OneScene) -> Mistakes:
    """Yield what comes of an input that is forgotten, transposed, or taken for another one."""
    inputs = scene.asked.inputs
    for name, array in inputs.items():
        others: dict[str, dict[str, np.ndarray]] = {}
        if array.dtype.kind not in "biu":
            others[f"{name} left out"] = {name: np.zeros_like(array)}
        if array.ndim == 2 and array.shape == array.shape[::-1]:
            others[f"{name} transposed"] = {name: np.ascontiguousarray(array.T)}
        for other, beside in list(inputs.items())[: list(inputs).index(name)]:
            if beside.shape == array.shape and beside.dtype == array.dtype:
                others[f"{other} and {name} exchanged"] = {name: beside, other: array}
                others[f"{name} in the place of {other}"] = {other: array}
                others[f"{other} in the place of {name}"] = {name: beside}
        for words, changed in others.items():
            tensors = scene.truths_of(scene.cotangent, **changed)
            if scene.key in tensors:
                yield scene.here(words, tensors[scene.key] - scene.start(scene.key))


def _are_few(dy: np.ndarray) -> bool:
    """Tell whether the samples can be left out in turn."""
    return dy.ndim > 0 and 1 < len(dy) <= FEW_SAMPLES and dy.size * len(dy) <= MOST_NUMBERS


def of_left_out(scene: OneScene) -> Mistakes:
    """Yield a gradient without one of the samples, or without the last ones."""
    dy = scene.cotangent
    if dy is None or scene.phase != "gradient" or not _are_few(dy):
        return
    for sample in range(len(dy)):
        without = dy.copy()
        without[sample] = 0
        yield from _with(scene, f"sample {sample} left out of the sum", without)
    for first in range(1, len(dy) - 1):
        without = np.where(np.arange(len(dy)).reshape(-1, *[1] * (dy.ndim - 1)) < first, dy, 0)
        words = f"the samples from {first} on left out of the sum"
        yield from _with(scene, words, without.astype(dy.dtype))


def of_other_results(scene: OneScene) -> Mistakes:
    """Yield the derivative by another input, the cotangent itself, or an input."""
    if scene.cotangent is None:
        return
    for (phase, name), array in scene.truths_of(scene.cotangent).items():
        if (phase, name) != scene.key and array.shape == scene.truth.shape:
            yield scene.here(f"the {phase} of {name}", array)
    if scene.cotangent.shape == scene.truth.shape:
        yield scene.here("the cotangent itself", floats(scene.cotangent))


def of_slopes(scene: OneScene) -> Mistakes:
    """Yield a layer's own derivative, taken wrongly."""
    yield from _by_rules(scene, derivatives.kinks)
    yield from _by_rules(scene, derivatives.slopes)


def of_other_slopes(scene: OneScene) -> Mistakes:
    """Yield the derivative of another activation."""
    yield from _by_rules(scene, derivatives.other_slopes)


def _by_rules(scene: OneScene, wrong: Callable[[Node], derivatives.Rules]) -> Mistakes:
    """Yield what wrong rules give for the derivative by the layer's first value."""
    node, numbers = scene.asked.node, scene.numbers
    if scene.cotangent is None or node is None or scene.key != ("cotangent", node.inputs[0]):
        return
    x, dy = numbers[node.inputs[0]], floats(scene.cotangent)
    y = derivatives.layer_forward(node, numbers, x)
    for words, rule in wrong(node):
        yield scene.here(words, rule(node, numbers, x, y, dy)[0])


def of_storage(scene: OneScene) -> Mistakes:
    """Yield a sum over the samples that is carried in the dtype of the numbers, one by one."""
    dy = scene.cotangent
    if dy is None or scene.phase != "gradient" or not _are_few(dy):
        return
    if finfo(scene.asked.dtype).eps < finfo(np.float32).eps * 2:
        return
    total = np.zeros(scene.truth.shape, scene.asked.dtype)
    for sample in range(len(dy)):
        alone = np.zeros_like(dy)
        alone[sample] = dy[sample]
        part = scene.truths_of(alone)[scene.key]
        total = (total.astype(np.float32) + part.astype(np.float32)).astype(total.dtype)
    words = f"a sum over the samples that is carried in {scene.asked.dtype}"
    yield scene.here(words, floats(total))


LAST: list[Callable] = [factors.of_any_factor, factors.of_other_places]
VALUES: list[Callable] = [of_factors, of_values, of_other_inputs, *LAST]
DERIVATIVES: list[Callable] = [
    *(
        of_factors,
        of_the_cotangent,
        of_slopes,
        of_other_slopes,
        of_other_results,
        of_left_out,
        of_storage,
        *LAST,
    ),
]
QUICK = (of_factors, of_the_cotangent, *LAST)
