"""A layer alone: its value, and its derivatives of a cotangent."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.layers.table import KINDS, Layer
from backproof.cases.format.message import hint
from backproof.cases.format.network import Network, Node
from backproof.cases.format.words import elsewhere
from backproof.reference.formulas.layers import LAYERS, layer_forward
from backproof.reference.numbers.bounded import Bounded, exact, rounded_to
from backproof.reference.numbers.precision import Precision, precision_of
from backproof.reference.training import way_back
from backproof.report.judging.alone.asked import (
    Asked,
    Shape,
    Truths,
    Unfit,
    checked_kind,
    checked_names,
    checked_numbers,
    given,
    inner_precision,
    read,
)

OF_NETWORKS = ("name", "inputs")
NAME = "y"  # of the layer, and so of its value; its parameters are `y.weight` in a network


def of_layer(
    kind: str, inputs: Arrays, settings: Mapping[str, Any], accumulate: str | None = None
) -> Asked:
    """Return a layer with its numbers.

    Args:
        kind: of layer, as in a case file.
        inputs: its values, (samples, *positions, features), its parameters in the library's
            convention, and its masks, by name.
        settings: of the kind; what only gives shapes (`units`) may be left out.
        accumulate: see `inner_precision`.

    Raises:
        Unfit: with what was expected and found.
    """
    names = values_of(kind)
    _check_settings(kind, settings)
    samples = _samples(kind, names, inputs)
    layer, network = _fitting(kind, names, inputs, settings)
    before = network.taken[NAME]
    if buffers := layer.buffers(*before):
        remembers = f"it remembers {', '.join(buffers)} from step to step"
        raise Unfit(f"{kind}: {remembers}: judge it in a run, by certify_case")
    parameters, masks = layer.parameters(*before), layer.masks(*before)
    checked_names(kind, inputs, dict.fromkeys((*names, *parameters, *masks), True))
    flags = [name for name in masks if inputs[name].dtype.kind in "biu"]
    dtype = checked_numbers(kind, {n: array for n, array in inputs.items() if n not in flags})
    _check_shapes(kind, inputs, parameters, {n: (samples, *s) for n, s in masks.items()})
    nodes = network.nodes
    return Asked(
        kind=kind,
        inputs=dict(inputs),
        wanted=tuple(name for name in inputs if name not in masks),
        results={NAME: (samples, *network.shapes[NAME])},
        by_sample=(*names, *masks),
        truths=partial(_truths, nodes, names, precision_of(dtype)),
        inner=inner_precision(dtype, accumulate),
        settings=layer,
        node=nodes[0] if len(nodes) == 1 else None,
    )


def _check_settings(kind: str, settings: Mapping[str, Any]) -> None:
    """Raise Unfit for a setting that there is not, or that only a layer of a network has."""
    fields = [name for name in KINDS[kind].model_fields if name not in OF_NETWORKS]
    for key in settings:
        if key in OF_NETWORKS:
            told = "belongs to a layer of a network: here the arrays are given, and y is the value"
            raise Unfit(f"{kind}: {key} {told}")
        if key not in fields:
            meant = elsewhere(kind, key) or hint(key, fields) or "; it has no settings"
            raise Unfit(f"{kind}: unknown key {key!r}{meant}")


def _samples(kind: str, names: tuple[str, ...], inputs: Arrays) -> int:
    """Return how many samples the values of a layer have; raise Unfit where they are none."""
    if missing := [name for name in names if name not in inputs]:
        raise Unfit(f"{kind}: expected the inputs {', '.join(names)}; {missing[0]} is missing")
    if flat := [name for name in names if inputs[name].ndim < 2]:
        expected = "expected (samples, *positions, features)"
        raise Unfit(f"{kind}: {flat[0]}: {expected}, found {inputs[flat[0]].shape}")
    samples = len(inputs[names[0]])
    if odd := next((name for name in names if len(inputs[name]) != samples), None):
        told = f"{odd} has {len(inputs[odd])} samples, {names[0]} has {samples}"
        raise Unfit(f"{kind}: expected as many of both; {told}")
    return samples


def _truths(
    nodes: tuple[Node, ...],
    values: tuple[str, ...],
    stored: Precision,
    inputs: Arrays,
    cotangent: np.ndarray | None,
    precision: Precision,
) -> Truths:
    """Yield the value, then the derivatives by the values and the parameters.

    The way back may start from a value that is stored, rounded to its dtype.
    """
    paths = {name if name in values else f"{NAME}.{name}": name for name in inputs}
    numbers = given({path: inputs[name] for path, name in paths.items()}, precision)
    outputs = {}
    for node in nodes:
        y, _ = layer_forward(node, numbers)
        numbers[node.name], outputs[node.name] = y, _as_stored(y, stored)
    yield "value", NAME, y
    if cotangent is None:
        return
    sums: dict[str, Any] = {}
    dy = exact(cotangent[None], precision)
    for _, sums in way_back(nodes, numbers, dy, outputs=outputs):  # noqa: B007
        pass
    for path, name in paths.items():
        if path in sums:
            yield "cotangent" if name in values else "gradient", name, sums[path]


def _as_stored(y: Bounded, stored: Precision) -> Bounded:
    """Return a number as far off as one that was rounded to its dtype, for further arithmetic."""
    if y.precision.dtype == stored.dtype:
        return y
    bound = rounded_to(y, stored).bound
    return Bounded(y.value, bound, y.precision, magnitude=y.magnitude)


# ---------------------------------------------------------------- its names and settings


def values_of(kind: str) -> tuple[str, ...]:
    """Return what the values are called that a layer takes: `x`, or as its formula names them.

    Raises:
        Unfit: if there is no such kind.
    """
    checked_kind("layer", kind, KINDS)
    takes = KINDS[kind].takes
    if takes == 1:
        return ("x",)
    if KINDS[kind].parts:
        return tuple(f"x{place}" for place in range(takes))
    return tuple(inspect.signature(LAYERS[kind][0]).parameters)[:takes]


def _fitting(
    kind: str, names: tuple[str, ...], inputs: Arrays, settings: Mapping[str, Any]
) -> tuple[LayerConcept, Network]:
    """Return the layer, in a network of its own, whose parameters have the shapes of the inputs.

    What only gives shapes is looked for among the sizes there are: the best fit, or the first.
    """
    # What stands before the layer is the value that it takes first.
    shapes = {name: inputs[name].shape[1:] for name in (*names[1:], names[0])}
    others = {name: array.shape for name, array in inputs.items() if name not in names}
    best: tuple[int, LayerConcept, Network] | None = None
    for more in _shapings(kind, names, others, settings):
        layer = read(Layer, kind, {**settings, **more, "name": NAME})
        network = Network((layer,), shapes)
        if network.misfits:
            misfit = f"{kind}: {'; '.join(message for _, message in network.misfits)}"
            if best is None and not more:
                raise Unfit(misfit)
            continue
        parameters = layer.parameters(*network.taken[NAME])
        misses = sum(_misses(others.get(n), shape) for n, shape in parameters.items())
        misses += 2 * len({*others} - {*parameters, *layer.masks(*network.taken[NAME])})
        if best is None or misses < best[0]:
            best = misses, layer, network
    if best is None:
        raise Unfit(misfit)
    return best[1:]


def _misses(found: Shape | None, expected: Shape) -> int:
    """Say how badly a shape fits: 0 well, 1 but for the order of its axes."""
    if found == expected:
        return 0
    return 1 if found is not None and sorted(found) == sorted(expected) else 2


def _shapings(
    kind: str, names: tuple[str, ...], others: Mapping[str, Shape], settings: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield values of the fields that only give shapes or name values, where none is given."""
    choices: dict[str, list[Any]] = {}
    layer, sizes = KINDS[kind], sorted({size for shape in others.values() for size in shape})
    untold = {n: field for n, field in layer.model_fields.items() if n not in settings}
    own = [n for n, field in untold.items() if field.is_required() and field.annotation is str]
    first = max(len(names) - len(own), 1)
    choices |= {field: [name] for field, name in zip(own, names[first:], strict=False)}
    if layer.takes > 1:
        choices["inputs"] = [names[:first]]
    for name in layer.shaping:
        field = untold.get(name)
        if field and field.annotation is int and field.is_required():
            choices[name] = sizes
        elif field and field.annotation is bool:
            choices[name] = [field.default, not field.default]
    yield from (dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values()))
    if not all(choices.values()):
        yield {}


def _check_shapes(
    kind: str, inputs: Arrays, parameters: Mapping[str, Shape], masks: Mapping[str, Shape]
) -> None:
    """Raise Unfit where a parameter or a mask has another shape."""
    for name, shape in {**parameters, **masks}.items():
        found = inputs[name].shape
        if found == shape:
            continue
        axes = "(in, out) = " if name in parameters and len(shape) == 2 else "shape "
        told = f"{kind}: {name}: expected {axes}{shape}, found {found}"
        is_turned = len(shape) == 2 and found == shape[::-1]
        raise Unfit(f"{told}: transpose it" if is_turned else told)
