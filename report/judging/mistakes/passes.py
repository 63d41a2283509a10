"""Mistakes of the forward and the backward pass: locally of one layer, end to end of any."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.cases.format.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.formulas.positions import rows
from backproof.reference.numbers.balls import floats
from backproof.reference.training import forward
from backproof.report.judging.mistakes import derivatives, factors, layers, losses
from backproof.report.judging.mistakes.formulas import (
    OTHERS,
    Backward,
    in_place_of,
    layer_forward,
    others,
    times,
)
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene, end_to_end, only

DEEP = 8  # layers before the last one
FEW, HALF = 1e-3, 0.5
FEW_NUMBERS = 6


def _suspects(scene: Scene) -> list[Node]:
    """Return the layers whose backward pass may have gone wrong, the last one first.

    End to end they stand between the last gradient that is right and the first one, on the way
    back, that is wrong; and skips, which pass something back to a layer far before them.
    """
    if scene.run.has_layers:
        return scene.users(scene.tensor) if scene.phase == "cotangent" else []
    back = list(reversed(scene.problem.network))
    trained = {path.rpartition(".")[0] for path in scene.problem.trained}
    gradients = only("gradient", scene.found)
    wrong = {key[1].rpartition(".")[0] for key in gradients if scene.is_wrong(key)}
    first = next((i for i, layer in enumerate(back) if layer.name in wrong), len(back) - 1)
    right = max((i for i, layer in enumerate(back[:first]) if layer.name in trained), default=0)
    return [*(layer for layer in back[:right] if len(layer.inputs) > 1), *back[right : first + 1]]


@end_to_end
def settings(scene: Scene) -> Mistakes:
    """Yield another activation or another setting in both passes, or other operands."""
    for layer in scene.problem.network:
        look = f"look at the {layer.kind} layer {layer.name}"
        for words, other in _others(layer):
            network = tuple(other if one is layer else one for one in scene.problem.network)
            yield Mistake(words, scene.computed(network=network, by_the_loss=True), look)
    for words, numbers in _other_operands(scene):
        yield Mistake(words, scene.computed(operands=scene.numbers | numbers, by_the_loss=True))


def _others(layer: Node) -> Iterator[tuple[str, Node]]:
    yield from layers.other_settings(layer)
    for other in others(layer) if layer.kind in OTHERS else ():
        yield f"{other.kind} in the place of {layer.kind}", in_place_of(layer, other)


def _other_operands(scene: Scene) -> Iterator[tuple[str, Arrays]]:
    """Yield other numbers for both passes."""
    for layer in scene.problem.network:
        bias, mask = f"{layer.name}.bias", layer.masks.get("mask")
        if bias in scene.numbers:
            yield f"a forgotten bias of {layer.name}", {bias: 0 * scene.numbers[bias]}
            yield f"a bias of {layer.name} that is added twice", {bias: 2 * scene.numbers[bias]}
        if mask in scene.numbers:
            kept, rate = scene.numbers[mask], layer.settings["rate"]
            ones, told = 0 * kept + 1, f"mask of {layer.name}"
            yield f"a forgotten {told}", {mask: ones}
            yield f"a {told} that is turned around", {mask: ones - kept}
            yield f"a {told} that is not scaled", {mask: kept * (1 - rate)}
            yield f"no dropout of {layer.name} at all", {mask: ones * (1 - rate)}


def kinks(scene: Scene) -> Mistakes:
    """Yield the derivative at a kink: that of the other side, or one between them."""
    for mistake in _with_rules(scene, derivatives.kinks):
        yield mistake
        other = mistake.tensors.get(scene.key)
        if derivatives.OTHER_SIDE in mistake.words and (share := _share(scene, other)):
            told = f"a derivative {share:.3g} of the way to that"
            between = {
                key: scene.truths[key] + share * (other - scene.truths[key])
                for key, other in mistake.tensors.items()
            }
            words = mistake.words.replace(derivatives.OTHER_SIDE, told)
            yield Mistake(words, between, mistake.look)


def _share(scene: Scene, other: np.ndarray | None) -> float:
    """Return how far the found tensor is on the way to another one; 0 where it is not between."""
    if other is None or not (apart := np.abs(other - scene.truth)).any():
        return 0.0
    at = np.unravel_index(apart.argmax(), apart.shape)
    share = float((scene.found[scene.key][at] - scene.truth[at]) / (other[at] - scene.truth[at]))
    is_told = abs(share - HALF) < FEW  # as half a derivative
    return share if FEW < share < 1 - FEW and not is_told else 0.0


def slopes(scene: Scene) -> Mistakes:
    """Yield a layer's own derivative, left out or taken wrongly."""
    yield from _with_rules(scene, derivatives.slopes)


def other_slopes(scene: Scene) -> Mistakes:
    """Yield the derivative of another activation."""
    yield from _with_rules(scene, derivatives.other_slopes)


def _with_rules(scene: Scene, wrong: Callable[[Node], Iterator[tuple[str, Backward]]]) -> Mistakes:
    """Yield wrong rules in one layer, and end to end in all of its kind."""
    suspects = _suspects(scene)
    for layer in suspects:
        look = f"look at the backward pass of the {layer.kind} layer {layer.name}"
        for words, rule in wrong(layer):
            yield Mistake(words, scene.computed(rules={layer.name: rule}), look)
    if scene.run.has_layers:
        return
    for kind in sorted({layer.kind for layer in suspects if layer.kind in ACTIVATIONS}):
        look = f"look at the backward pass of the {kind} layers"
        alike = [layer for layer in reversed(scene.problem.network) if layer.kind == kind]
        rules = zip(*map(wrong, alike), strict=True) if len(alike) > 1 else ()
        for together in rules:
            by_layer = {layer.name: rule for layer, (_, rule) in zip(alike, together, strict=True)}
            words = f"{together[0][0].rstrip(',')}, in every such layer,"
            yield Mistake(words, scene.computed(rules=by_layer), look)


@end_to_end
def of_factors(scene: Scene) -> Mistakes:
    """Yield what one layer passes back, or its gradients, times a number."""
    numbers = {"with the wrong sign,": -1.0, "doubled,": 2, "halved,": 0.5, "cut off,": 0}
    if len(scene.batch) > 2:
        numbers["averaged over the batch,"] = 1 / len(scene.batch)
    read_off = scene.factor
    if read_off and not np.isclose(read_off, [*numbers.values()], rtol=1e-6).any():
        numbers[f"that is {factors.written(read_off)} times what is right,"] = read_off
    for layer in _suspects(scene):
        look = f"look at the backward pass of the {layer.kind} layer {layer.name}"
        for words, factor in numbers.items():
            told = f"what {layer.name} passes back, {words}"
            yield Mistake(told, scene.computed(rules={layer.name: times(factor)}), look)
    for kind in ("weight", "bias"):
        keys = [key for key in only("gradient", scene.truths) if key[1].endswith(f".{kind}")]
        for words, factor in numbers.items() if len(keys) > 1 else ():
            told = f"the gradient of every {kind}, {words}"
            yield Mistake(told, {key: factor * scene.truths[key] for key in keys})


@end_to_end
def joint(scene: Scene) -> Mistakes:
    """Yield y - t for the derivatives of loss and last activation, alone or beside a mistake."""
    *before, last = scene.problem.network
    if last.kind not in ("softmax", "sigmoid", "log_softmax") or not before:
        return
    loss = scene.problem.loss
    number = {"sum": 1, "mean": scene.targets.size, "batch_mean": len(scene.batch)}[loss.reduction]

    def slope(loss, y, t, _):
        return loss.factor * (y - t) / number

    left_out = {last.name: lambda layer, numbers, x, y, dy: (dy, {})}
    words = f"y - t behind {before[-1].name}, for a cross-entropy of its own behind {last.kind},"
    place = f"the {loss.kind} loss and of the {last.kind} layer {last.name}"
    look = f"look at the derivatives of {place}"
    yield Mistake(words, scene.computed(slope=slope, rules=left_out), look)
    for layer in reversed(before[-DEEP:]):
        for second, rule in derivatives.slopes(layer):
            tensors = scene.computed(slope=slope, rules=left_out | {layer.name: rule})
            yield Mistake(f"{words} and {second.rstrip(',')}", tensors, look)


@end_to_end
def slopes_and_factors(scene: Scene) -> Mistakes:
    """Yield a layer's derivative taken wrongly, and every gradient times a number.

    Two mistakes at once may fit a few numbers by chance: those must come true at another step.
    """
    numbers = sum(truth.size for truth in only("gradient", scene.truths).values())
    for mistake in slopes(scene):
        gradients = only("gradient", mistake.tensors)
        for words, factor in factors.known(scene, of_loss=True):
            tensors = {key: factor * array for key, array in gradients.items()}
            told = f"{mistake.words.rstrip(',')}, and {words.rstrip(',')} in every gradient,"
            yield Mistake(told, tensors, mistake.look, again=numbers < FEW_NUMBERS)


@end_to_end
def forwards(scene: Scene) -> Mistakes:
    """Yield a wrong value of one layer, on which all behind it and the backward pass depend."""
    for place, layer in enumerate(scene.problem.network):
        look = f"look at the forward pass of the {layer.kind} layer {layer.name}"
        for words, value in [*layers.wrong_values(scene, layer), *layers.other_kinds(scene, layer)]:
            values = scene.values | {layer.name: value}
            for later in scene.problem.network[place + 1 :]:
                x = values[later.inputs[0]]
                values[later.name] = layer_forward(later, ChainMap(values, scene.numbers), x)
            tensors = scene.computed(values=values, by_the_loss=True)
            yield Mistake(f"{words.rstrip(',')} in {layer.name}", tensors, look)


@end_to_end
def samples(scene: Scene) -> Mistakes:
    """Yield the samples or the targets of another batch."""
    problem, size, count = scene.problem, len(scene.batch), len(scene.problem.inputs)
    steps = range(max(0, scene.step - 16), min(problem.steps, scene.step + 16))
    batches = {
        f"the samples of step {step}": problem.batches[step] for step in steps if step != scene.step
    }
    batches["the next samples"] = (scene.batch + 1) % count
    batches["the first sample in every place"] = scene.batch[[0] * size]
    first = scene.step * problem.batches.shape[1]
    batches["the samples in the order of the file"] = first + np.arange(size)

    def values(rows: np.ndarray) -> Arrays:
        return forward(problem.network, scene.numbers, floats(problem.inputs[rows]))[0]

    for words, batch in batches.items():
        rows = batch[batch >= 0] % count
        if len(rows) == size:
            right = floats(problem.targets[rows])
            tensors = scene.computed(values=values(rows), targets=right, by_the_loss=True)
            yield Mistake(words, tensors)
    for words, targets in losses.other_targets(scene):
        yield Mistake(words, scene.computed(targets=targets))
    turned = values(count - 1 - scene.batch)
    yield Mistake("inputs in the order turned around", scene.computed(values=turned))


# ---------------------------------------------------------------- gradients of one layer


def gradients(scene: Scene) -> Mistakes:
    """Yield a layer's gradient of other samples, or of another cotangent or value."""
    name, _, what = scene.tensor.rpartition(".")
    layer = scene.layer(name)
    if scene.phase != "gradient" or layer is None:
        return
    x, dy = scene.values[layer.inputs[0]], scene.cotangents[name]
    if what == "slope":
        yield from _of_a_slope(scene, x, dy)
    if layer.kind == "dense":
        yield from _of_a_dense_layer(scene, layer, x, dy)


def _of_a_dense_layer(scene: Scene, layer: Node, x: np.ndarray, dy: np.ndarray) -> Mistakes:
    is_weight = scene.tensor.endswith(".weight")

    def alone(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        x, dy = rows(x, 0), rows(dy, 0)
        return x.T @ dy if is_weight else dy.sum(axis=0)

    rest = scene.truth - alone(x, dy)  # of ties and penalties

    def of(words: str, x: np.ndarray, dy: np.ndarray) -> Mistake:
        return scene.here(words, rest + alone(x, dy))

    yield from _of_some("sample", 0, x, dy, of)
    if x.ndim > 2:
        yield of("samples and positions mixed up in the value", layers.mixed_up(x), dy)
        yield of("samples and positions mixed up in the cotangent", x, layers.mixed_up(dy))
        flat_x, flat_dy = (array.reshape(len(x), -1, array.shape[-1]) for array in (x, dy))
        yield from _of_some("position", 1, flat_x, flat_dy, of)
    for other, cotangent in scene.cotangents.items():
        if other != layer.name and cotangent.shape == dy.shape:
            words = f"the cotangent of {other} in place of the one of {layer.name}"
            yield of(words, x, cotangent)
    for other, value in scene.values.items() if is_weight else ():
        if value.shape == x.shape and other != layer.inputs[0]:
            words = f"the value of {other} in place of the one of {layer.inputs[0]}"
            yield of(words, value, dy)


def _of_some(what: str, axis: int, x: np.ndarray, dy: np.ndarray, of: Callable) -> Mistakes:
    """Yield the gradient of one sample or position, and that of the others."""
    places = np.arange(x.shape[axis])
    for place in places[:64]:
        choices = {
            f"the gradient of {what} {place} alone": places == place,
            f"the gradient without {what} {place}": places != place,
        }
        for words, kept in choices.items():
            yield of(words, x.compress(kept, axis), dy.compress(kept, axis))


def _of_a_slope(scene: Scene, x: np.ndarray, dy: np.ndarray) -> Mistakes:
    below = np.minimum(x, 0)
    terms = {
        "without the cotangent": below,
        "from the positive side": dy * np.maximum(x, 0),
        "from both sides": dy * x,
        "of the first sample alone": (dy * below)[:1],
    }
    for words, of in terms.items():
        is_shared = scene.truth.shape == (1,)
        total = of.sum()[None] if is_shared else rows(of, 0).sum(axis=0)
        yield scene.here(f"a slope's gradient {words}", total)
