"""The checks that need more than one key: names, shapes, ranges. Each yields the path of a mistake and a message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from ml_dtypes import finfo

from cases.concept import Concept
from cases.fields import KEY, hint, quoted
from cases.layers import Dropout, Skip
from cases.losses import GaussianNll
from cases.optimizers import Asgd, Rprop
from cases.schema import Case, Published, Uniform

if TYPE_CHECKING:
    from cases.document import Place

MOST_PARAMETERS = 10_000_000
MOST_STEPS = 10_000_000
MOST_INDICES = 100_000_000

OF_ALL_SAMPLES = ("loss", "output", "accuracy", "absolute_error")  # after the last step

Mistakes = Iterator[tuple["Place", str]]


def check(case: Case) -> list[tuple[Place, str]]:
    """All mistakes of a case that follows the schema; what rests on broken foundations is not looked at."""
    found = [mistake for look in (_data, _layer_names, _training, _batch) for mistake in look(case)]
    if not found:
        looks = (_target_width, _loss, _skips, _masks, _tied, _parameters, _frozen, _penalties, _steps, _published)
        found = [mistake for look in looks for mistake in look(case)]
    return [*found, *_dtypes(case), *_tolerance(case), *_random(case), *_draws(case), *_range(case)]


# ---------------------------------------------------------------- data and network


def _data(case: Case) -> Mistakes:
    for name in ("inputs", "targets"):
        classes = name == "targets" and case.loss.by_class
        if (shape := np.shape(getattr(case.data, name)))[2:] or len(shape) < (1 if classes else 2):
            expected = "a class index a sample, or a matrix" if classes else "a matrix"
            yield ("data", name), f"expected {expected} with a row a sample, found shape {shape}"
            return
    inputs, targets = len(case.data.inputs), len(case.data.targets)
    if inputs != targets:
        yield ("data", "targets"), f"expected as many rows as inputs has, {inputs}, found {targets}"


def _layer_names(case: Case) -> Mistakes:
    seen = {"input", "output"}
    for i, layer in enumerate(case.network):
        if layer.name in seen:
            reserved = layer.name in ("input", "output")
            reason = "is reserved" if reserved else "is taken by an earlier layer"
            yield ("network", i, layer.kind, "name"), f"the name {layer.name!r} {reason}"
        seen.add(layer.name)


def _target_width(case: Case) -> Mistakes:
    (*_, (name, width)), targets = case.widths.items(), case.data.targets
    if targets.ndim == 1:
        if (wrong := np.flatnonzero(~np.isin(targets, range(width)))).size:
            message = f"expected class indices from 0 to {width - 1}, found {targets[wrong[0]]:g}"
            yield ("data", "targets", int(wrong[0])), message
    elif isinstance(case.loss, GaussianNll):
        if width != 2 * targets.shape[1]:
            yield ("data", "targets"), f"expected half the width {width} of the last layer, found {targets.shape[1]}"
    elif width != targets.shape[1]:
        yield ("data", "targets"), f"expected width {width}, that of the last layer, {name!r}, found {targets.shape[1]}"


def _loss(case: Case) -> Mistakes:
    """What a loss asks of its targets and of the layer before it."""
    kind, targets, (*_, width), last = case.loss.kind, case.data.targets, case.widths.values(), case.network[-1]
    if kind in ("hinge", "squared_hinge") and not np.isin(targets, (-1, 1)).all():
        yield ("data", "targets"), f"{kind} expects targets that are -1 or 1"
    if (kind == "kl_divergence" or case.loss.by_class) and targets.ndim > 1 and (targets < 0).any():
        yield ("data", "targets"), f"{kind} expects probabilities as targets, found one below 0"
    if kind == "binary_cross_entropy" and last.kind not in ("sigmoid", "softmax"):
        message = f"expects probabilities from a sigmoid or softmax as the last layer, found {last.kind}"
        yield ("loss", kind), f"{kind} {message}; of logits use sigmoid_binary_cross_entropy"
    if (weights := getattr(case.loss, "class_weights", None)) and len(weights) != width:
        yield ("loss", kind, "class_weights"), f"expected {width} weights, one a class, found {len(weights)}"


def _skips(case: Case) -> Mistakes:
    """A skip adds a value that is there already, of the same width."""
    widths, before = case.widths, ["input"]
    for i, layer in enumerate(case.network):
        place = ("network", i, layer.kind, "source")
        if isinstance(layer, Skip) and layer.source not in before:
            yield place, f"there is no layer {quoted(layer.source)} before this one{hint(layer.source, before)}"
        elif isinstance(layer, Skip) and widths[layer.source] != widths[layer.name]:
            found = f"{quoted(layer.source)} has {widths[layer.source]}"
            yield place, f"expected a layer of width {widths[layer.name]}, as the one before the skip; {found}"
        before.append(layer.name)


def _masks(case: Case) -> Mistakes:
    drawn = 0
    for i, layer in enumerate(case.network):
        if not isinstance(layer, Dropout):
            continue
        each, place = (case.batch.size, case.widths[layer.name]), ("network", i, layer.kind)
        drawn += case.steps * math.prod(each) if layer.mask is None else 0
        if layer.mask is None and drawn > MOST_INDICES:
            yield place, f"{case.steps:,} masks of {each}; at most {MOST_INDICES:,} numbers are drawn for all masks"
        elif layer.mask is not None and (layer.mask.shape[-2:] != each or layer.mask.ndim > 3):
            yield (*place, "mask"), f"expected shape {each} or (steps, {each[0]}, {each[1]}), found {layer.mask.shape}"
        elif layer.mask is not None and not np.isin(layer.mask, (0, 1)).all():
            yield (*place, "mask"), "expected a mask of 0 and 1"
        elif layer.mask is not None and layer.mask.ndim == 3 and len(layer.mask) > case.steps:
            yield (*place, "mask"), f"expected at most {case.steps} masks, one a step, found {len(layer.mask)}"


def _tied(case: Case) -> Mistakes:
    """A tie leads from a layer's parameter to one that has a value of its own, of the same shape."""
    shapes, own = case.layer_shapes(), case.parameter_shapes()
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
    if not case.layer_shapes():
        yield ("network",), "there is no dense layer, so there is no parameter and no gradient to compare"
    if (size := sum(math.prod(shape) for shape in shapes.values())) > MOST_PARAMETERS:
        yield ("network",), f"{size:,} parameters; at most {MOST_PARAMETERS:,} are accepted"
    for name in (name for name in shapes if name not in case.parameters):
        yield ("parameters",), f"missing parameter {name!r} of shape {shapes[name]}"
    for name, value in case.parameters.items():
        if name not in shapes:
            if name not in case.tied:
                yield ("parameters", name, KEY), f"there is no parameter {quoted(name)}{hint(name, shapes)}"
        elif isinstance(value, np.ndarray) and value.shape != shapes[name]:
            axes = "(inputs, units)" if name.endswith(".weight") else "(units,)"
            yield ("parameters", name), f"{name}: expected shape {shapes[name]} = {axes}, found {value.shape}"


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
    drawn = [("parameters", name) for name, value in case.parameters.items() if isinstance(value, Concept)]
    masks = [
        ("network", i, layer.kind)
        for i, layer in enumerate(case.network)
        if isinstance(layer, Dropout) and layer.mask is None
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
    terms = case.batch.size * np.atleast_1d(case.data.targets).shape[-1]
    for path, value in _numbers(case):
        shares = terms if path[-1] == "factor" else 1
        for dtype in case.dtypes:
            with np.errstate(all="ignore"):
                rounded = np.asarray(value).astype(dtype)
            if not np.isfinite(rounded).all():
                yield path, f"{np.max(np.abs(value)):g} is beyond the range of {dtype}"
            elif isinstance(value, float) and 0 < abs(value) < shares * float(finfo(dtype).smallest_normal):
                yield path, f"{value:g} is too small for {dtype}"


def _numbers(case: Case) -> Iterator[tuple[Place, float | np.ndarray]]:
    for i, layer in enumerate(case.network):
        yield from _settings(layer, "network", i)
    yield ("data", "inputs"), case.data.inputs
    yield ("objective",) if case.objective else ("data", "targets"), case.data.targets
    for name, value in case.parameters.items():
        if isinstance(value, np.ndarray):
            yield ("parameters", name), value
        else:
            yield from _settings(value, "parameters", name)
    yield from _settings(case.loss, "loss")
    for i, penalty in enumerate(case.penalties):
        yield from _settings(penalty, "penalties", i)
    if case.training:
        yield from _settings(case.training.optimizer, "training", "optimizer")
        if case.training.clip:
            yield from _settings(case.training.clip, "training", "clip")


def _settings(concept: Concept, *path: int | str) -> Iterator[tuple[Place, float]]:
    """The numbers of a concept that is written as `kind: {...}` under `path`."""
    for name, value in concept:
        if isinstance(value, float):
            yield (*path, concept.kind, name), value


def _draws(case: Case) -> Mistakes:
    """NumPy's generators raise, or disagree, where low is not below high or their distance is infinite."""
    for name, value in case.parameters.items():
        if isinstance(value, Uniform) and not 0 < value.high - value.low < math.inf:
            yield ("parameters", name), f"expected low < high < infinity, found {value.low:g} and {value.high:g}"


# ---------------------------------------------------------------- published numbers


def _published(case: Case) -> Mistakes:
    for i, published in enumerate(case.published):
        if wrong := _wrong_quotation(case, published):
            key, message = wrong
            yield ("published", i, key), message


def _wrong_quotation(case: Case, published: Published) -> tuple[str, str] | None:
    """The key that does not fit the case, and why."""
    tensor, step = published.tensor, published.step
    shapes = _tensor_shapes(case, step)
    if tensor not in shapes:
        return "tensor", f"there is no tensor {quoted(tensor)}{hint(tensor, shapes)}"
    counts_updates = case.training and tensor.startswith(("parameter/", "state/", *OF_ALL_SAMPLES))
    if step + published.steps - 1 > (last := case.steps if counts_updates and published.steps == 1 else case.steps - 1):
        if published.steps > 1:
            return "steps", f"the last of these steps is {step + published.steps - 1}, but that of the run is {last}"
        return "step", f"expected a step from 0 to {last}, found {step}"
    if shapes[tensor] and len({_tensor_shapes(case, at)[tensor] for at in _some(case, step, published.steps)}) > 1:
        return "steps", f"{tensor} has a row a sample, and not every one of these steps has as many samples"
    shape, index = shapes[tensor], published.index or []
    if len(index) > len(shape) or any(not 0 <= i < n for i, n in zip(index, shape, strict=False)):
        return "index", f"{tensor} has shape {shape}, so the index {index} is outside"
    shape, found = shape[len(index) :], published.value.shape
    if _without_ones(shape) != _without_ones(found):
        return "value", f"expected shape {shape}, found {found}"
    return None


def _tensor_shapes(case: Case, step: int) -> dict[str, tuple[int, ...]]:
    """The shape of everything that can be published, at this step."""
    rows, samples, (*_, last) = _rows(case, step), len(case.data.inputs), case.widths.values()
    shapes = {"loss": (), "output": (samples if step == case.steps else rows, last)}
    for kind in ("value", "cotangent"):
        shapes |= {f"{kind}/{name}": (rows, width) for name, width in case.widths.items()}
    shapes |= {f"parameter/{name}": shape for name, shape in case.parameter_shapes().items()}
    for kind in ("gradient", *(["update"] if case.training else [])):
        shapes |= {f"{kind}/{name}": shape for name, shape in case.trained_shapes().items()}
    for state in case.training.optimizer.state if case.training else ():
        shapes |= {f"state/{state}/{name}": shape for name, shape in case.trained_shapes().items()}
    if case.loss.by_class:
        shapes["accuracy"] = ()
    if case.data.targets.ndim > 1 and case.data.targets.shape[1] == last:
        shapes["absolute_error"] = ()
    return shapes


def _some(case: Case, step: int, steps: int) -> range:
    """Some of these steps, among which are batches of every size that there is."""
    return range(step, step + min(steps, case.steps_per_epoch))


def _rows(case: Case, step: int) -> int:
    """The number of samples in the batch of this step."""
    before = step % case.steps_per_epoch * case.batch.size
    return min(case.batch.size, len(case.data.inputs) - before)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
