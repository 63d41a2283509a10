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
# Chosen so that, beside ours, they stay apart where red or green is not seen.
OTHERS = ("#5a2db4", "#b40f2d", "#3cb4b4", "#87b45a", "#882255", "#3c6978", "#4b69e1", "#ee6677")
MARKERS = ("P", "X", "*", "h", "<", ">", "p", "d")


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return how each backend of a report is drawn.

    Those of one's own are told apart by the order of the names.
    """
    own = [name for name in dict.fromkeys(names) if name not in OURS]
    return OURS | {
        name: Look(OTHERS[i % len(OTHERS)], MARKERS[(i + i // len(MARKERS)) % len(MARKERS)])
        for i, name in enumerate(own)
    }
