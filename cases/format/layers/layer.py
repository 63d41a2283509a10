"""What every layer says of itself: what it takes, its parameters, and the shape of its value."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from backproof.cases.format.concept import Concept, Name

Shape = tuple[int, ...]


class LayerConcept(Concept):
    """A layer: its value y, of the value x of the layer before it, or of those that `inputs` names.

    A value is (samples, *positions, features); the shapes here are those of one sample,
    `(*positions, features)`. A layer of one's own derives from this class and says what differs.

    Attributes:
        takes: how many values it is a function of.
        shaping: the fields that only give shapes; all others but `name`, `inputs` and arrays of
            numbers are the settings of its formula.
        parts: the operations it consists of, by name and in order, each with what it takes: names
            of inputs (`x0`, `x1`), of parts before it, and of parameters. Empty if it is one
            operation. The value of the last one, which has the name "", is the layer's own; the
            others are recorded and judged like values of layers.
    """

    takes: ClassVar[int] = 1
    shaping: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[dict[str, tuple[str, ...]]] = {}

    name: Name | None = None
    inputs: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)] = ()

    def sources(self, before: str) -> tuple[str, ...]:
        """Return the names of the values that it takes; `before` is that of the layer before it."""
        return self.inputs or (before,)

    def shape(self, *before: Shape) -> Shape:
        """Return the shape of its value, given those of the values that it takes, in order.

        Raises:
            ValueError: if they do not fit; the message says what was expected and found.
        """
        return before[0]

    def part_shapes(self, *_: Shape) -> dict[str, Shape]:
        """Return the shapes of the values of its parts by name, without the last one."""
        return {}

    def parameters(self, *_: Shape) -> dict[str, Shape]:
        """Return the shapes of its own parameters by name, in the order of its formula."""
        return {}

    def buffers(self, *_: Shape) -> dict[str, tuple[Shape, float]]:
        """Return the shapes of its buffers by name, each with the number that it is filled with.

        A buffer has no gradient: it is what the layer remembers from step to step, such as a
        running mean.
        """
        return {}

    def masks(self, *_: Shape) -> dict[str, Shape]:
        """Return the shapes of its random masks by name, of one sample of a step."""
        return {}

    def given_masks(self) -> dict[str, Any]:
        """Return the masks that the case gives, by name; None for those that are drawn."""
        return {}

    @property
    def dropped(self) -> float:
        """The probability that an element of a drawn mask is 0."""
        return 0.0

    @property
    def brief(self) -> str:
        """What a report says beside its name: its kind, unless the name says it."""
        return "" if (self.name or "").removeprefix(self.kind).isdecimal() else self.kind

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that its formula takes by keyword."""
        left_out = {"name", "inputs", *self.shaping, *self.given_masks()}
        return {name: value for name, value in self if name not in left_out}
