"""The checks of layers and what belongs to them: names, shapes, targets, masks and parameters."""

from __future__ import annotations

import math

import numpy as np

from backproof.cases.format.losses import GaussianNll
from backproof.cases.format.message import KEY, Mistakes, hint, quoted
from backproof.cases.format.schema import Case

MOST_PARAMETERS = 10_000_000
MOST_INDICES = 100_000_000
MATRIX = 2

# ---------------------------------------------------------------- the graph


def layer_names(case: Case) -> Mistakes:
    """Yield the layers that are called as an earlier one is, or as what is always there."""
    taken = dict.fromkeys(("input", "output"), "is reserved")
    for i, layer in enumerate(case.network):
        if layer.name in taken:
            yield ("network", i, layer.kind, "name"), f"the name {layer.name!r} {taken[layer.name]}"
        taken[layer.name] = "is taken by an earlier layer"


def graph(case: Case) -> Mistakes:
    """Yield the values taken that are not there or do not fit, and those that no layer takes."""
    for place, message in case.graph.misfits:
        yield ("network", *place), message
    used = {name for sources in case.graph.sources.values() for name in sources}
    for i, layer in enumerate(case.network[:-1]):
        if layer.name not in used and not case.graph.misfits:  # one of which may mean this layer
            message = f"nothing takes the value of {layer.name}, so nothing is learnt through it"
            remedy = "name it in the `inputs` of a layer behind it, or leave it out"
            yield ("network", i, layer.kind), f"{message}; {remedy}"


def names_of_their_own(case: Case) -> Mistakes:
    """Yield the layers that are called as a parameter, a mask, a buffer or a part of one is."""
    graph = case.graph
    owned = {*graph.parameters, *graph.masks, *graph.buffers}
    for layer in (layer for layer in case.network if layer.name in graph.taken):
        owned |= {f"{layer.name}.{part}" for part in layer.parts}
    for i, layer in enumerate(case.network):
        if layer.name in owned:
            owner, _, name = layer.name.rpartition(".")
            message = f"the name {layer.name!r} is that of {owner}'s {name}"
            yield ("network", i, layer.kind, "name"), message


# ---------------------------------------------------------------- targets


def target_shape(case: Case) -> Mistakes:
    """Yield targets that have neither the shape of the output nor are class indices.

    Of a distribution there are two outputs a target.
    """
    targets, output = case.data.targets, (len(case.data.targets), *case.output_shape)
    *rows, width = output
    if case.loss.by_class and targets.shape == (*rows,):
        yield from _classes(targets, width)
    elif isinstance(case.loss, GaussianNll) and targets.shape[:-1] == (*rows,):
        if width != 2 * (found := targets.shape[-1]):
            message = f"expected half the width {width} of the last layer, found {found}"
            yield ("data", "targets"), message
    elif targets.shape != output:
        yield ("data", "targets"), _wrong_shape(case, targets.shape, output)


def _classes(targets: np.ndarray, classes: int) -> Mistakes:
    if (wrong := np.argwhere(~np.isin(targets, range(classes)))).size:
        place = tuple(map(int, wrong[0]))
        message = f"expected class indices from 0 to {classes - 1}, found {targets[place]:g}"
        yield ("data", "targets", *place), message


def _wrong_shape(case: Case, found: tuple[int, ...], output: tuple[int, ...]) -> str:
    """Say what is expected in place of targets of the shape `found`."""
    *rows, width = output
    last = f"that of the last layer, {case.graph.output!r}"
    if len(found) == len(output) == MATRIX:
        return f"expected width {width}, {last}, found {found[-1]}"
    classes = f"{(*rows,)}, a class index a position, or " if case.loss.by_class else ""
    return f"expected shape {classes}{output}, {last}, found {found}"


# ---------------------------------------------------------------- masks


def masks(case: Case) -> Mistakes:
    """Yield given masks that do not fit the value of a step, and drawn ones that are too many."""
    drawn = 0
    for i, layer in enumerate(case.network):
        shapes = layer.masks(*case.graph.taken[layer.name])
        for name, mask in layer.given_masks().items():
            each, place = (case.batch.size, *shapes[name]), ("network", i, layer.kind)
            drawn += case.steps * math.prod(each) if mask is None else 0
            if mask is None and drawn > MOST_INDICES:
                count = f"{case.steps:,} masks of {each}"
                yield place, f"{count}; at most {MOST_INDICES:,} numbers are drawn for all masks"
            elif mask is not None and (wrong := _wrong_mask(mask, each, case.steps)):
                yield (*place, name), wrong


def _wrong_mask(mask: np.ndarray, each: tuple[int, ...], steps: int) -> str:
    """Say what is wrong with a mask that should be `each`, or one of it for each step."""
    if mask.shape[-len(each) :] != each or mask.ndim > len(each) + 1:
        many = f"({', '.join(map(str, ('steps', *each)))})"
        return f"expected shape {each} or {many}, found {mask.shape}"
    if not np.isin(mask, (0, 1)).all():
        return "expected a mask of 0 and 1"
    if mask.ndim > len(each) and len(mask) > steps:
        return f"expected at most {steps} masks, one a step, found {len(mask)}"
    return ""


# ---------------------------------------------------------------- parameters


def tied(case: Case) -> Mistakes:
    """Yield ties not from a layer's parameter to one of the same shape with a value of its own."""
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
            found = f"{expected} of {'the transpose of ' if tie.transposed else ''}{tie.parameter}"
            yield ("tied", path), f"{path}: expected shape {shapes[path]}, found {found}"
        if path in case.parameters:
            message = f"{path} is tied to {tie.parameter}, so it has no value of its own"
            yield ("parameters", path, KEY), message


def parameters(case: Case) -> Mistakes:
    """Yield parameters that are missing, unknown or of another shape, or that there are none."""
    shapes = case.parameter_shapes()
    if not case.graph.parameters:
        none = "there is no dense layer, nor another with parameters"
        yield ("network",), f"{none}, so there is no gradient to compare"
    if (size := sum(math.prod(shape) for shape in shapes.values())) > MOST_PARAMETERS:
        yield ("network",), f"{size:,} parameters; at most {MOST_PARAMETERS:,} are accepted"
    for name in (name for name in shapes if name not in case.parameters):
        yield ("parameters",), f"missing parameter {name!r} of shape {shapes[name]}"
    for name, value in case.parameters.items():
        if name not in shapes and name not in case.tied:
            message = f"there is no parameter {quoted(name)}{hint(name, shapes)}"
            yield ("parameters", name, KEY), message
        elif name in shapes and isinstance(value, np.ndarray) and value.shape != shapes[name]:
            expected = f"{shapes[name]}{_axes(case, name)}"
            yield ("parameters", name), f"{name}: expected shape {expected}, found {value.shape}"


def _axes(case: Case, path: str) -> str:
    """Name the axes of a parameter, where they are those of a dense layer's weight or bias."""
    layer, shape = path.rpartition(".")[0], case.graph.parameters[path]
    if layer not in case.graph.taken:
        return ""
    inputs, units = case.graph.taken[layer][0][-1], case.graph.shapes[layer][-1]
    return {(units,): " = (units,)", (inputs, units): " = (inputs, units)"}.get(shape, "")
