"""A network as every backend walks it: operations, each with what it takes and its shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from backproof.cases.format.layers.layer import LayerConcept, Shape
from backproof.cases.format.message import Mistakes, Place, hint, quoted


class Node(NamedTuple):
    """One operation of a network: a layer, or a part of one.

    Attributes:
        name: of its value: `hidden`, `attention.scores`.
        kind: its row in every table of layers: `dense`, `attention.scores`.
        inputs: the values it takes: `input`, or names of nodes before it.
        parameters: the paths of the parameters it takes, in the order of its formula; tied ones
            too.
        settings: what its formula takes by keyword.
        shape: of its value, of one sample: (*positions, features).
        masks: keyword → path of a mask of the step; None is given where there is none, after the
            last step.
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
        """Return what its formula takes by keyword beside its settings.

        These are its masks and buffers out of `numbers`, by path, and with buffers `training`.
        """
        if not (self.masks or self.buffers):
            return {}
        paths = (self.masks | self.buffers).items()
        named = {keyword: numbers.get(path) for keyword, path in paths}
        return named | ({"training": training} if self.buffers else {})


class Network:
    """The nodes of a list of layers, all named, and the shapes of what belongs to them.

    What it starts from is the value `input`, of this shape, or are values with shapes by name.

    Attributes:
        layers: in order.
        names: `input`, or what it starts from, and every node, in order.
        shapes: of their values, of one sample.
        sources: by layer, the names of the values that it takes.
        taken: by layer, the shapes of these values.
        misfits: what does not fit: names, numbers and shapes of the values that layers take. Each
            is the place, `(4, "dense", "inputs", 1)`, and what was expected there and found. What
            rests on such a mistake is not in `shapes` and `taken`.
    """

    def __init__(self, layers: Iterable[LayerConcept], inputs: Shape | Mapping[str, Shape]):
        self.layers = tuple(layers)
        given = inputs if isinstance(inputs, Mapping) else {"input": tuple(inputs)}
        self.names = [*given]
        self.shapes: dict[str, Shape] = {**given}
        self.sources: dict[str, tuple[str, ...]] = {}
        self.taken: dict[str, tuple[Shape, ...]] = {}
        self.misfits: list[tuple[Place, str]] = []
        for place, layer in enumerate(self.layers):
            sources = self.sources[layer.name] = layer.sources(self.names[-1])
            for look in (self._unknown, _wrong_number, self._add):
                if wrong := [*look(layer, sources)]:
                    break
            self.misfits += [((place, layer.kind, *key), message) for key, message in wrong]
            self.names += [*(f"{layer.name}.{part}" for part in layer.parts if part), layer.name]

    def _unknown(self, layer: LayerConcept, sources: tuple[str, ...]) -> Mistakes:
        """Yield which values a layer takes that are not there before it."""
        for key, name in zip(_keys(layer, sources), sources, strict=True):
            if name not in self.names:
                meant = hint(name, self.names)
                yield key, f"there is no layer {quoted(name)} before this one{meant}"

    def _add(self, layer: LayerConcept, sources: tuple[str, ...]) -> Mistakes:
        """Add the shapes of a layer, or yield why they do not fit; neither if a source has none."""
        if not self.shapes.keys() >= {*sources}:
            return
        taken = tuple(self.shapes[name] for name in sources)
        try:
            parts, shape = layer.part_shapes(*taken), layer.shape(*taken)
        except ValueError as misfit:
            yield _keys(layer, sources)[-1][:1], str(misfit)
        else:
            self.taken[layer.name] = taken
            self.shapes |= {f"{layer.name}.{part}": of_part for part, of_part in parts.items()}
            self.shapes[layer.name] = shape

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The operations in the order in which they are computed."""
        return tuple(node for layer in self.layers for node in self._nodes_of(layer))

    def _nodes_of(self, layer: LayerConcept) -> Iterator[Node]:
        """Yield the operations of a layer: its parts, or the layer itself."""
        before = self.taken[layer.name]
        parameters, masks, buffers = (
            {name: f"{layer.name}.{name}" for name in names}
            for names in (layer.parameters(*before), layer.masks(*before), layer.buffers(*before))
        )
        values = {f"x{place}": name for place, name in enumerate(self.sources[layer.name])}
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
        """Return the `parameters`, `buffers` or `masks` of all layers whose shapes are known."""
        return {
            f"{layer.name}.{name}": of_it
            for layer in self.layers
            if layer.name in self.taken
            for name, of_it in getattr(layer, what)(*self.taken[layer.name]).items()
        }

    @cached_property
    def parameters(self) -> dict[str, Shape]:
        """The shape of every parameter by path, in the order of the layers; tied ones too."""
        return self._by_path("parameters")

    @cached_property
    def buffers(self) -> dict[str, tuple[Shape, float]]:
        """The shape of every buffer by path, and the number that it is filled with at first."""
        return self._by_path("buffers")

    @cached_property
    def masks(self) -> dict[str, Shape]:
        """The shape of every mask by path, of one sample."""
        return self._by_path("masks")

    @property
    def output(self) -> str:
        """The name of the last layer."""
        return self.layers[-1].name


# ---------------------------------------------------------------- what a layer takes


def _keys(layer: LayerConcept, sources: tuple[str, ...]) -> list[Place]:
    """Return where a layer names each of its sources: in `inputs`, or in a key of its own.

    That is `("inputs", 1)`, `("source",)`, or () for the value of the layer before it.
    """
    keys: list[Place] = [("inputs", place) for place in range(len(layer.inputs))] or [()]
    own = {value: (key,) for key, value in layer if isinstance(value, str) and key != "name"}
    return [*keys, *(own.get(name, ()) for name in sources[len(keys) :])]


def _wrong_number(layer: LayerConcept, sources: tuple[str, ...]) -> Mistakes:
    """Yield that a layer is given more or fewer values than it is a function of."""
    if len(sources) == layer.takes:
        return
    inputs, takes = layer.inputs, f"{layer.kind} takes {_count(layer.takes, 'value')}"
    others = [f"`{key}`" for key, *_ in filter(None, _keys(layer, sources)[max(len(inputs), 1) :])]
    expected = layer.takes - len(others)
    beside = f" beside {' and '.join(others)}" if others else ""
    twice = [place for place, name in enumerate(inputs) if name in inputs[:place]]
    if not inputs:
        yield (), f"{takes}: name {_count(expected, 'layer')} in `inputs`{beside}"
    elif twice:
        yield ("inputs", twice[0]), f"{quoted(inputs[twice[0]])} is listed twice: {takes}"
    else:
        names = _count(expected, "name")
        yield ("inputs",), f"expected {names}{beside}, found {len(inputs)}: {takes}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
