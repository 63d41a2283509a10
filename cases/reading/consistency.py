"""The checks that need more than one key. Each yields the path of a mistake and a message."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce

import numpy as np
from ml_dtypes import finfo

from backproof.cases.format.concept import Concept, Unread
from backproof.cases.format.losses import OF_SIGNS
from backproof.cases.format.message import KEY, Mistakes, Place, hint, quoted
from backproof.cases.format.optimizers import Asgd, Rprop
from backproof.cases.format.schema import Case, Uniform
from backproof.cases.reading import layers
from backproof.cases.reading.partly import Unreadable, without
from backproof.cases.reading.quotations import consistent, fitting

MOST_STEPS = 10_000_000


def check(case: Case) -> list[tuple[Place, str]]:
    """Return all mistakes of a case, or of what can be read of it.

    It is looked at in three turns; what a mistake of an earlier turn makes doubtful is left out.
    """
    found, sound = [], case
    of_rows = (_inputs, _targets, _rows_of_both, layers.layer_names, _training, _batch)
    of_graph = (layers.graph, layers.names_of_their_own)
    of_shapes = (layers.target_shape, _loss, layers.masks, layers.tied, layers.parameters)
    of_numbers = (_frozen, _penalties, _steps, fitting, _range)
    for looks in (of_rows, of_graph, of_shapes + of_numbers):
        wrong = [*_told(sound, *looks)]
        found += wrong
        sound = reduce(without, (place for place, _ in wrong), sound)
    return [*found, *_told(case, consistent, _dtypes, _tolerance, _random, _draws)]


def _told(case: Case, *looks: Callable[[Case], Iterator]) -> Iterator:
    """Yield what these find, each until it asks for something that can't be read."""
    for look in looks:
        with suppress(Unread):
            yield from look(case)


# ---------------------------------------------------------------- data and loss


def _inputs(case: Case) -> Mistakes:
    if len(shape := np.shape(case.data.inputs)) < layers.MATRIX:
        found = f"found shape {shape}; with positions it is (samples, positions, features)"
        yield ("data", "inputs"), f"expected a matrix with a row a sample, {found}"


def _targets(case: Case) -> Mistakes:
    shape = np.shape(case.data.targets)
    if len(shape) == 0 or (len(shape) == 1 and not case.loss.by_class):
        expected = "a class index a sample, or a matrix" if case.loss.by_class else "a matrix"
        yield ("data", "targets"), f"expected {expected} with a row a sample, found shape {shape}"


def _rows_of_both(case: Case) -> Mistakes:
    data = case.data.inputs, case.data.targets
    inputs, targets = (len(np.atleast_1d(values)) for values in data)
    if inputs != targets and all(map(np.ndim, data)):
        yield ("data", "targets"), f"expected as many rows as inputs has, {inputs}, found {targets}"


def _loss(case: Case) -> Mistakes:
    """Yield what a loss asks of its targets and of the layer before it, and does not find."""
    kind, targets, last = case.loss.kind, case.data.targets, case.network[-1]
    *_, width = case.output_shape
    if kind in OF_SIGNS and not np.isin(targets, (-1, 1)).all():
        yield ("data", "targets"), f"{kind} expects targets that are -1 or 1"
    are_probabilities = case.loss.by_class or kind == "kl_divergence"
    if are_probabilities and targets.ndim > len(case.output_shape) and (targets < 0).any():
        yield ("data", "targets"), f"{kind} expects probabilities as targets, found one below 0"
    if kind == "binary_cross_entropy" and last.kind not in ("sigmoid", "softmax"):
        expected = "probabilities from a sigmoid or softmax as the last layer"
        found = f"found {last.kind}; of logits use sigmoid_binary_cross_entropy"
        yield ("loss", kind), f"{kind} expects {expected}, {found}"
    if (weights := getattr(case.loss, "class_weights", None)) and len(weights) != width:
        message = f"expected {width} weights, one a class, found {len(weights)}"
        yield ("loss", kind, "class_weights"), message


def _frozen(case: Case) -> Mistakes:
    yield from _listed(case, case.frozen, "freeze", "frozen")
    if case.parameter_shapes() and not case.trained_shapes():
        yield ("frozen",), "every parameter is frozen, so there is no gradient to compare"


def _penalties(case: Case) -> Mistakes:
    for i, penalty in enumerate(case.penalties):
        place = ("penalties", i, penalty.kind, "parameters")
        yield from _listed(case, penalty.parameters, "penalise", *place)


def _listed(case: Case, paths: tuple[str, ...], verb: str, *place: int | str) -> Mistakes:
    """Yield what is wrong in a list of parameters: each is one of its own, listed once."""
    shapes = case.parameter_shapes()
    for i, path in enumerate(paths):
        if path in case.tied:
            yield (*place, i), f"{path} is tied to {case.tied[path].parameter}: {verb} that one"
        elif path not in shapes:
            yield (*place, i), f"there is no parameter {quoted(path)}{hint(path, shapes)}"
        elif path in paths[:i]:
            yield (*place, i), f"{path} is listed twice"


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
        message = f"{kind} {reason[kind]}, so its learning rate follows no other"
        yield ("training", "schedule"), message
    if case.training and isinstance(optimizer := case.training.optimizer, Rprop):
        smallest, largest = optimizer.smallest_step, optimizer.largest_step
        if smallest > largest:
            place = ("training", "optimizer", optimizer.kind, "smallest_step")
            yield place, f"expected at most largest_step, {largest:g}, found {smallest:g}"


def _batch(case: Case) -> Mistakes:
    samples = len(np.atleast_1d(case.data.inputs))
    if case.training and case.training.batch and case.batch.size > samples:
        message = f"expected at most {samples}, the number of samples, found {case.batch.size}"
        yield ("training", "batch", "size"), message


def _steps(case: Case) -> Mistakes:
    if case.steps > MOST_STEPS:
        yield ("training", "epochs"), f"{case.steps:,} steps; at most {MOST_STEPS:,} are accepted"
    elif case.steps * case.batch.size > layers.MOST_INDICES:
        steps = f"{case.steps:,} steps of {case.batch.size:,} samples"
        yield ("training",), f"{steps}; at most {layers.MOST_INDICES:,} in all"


def _random(case: Case) -> Mistakes:
    if any(isinstance(value, Unreadable) for value in case.parameters.values()):
        return  # it may be a draw
    given = case.parameters.items()
    uses: list[Place] = [("parameters", name) for name, one in given if isinstance(one, Concept)]
    for i, layer in enumerate(case.network):
        if any(mask is None for mask in layer.given_masks().values()):
            uses.append(("network", i, layer.kind))
    if case.training and case.training.batch and case.batch.order == "shuffled":
        uses.append(("training", "batch", "order"))
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
            message = f"the case does not run in {dtype}; its dtypes are {', '.join(case.dtypes)}"
            yield ("tolerance", dtype, KEY), message


def _range(case: Case) -> Mistakes:
    """Yield numbers that turn infinite in a dtype of the case, and settings that turn subnormal.

    A setting turns subnormal too if it does so when a mean divides it.
    """
    looks = (_of_layers, _of_data, _of_parameters, _of_loss, _of_training)
    for path, value, shares in _told(case, *looks):
        for dtype in case.dtypes:
            with np.errstate(all="ignore"):
                rounded = np.asarray(value).astype(dtype)
            smallest = shares * float(finfo(dtype).smallest_normal)
            if not np.isfinite(rounded).all():
                yield path, f"{np.max(np.abs(value)):g} is beyond the range of {dtype}"
            elif isinstance(value, float) and 0 < abs(value) < smallest:
                yield path, f"{value:g} is too small for {dtype}"


Numbers = Iterator[tuple[Place, float | np.ndarray, int]]
"""Where numbers stand, what they are, and by how many terms a mean may divide them."""


def _of_layers(case: Case) -> Numbers:
    for i, layer in enumerate(case.network):
        yield from _settings(layer, "network", i)


def _of_data(case: Case) -> Numbers:
    yield ("data", "inputs"), case.data.inputs, 1
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
    """Yield the numbers of a concept that is written as `kind: {...}` under `path`."""
    for name, value in concept:
        if isinstance(value, float):
            yield (*path, concept.kind, name), value, 1


def _draws(case: Case) -> Mistakes:
    """Yield draws whose bounds make NumPy's generators raise, or disagree."""
    for name, value in case.parameters.items():
        if isinstance(value, Uniform) and not 0 < value.high - value.low < math.inf:
            found = f"found {value.low:g} and {value.high:g}"
            yield ("parameters", name), f"expected low < high < infinity, {found}"
