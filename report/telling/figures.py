"""The figures of the report, as SVG that is the same to the byte for the same numbers."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullLocator

from backproof.report.judging.outcome import Comparison
from backproof.report.telling.depth import LayerGradient

COLOURS = {
    "numpy": "#0072b2", "torch": "#d55e00", "jax": "#009e73", "torch-compile": "#e69f00", "jax-eager": "#56b4e9",
}  # fmt: skip
PAIR_COLOURS = (
    "#cc79a7", "#e69f00", "#56b4e9", "#0072b2", "#d55e00", "#009e73", "#000000", "#999999", "#882255", "#b8a800",
)  # fmt: skip
STYLES = {"float64": "-", "float32": "--", "float16": "-.", "bfloat16": ":"}
POINTS = 240
LINE_OF_LEGEND = 0.18
WIDE = 100  # an axis of two decades
STYLE = {
    "svg.hashsalt": "backproof", "svg.fonttype": "none", "text.parse_math": False,
    "font.size": 9, "font.family": "sans-serif",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "axes.titlesize": 10, "axes.titlelocation": "left", "legend.frameon": False, "legend.fontsize": 8,
    "figure.facecolor": "white",
}  # fmt: skip


@contextmanager
def _figure(picture: BytesIO, panels: int, size: tuple[float, float]):
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots(1, panels, squeeze=False)[0]
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})


def draw_run(comparisons: list[Comparison]) -> bytes:
    """One case over its steps: the loss, the budget of each backend, and how far each pair drifts."""
    picture = BytesIO()
    pairs = max(len(comparison.pairs) for comparison in comparisons)
    with _figure(picture, 3, (12.6, 3.6 + LINE_OF_LEGEND * max(pairs - 3, 0))) as (
        loss,
        budget,
        drift,
    ):
        for comparison in comparisons:
            _draw_losses(loss, comparison)
            _draw_budgets(budget, comparison)
            _draw_drift(drift, comparison)
        loss.set(title="loss", xlabel="step", xscale="log")
        budget.set(
            title="largest share of an allowance", xlabel="step", xscale="log", ylim=(0, 1.15)
        )
        budget.axhline(1, color="black", linewidth=1)
        budget.annotate(
            "all of the allowance", (0.02, 1.02), xycoords=("axes fraction", "data"), fontsize=8
        )
        scale = _scale(comparisons)
        drift.set(
            title="largest difference of a parameter", xlabel="step", xscale="log", yscale=scale
        )
        for panel in (loss, budget, drift):
            _ticks(panel)
            if panel.get_legend_handles_labels()[0]:
                panel.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return picture.getvalue()


def _draw_losses(panel, comparison: Comparison) -> None:
    """All backends lie on one line as far as the eye can see: draw the first that is recorded."""
    runs = (result.trajectory for result in comparison.whole)
    if run := next((run for run in runs if run.loss is not None), None):
        steps, values = thin(run.steps, np.asarray(run.loss, np.float64))
        panel.plot(steps, values, STYLES[comparison.dtype], color="black", label=comparison.dtype)


def _draw_budgets(panel, comparison: Comparison) -> None:
    for result in comparison.whole:
        steps, values = thin(result.trajectory.steps, result.judgement.budgets)
        label = f"{result.backend} {comparison.dtype}"
        style, colour = STYLES[comparison.dtype], COLOURS.get(result.backend, "black")
        panel.plot(steps, np.clip(values, 0, 1.1), style, color=colour, linewidth=1, label=label)


def _draw_drift(panel, comparison: Comparison) -> None:
    for number, (pair, colour) in enumerate(
        zip(comparison.pairs, cycle(PAIR_COLOURS), strict=False)
    ):
        steps, values = thin(comparison.problem.recorded, pair.drift.over_steps)
        label = f"{'-'.join(pair.names)} {comparison.dtype}"
        values = np.where((values > 0) & np.isfinite(values), values, np.nan)
        width = max(2.4 - 0.8 * number, 0.6)  # the later, the thinner: equal pairs are seen
        panel.plot(
            steps, values, STYLES[comparison.dtype], color=colour, linewidth=width, label=label
        )


def _scale(comparisons: list[Comparison]) -> str:
    """Logarithmic, unless there is nothing to draw, because all runs are equal to the bit."""
    drifts = [pair.drift.over_steps for comparison in comparisons for pair in comparison.pairs]
    return "log" if any(((drift > 0) & np.isfinite(drift)).any() for drift in drifts) else "linear"


def _ticks(panel) -> None:
    """In plain text; and none between the powers of ten of a wide axis, where they take half of the time."""
    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(LogFormatter())
            axis.set_minor_formatter(LogFormatter())
            low, high = axis.get_view_interval()
            if high > WIDE * low:
                axis.set_minor_locator(NullLocator())


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most some hundred points, spaced by the logarithm, each the largest value since the one before."""
    if len(steps) == 0:
        return steps, values
    edges = np.unique(np.geomspace(1, len(steps), POINTS).astype(int))
    starts = np.concatenate([[0], edges[:-1]])
    return steps[edges - 1] + 1, np.fmax.reduceat(values, starts)


def draw_depth(networks: dict[str, list[LayerGradient]]) -> bytes:
    """The cotangent of each layer's preactivation relative to the last one's (solid), and its bound (dotted)."""
    picture = BytesIO()
    with _figure(picture, 1, (8.4, 4.2)) as (panel,):
        for number, (name, layers) in enumerate(networks.items()):
            back = np.arange(len(layers))[::-1]
            sizes, bounds = (
                np.array([getattr(layer, field) for layer in layers])
                for field in ("cotangent", "bound")
            )
            colour = mpl.colormaps["tab10"](number % 10)
            panel.plot(
                back, sizes / sizes[-1], "o-", color=colour, markersize=3, linewidth=1, label=name
            )
            panel.plot(back, bounds / sizes[-1], ":", color=colour, linewidth=1.2)
        panel.set(title="size of the cotangent, relative to the last layer (dotted: its bound)")
        panel.set(xlabel="dense layers back from the last", yscale="log")
        _ticks(panel)
        panel.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return picture.getvalue()
