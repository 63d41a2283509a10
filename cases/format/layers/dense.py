"""Layers with weights."""

from __future__ import annotations

from typing import ClassVar

from backproof.cases.format.concept import Count
from backproof.cases.format.layers.layer import LayerConcept, Shape


class Dense(LayerConcept):
    """y = x W + b, with W `NAME.weight` (in, units) and b `NAME.bias` (units,)."""

    shaping: ClassVar[tuple[str, ...]] = ("units", "bias")

    units: Count
    bias: bool = True

    @property
    def brief(self) -> str:
        """How many units it has, and whether a bias."""
        return f"{self.units}{'' if self.bias else ', no bias'}"

    def shape(self, *before: Shape) -> Shape:
        """Return (*positions, units)."""
        return *before[0][:-1], self.units

    def parameters(self, *before: Shape) -> dict[str, Shape]:
        """Return the shapes of the weight, and of the bias if there is one."""
        weight: dict[str, Shape] = {"weight": (before[0][-1], self.units)}
        return weight | {"bias": (self.units,)} if self.bias else weight
