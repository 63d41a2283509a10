"""All layers by kind: those of this folder, and what installed packages add by an entry point.

A package adds one by an entry point of the group `backproof.layers`, `swiglu = "package.module"`: a module with one
subclass of `LayerConcept`, which is the norm, its formula `forward` for the hand-written side, and, where a framework is
to have it, `torch_forward` and `jax_forward` (docs/extending.md).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType
from typing import Annotated, Union

from backproof.cases.format.fields import OneOf
from backproof.cases.format.layers.activations import Activation
from backproof.cases.format.layers.combining import Dropout, Skip
from backproof.cases.format.layers.dense import Dense
from backproof.cases.format.layers.layer import LayerConcept

ENTRY_POINTS = "backproof.layers"
OURS = (Dense, Skip, Dropout, *Activation.__subclasses__())


class NotALayer(ImportError):
    """A module that an entry point names holds no layer; the message says what was expected."""


def added_layers() -> dict[str, ModuleType]:
    """Import the modules of layers that installed packages add, by kind.

    Raises:
        NotALayer: if one has no layer in it, or one whose kind is taken; the message names the entry point.
    """
    found: dict[str, ModuleType] = {}
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=str):
        module = importlib.import_module(entry.value)
        layers = [one for one in vars(module).values() if _is_layer(one) and one.__module__ == module.__name__]
        where = f"the entry point {entry.name} of {ENTRY_POINTS}, {entry.value}"
        if len(layers) != 1:
            raise NotALayer(f"{where}: expected one subclass of LayerConcept in it, found {len(layers)}")
        if layers[0].kind in {layer.kind for layer in OURS} | found.keys():
            raise NotALayer(f"{where}: there is a layer {layers[0].kind} already; choose another name for the class")
        module.Layer = layers[0]
        found[layers[0].kind] = module
    return found


def _is_layer(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, LayerConcept)


ADDED = added_layers()
KINDS: dict[str, type[LayerConcept]] = {
    layer.kind: layer for layer in (*OURS, *(module.Layer for module in ADDED.values()))
}
Layer = Annotated[Union[tuple(KINDS.values())], OneOf("layer", "layers", "layers")]
