"""Mistakes of the forward and the backward pass: locally of one layer, end to end of any."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping

import numpy as np

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
    layer_backward,
    layer_forward,
)
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene

DEEP = 8  # layers before the last one
FEW, HALF = 1e-3, 0.5
FEW_NUMBERS = 6


def users(scene: Scene, name: str) -> list[Node]:
    """The layers that take the value of that name."""
    return [layer for layer in scene.problem.network if name in layer.inputs]


def _suspects(scene: Scene) -> list[Node]:
    """The layers whose backward pass may have gone wrong, the last one first.

    End to end they stand between the last gradient that is right and the first one, on the way back, that is wrong; and
    skips, which pass something back to a layer far before them.
    """
    if scene.run.has_layers:
        return users(scene, scene.tensor) if scene.phase == "cotangent" else []
    back = list(reversed(scene.problem.network))
    trained = {path.rpartition(".")[0] for path in scene.problem.trained}
    wrong = [i for i, layer in enumerate(back) if _has_wrong_gradient(scene, layer)]
    first = min(wrong, default=len(back) - 1)
    right = max((i for i, layer in enumerate(back[:first]) if layer.name in trained), default=0)
    return [*(layer for layer in back[:right] if len(layer.inputs) > 1), *back[right : first + 1]]


def _has_wrong_gradient(scene: Scene, layer: Node) -> bool:
    """One of the layer's own gradients is wrong."""
    keys = [
        key
        for key in scene.checks
        if key[0] == "gradient" and key[1].rpartition(".")[0] == layer.name
    ]
    return any(scene.is_wrong(key) for key in keys)


def settings(scene: Scene) -> Mistakes:
    """End to end: another activation or another setting in both passes, or other operands."""
    if scene.run.has_layers:
        return
    for layer in scene.problem.network:
        look = f"look at the {layer.kind} layer {layer.name}"
        for words, other in _others(layer):
            network = tuple(other if one is layer else one for one in scene.problem.network)
            yield Mistake(words, scene.computed(network=network, by_the_loss=True), look)
    for words, numbers in _other_operands(scene):
        yield Mistake(words, scene.computed(operands=scene.numbers | numbers, by_the_loss=True))


def _others(layer: Node) -> Iterator[tuple[str, Node]]:
    yield from layers.other_settings(layer)
    if layer.kind in OTHERS:
        for kind, other in OTHERS.items():
            if kind != layer.kind:
                yield f"{kind} in the place of {layer.kind}", in_place_of(layer, other)


def _other_operands(scene: Scene) -> Iterator[tuple[str, Mapping]]:
    """Other numbers for both passes."""
    for layer in scene.problem.network:
        bias, mask = f"{layer.name}.bias", layer.masks.get("mask")
        if bias in scene.numbers:
            yield f"a forgotten bias of {layer.name}", {bias: 0 * scene.numbers[bias]}
            yield f"a bias of {layer.name} that is added twice", {bias: 2 * scene.numbers[bias]}
        if mask in scene.numbers:
            ones, rate = 0 * scene.numbers[mask] + 1, layer.settings["rate"]
            yield f"a forgotten mask of {layer.name}", {mask: ones}
            yield (
                f"a mask of {layer.name} that is turned around",
                {mask: ones - scene.numbers[mask]},
            )
            yield (
                f"a mask of {layer.name} that is not scaled",
                {mask: scene.numbers[mask] * (1 - rate)},
            )
            yield f"no dropout of {layer.name} at all", {mask: ones * (1 - rate)}


def kinks(scene: Scene) -> Mistakes:
    """The derivative at a kink: that of the other side, or one between them."""
    for mistake in _with_rules(scene, derivatives.kinks):
        yield mistake
        share = (
            _share(scene, mistake.tensors.get(scene.key))
            if derivatives.OTHER_SIDE in mistake.words
            else 0
        )
        if share:
            words = mistake.words.replace(
                derivatives.OTHER_SIDE, f"a derivative {share:.3g} of the way to that"
            )
            apart = {key: other - scene.truths[key] for key, other in mistake.tensors.items()}
            between = {key: scene.truths[key] + share * away for key, away in apart.items()}
            yield Mistake(words, between, mistake.look)


def _share(scene: Scene, other: np.ndarray | None) -> float:
    """How far the found tensor is on the way from the truth to another one; 0 where it is not between them."""
    if other is None or not (apart := np.abs(other - scene.truth)).any():
        return 0.0
    at = np.unravel_index(apart.argmax(), apart.shape)
    share = float((scene.found[scene.key][at] - scene.truth[at]) / (other[at] - scene.truth[at]))
    is_told = abs(share - HALF) < FEW  # as half a derivative
    return share if FEW < share < 1 - FEW and not is_told else 0.0


def slopes(scene: Scene) -> Mistakes:
    """A layer's own derivative, left out or taken wrongly."""
    yield from _with_rules(scene, derivatives.slopes)


def other_slopes(scene: Scene) -> Mistakes:
    """The derivative of another activation."""
    yield from _with_rules(scene, derivatives.other_slopes)


def _with_rules(scene: Scene, wrong: Callable[[Node], Iterator[tuple[str, Backward]]]) -> Mistakes:
    """Wrong rules in one layer, or in all of its kind."""
    suspects = _suspects(scene)
    for layer in suspects:
        look = f"look at the backward pass of the {layer.kind} layer {layer.name}"
        for words, rule in wrong(layer):
            yield Mistake(words, scene.computed(rules={layer.name: rule}), look)
    if scene.run.has_layers:
        return
    for kind in sorted({layer.kind for layer in suspects if layer.kind in ACTIVATIONS}):
        alike = [layer for layer in reversed(scene.problem.network) if layer.kind == kind]
        rules = zip(*(wrong(layer) for layer in alike), strict=True) if len(alike) > 1 else ()
        for together in rules:
            by_layer = {layer.name: rule for layer, (_, rule) in zip(alike, together, strict=True)}
            look = f"look at the backward pass of the {kind} layers"
            yield Mistake(
                f"{together[0][0].rstrip(',')}, in every such layer,",
                scene.computed(rules=by_layer),
                look,
            )


def of_factors(scene: Scene) -> Mistakes:
    """End to end: what one layer passes back, or its gradients, times a number."""
    if scene.run.has_layers:
        return
    numbers = {"with the wrong sign,": -1, "doubled,": 2, "halved,": 0.5, "cut off,": 0}
    numbers |= {"averaged over the batch,": 1 / len(scene.batch)} if len(scene.batch) > 2 else {}
    read_off = scene.factor
    if read_off and not np.isclose(read_off, [*numbers.values()], rtol=1e-6).any():
        numbers[f"that is {factors.written(read_off)} times what is right,"] = read_off
    for layer in _suspects(scene):
        look = f"look at the backward pass of the {layer.kind} layer {layer.name}"
        for words, factor in numbers.items():
            rules = {layer.name: _times(factor)}
            told = f"what {layer.name} passes back, {words}"
            yield Mistake(told, scene.computed(rules=rules), look)
    for kind in ("weight", "bias"):
        keys = [key for key in scene.truths if key[0] == "gradient" and key[1].endswith(f".{kind}")]
        for words, factor in numbers.items() if len(keys) > 1 else ():
            told = f"the gradient of every {kind}, {words}"
            yield Mistake(told, {key: factor * scene.truths[key] for key in keys})


def _times(factor: float) -> Backward:
    def rule(layer, numbers, x, y, dy):
        dx, others = layer_backward(layer, numbers, x, y, dy)
        return factor * dx, others

    return rule


def joint(scene: Scene) -> Mistakes:
    """End to end: y - t for the derivatives of the loss and the last activation, alone and beside another mistake."""
    *before, last = scene.problem.network
    if scene.run.has_layers or last.kind not in ("softmax", "sigmoid", "log_softmax") or not before:
        return
    loss = scene.problem.loss
    number = {"sum": 1, "mean": scene.targets.size, "batch_mean": len(scene.batch)}[loss.reduction]

    def slope(loss, y, t, _):
        return loss.factor * (y - t) / number

    left_out = {last.name: lambda layer, numbers, x, y, dy: (dy, {})}
    words = f"y - t behind {before[-1].name}, for a cross-entropy of its own behind {last.kind},"
    look = (
        f"look at the derivatives of the {loss.kind} loss and of the {last.kind} layer {last.name}"
    )
    yield Mistake(words, scene.computed(slope=slope, rules=left_out), look)
    for layer in reversed(before[-DEEP:]):
        for second, rule in derivatives.slopes(layer):
            tensors = scene.computed(slope=slope, rules=left_out | {layer.name: rule})
            yield Mistake(f"{words} and {second.rstrip(',')}", tensors, look)


def slopes_and_factors(scene: Scene) -> Mistakes:
    """End to end: a layer's derivative taken wrongly, and every gradient times a number."""
    if scene.run.has_layers:
        return
    for mistake in slopes(scene):
        for words, factor in factors.known(scene, of_loss=True):
            tensors = {
                key: factor * array
                for key, array in mistake.tensors.items()
                if key[0] == "gradient"
            }
            told = f"{mistake.words.rstrip(',')}, and {words.rstrip(',')} in every gradient,"
            yield Mistake(told, tensors, mistake.look, again=_numbers(scene) < FEW_NUMBERS)


def _numbers(scene: Scene) -> int:
    """How many numbers of gradients there are, of which two mistakes at once may fit a few by chance."""
    return sum(truth.size for (phase, _), truth in scene.truths.items() if phase == "gradient")


def forwards(scene: Scene) -> Mistakes:
    """End to end: a wrong value of one layer, on which everything behind it and the backward pass depend."""
    if scene.run.has_layers:
        return
    for place, layer in enumerate(scene.problem.network):
        look = f"look at the forward pass of the {layer.kind} layer {layer.name}"
        for words, value in [*layers.wrong_values(scene, layer), *layers.other_kinds(scene, layer)]:
            values = {name: scene.values[name] for name in scene.names[: place + 1]} | {
                layer.name: value
            }
            for later in scene.problem.network[place + 1 :]:
                x = values[later.inputs[0]]
                values[later.name] = layer_forward(later, ChainMap(values, scene.numbers), x)
            yield Mistake(
                f"{words.rstrip(',')} in {layer.name}",
                scene.computed(values=values, by_the_loss=True),
                look,
            )


def samples(scene: Scene) -> Mistakes:
    """End to end: the samples or the targets of another batch."""
    if scene.run.has_layers:
        return
    problem, size = scene.problem, len(scene.batch)
    steps = range(max(0, scene.step - 16), min(problem.steps, scene.step + 16))
    batches = {
        f"the samples of step {step}": problem.batches[step] for step in steps if step != scene.step
    }
    batches |= {"the next samples": (scene.batch + 1) % len(problem.inputs)}
    batches |= {"the first sample in every place": scene.batch[[0] * size]}
    batches |= {
        "the samples in the order of the file": (
            scene.step * problem.batches.shape[1] + np.arange(size)
        )
    }
    for words, batch in batches.items():
        rows = batch[batch >= 0] % len(problem.inputs)
        if len(rows) == size:
            inputs, targets = floats(problem.inputs[rows]), floats(problem.targets[rows])
            values, _ = forward(problem.network, scene.numbers, inputs)
            yield Mistake(words, scene.computed(values=values, targets=targets, by_the_loss=True))
    for words, targets in losses.other_targets(scene):
        yield Mistake(words, scene.computed(targets=targets))
    for words, inputs in {
        "inputs in the order turned around": problem.inputs[::-1][scene.batch]
    }.items():
        yield Mistake(
            words, scene.computed(values=forward(problem.network, scene.numbers, floats(inputs))[0])
        )


# ---------------------------------------------------------------- gradients of one layer


def gradients(scene: Scene) -> Mistakes:
    """A layer's gradient of other samples, or of another cotangent or value."""
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

    def of(x: np.ndarray, dy: np.ndarray) -> dict:
        return {scene.key: rest + alone(x, dy)}

    for sample in range(min(len(x), 64)):
        yield Mistake(f"the gradient of sample {sample} alone", of(x[[sample]], dy[[sample]]))
        others = np.arange(len(x)) != sample
        yield Mistake(f"the gradient without sample {sample}", of(x[others], dy[others]))
    yield from _of_positions(x, dy, of)
    for other, cotangent in scene.cotangents.items():
        if other != layer.name and cotangent.shape == dy.shape:
            yield Mistake(
                f"the cotangent of {other} in place of the one of {layer.name}", of(x, cotangent)
            )
    for other, value in scene.values.items() if is_weight else ():
        if value.shape == x.shape and other != layer.inputs[0]:
            yield Mistake(
                f"the value of {other} in place of the one of {layer.inputs[0]}", of(value, dy)
            )


def _of_positions(x: np.ndarray, dy: np.ndarray, of: Callable) -> Mistakes:
    """The gradient of some positions, or of samples and positions mixed up, by a formula of x and dy."""
    if x.ndim == 2:
        return
    yield Mistake("samples and positions mixed up in the value", of(layers.mixed_up(x), dy))
    yield Mistake("samples and positions mixed up in the cotangent", of(x, layers.mixed_up(dy)))
    x, dy = (values.reshape(len(values), -1, values.shape[-1]) for values in (x, dy))
    for position in range(min(x.shape[1], 64)):
        yield Mistake(
            f"the gradient of position {position} alone", of(x[:, [position]], dy[:, [position]])
        )
        others = np.arange(x.shape[1]) != position
        yield Mistake(f"the gradient without position {position}", of(x[:, others], dy[:, others]))


def _of_a_slope(scene: Scene, x: np.ndarray, dy: np.ndarray) -> Mistakes:
    def of(terms: np.ndarray) -> dict:
        shared = scene.truth.shape == (1,)
        return {scene.key: terms.sum()[None] if shared else rows(terms, 0).sum(axis=0)}

    yield Mistake("a slope's gradient without the cotangent", of(np.minimum(x, 0)))
    yield Mistake("a slope's gradient from the positive side", of(dy * np.maximum(x, 0)))
    yield Mistake("a slope's gradient from both sides", of(dy * x))
    yield Mistake("a slope's gradient of the first sample alone", of((dy * np.minimum(x, 0))[:1]))
