"""The checks that need more than one key: names, shapes, ranges. Each yields the path of a mistake and a message."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from ml_dtypes import finfo

from backproof.cases.format.concept import Concept, Unread
from backproof.cases.format.fields import KEY, hint, quoted
from backproof.cases.format.losses import OF_SIGNS, GaussianNll
from backproof.cases.format.optimizers import Asgd, Rprop
from backproof.cases.format.schema import Case, Uniform
from backproof.cases.reading.partly import Unreadable, without
from backproof.cases.reading.quotations import consistent, fitting

if TYPE_CHECKING:
    from backproof.cases.reading.document import Place

MOST_PARAMETERS = 10_000_000
MOST_STEPS = 10_000_000
MOST_INDICES = 100_000_000

Mistakes = Iterator[tuple["Place", str]]


def check(case: Case) -> list[tuple[Place, str]]:
    """All mistakes of a case, or of what can be read of it; what rests on broken foundations is not looked at."""
    found = [*_told(case, _inputs, _targets, _rows_of_both, _layer_names, _training, _batch)]
    sound = reduce(without, (place for place, _ in found), case)
    looks = (_graph, _target_shape, _loss, _masks, _tied, _parameters, _frozen, _penalties, _steps, fitting, _range)
    return [*found, *_told(sound, *looks), *_told(case, consistent, _dtypes, _tolerance, _random, _draws)]


def _told(case: Case, *looks: Callable[[Case], Iterator]) -> Iterator:
    """What these find, each until it asks for something that can't be read."""
    for look in looks:
        with suppress(Unread):
            yield from look(case)


# ---------------------------------------------------------------- data and network


def _inputs(case: Case) -> Mistakes:
    if len(shape := np.shape(case.data.inputs)) < 2:
        yield ("data", "inputs"), f"expected a matrix with a row a sample, or more axes, found shape {shape}"


def _targets(case: Case) -> Mistakes:
    """A row a sample; a class index alone has no more axes than there are positions."""
    shape = np.shape(case.data.targets)
    if len(shape) == 0 or (len(shape) == 1 and not case.loss.by_class):
        expected = "a class index a sample, or a matrix" if case.loss.by_class else "a matrix"
        yield ("data", "targets"), f"expected {expected} with a row a sample, found shape {shape}"


def _rows_of_both(case: Case) -> Mistakes:
    data = case.data.inputs, case.data.targets
    inputs, targets = (len(np.atleast_1d(values)) for values in data)
    if inputs != targets and all(map(np.ndim, data)):
        yield ("data", "targets"), f"expected as many rows as inputs has, {inputs}, found {targets}"


def _layer_names(case: Case) -> Mistakes:
    taken = dict.fromkeys(("input", "output"), "is reserved")
    for layer in case.network:
        owned = *layer.parameters((1,) * 4, *[(1,) * 4] * 3), *layer.given_masks(), *layer.buffers((1,) * 4), *layer.parts
        taken |= {f"{layer.name}.{own}": f"is that of {layer.name}'s {own}" for own in owned}
    for i, layer in enumerate(case.network):
        if layer.name in taken:
            yield ("network", i, layer.kind, "name"), f"the name {layer.name!r} {taken[layer.name]}"
        taken[layer.name] = "is taken by an earlier layer"


def _graph(case: Case) -> Mistakes:
    """A layer takes values that are there already, of shapes that fit; and every value is taken by some layer."""
    for i, misfit in case.graph.misfits.items():
        layer = case.network[i]
        key = next((key for key in ("inputs", "source") if getattr(layer, key, None)), None)
        yield ("network", i, layer.kind, *filter(None, [key])), misfit
    used = {name for node in case.graph.nodes for name in node.inputs} if not case.graph.misfits else {*case.graph.shapes}
    for i, name in enumerate(["input", *(layer.name for layer in case.network[:-1])]):
        if name not in used:
            place = ("network", i - 1, case.network[i - 1].kind) if i else ("network",)
            yield place, f"nothing takes the value of {name}, so nothing is learnt through it"


def _target_shape(case: Case) -> Mistakes:
    """Targets have the shape of the output, or are class indices; of a distribution there are two outputs a target."""
    output, name, targets = case.output_shape, case.graph.output, case.data.targets
    if case.loss.by_class and targets.ndim == len(output):
        yield from _classes(output, targets)
        return
    *positions, width = output
    if isinstance(case.loss, GaussianNll) and targets.shape[1:-1] == (*positions,) and targets.ndim == len(output) + 1:
        if width != 2 * targets.shape[-1]:
            yield ("data", "targets"), f"expected half the width {width} of the last layer, found {targets.shape[-1]}"
    elif len(output) == 1 == targets.ndim - 1 and width != targets.shape[-1]:
        yield ("data", "targets"), f"expected width {width}, that of the last layer, {name!r}, found {targets.shape[-1]}"
    elif targets.shape[1:] != output:
        expected = f"expected {output} a sample, the shape of the last layer, {name!r}"
        yield ("data", "targets"), f"{expected}, found {targets.shape[1:]}"


def _classes(output: tuple[int, ...], targets: np.ndarray) -> Mistakes:
    *positions, classes = output
    if targets.shape[1:] != (*positions,):
        yield ("data", "targets"), f"expected a class index a position, {(*positions,)} a sample, found {targets.shape[1:]}"
    elif (wrong := np.argwhere(~np.isin(targets, range(classes)))).size:
        place = tuple(map(int, wrong[0]))
        yield ("data", "targets", *place), f"expected class indices from 0 to {classes - 1}, found {targets[place]:g}"


def _loss(case: Case) -> Mistakes:
    """What a loss asks of its targets and of the layer before it."""
    kind, targets, (*_, width), last = case.loss.kind, case.data.targets, case.output_shape, case.network[-1]
    if kind in OF_SIGNS and not np.isin(targets, (-1, 1)).all():
        yield ("data", "targets"), f"{kind} expects targets that are -1 or 1"
    if (kind == "kl_divergence" or case.loss.by_class) and targets.ndim > len(case.output_shape) and (targets < 0).any():
        yield ("data", "targets"), f"{kind} expects probabilities as targets, found one below 0"
    if kind == "binary_cross_entropy" and last.kind not in ("sigmoid", "softmax"):
        message = f"expects probabilities from a sigmoid or softmax as the last layer, found {last.kind}"
        yield ("loss", kind), f"{kind} {message}; of logits use sigmoid_binary_cross_entropy"
    if (weights := getattr(case.loss, "class_weights", None)) and len(weights) != width:
        yield ("loss", kind, "class_weights"), f"expected {width} weights, one a class, found {len(weights)}"


def _masks(case: Case) -> Mistakes:
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
                yield from (((*place, name), wrong) for wrong in _wrong_mask(mask, each, case.steps))


def _wrong_mask(mask: np.ndarray, each: tuple[int, ...], steps: int) -> Iterator[str]:
    """What is wrong with a mask that should be one of a step, or one for each."""
    if mask.shape[-len(each) :] != each or mask.ndim > len(each) + 1:
        yield f"expected shape {each} or ({', '.join(map(str, ('steps', *each)))}), found {mask.shape}"
    elif not np.isin(mask, (0, 1)).all():
        yield "expected a mask of 0 and 1"
    elif mask.ndim > len(each) and len(mask) > steps:
        yield f"expected at most {steps} masks, one a step, found {len(mask)}"


def _tied(case: Case) -> Mistakes:
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
            yield ("tied", path), f"{path}: expected shape {shapes[path]}, found {expected} of {how}{tie.parameter}"
        if path in case.parameters:
            yield ("parameters", path, KEY), f"{path} is tied to {tie.parameter}, so it has no value of its own"


def _frozen(case: Case) -> Mistakes:
    shapes = case.parameter_shapes()
    for i, path in enumerate(case.frozen):
        if path in case.tied:
            yield ("frozen", i), f"{path} is tied to {case.tied[path].parameter}: freeze that one"
        elif path not in shapes:
            yield ("frozen", i), f"there is no parameter {quoted(path)}{hint(path, shapes)}"
        elif path in case.frozen[:i]:
            yield ("frozen", i), f"{path} is listed twice"
    if shapes and not case.trained_shapes():
        yield ("frozen",), "every parameter is frozen, so there is no gradient to compare"


def _penalties(case: Case) -> Mistakes:
    shapes = case.parameter_shapes()
    for i, penalty in enumerate(case.penalties):
        for j, path in enumerate(penalty.parameters):
            place = ("penalties", i, penalty.kind, "parameters", j)
            if path in case.tied:
                yield place, f"{path} is tied to {case.tied[path].parameter}: penalise that one"
            elif path not in shapes:
                yield place, f"there is no parameter {quoted(path)}{hint(path, shapes)}"
            elif path in penalty.parameters[:j]:
                yield place, f"{path} is listed twice"


def _parameters(case: Case) -> Mistakes:
    shapes = case.parameter_shapes()
    if not case.graph.parameters:
        yield ("network",), "no layer has a parameter, so there is no gradient to compare: add a dense layer"
    if (size := sum(math.prod(shape) for shape in shapes.values())) > MOST_PARAMETERS:
        yield ("network",), f"{size:,} parameters; at most {MOST_PARAMETERS:,} are accepted"
    for name in (name for name in shapes if name not in case.parameters):
        yield ("parameters",), f"missing parameter {name!r} of shape {shapes[name]}"
    for name, value in case.parameters.items():
        if name not in shapes:
            if name not in case.tied:
                yield ("parameters", name, KEY), f"there is no parameter {quoted(name)}{hint(name, shapes)}"
        elif isinstance(value, np.ndarray) and value.shape != shapes[name]:
            axes = {1: " = (units,)", 2: " = (inputs, units)"}.get(len(shapes[name]), "")
            yield ("parameters", name), f"{name}: expected shape {shapes[name]}{axes}, found {value.shape}"


# ---------------------------------------------------------------- training


def _training(case: Case) -> Mistakes:
    if case.training is None:
        if case.record:
            yield ("record",), "there is nothing to record without training"
    elif case.training.steps and case.training.epochs:
        yield ("training", "epochs"), "expected either steps or epochs, found both"
    elif not (case.training.steps or case.training.epochs):
        yield ("training",), "expected either steps or epochs, found neither"
    elif case.training.schedule and isinstance(case.training.optimizer, Asgd | Rprop):
        reason = {"asgd": "has a schedule of its own", "rprop": "finds its own step sizes"}
        kind = case.training.optimizer.kind
        yield ("training", "schedule"), f"{kind} {reason[kind]}, so its learning rate follows no other"
    if case.training and isinstance(optimizer := case.training.optimizer, Rprop):
        smallest, largest = optimizer.smallest_step, optimizer.largest_step
        if smallest > largest:
            place = ("training", "optimizer", optimizer.kind, "smallest_step")
            yield place, f"expected at most largest_step, {largest:g}, found {smallest:g}"


def _batch(case: Case) -> Mistakes:
    samples, size = len(np.atleast_1d(case.data.inputs)), case.training and case.training.batch and case.batch.size
    if size and size > samples:
        yield ("training", "batch", "size"), f"expected at most {samples}, the number of samples, found {size}"


def _steps(case: Case) -> Mistakes:
    if case.steps > MOST_STEPS:
        yield ("training", "epochs"), f"{case.steps:,} steps; at most {MOST_STEPS:,} are accepted"
    elif case.steps * case.batch.size > MOST_INDICES:
        yield ("training",), f"{case.steps:,} steps of {case.batch.size:,} samples; at most {MOST_INDICES:,} in all"


def _random(case: Case) -> Mistakes:
    if any(isinstance(value, Unreadable) for value in case.parameters.values()):
        return  # it may be a draw
    drawn = [("parameters", name) for name, value in case.parameters.items() if isinstance(value, Concept)]
    masks = [
        ("network", i, layer.kind)
        for i, layer in enumerate(case.network)
        if any(mask is None for mask in layer.given_masks().values())
    ]
    shuffled = case.training and case.training.batch and case.training.batch.order == "shuffled"
    uses: list[Place] = [*drawn, *masks, *([("training", "batch", "order")] if shuffled else [])]
    if uses and case.random is None:
        yield uses[0], "random numbers need `random: {generator: mt19937, seed: 0}`"
    if case.random and not uses:
        yield ("random",), "nothing is drawn or shuffled, so `random` has no use"


# ---------------------------------------------------------------- dtypes and range


def _dtypes(case: Case) -> Mistakes:
    for i, dtype in enumerate(case.dtypes):
        if dtype in case.dtypes[:i]:
            yield ("dtypes", i), f"{dtype} is listed twice"


def _tolerance(case: Case) -> Mistakes:
    for dtype in case.tolerance:
        if dtype not in case.dtypes:
            listed = ", ".join(case.dtypes)
            yield ("tolerance", dtype, KEY), f"the case does not run in {dtype}; its dtypes are {listed}"


def _range(case: Case) -> Mistakes:
    """Numbers that turn infinite in a dtype of the case, or settings that turn subnormal when a mean divides them."""
    for path, value, shares in _told(case, _of_layers, _of_inputs, _of_targets, _of_parameters, _of_loss, _of_training):
        for dtype in case.dtypes:
            with np.errstate(all="ignore"):
                rounded = np.asarray(value).astype(dtype)
            if not np.isfinite(rounded).all():
                yield path, f"{np.max(np.abs(value)):g} is beyond the range of {dtype}"
            elif isinstance(value, float) and 0 < abs(value) < shares * float(finfo(dtype).smallest_normal):
                yield path, f"{value:g} is too small for {dtype}"


Numbers = Iterator[tuple["Place", float | np.ndarray, int]]
"""Where numbers stand, what they are, and by how many terms a mean may divide them."""


def _of_layers(case: Case) -> Numbers:
    for i, layer in enumerate(case.network):
        yield from _settings(layer, "network", i)


def _of_inputs(case: Case) -> Numbers:
    yield ("data", "inputs"), case.data.inputs, 1


def _of_targets(case: Case) -> Numbers:
    yield ("objective",) if case.objective else ("data", "targets"), case.data.targets, 1


def _of_parameters(case: Case) -> Numbers:
    for name, value in case.parameters.items():
        if isinstance(value, np.ndarray):
            yield ("parameters", name), value, 1
        elif isinstance(value, Concept):
            yield from _settings(value, "parameters", name)


def _of_loss(case: Case) -> Numbers:
    for i, penalty in enumerate(case.penalties):
        yield from _settings(penalty, "penalties", i)
    terms = case.batch.size * math.prod(np.shape(case.data.targets)[1:])
    for path, value, shares in _settings(case.loss, "loss"):
        yield path, value, terms if path[-1] == "factor" else shares


def _of_training(case: Case) -> Numbers:
    if case.training:
        yield from _settings(case.training.optimizer, "training", "optimizer")
        if case.training.clip:
            yield from _settings(case.training.clip, "training", "clip")


def _settings(concept: Concept, *path: int | str) -> Numbers:
    """The numbers of a concept that is written as `kind: {...}` under `path`."""
    for name, value in concept:
        if isinstance(value, float):
            yield (*path, concept.kind, name), value, 1


def _draws(case: Case) -> Mistakes:
    """NumPy's generators raise, or disagree, where low is not below high or their distance is infinite."""
    for name, value in case.parameters.items():
        if isinstance(value, Uniform) and not 0 < value.high - value.low < math.inf:
            yield ("parameters", name), f"expected low < high < infinity, found {value.low:g} and {value.high:g}"
