"""The figures of the report, as SVG that is the same to the byte for the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np

from backproof.report.telling.axes import (
    Axis,
    Linear,
    Steps,
    linear_over,
    marked_at,
    on_one_line,
    powers_over,
)
from backproof.report.telling.captions import alt_text, failed
from backproof.report.telling.curves import Curves, Line, known
from backproof.report.telling.drawing import (
    CARD,
    EDGE,
    HANDLE,
    LEFT,
    ROW,
    WIDTH,
    Key,
    Panel,
    Style,
    columns_for,
    folded,
    inches,
    lines_of,
    sheet,
    title_of,
)
from backproof.report.telling.palette import Look

STYLES = {"float64": "-", "float32": "--", "float16": "-.", "bfloat16": ":"}
SHARES, CLIPPED, BINS = Linear(0, 1.2), 1.15, 48
BINNED = "shares: the highest of nearby steps and dtypes, filled down to the lowest"
WIDE = 1000  # a loss that shrinks by more is drawn by powers of ten
MOST_LINES, MOST_NAMES = 8, 3
HEIGHT, GAP, BELOW = 2.5, 0.68, 0.5  # inches
PANEL = (WIDTH - LEFT - 2 * GAP - EDGE) / 3
TWO_PANELS = 2 * PANEL + GAP
GREY = {"color": "#bbbbbb", "zorder": 1}

Looks = dict[str, Look]


# ---------------------------------------------------------------- a run


def draw_run(curves: Curves, looks: Looks) -> bytes:
    """Draw one case over its steps as SVG: losses, shares of the rounding allowed, drifts.

    Args:
        curves: what there is to draw.
        looks: of every backend, the same in every figure.
    """
    picture, title = BytesIO(), title_of(curves.case)
    looks = {name: looks[name] for name in curves.backends}
    losses, drifts = _loss_axis(curves), powers_over(known(curves.of("drift")))
    strands = _strands(curves, looks, drifts)
    keys = _key(curves, looks, losses), _key_of_drifts(curves, strands, drifts)
    above = 0.4 + lines_of(title) * 0.19
    below = above + HEIGHT + BELOW
    height = below + max(key.height for key in keys) + EDGE
    with sheet(picture, height, title, alt_text(curves)) as page:
        places = (LEFT, above), (LEFT + PANEL + GAP, above), (LEFT + TWO_PANELS + GAP, above)
        loss, share, drift = (
            Panel(page, *place, PANEL, HEIGHT, Steps(curves.last_step), axis)
            for place, axis in zip(places, (losses, SHARES, drifts), strict=True)
        )
        loss.show("loss", "step")
        share.show("share of the rounding allowed", "step")
        drift.show("largest difference of a parameter", "step")
        _draw_losses(loss, curves, looks)
        _draw_shares(share, curves, looks)
        _draw_drifts(drift, curves, strands)
        _mark_failures((loss, share, drift), curves, looks)
        keys[0].draw(page, LEFT, below)
        keys[1].draw(page, drift.left, below)
    return picture.getvalue()


def _style_of(look: Look) -> Style:
    return {"color": look.colour, "marker": look.marker}


def _key(curves: Curves, looks: Looks, losses: Axis) -> Key:
    """Return what stands below losses and shares: backends, dtypes, and what can't be seen."""
    dtypes = curves.dtypes
    backends = [(_style_of(look), name) for name, look in looks.items()]
    styles = [({"color": "black", "linestyle": STYLES[dtype]}, dtype) for dtype in dtypes]
    columns = columns_for([*looks, *dtypes], TWO_PANELS)
    words = [*_coincident(curves.of("loss"), losses, "losses"), BINNED]
    return Key([backends, styles], columns, folded("; ".join(words), TWO_PANELS))


# ---------------------------------------------------------------- losses


def _loss_axis(curves: Curves) -> Axis:
    values = known(curves.of("loss"))
    wide = values and max(values) > WIDE * min(values) > 0
    return powers_over(values) if wide else linear_over(values)


def _coincident(lines: list[Line], axis: Axis, what: str) -> Iterator[str]:
    """Say which lines of a panel lie on one another."""
    found = on_one_line([axis.places(line.values) for line in lines])
    groups = [[lines[i] for i in group] for group in found if len(group) > 1]
    alone = all(len({line.dtype for line in group}) == 1 for group in groups)
    if any(len(group) == len(lines) for group in groups):
        yield f"all {what} lie on one line"
    elif groups and alone and len(groups) == len(found) == len({line.dtype for line in lines}):
        yield f"all {what} of a dtype lie on one line"
    else:
        yield from few([f"on one line: {_members(group)}" for group in groups])


def _members(lines: list[Line]) -> str:
    """List lines: `numpy, torch (float64, float32), jax (float64)`."""
    names: dict[str, list[str]] = {}
    for name in dict.fromkeys(line.name for line in lines):
        dtypes = ", ".join(line.dtype for line in lines if line.name == name)
        names.setdefault(dtypes, []).append(name)
    return ", ".join(f"{', '.join(few(found))} ({dtypes})" for dtypes, found in names.items())


def _draw_losses(panel: Panel, curves: Curves, looks: Looks) -> None:
    """Draw the losses of all backends, in such a way that each is seen."""
    if not curves.of("loss"):
        panel.say("no loss is recorded")
    names = [*looks]
    for line in curves.of("loss"):
        where = marked_at(names.index(line.name), len(names), panel.across.places(line.steps))
        style = {"linestyle": STYLES[line.dtype]} | _style_of(looks[line.name])
        panel.plot(line.steps, line.values, **style, **where)


# ---------------------------------------------------------------- shares


def _draw_shares(panel: Panel, curves: Curves, looks: Looks) -> None:
    """Draw an envelope a backend: the highest over its dtypes as a line, filled to the lowest.

    What is above the panel lies on its upper edge, with a mark where that begins.
    """
    panel.level(1, color="black", linewidth=1)
    panel.sheet.words(
        panel.left + 0.06, panel.y([1.02]).item(), "all of it: above is wrong", va="bottom"
    )
    for number, (name, look) in enumerate(looks.items()):
        steps, lowest, highest = envelope(line for line in curves.of("share") if line.name == name)
        above = highest == CLIPPED
        begins = above & ~np.append(False, above[:-1])
        for step in steps[begins]:
            panel.plot([step], [CLIPPED], marker="^", markersize=8, color=look.colour)
        steps, lowest, highest = binned(steps, lowest, highest, panel.across.places(steps))
        panel.fill(steps, lowest, highest, color=look.colour, alpha=0.12)
        where = marked_at(number, len(looks), panel.across.places(steps))
        panel.plot(steps, highest, **_style_of(look), **where)


def envelope(lines: Iterable[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the steps, and the lowest and the highest share of all lines at each, clipped."""
    found: dict[int, list[float]] = {}
    for line in lines:
        for step, value in zip(line.steps, line.values, strict=True):
            found.setdefault(step, []).append(CLIPPED if value is None else value)
    steps = sorted(found)
    lowest, highest = ([end(found[step]) for step in steps] for end in (min, max))
    return np.array(steps), np.minimum(lowest, CLIPPED), np.minimum(highest, CLIPPED)


def binned(
    steps: np.ndarray, lowest: np.ndarray, highest: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an envelope at `BINS` steps at most, those where it is highest in a part of the axis.

    All are (points,); `places` has those of the steps on their axis, 0 to 1.
    """
    _, starts = np.unique((places * BINS).astype(int), return_index=True)
    ends = np.append(starts[1:], len(steps))
    peaks = [a + highest[a:b].argmax() for a, b in zip(starts, ends, strict=True)]
    return steps[peaks], np.minimum.reduceat(lowest, starts), highest[peaks]


# ---------------------------------------------------------------- drifts


class _Strand(NamedTuple):
    """Pairs whose lines lie on one another at every dtype: those of the first, and all names."""

    lines: list[Line]
    style: Style
    names: list[str]


def _strands(curves: Curves, looks: Looks, axis: Axis) -> list[_Strand]:
    """Return the pairs whose drift can be drawn; of many the widest first."""
    pairs: dict[str, list[Line]] = {}
    for line in curves.of("drift"):
        pairs.setdefault(line.name, []).append(line)
    drawn = [lines for lines in pairs.values() if any(map(any, (line.values for line in lines)))]
    if len(drawn) > MOST_LINES:
        drawn.sort(key=lambda lines: -max(known(lines)))
    places = [np.concatenate([axis.places(line.values) for line in lines]) for lines in drawn]
    return [
        _Strand(
            drawn[first],
            _style(drawn[first][0].name, looks) if i < MOST_LINES else GREY,
            [drawn[j][0].name for j in (first, *others)],
        )
        for i, (first, *others) in enumerate(on_one_line(places))
    ]


def _style(pair: str, looks: Looks) -> Style:
    """Return how a pair is drawn: a line in the colour of the one, with markers of the other."""
    cuts = [i for i, letter in enumerate(pair) if letter == "-"]
    pairs = ((pair[:i], pair[i + 1 :]) for i in cuts)
    one, other = next((looks[a], looks[b]) for a, b in pairs if a in looks and b in looks)
    marker = {"markerfacecolor": one.colour, "markeredgecolor": one.colour, "marker": one.marker}
    return {"color": other.colour} | marker


def _key_of_drifts(curves: Curves, strands: list[_Strand], axis: Axis) -> Key:
    """Return what stands below the drifts: the pairs, and what can't be seen."""
    entries = [
        (strand.style, folded(" = ".join(few(strand.names)), PANEL - HANDLE))
        for strand in strands[:MOST_LINES]
    ]
    if len(strands) > MOST_LINES:
        entries.append((GREY, f"{len(strands) - MOST_LINES} more, which differ less"))
    lines = [line for strand in strands[:MOST_LINES] for line in strand.lines if any(line.values)]
    words = [*_coincident(lines, axis, "drifts"), *(_not_drawn(curves) if strands else [])]
    return Key([entries], words=folded("; ".join(words), PANEL))


def few(names: list[str]) -> list[str]:
    """Return the first few names, and how many more there are."""
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return [*names[:MOST_NAMES], *more]


def _not_drawn(curves: Curves) -> Iterator[str]:
    """Say of which pairs there is no line."""
    lines = curves.of("drift")
    equal = [line for line in lines if not any(line.values) and 0 in line.values]
    wild = [line for line in lines if not any(line.values) and 0 not in line.values]
    for group, words in ((equal, "equal to the bit"), (wild, "not finite")):
        if len(group) == len(lines) > 0:
            yield f"all runs are {words}" if group is equal else f"all differences are {words}"
        elif group:
            yield f"{words}: {_members(group)}"
    if not lines:
        yield "one run, compared with no other"


def _draw_drifts(panel: Panel, curves: Curves, strands: list[_Strand]) -> None:
    """Draw how far the runs of each pair drift apart."""
    if not strands:
        panel.say("; ".join(_not_drawn(curves)))
    for number, strand in enumerate(strands):
        for line in strand.lines:
            places = panel.across.places(line.steps)
            where = marked_at(number, min(len(strands), MOST_LINES), places)
            style = {"linestyle": STYLES[line.dtype]} | where | strand.style
            panel.plot(line.steps, line.values, **style)


# ---------------------------------------------------------------- failures


def _mark_failures(panels: tuple[Panel, ...], curves: Curves, looks: Looks) -> None:
    """Mark failures by a line at their step in all panels, and in words in that of the shares."""
    told = failed(curves)
    for panel in panels:
        for first, _ in told:
            colour = looks[first.name].colour
            panel.upright(first.step, color=colour, linewidth=1, linestyle=(0, (4, 2)))
    lines = [folded(words, PANEL * 0.92) for _, words in told]
    shown = int(np.searchsorted(np.cumsum([*map(lines_of, lines)]), MOST_LINES, side="right"))
    if shown < len(told):
        lines[shown:] = [f"and {len(told) - shown} more"]
    foot = HEIGHT - 0.08
    for (first, _), words in reversed([*zip(told, lines, strict=False)]):
        foot -= _write_beside(panels[1], first.step, foot, words, looks[first.name].colour)


def _write_beside(panel: Panel, step: int, foot: float, words: str, colour: str) -> float:
    """Write words beside a step, inside of the panel; return their height in inches.

    `foot` is where they end below the panel's upper edge, in inches.
    """
    width = max(map(inches, words.splitlines())) + 0.06
    at = panel.x([step]).item()
    right = panel.left + panel.width
    x = at + 0.06 if at + 0.06 + width <= right else max(at - width, panel.left + 0.06)
    panel.sheet.words(x, panel.above + foot, words, va="bottom", bbox=CARD, color=colour, zorder=5)
    return lines_of(words) * ROW + 0.04
