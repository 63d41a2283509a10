"""Layers that combine a value with another one, or with random numbers."""

from __future__ import annotations

from typing import Any, ClassVar

from backproof.cases.format.concept import Name, Share
from backproof.cases.format.fields import Array, quoted
from backproof.cases.format.layers.layer import LayerConcept, Shape


class Skip(LayerConcept):
    """y = x + s, a residual connection: s is the value of `source`.

    `source` is a layer before this one or `input`, of the same shape.
    """

    takes: ClassVar[int] = 2
    shaping: ClassVar[tuple[str, ...]] = ("source",)

    source: Name

    def sources(self, before: str) -> tuple[str, ...]:
        """Return the value before it, and `source`."""
        return (*super().sources(before), self.source)

    @property
    def brief(self) -> str:
        """The value that it adds, `+ hidden`."""
        return f"+ {self.source}"

    def shape(self, *before: Shape) -> Shape:
        """Return the shape of both values.

        Raises:
            ValueError: if they have different shapes.
        """
        x, other = before
        if other != x:
            first = quoted(self.inputs[0]) if self.inputs else "the one before the skip"
            width, found = _told(x, other)
            raise ValueError(
                f"expected a layer of {width}, as {first}; {quoted(self.source)} has {found}"
            )
        return x


def _told(x: Shape, other: Shape) -> tuple[str, str]:
    """Return the two shapes in words, as widths where there are no positions."""
    if len(x) == len(other) == 1:
        return f"width {x[0]}", f"{other[0]}"
    return f"shape {x} a sample", f"{other}"


class Dropout(LayerConcept):
    """y = m x / (1 - rate), of masks m of 0 and 1; after the last step, of all samples, y = x.

    `mask` is one for every step, (samples of a batch, *positions, units), or one for each step in
    turn, (steps, samples of a batch, *positions, units). Without it the masks are drawn, anew for
    each step, 1 with the probability 1 - rate.
    """

    rate: Share
    mask: Array | None = None

    @property
    def brief(self) -> str:
        """Its kind and its rate, `dropout 0.5`."""
        return f"dropout {self.rate:g}"

    def masks(self, *before: Shape) -> dict[str, Shape]:
        """Return the shape of the mask, that of the value."""
        return {"mask": before[0]}

    def given_masks(self) -> dict[str, Any]:
        """Return the mask, None where it is drawn."""
        return {"mask": self.mask}

    @property
    def dropped(self) -> float:
        """The rate."""
        return self.rate
