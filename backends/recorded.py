"""What the recordings of PyTorch and JAX share: where a parameter stands, and their one error."""

from __future__ import annotations

from typing import NamedTuple


class NotTheCase(ValueError):  # noqa: N818, it is told to whoever recorded the loop
    """A recorded loop can't be a run of the case; the message says what was expected and found."""


class Place(NamedTuple):
    """Where a parameter of a case stands in the model, and whether it is transposed there."""

    path: str
    turned: bool
