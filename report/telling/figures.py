"""The figures of the report, as SVG that is the same to the byte for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullLocator

from backproof.report.judging.outcome import Comparison
from backproof.report.telling.depth import LayerGradient

COLOURS = {"numpy": "#0072b2", "torch": "#d55e00", "jax": "#009e73"}
COLOURS |= {"torch-compile": "#e69f00", "jax-eager": "#56b4e9"}
PAIR_COLOURS = ["#cc79a7", "#e69f00", "#56b4e9", "#0072b2", "#d55e00"]
PAIR_COLOURS += ["#009e73", "#000000", "#999999", "#882255", "#b8a800"]
STYLES = {"float64": "-", "float32": "--", "float16": "-.", "bfloat16": ":"}
POINTS = 240
LINE_OF_LEGEND = 0.18
WIDE = 100  # an axis of two decades
STYLE = {
    "svg.hashsalt": "backproof", "svg.fonttype": "none", "text.parse_math": False,
    "font.size": 9, "font.family": "sans-serif", "figure.facecolor": "white",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "axes.titlesize": 10, "axes.titlelocation": "left",
    "legend.frameon": False, "legend.fontsize": 8,
}  # fmt: skip


@contextmanager
def _figure(picture: BytesIO, panels: int, size: tuple[float, float]) -> Iterator[list[Axes]]:
    """Give the panels of a figure, which is written into `picture` in the end."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield [*figure.subplots(1, panels, squeeze=False)[0]]
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})


def draw_run(comparisons: list[Comparison]) -> bytes:
    """Draw one case over its steps as SVG: loss, budget of each backend, drift of each pair."""
    picture = BytesIO()
    pairs = max(len(comparison.pairs) for comparison in comparisons)
    size = (12.6, 3.6 + LINE_OF_LEGEND * max(pairs - 3, 0))
    with _figure(picture, 3, size) as panels:
        loss, budget, drift = panels
        for comparison in comparisons:
            _draw_losses(loss, comparison)
            _draw_budgets(budget, comparison)
            _draw_drift(drift, comparison)
        for panel in panels:
            panel.set(xlabel="step", xscale="log")
        loss.set(title="loss")
        budget.set(title="largest share of an allowance", ylim=(0, 1.15))
        budget.axhline(1, color="black", linewidth=1)
        place = ("axes fraction", "data")
        budget.annotate("all of the allowance", (0.02, 1.02), xycoords=place, fontsize=8)
        drift.set(title="largest difference of a parameter", yscale=_scale(comparisons))
        for panel in panels:
            _ticks(panel)
            if panel.get_legend_handles_labels()[0]:
                panel.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return picture.getvalue()


def _draw_losses(panel: Axes, comparison: Comparison) -> None:
    """Draw the first loss that is recorded; to the eye all backends lie on one line."""
    runs = (result.trajectory for result in comparison.whole)
    if run := next((run for run in runs if run.loss is not None), None):
        steps, values = thin(run.steps, np.asarray(run.loss, np.float64))
        panel.plot(steps, values, STYLES[comparison.dtype], color="black", label=comparison.dtype)


def _draw_budgets(panel: Axes, comparison: Comparison) -> None:
    for result in comparison.whole:
        steps, values = thin(result.trajectory.steps, result.judgement.budgets)
        label = f"{result.backend} {comparison.dtype}"
        style, colour = STYLES[comparison.dtype], COLOURS.get(result.backend, "black")
        panel.plot(steps, np.clip(values, 0, 1.1), style, color=colour, linewidth=1, label=label)


def _draw_drift(panel: Axes, comparison: Comparison) -> None:
    style = STYLES[comparison.dtype]
    for number, pair in enumerate(comparison.pairs):
        steps, values = thin(comparison.problem.recorded, pair.drift.over_steps)
        label = f"{'-'.join(pair.names)} {comparison.dtype}"
        values = np.where((values > 0) & np.isfinite(values), values, np.nan)
        colour = PAIR_COLOURS[number % len(PAIR_COLOURS)]
        width = max(2.4 - 0.8 * number, 0.6)  # the later, the thinner: equal pairs are seen
        panel.plot(steps, values, style, color=colour, linewidth=width, label=label)


def _scale(comparisons: list[Comparison]) -> str:
    """Return the scale: logarithmic, unless all runs are equal to the bit."""
    drifts = [pair.drift.over_steps for comparison in comparisons for pair in comparison.pairs]
    return "log" if any(((drift > 0) & np.isfinite(drift)).any() for drift in drifts) else "linear"


def _ticks(panel: Axes) -> None:
    """Write the ticks as plain text.

    Between the powers of ten of a wide axis there are none: they would take half of the time.
    """
    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(LogFormatter())
            axis.set_minor_formatter(LogFormatter())
            low, high = axis.get_view_interval()
            if high > WIDE * low:
                axis.set_minor_locator(NullLocator())


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some hundred points at most, spaced by the logarithm.

    Each has the largest value since the one before.
    """
    if len(steps) == 0:
        return steps, values
    edges = np.unique(np.geomspace(1, len(steps), POINTS).astype(int))
    starts = np.concatenate([[0], edges[:-1]])
    return steps[edges - 1] + 1, np.fmax.reduceat(values, starts)


def draw_depth(networks: dict[str, list[LayerGradient]]) -> bytes:
    """Draw the size of each layer's cotangent relative to the last one's, and its bound, as SVG."""
    picture = BytesIO()
    with _figure(picture, 1, (8.4, 4.2)) as (panel,):
        for number, (name, layers) in enumerate(networks.items()):
            back = np.arange(len(layers))[::-1]
            sizes = np.array([layer.cotangent for layer in layers]) / layers[-1].cotangent
            bounds = np.array([layer.bound for layer in layers]) / layers[-1].cotangent
            colour = mpl.colormaps["tab10"](number % 10)
            panel.plot(back, sizes, "o-", markersize=3, linewidth=1, color=colour, label=name)
            panel.plot(back, bounds, ":", linewidth=1.2, color=colour)
        panel.set(title="size of the cotangent, relative to the last layer (dotted: its bound)")
        panel.set(xlabel="dense layers back from the last", yscale="log")
        _ticks(panel)
        panel.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return picture.getvalue()
