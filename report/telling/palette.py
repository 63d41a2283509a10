"""The colour and the marker of each backend: the same in every figure, told apart by every eye."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Look(NamedTuple):
    """How a backend is drawn: a colour as `#rrggbb`, and a marker as matplotlib names it."""

    colour: str
    marker: str


# Okabe and Ito (2008), "Color universal design".
OURS = {
    "numpy": Look("#0072b2", "o"),
    "torch": Look("#d55e00", "s"),
    "jax": Look("#009e73", "^"),
    "torch-compile": Look("#e69f00", "D"),
    "jax-eager": Look("#56b4e9", "v"),
}
# Tol's muted and bright colours that stand apart from those.
OTHERS = ("#aa3377", "#332288", "#999933", "#882255", "#44aa99", "#ee6677", "#ddaa33", "#666666")
MARKERS = ("P", "X", "*", "h", "<", ">", "p", "d")


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return how each backend is drawn; those of one's own in the order of their names."""
    own = [name for name in dict.fromkeys(names) if name not in OURS]
    return OURS | {
        name: Look(OTHERS[i % len(OTHERS)], MARKERS[(i + i // len(MARKERS)) % len(MARKERS)])
        for i, name in enumerate(own)
    }
