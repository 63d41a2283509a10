"""Make a case that fails as small as it can be while it still fails.

Hypothesis finds a scenario among many; it cannot shrink thousands of numbers whose meaning hangs on a structure drawn
before them. What makes a scenario smaller is known here, so greedy steps do: the first smaller one that still fails is
taken, until none is left (A. Zeller, R. Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.losses import GaussianNll, SquaredError
from backproof.cases.format.optimizers import Sgd
from backproof.cases.format.schema import Case
from backproof.cases.reading.consistency import check
from tests.trial.scenarios import names_in

Fails = Callable[[dict], bool]


def smallest(case: dict, fails: Fails) -> dict:
    """The last of the smaller cases, each made of the one before, that fail and have no mistake."""
    while smaller := next((other for other in smaller_cases(case) if _valid(other) and fails(other)), None):
        case = smaller
    return case


def smaller_cases(case: dict) -> Iterator[dict]:
    """Cases with one thing less, those that leave out most first."""
    for steps in (
        _less_training,
        _less_sharing,
        _simpler_rules,
        _fewer_layers,
        _smaller_settings,
        _fewer_samples,
        _fewer_positions,
        _fewer_features,
        _simpler_numbers,
        _no_names,
    ):
        yield from steps(case)


def _valid(case: dict) -> bool:
    try:
        return not check(Case.model_validate(case))
    except ValueError:
        return False


# ---------------------------------------------------------------- structure


def _less_training(case: dict) -> Iterator[dict]:
    if training := case.get("training"):
        yield _without(case, "training", "random")
        if "batch" in training:
            yield _without(case, "random") | {"training": _without(training, "batch")}
        steps = Case.model_validate(case).steps
        for fewer in sorted({1, steps - 1} - {0, steps}):
            yield case | {"training": {"steps": fewer, **_without(training, "steps", "epochs")}}


def _less_sharing(case: dict) -> Iterator[dict]:
    """No penalty, nothing frozen, nothing tied, no clip, no schedule."""
    for name in {"penalties", "frozen"} & case.keys():
        yield _without(case, name)
    if "tied" in case:
        yield _resized(_without(case, "tied"), [*range(len(case["network"]))], case["network"])
    for name in {"clip", "schedule"} & case.get("training", {}).keys():
        yield case | {"training": _without(case["training"], name)}


def _simpler_rules(case: dict) -> Iterator[dict]:
    """The plainest loss, the plainest optimizer."""
    if SquaredError.kind not in case["loss"]:
        plain = case | {"loss": {SquaredError.kind: {"factor": 1.0, "reduction": "sum"}}}
        yield _resized(plain, [*range(len(case["network"]))], case["network"])
    if (training := case.get("training")) and Sgd.kind not in training["optimizer"]:
        yield case | {"training": training | {"optimizer": {Sgd.kind: {"learning_rate": 0.1}}}}


def _fewer_layers(case: dict) -> Iterator[dict]:
    """One layer less; what took its value takes the one that it took. And a layer that takes what is before it."""
    network = case["network"]
    taken = {node.layer: node.inputs[0] for node in Case.model_validate(case).graph.nodes[::-1]}
    for i, gone in enumerate(Case.model_validate(case).network):
        others = [_named(layer, lambda name: taken[name] if name == gone.name else name) for layer in network]  # noqa: B023
        fewer = _resized(case, [*range(i), *range(i + 1, len(network))], others)
        yield from (fewer, _without(fewer, "random"))
    for i, layer in enumerate(network):
        if isinstance(layer, dict) and "inputs" in (content := next(iter(layer.values()))):
            plain = {kind: _without(content, "inputs") for kind in layer}
            yield case | {"network": [*network[:i], plain, *network[i + 1 :]]}


def _named(layer: dict | str, name: Callable[[str], str]) -> dict | str:
    """A layer with other names for the values that it takes."""
    if isinstance(layer, str):
        return layer
    ((kind, content),) = layer.items()
    names = {key: content[key] for key in names_in(KINDS[kind]) if key in content}
    return {kind: content | {key: name(old) if key != "inputs" else [*map(name, old)] for key, old in names.items()}}


def _smaller_settings(case: dict) -> Iterator[dict]:
    """Whole numbers such as a layer's units of 1, or one less; what is on is off."""
    every = range(len(case["network"]))
    for i in every:
        for change in _smaller(case["network"][i]):
            network = copy.deepcopy(case["network"])
            network[i] = {kind: content | change for kind, content in network[i].items()}
            yield _resized(case, [*every], network)


def _smaller(layer: Any) -> Iterator[dict]:
    for content in layer.values() if isinstance(layer, dict) else ():
        for name, value in content.items():
            if value is True:
                yield {name: False}
            elif isinstance(value, int) and value > 1:
                yield from ({name: 1}, {name: value - 1})


def _resized(case: dict, kept: list[int], network: list) -> dict:
    """The case with these layers of the network, its arrays cut to their new shapes, or filled up with ones."""
    smaller = case | {"network": [network[i] for i in kept]}
    if not smaller["network"]:
        return smaller
    before, after = Case.model_validate(case), Case.model_validate(smaller | {"parameters": {}})
    origin = {new.name: before.network[i].name for new, i in zip(after.network, kept, strict=True)}
    parameters = {}
    for path, shape in after.parameter_shapes().items():
        layer, _, tensor = path.rpartition(".")
        parameters[path] = _cut(case["parameters"].get(f"{origin[layer]}.{tensor}", 1.0), shape)
    samples, *shape = np.shape(case["data"]["targets"])
    *positions, width = after.output_shape
    width = max(width // (2 if GaussianNll.kind in case["loss"] else 1), 1)
    wanted = (samples, *positions, width)[: len(shape) + 1]
    targets = _cut(case["data"]["targets"], wanted)
    return smaller | {"parameters": parameters, "data": case["data"] | {"targets": targets}}


def _cut(values: list | float, shape: tuple[int, ...]) -> list:
    common = np.array(values, ndmin=len(shape))
    array = np.ones(shape, common.dtype)
    if common.ndim == len(shape):
        overlap = tuple(slice(min(n, m)) for n, m in zip(shape, common.shape, strict=True))
        array[overlap] = common[overlap]
    return array.tolist()


# ---------------------------------------------------------------- data


def _fewer_samples(case: dict) -> Iterator[dict]:
    samples = len(case["data"]["inputs"])
    kept = [[i] for i in range(samples)] + [[j for j in range(samples) if j != i] for i in range(samples)]
    for rows in kept if samples > 1 else []:
        yield case | {"data": {name: [values[i] for i in rows] for name, values in case["data"].items()}}


def _fewer_positions(case: dict) -> Iterator[dict]:
    """An axis of positions less, or shorter."""
    _, *positions, _ = np.shape(case["data"]["inputs"])
    for axis, length in enumerate(positions, start=1):
        for kept in (0, slice(1), slice(length - 1)) if length > 1 else (0,):
            data = {name: _along(np.array(values), axis, kept) for name, values in case["data"].items()}
            yield _resized(case | {"data": data}, [*range(len(case["network"]))], case["network"])


def _along(array: np.ndarray, axis: int, kept: int | slice) -> list:
    """What is kept of an axis, where there is one."""
    return (array[(*[slice(None)] * axis, kept)] if axis < array.ndim else array).tolist()


def _fewer_features(case: dict) -> Iterator[dict]:
    inputs = np.array(case["data"]["inputs"])
    for width in range(1, inputs.shape[-1]):
        narrow = inputs[..., :width]
        for values in (narrow, np.full(narrow.shape, 2.0)):  # where ones fit each other, there is no loss
            narrower = case | {"data": case["data"] | {"inputs": values.tolist()}}
            yield _resized(narrower, [*range(len(case["network"]))], case["network"])


def _no_names(case: dict) -> Iterator[dict]:
    """The layers by their kinds and numbers, wherever they are named."""
    contents = [content for layer in case["network"] if isinstance(layer, dict) for content in layer.values()]
    if not any("name" in content for content in contents):
        return
    counted = [next(iter(layer)) if isinstance(layer, dict) else layer for layer in case["network"]]
    plain = [f"{kind}{counted[: i + 1].count(kind)}" for i, kind in enumerate(counted)]
    named = [layer.name for layer in Case.model_validate(case).network]
    names = dict(zip(named, plain, strict=True)) | {"input": "input"}
    yield _renamed(case, names) | {"network": [_nameless(layer, names) for layer in case["network"]]}


def _nameless(layer: dict | str, names: dict[str, str]) -> dict | str:
    if isinstance(layer, str):
        return layer
    ((kind, content),) = _named(layer, names.get).items()
    kept = _without(content, "name")
    return {kind: kept} if kept else kind


def _renamed(case: dict, names: dict[str, str]) -> dict:
    """Everything that is called by the path of a parameter."""

    def path(old: str) -> str:
        layer, _, tensor = old.rpartition(".")
        return f"{names[layer]}.{tensor}"

    changed = {"parameters": {path(old): values for old, values in case["parameters"].items()}}
    if "tied" in case:
        changed["tied"] = {path(old): tie | {"parameter": path(tie["parameter"])} for old, tie in case["tied"].items()}
    if "frozen" in case:
        changed["frozen"] = [*map(path, case["frozen"])]
    if "penalties" in case:
        changed["penalties"] = [
            {kind: content | {"parameters": [*map(path, content["parameters"])]}}
            for penalty in case["penalties"]
            for kind, content in penalty.items()
        ]
    return case | changed


def _simpler_numbers(case: dict) -> Iterator[dict]:
    """Whole tensors of ones or of rounded numbers, then single elements."""
    for place, values in _tensors(case):
        array = np.array(values)
        rounded = np.array([float(f"{number:.1g}") for number in array.flat]).reshape(array.shape)
        for simpler in (np.ones_like(array), rounded):
            if not np.array_equal(simpler, array) and (simpler != 1).sum() <= (array != 1).sum():
                yield _with(case, place, simpler)
        for at in zip(*np.nonzero(array != 1), strict=True):
            simpler = array.copy()
            simpler[at] = 1
            yield _with(case, place, simpler)


def _tensors(case: dict) -> Iterator[tuple[tuple[str, str], list]]:
    for group in ("parameters", "data"):
        for name, values in case[group].items():
            yield (group, name), values


def _with(case: dict, place: tuple[str, str], values: np.ndarray) -> dict:
    group, name = place
    return case | {group: case[group] | {name: values.tolist()}}


def _without(mapping: dict, *keys: str) -> dict:
    return {key: value for key, value in mapping.items() if key not in keys}
