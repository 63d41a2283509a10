"""A network as the backends receive it: one row for each operation, in an order that can be walked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple


class Node(NamedTuple):
    """One operation of a network: a layer, or a part of one.

    Attributes:
        name: of its value: `hidden`, `attention.scores`.
        kind: its row in every table of layers: `dense`.
        inputs: the values that it takes, `input` or names of nodes before it.
        parameters: paths of the parameters that it takes, in the order of the formula; tied ones too.
        settings: what its formula takes by keyword: slope, alpha, rate, ...
        shape: of its value, of one sample: (*positions, features).
        masks: by keyword the path of a mask of the step; None is given where there is none.
        buffers: by keyword the path of a buffer, which is given as it is before the step.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    settings: dict[str, Any]
    shape: tuple[int, ...]
    masks: dict[str, str]
    buffers: dict[str, str]


def with_nodes(problem):
    """Make nodes of layers: a stand-in until `Problem.network` holds them."""
    if isinstance(problem.network[0], Node):
        return problem
    return replace(problem, network=tuple(nodes(problem.network, problem.widths)))


def nodes(network, widths):
    """Make nodes of layers, each behind the one before it."""
    before = "input"
    for layer in network:
        own = [f"{layer.name}.{name}" for name in layer.parameter_shapes(1)]
        rest = {"name", "units", "bias", "source", "shared", "mask"}
        yield Node(
            name=layer.name,
            kind=layer.kind,
            inputs=(before, layer.source) if layer.kind == "skip" else (before,),
            parameters=tuple(own),
            settings={name: value for name, value in layer if name not in rest},
            shape=(widths[layer.name],),
            buffers={},
            masks={"mask": f"{layer.name}.mask"} if layer.kind == "dropout" else {},
        )
        before = layer.name
