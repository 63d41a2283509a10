"""The figures of the report, as SVG that is the same to the byte for the same numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from itertools import product
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from backproof.cases.console.terminal import plain
from backproof.report.telling.captions import alt_text, alt_text_of_depth, failed
from backproof.report.telling.curves import Curves, Line, known
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.palette import MARKERS, Look

Style = dict[str, Any]
Styles = dict[str, Style]

STYLE = {
    "svg.hashsalt": "backproof", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9,
    "lines.linewidth": 1.2, "lines.markersize": 4, "axes.titlesize": 9.5, "axes.xmargin": 0.02,
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e4e4e4", "xtick.major.size": 0, "ytick.major.size": 0,
    "legend.frameon": False, "legend.borderpad": 0, "legend.borderaxespad": 0, "axes.titley": 1,
}  # fmt: skip
WIDTH, PANEL, HEIGHT, LEFT, RIGHT, BESIDE, ROW = 10, 2.57, 2.5, 0.62, 0.3, 3.1, 0.18  # inches
GAP = (WIDTH - LEFT - RIGHT - 3 * PANEL) / 2
STYLES = {"float64": "-", "float32": "--", "float16": "-.", "bfloat16": ":"}
GREY: Style = {"color": "#bbbbbb", "zorder": 1}
CARD: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
CLIPPED, BINS, MARKED, MOST = 1.15, 48, 6, 8
WIDE, TOGETHER = 1000, 0.004  # a loss that shrinks by more has powers of ten; of a panel's height
PANELS = "loss", "share of the rounding allowed", "largest difference of a parameter"
BINNED = "shares: the highest of nearby steps and dtypes, filled to the lowest"
DEPTH, DOTTED = "gradients by layer", "dotted: the bound by the chain rule"
LAYERS = "size of the cotangent, relative to that at the last layer"


def draw_run(curves: Curves, looks: Mapping[str, Look]) -> bytes:
    """Draw one case as SVG; `looks` has every backend, the same in every figure."""
    return _svg(figure_of_run(curves, looks), curves.case, alt_text(curves))


def draw_depth(networks: Mapping[str, Sequence[LayerGradient]]) -> bytes:
    """Draw the size of each layer's cotangent relative to the last one's, and its bound, as SVG."""
    return _svg(figure_of_depth(networks), DEPTH, alt_text_of_depth(networks))


def figure_of_run(curves: Curves, looks: Mapping[str, Look]) -> Figure:
    """Draw one case over its steps: losses, shares of the rounding allowed, drifts."""
    own = ((name, looks[name]) for name in curves.backends)
    runs: Styles = {name: {"color": look.colour, "marker": look.marker} for name, look in own}
    with mpl.rc_context(STYLE):
        loss, share, drift = panels = (figure := Figure()).subplots(1, 3, sharex=True)
        _show_steps(loss, curves.last_step)
        words = [f"losses: {told}" for told in _draw_losses(loss, curves.of("loss"), runs)]
        _draw_shares(share, curves.of("share"), runs)
        pairs, told_of_pairs = _draw_drifts(drift, curves.of("drift"), runs)
        _mark_failures(panels, curves, runs)
        for axes, title in zip(panels, PANELS, strict=True):
            axes.set(title=title, xlabel="step")
        runs |= {name: {"color": "black", "linestyle": STYLES[name]} for name in curves.dtypes}
        below = _legend(loss, 0, -0.2, runs, [*words, BINNED], 2 * PANEL + GAP)
        below = max(below, _legend(drift, 0, -0.2, pairs, told_of_pairs, PANEL))
        _lay_out(figure, curves.case, HEIGHT, 0.5 + below, RIGHT)
    return figure


def figure_of_depth(networks: Mapping[str, Sequence[LayerGradient]]) -> Figure:
    """Draw sizes and bounds of each network from its last layer back, the deepest one first."""
    deepest, entries = sorted(networks, key=lambda name: -len(networks[name])), {}
    rows = {name: [(x.cotangent, x.bound) for x in reversed(networks[name])] for name in deepest}
    sizes = {name: np.array(row) / row[0][0] for name, row in rows.items()}
    with mpl.rc_context(STYLE):
        axes = (figure := Figure()).subplots()
        _show_powers(axes, np.concatenate([*sizes.values()]).ravel())
        groups = _on_one_line(axes, [one.ravel() for one in sizes.values()])
        colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(groups)))
        for i, (group, colour) in enumerate(zip(groups, colours, strict=True)):
            names = [[*sizes][j] for j in group]
            style: Style = {"color": colour, "marker": ("o", "s", "^", "D", "v", *MARKERS)[i % 13]}
            entries[" = ".join(names)] = style
            axes.plot(sizes[names[0]][:, 0], clip_on=False, **style)
            axes.plot(sizes[names[0]][:, 1], color=colour, linestyle=":")
        axes.locator_params(axis="x", integer=True)
        axes.set(title=LAYERS, xlabel="dense layers back from the last")
        words = [DOTTED, *["a = b: on one line"] * (len(groups) < len(sizes))]
        beside = _legend(axes, 1.02, 1, entries, words, BESIDE - 0.3)
        _lay_out(figure, DEPTH, 3.6, max(0.6, beside - 3.6), BESIDE)
    return figure


def _svg(figure: Figure, title: str, told: str) -> bytes:
    """Write a figure as SVG, with its title and what it shows for those who do not see it."""
    picture, about = BytesIO(), {"Date": None, "Creator": None, "Title": plain(title)}
    with mpl.rc_context(STYLE):
        figure.savefig(picture, format="svg", metadata=about)
    svg = picture.getvalue().decode().replace("<svg ", '<svg role="img" ', 1)
    return svg.replace("</title>", f"</title>\n <desc>{escape(plain(told))}</desc>", 1).encode()


def _lay_out(figure: Figure, title: str, height: float, below: float, right: float) -> None:
    """Give a figure its title, and its size from those of panels and margins in inches."""
    words = _folded(plain(title), (WIDTH - LEFT) / 1.2, 11)  # bold letters are wider
    above = 0.59 + 0.19 * words.count("\n")
    whole = above + height + below
    figure.set_size_inches(WIDTH, whole)
    sides = LEFT / WIDTH, below / whole, 1 - right / WIDTH, 1 - above / whole
    figure.subplots_adjust(*sides, GAP / PANEL)
    place: Style = {"x": sides[0], "y": 1 - 0.1 / whole, "ha": "left", "va": "top"}
    figure.suptitle(words, fontsize=11, fontweight="bold", **place)
    for axes in figure.axes:  # at places that need no search
        axes.xaxis.set_label_coords(0.5, -0.1)
        axes.yaxis.set_label_coords(0, 0.5)


@cache
def _inches(line: str, size: float = 9) -> float:
    font = FontProperties(family="sans-serif", size=size)
    return text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] / 72


def _folded(words: str, width: float, size: float = 9) -> str:
    """Break words into lines of `width` inches at most, as if all were of the widest's letters."""
    long = (word for word in words.split() if len(word) > 3)
    letter = max((_inches(word, size) / len(word) for word in long), default=size / 72)
    return textwrap.fill(words, max(1, int(width / letter)), break_on_hyphens=False)


def _legend(axes: Axes, x: float, y: float, of: Styles, told: list[str], width: float) -> float:
    """Put a legend at a place of a panel, below some words; return its height in inches."""
    labels = [_folded(plain(name), width - 0.5) for name in of]
    widest = max((_inches(line) for label in labels for line in label.split("\n")), default=0)
    columns, words = max(1, int((width + 0.25) / (widest + 0.75))), _folded("; ".join(told), width)
    place: Style = {"loc": "upper left", "bbox_to_anchor": (x, y), "alignment": "left"}
    lines = [Line2D([], [], **style) for style in of.values()]
    axes.legend(lines, labels, ncols=columns, title=words, labelspacing=0.3, **place)
    rows = ["\n".join(column) for column in np.array_split(labels, columns)]
    return ROW * (2.5 + max(column.count("\n") for column in rows) + words.count("\n"))


def _show_steps(axes: Axes, last: int) -> None:
    """Count steps from 0, of ten and more by their logarithm."""
    axes.locator_params(axis="x", integer=True)
    if last >= 10:
        axes.set_xscale("symlog", linthresh=1, linscale=0.5)
        axes.set_xticks([0, *10 ** np.arange(0, len(str(last)), 1 if last < 100_000 else 2)])
        axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _show_powers(axes: Axes, values: Sequence[float] | np.ndarray) -> None:
    """Choose the axis by powers of ten, `1e-3`, on which all positive ones of some values lie."""
    logs = np.log10([value for value in values if value > 0])
    low, high = max(int(np.floor(logs.min())), -307), min(int(np.ceil(logs.max())), 308)
    apart = -(-(high - low) // 6) or 1
    powers = range(-(-low // apart) * apart, high + 1, apart)
    axes.set_yscale("log", nonpositive="mask")
    axes.set_yticks([10.0**n for n in powers], [f"1e{n}" if n else "1" for n in powers])
    axes.minorticks_off()
    axes.set_ylim(10.0**low, 10.0 ** max(high, low + 1))


def _number(value: float, _: float) -> str:
    """Write a number, with powers of ten as everywhere: `0.25`, `5e-7`."""
    digits, *power = f"{value:.6g}".split("e")
    return f"{digits}e{int(power[0])}" if power else digits


def _on_one_line(axes: Axes, lines: list[np.ndarray]) -> list[list[int]]:
    """Group lines that lie on one another to the eye, as far as the shorter one goes."""
    ends, *places = (
        axes.transScale.transform(np.stack([0 * y, y], axis=1))[:, 1]
        for y in (np.array(axes.get_ylim()), *lines)
    )
    near: Style = {"rtol": 0, "atol": TOGETHER * np.ptp(ends), "equal_nan": True}
    groups: dict[int, list[int]] = {}
    for i, one in enumerate(places):
        both = ((j, places[j][: len(one)]) for j in groups)
        found = (j for j, other in both if np.allclose(one[: len(other)], other, **near))
        groups.setdefault(next(found, i), []).append(i)
    return [*groups.values()]


def _plot(axes: Axes, lines: list[Line], styles: Styles) -> list[str]:
    """Draw lines over steps; return which can't be told apart."""
    values = [np.array(line.values, np.float64) for line in lines]
    for line, found in zip(lines, values, strict=True):
        style = _marked(line.name, styles, line.steps)
        axes.plot(line.steps, found, linestyle=STYLES[line.dtype], clip_on=False, **style)
    groups = [[lines[i] for i in group] for group in _on_one_line(axes, values)]
    told = [f"{_who(group, lines)} on one line" for group in groups if len(group) > 1]
    return [*told[:3], "and more"] if len(told) > 3 else told


def _marked(name: str, styles: Styles, steps: Sequence[int] | np.ndarray) -> Style:
    """Return the style of a line that marks points of its own; of few points all, in rings."""
    marked, along = [x for x in styles if "marker" in styles[x]], np.log1p(steps)
    i, of = [*styles].index(name), len(marked)
    if len(steps) < 2 * of:
        return {"markersize": 3.5 + 8 * (of - 1 - i) / of, "fillstyle": "none"} | styles[name]
    wanted = along[-1] * (np.arange(MARKED) + (i + 0.5) / of) / MARKED
    return {"markevery": np.unique(np.searchsorted(along, wanted)).tolist()} | styles[name]


def _who(group: list[Line], of: list[Line]) -> str:
    """Name lines: `numpy, torch (float64, float32)`."""
    names = [*dict.fromkeys(line.name for line in group)]
    dtypes = [*dict.fromkeys(line.dtype for line in group)]
    if len(group) == len(of):
        return "all"
    if len(group) < len(names) * len(dtypes):
        names, dtypes = [f"{line.name} {line.dtype}" for line in group], []
    who = textwrap.shorten(", ".join(names), 60, placeholder=" and more")
    return f"{who} ({', '.join(dtypes)})" if dtypes else who


def _draw_losses(axes: Axes, lines: list[Line], styles: Styles) -> list[str]:
    """Draw the losses of all backends; return which can't be told apart."""
    if not (values := known(lines)):
        axes.set_yticks([])
        return ["none is recorded"]
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(_number)
    if max(values) > WIDE * min(values) > 0:
        _show_powers(axes, values)
    return _plot(axes, lines, styles)


def _draw_shares(axes: Axes, lines: list[Line], styles: Styles) -> None:
    """Draw an envelope a backend, with a mark where it begins to lie above the panel."""
    axes.set(ylim=(0, 1.2), yticks=(0, 0.25, 0.5, 0.75, 1))
    axes.yaxis.set_major_formatter(_number)
    axes.axhline(1, color="black", linewidth=1)
    axes.text(0.02, 1.02, "all of it: above is wrong", transform=axes.get_yaxis_transform())
    for name, style in styles.items():
        steps, low, high = envelope([line for line in lines if line.name == name])
        begins = np.diff(high == CLIPPED, prepend=False) & (high == CLIPPED)
        axes.plot(steps[begins], high[begins], "^", markersize=8, color=style["color"])
        axes.fill_between(steps, low, high, color=style["color"], alpha=0.12, lw=0, zorder=1.6)
        axes.plot(steps, high, **_marked(name, styles, steps))


def envelope(lines: list[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where a share is highest among nearby steps, the lowest there and it, clipped."""
    steps = np.concatenate([line.steps for line in lines])
    values = np.fmin(np.concatenate([np.array(x.values, np.float64) for x in lines]), CLIPPED)
    bins = (BINS * np.log1p(steps) / np.log1p(steps.max() + 1)).astype(int)
    order = np.lexsort((-steps, values, bins))
    _, first = np.unique(bins[order], return_index=True)
    last = np.append(first[1:], len(order)) - 1
    return steps[order[last]], values[order[first]], values[order[last]]


def _draw_drifts(axes: Axes, lines: list[Line], runs: Styles) -> tuple[Styles, list[str]]:
    """Draw how far the runs of pairs drift apart; return the legend and its words."""
    drawn = sorted((x for x in lines if any(x.values)), key=lambda x: -max(known([x])))
    told = [] if lines else ["one run, compared with no other"]
    for what, zero in (("equal to the bit", True), ("not finite", False)):
        group = [x for x in lines if not any(x.values) and (0 in x.values) is zero]
        told += [f"{_who(group, lines)} {what}"] if group else []
    if not drawn:
        axes.set_yticks([])
        return {}, told
    _show_powers(axes, known(drawn))
    pairs = {
        f"{a}-{b}": {
            "color": runs[b]["color"],
            "marker": runs[a]["marker"],
            "mfc": runs[a]["color"],
        }
        for a, b in product(runs, repeat=2)
    }
    names = [*dict.fromkeys(line.name for line in drawn)]
    legend = {name: pairs[name] | {"mec": pairs[name]["mfc"]} for name in names[:MOST]}
    told = _plot(axes, drawn, dict.fromkeys(names, GREY) | legend) + told
    more = len(names) - MOST
    return legend | ({f"{more} more, which differ less": GREY} if more > 0 else {}), told


def _mark_failures(panels: Sequence[Axes], curves: Curves, styles: Styles) -> None:
    """Mark failures by a line at their step in all panels, and in words in that of the shares."""
    told, share = failed(curves), panels[1]
    for axes, (first, _) in product(panels, told):
        axes.axvline(first.step, color=styles[first.name]["color"], lw=1, ls=(0, (4, 2)))
    words = [_folded(words, 0.9 * PANEL) for _, words in told]
    fit = np.searchsorted(np.cumsum([one.count("\n") + 1 for one in words]), MOST, "right")
    words[fit:] = [f"and {len(told) - fit} more"] * bool(fit < len(told))
    share.text(0.04, 0.04, "\n".join(words), transform=share.transAxes, bbox=CARD, zorder=5)
