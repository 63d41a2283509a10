"""All layers by kind: those of this folder, and what installed packages add (`added.py`)."""

from __future__ import annotations

from typing import Annotated

from backproof.cases.format.added import added
from backproof.cases.format.fields import OneOf
from backproof.cases.format.layers.activations import Activation
from backproof.cases.format.layers.combining import Dropout, Skip
from backproof.cases.format.layers.dense import Dense
from backproof.cases.format.layers.layer import LayerConcept

OURS: tuple[type[LayerConcept], ...] = (
    Dense,
    Skip,
    Dropout,
    *Activation.__subclasses__(),
)
ADDED = added("backproof.layers", LayerConcept, OURS)
KINDS: dict[str, type[LayerConcept]] = {layer.kind: layer for layer in (*OURS, *ADDED)}
Layer = Annotated[LayerConcept, OneOf("layer", "layers", "layers", (*KINDS.values(),))]
