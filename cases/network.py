"""A network as every backend walks it: a list of operations, each with what it takes and the shape of its value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from backproof.cases.format.fields import hint, quoted
from backproof.cases.format.layers.layer import LayerConcept, Shape


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a network: a layer, or a part of one.

    Attributes:
        name: of its value: `hidden`, `attention.scores`.
        kind: its row in every table of layers: `dense`, `attention.scores`.
        inputs: the values it takes: `input`, or names of nodes before it.
        parameters: the paths of the parameters it takes, in the order of its formula; tied ones too.
        settings: what its formula takes by keyword.
        shape: of its value, of one sample: (*positions, features).
        masks: keyword → path of a mask of the step; None is given where there is none, after the last step.
        buffers: keyword → path of what it remembers from step to step.
        layer: the name of the layer that it is, or is a part of.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    settings: dict[str, Any]
    shape: Shape
    masks: dict[str, str]
    buffers: dict[str, str]
    layer: str

    def keywords(self, numbers: Mapping[str, Any], *, training: bool = True) -> dict[str, Any]:
        """What its formula takes by keyword beside its settings: masks, buffers, and with buffers `training`."""
        if not (self.masks or self.buffers):
            return NOTHING
        named = {keyword: numbers.get(path) for keyword, path in (self.masks | self.buffers).items()}
        return named | ({"training": training} if self.buffers else {})


NOTHING: dict[str, Any] = {}


class Network:
    """The nodes of a list of layers, all named, and the shapes of what belongs to them, of inputs of one shape.

    Attributes:
        layers: in order.
        taken: by layer, the shapes of the values that it takes.
        shapes: of `input` and of the value of every node, of one sample, in order.
        misfits: by place of a layer, in words what does not fit there: a shape, or a value that is not there before it.
    """

    def __init__(self, layers: Iterable[LayerConcept], inputs: Shape):
        self.layers = tuple(layers)
        self.shapes: dict[str, Shape] = {"input": tuple(inputs)}
        self.taken: dict[str, tuple[Shape, ...]] = {}
        self.misfits: dict[int, str] = {}
        for place, layer in enumerate(self.layers):
            self._add(place, layer)

    def _add(self, place: int, layer: LayerConcept) -> None:
        """Add the shapes of one layer; where something does not fit, its value is taken for that before it."""
        *_, before = self.shapes
        sources = layer.sources(before)
        if unknown := [name for name in sources if name not in self.shapes]:
            valid = hint(unknown[0], self.shapes)
            self.misfits[place] = f"there is no layer {quoted(unknown[0])} before this one{valid}"
        elif len(sources) != layer.takes:
            self.misfits[place] = f"expected {layer.takes} values that it takes, found {len(sources)}"
        known = [self.shapes.get(name, self.shapes[before]) for name in sources]
        taken = self.taken[layer.name] = (*known, *[self.shapes[before]] * layer.takes)[: layer.takes]
        try:
            parts, shape = layer.part_shapes(*taken), layer.shape(*taken)
        except ValueError as misfit:
            self.misfits.setdefault(place, str(misfit))
            parts, shape = dict.fromkeys(filter(None, layer.parts), taken[0]), taken[0]
        self.shapes |= {f"{layer.name}.{part}": shape for part, shape in parts.items()} | {layer.name: shape}

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The operations in the order in which they are computed."""
        names = ("input", *(layer.name for layer in self.layers))
        pairs = zip(self.layers, names, strict=False)
        return tuple(node for layer, before in pairs for node in self._nodes_of(layer, layer.sources(before)))

    def _nodes_of(self, layer: LayerConcept, sources: tuple[str, ...]) -> Iterator[Node]:
        before = self.taken[layer.name]
        parameters = {name: f"{layer.name}.{name}" for name in layer.parameters(*before)}
        masks, buffers = (
            {name: f"{layer.name}.{name}" for name in names} for names in (layer.masks(*before), layer.buffers(*before))
        )
        values = {f"x{place}": name for place, name in enumerate(sources)}
        parts = layer.parts or {"": (*values, *parameters)}
        for part, taken in parts.items():
            name = values[part] = f"{layer.name}.{part}" if part else layer.name
            yield Node(
                name=name,
                kind=f"{layer.kind}.{part}" if part else layer.kind,
                inputs=tuple(values[one] for one in taken if one in values),
                parameters=tuple(parameters[one] for one in taken if one in parameters),
                settings=layer.settings,
                shape=self.shapes[name],
                masks=masks,
                buffers={} if part else buffers,
                layer=layer.name,
            )

    def _by_path(self, what: str) -> dict[str, Any]:
        return {
            f"{layer.name}.{name}": of_it
            for layer in self.layers
            for name, of_it in getattr(layer, what)(*self.taken[layer.name]).items()
        }

    @cached_property
    def parameters(self) -> dict[str, Shape]:
        """The shape of everything that a layer takes as its parameter, in the order of the layers; tied ones too."""
        return self._by_path("parameters")

    @cached_property
    def buffers(self) -> dict[str, tuple[Shape, float]]:
        """The shape of every buffer, and the number that all of it starts from."""
        return self._by_path("buffers")

    @cached_property
    def masks(self) -> dict[str, Shape]:
        """The shape of every mask, of one sample."""
        return self._by_path("masks")

    @property
    def output(self) -> str:
        """The name of the last layer."""
        return self.layers[-1].name

