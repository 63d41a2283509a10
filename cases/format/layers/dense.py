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
        """As many features as it has units, at every position."""
        return *before[0][:-1], self.units

    def parameters(self, *before: Shape) -> dict[str, Shape]:
        """The weight and the bias."""
        return {"weight": (before[0][-1], self.units)} | (
            {"bias": (self.units,)} if self.bias else {}
        )
