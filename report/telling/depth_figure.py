"""The figure of the gradients by layer: how they shrink on their way back, beside their bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import matplotlib as mpl
import numpy as np

from backproof.cases.console.terminal import plain
from backproof.report.telling.axes import Linear, on_one_line, powers_over
from backproof.report.telling.captions import alt_text_of_depth
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.drawing import (
    EDGE,
    HANDLE,
    LEFT,
    WIDTH,
    Entry,
    Key,
    Panel,
    folded,
    sheet,
)
from backproof.report.telling.palette import MARKERS, OURS

BESIDE, ABOVE, HEIGHT, BELOW = 2.9, 0.62, 3.6, 0.5  # inches
ALL_MARKERS = [*(look.marker for look in OURS.values()), *MARKERS]
DOTTED = "dotted: the bound by the chain rule"
COINCIDENT = "a = b: the line of b lies on that of a, as far as b goes"


def draw_depth(networks: Mapping[str, Sequence[LayerGradient]]) -> bytes:
    """Draw the size of each layer's cotangent relative to the last one's, and its bound, as SVG."""
    picture, sizes = BytesIO(), _by_layer(networks)
    up = powers_over([size for one in sizes.values() for size in one.flat])
    groups = on_one_line([up.places(one.flat) for one in sizes.values()])
    entries = _entries([[[*sizes][i] for i in group] for group in groups])
    words = [DOTTED, *([COINCIDENT] if len(groups) < len(sizes) else [])]
    key = Key([entries], words="\n".join(folded(line, BESIDE) for line in words))
    height = ABOVE + max(HEIGHT + BELOW, key.height) + EDGE
    across = Linear(0, max(map(len, sizes.values())) - 1)
    with sheet(picture, height, "gradients by layer", alt_text_of_depth(networks)) as page:
        panel = Panel(page, LEFT, ABOVE, WIDTH - LEFT - BESIDE - 2 * EDGE, HEIGHT, across, up)
        what = "size of the cotangent, relative to that at the last layer"
        panel.show(what, "dense layers back from the last")
        for (style, _), (first, *_) in zip(entries, groups, strict=True):
            found = [*sizes.values()][first]
            panel.plot(range(len(found)), found[:, 0], **style)
            panel.plot(range(len(found)), found[:, 1], color=style["color"], linestyle=":")
        key.draw(page, WIDTH - BESIDE - EDGE, ABOVE)
    return picture.getvalue()


def _by_layer(networks: Mapping[str, Sequence[LayerGradient]]) -> dict[str, np.ndarray]:
    """Return sizes and bounds, (layers, 2), of each network from its last layer back.

    The deepest network comes first, on which others may lie.
    """
    found = {
        name: np.array([(one.cotangent, one.bound) for one in reversed(layers)])
        for name, layers in networks.items()
    }
    deepest = sorted(found, key=lambda name: -len(found[name]))
    return {name: found[name] / found[name][0, 0] for name in deepest}


def _entries(groups: list[list[str]]) -> list[Entry]:
    """Return the entries of the key: a colour and a marker for each group of networks."""
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(groups)))
    return [
        (
            {"color": colour, "marker": ALL_MARKERS[number % len(ALL_MARKERS)]},
            folded(plain(" = ".join(names)), BESIDE - HANDLE),
        )
        for number, (colour, names) in enumerate(zip(colours, groups, strict=True))
    ]
