"""Do the layers of a case fit together, and what belongs to them: names, shapes, targets, masks and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from backproof.cases.format.fields import KEY, hint, quoted
from backproof.cases.format.losses import GaussianNll
from backproof.cases.format.schema import Case

if TYPE_CHECKING:
    from backproof.cases.reading.document import Place

MOST_PARAMETERS = 10_000_000
MOST_INDICES = 100_000_000
MATRIX = 2

Mistakes = Iterator[tuple["Place", str]]


# ---------------------------------------------------------------- the graph


def layer_names(case: Case) -> Mistakes:
    """No two layers have one name."""
    taken = dict.fromkeys(("input", "output"), "is reserved")
    for i, layer in enumerate(case.network):
        if layer.name in taken:
            yield ("network", i, layer.kind, "name"), f"the name {layer.name!r} {taken[layer.name]}"
        taken[layer.name] = "is taken by an earlier layer"


def graph(case: Case) -> Mistakes:
    """A layer takes values that are there already, of shapes that fit; and every value is taken by some layer."""
    for place, message in case.graph.misfits:
        yield ("network", *place), message
    used = {name for sources in case.graph.sources.values() for name in sources}
    for i, layer in enumerate(case.network[:-1]):
        if layer.name not in used and not case.graph.misfits:  # one of which may mean this layer
            words = "so nothing is learnt through it; name it in the `inputs` of a layer behind it, or leave it out"
            yield ("network", i, layer.kind), f"nothing takes the value of {layer.name}, {words}"


def names_of_their_own(case: Case) -> Mistakes:
    """No layer is called what a parameter, a mask, a buffer or a part of one is called."""
    owned = {}
    for layer in case.network:
        if (taken := case.graph.taken.get(layer.name)) is not None:
            own = (
                *layer.parameters(*taken),
                *layer.masks(*taken),
                *layer.buffers(*taken),
                *layer.parts,
            )
            owned |= {f"{layer.name}.{name}": f"that of {layer.name}'s {name}" for name in own}
    for i, layer in enumerate(case.network):
        if layer.name in owned:
            yield (
                ("network", i, layer.kind, "name"),
                f"the name {layer.name!r} is {owned[layer.name]}",
            )


# ---------------------------------------------------------------- targets


def target_shape(case: Case) -> Mistakes:
    """Targets have the shape of the output, or are class indices; of a distribution there are two outputs a target."""
    targets, output = case.data.targets, (len(case.data.targets), *case.output_shape)
    *rows, width = output
    if case.loss.by_class and targets.shape == (*rows,):
        yield from _classes(targets, width)
    elif isinstance(case.loss, GaussianNll) and targets.shape[:-1] == (*rows,):
        if width != 2 * targets.shape[-1]:
            yield (
                ("data", "targets"),
                f"expected half the width {width} of the last layer, found {targets.shape[-1]}",
            )
    elif targets.shape != output:
        yield ("data", "targets"), _wrong_shape(case, targets.shape, output)


def _classes(targets: np.ndarray, classes: int) -> Mistakes:
    if (wrong := np.argwhere(~np.isin(targets, range(classes)))).size:
        place = tuple(map(int, wrong[0]))
        yield (
            ("data", "targets", *place),
            f"expected class indices from 0 to {classes - 1}, found {targets[place]:g}",
        )


def _wrong_shape(case: Case, found: tuple[int, ...], output: tuple[int, ...]) -> str:
    """What is expected in place of targets of this shape."""
    *rows, width = output
    last = f"that of the last layer, {case.graph.output!r}"
    if len(found) == len(output) == MATRIX:
        return f"expected width {width}, {last}, found {found[-1]}"
    classes = f"{(*rows,)}, a class index a position, or " if case.loss.by_class else ""
    return f"expected shape {classes}{output}, {last}, found {found}"


# ---------------------------------------------------------------- masks


def masks(case: Case) -> Mistakes:
    """A given mask has an element for each of a step's value; those that are drawn are not too many."""
    drawn = 0
    for i, layer in enumerate(case.network):
        shapes = layer.masks(*case.graph.taken[layer.name])
        for name, mask in layer.given_masks().items():
            each, place = (case.batch.size, *shapes[name]), ("network", i, layer.kind)
            drawn += case.steps * math.prod(each) if mask is None else 0
            if mask is None and drawn > MOST_INDICES:
                count = f"{case.steps:,} masks of {each}"
                yield place, f"{count}; at most {MOST_INDICES:,} numbers are drawn for all masks"
            elif mask is not None:
                yield from (
                    ((*place, name), wrong) for wrong in _wrong_mask(mask, each, case.steps)
                )


def _wrong_mask(mask: np.ndarray, each: tuple[int, ...], steps: int) -> Iterator[str]:
    """What is wrong with a mask that should be one of a step, or one for each."""
    if mask.shape[-len(each) :] != each or mask.ndim > len(each) + 1:
        yield f"expected shape {each} or ({', '.join(map(str, ('steps', *each)))}), found {mask.shape}"
    elif not np.isin(mask, (0, 1)).all():
        yield "expected a mask of 0 and 1"
    elif mask.ndim > len(each) and len(mask) > steps:
        yield f"expected at most {steps} masks, one a step, found {len(mask)}"


# ---------------------------------------------------------------- parameters


def tied(case: Case) -> Mistakes:
    """A tie leads from a layer's parameter to one that has a value of its own, of the same shape."""
    shapes, own = case.graph.parameters, case.parameter_shapes()
    for path, tie in case.tied.items():
        other = own.get(tie.parameter, ())
        if path not in shapes:
            yield ("tied", path, KEY), f"there is no parameter {quoted(path)}{hint(path, shapes)}"
        elif not other:
            message = f"there is no parameter {quoted(tie.parameter)} that is not tied itself"
            yield ("tied", path, "parameter"), message + hint(tie.parameter, own)
        elif tie.transposed and len(other) < 2:
            yield ("tied", path), f"{path}: a vector has no transpose"
        elif (expected := other[::-1] if tie.transposed else other) != shapes[path]:
            how = "the transpose of " if tie.transposed else ""
            yield (
                ("tied", path),
                f"{path}: expected shape {shapes[path]}, found {expected} of {how}{tie.parameter}",
            )
        if path in case.parameters:
            yield (
                ("parameters", path, KEY),
                f"{path} is tied to {tie.parameter}, so it has no value of its own",
            )


def parameters(case: Case) -> Mistakes:
    """Every parameter is given, of its shape, and there is one at all."""
    shapes = case.parameter_shapes()
    if not case.graph.parameters:
        yield (
            ("network",),
            "there is no dense layer, nor another with parameters, so there is no gradient to compare",
        )
    if (size := sum(math.prod(shape) for shape in shapes.values())) > MOST_PARAMETERS:
        yield ("network",), f"{size:,} parameters; at most {MOST_PARAMETERS:,} are accepted"
    for name in (name for name in shapes if name not in case.parameters):
        yield ("parameters",), f"missing parameter {name!r} of shape {shapes[name]}"
    for name, value in case.parameters.items():
        if name not in shapes:
            if name not in case.tied:
                yield (
                    ("parameters", name, KEY),
                    f"there is no parameter {quoted(name)}{hint(name, shapes)}",
                )
        elif isinstance(value, np.ndarray) and value.shape != shapes[name]:
            axes = _axes(case, name)
            yield (
                ("parameters", name),
                f"{name}: expected shape {shapes[name]}{axes}, found {value.shape}",
            )


def _axes(case: Case, path: str) -> str:
    """What the axes of a parameter are, where they are those of a dense layer's weight or bias."""
    layer, shape = path.rpartition(".")[0], case.graph.parameters[path]
    if layer not in case.graph.taken:
        return ""
    inputs, units = case.graph.taken[layer][0][-1], case.graph.shapes[layer][-1]
    return {(units,): " = (units,)", (inputs, units): " = (inputs, units)"}.get(shape, "")
