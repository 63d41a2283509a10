"""The figures: what is in them, that all of it is seen and nothing cut, and the words for those who do not see them."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axis import XTick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from backproof.cases.format.schema import CASES
from backproof.report.telling.captions import alt_text, alt_text_of_depth, failed
from backproof.report.telling.curves import Curves, Failure, Line
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.figures import (
    BINS,
    CLIPPED,
    draw_depth,
    draw_run,
    envelope,
    figure_of_depth,
    figure_of_run,
)
from backproof.report.telling.palette import OURS, looks

SVG = "{http://www.w3.org/2000/svg}"
DTYPES = ("float64", "float32", "float16", "bfloat16")
LONGEST = max((path.relative_to(CASES).with_suffix("").as_posix() for path in CASES.rglob("*.yaml")), key=len)
LONG = [f"my{number}-{'W' * 27}"[:30] for number in range(8)]


def line(panel="loss", name="numpy", dtype="float64", values=(3.0, 2.0, 1.0), steps=None) -> Line:
    return Line(panel, name, dtype, [*(steps or range(len(values)))], [*values])


def run_of(*names: str, dtypes=("float64",), steps: int = 160, case="a case", failures=()) -> Curves:
    """Curves of some backends: losses that coincide, shares and drifts that do not."""
    random, at, lines = np.random.default_rng(0), [*range(steps)], []
    for dtype in dtypes:
        lines += [line("loss", name, dtype, [1 / (1 + step) for step in at], at) for name in names]
        lines += [line("share", name, dtype, random.uniform(0.5, 1, steps).tolist(), at) for name in names]
        for pair in combinations(names, 2):
            lines.append(line("drift", "-".join(pair), dtype, random.uniform(1e-9, 1e-5, steps).tolist(), at))
    return Curves(case, lines, [*failures])


def words_of(svg: bytes) -> str:
    """Everything that is written in a figure."""
    return " ".join(element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text"))  # noqa: S314, we wrote it


def drawn(curves: Curves) -> str:
    return words_of(draw_run(curves, looks(curves.backends)))


def figure_of(curves: Curves) -> Figure:
    return figure_of_run(curves, looks(curves.backends))


def words_in(figure: Figure) -> list[tuple[str, Bbox]]:
    """What is written in a figure, and where it lies in pixels."""
    renderer = drawn_on(figure)
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    unseen = [tick.label1 for axis in axes for tick in axis.get_major_ticks() if not is_seen(tick)]
    texts = [one for one in figure.findobj(Text) if one.get_text() and one.get_visible() and one not in unseen]
    return [(one.get_text(), one.get_window_extent(renderer)) for one in texts]


def drawn_on(figure: Figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def is_seen(tick) -> bool:
    low, high = sorted(tick.axes.xaxis.get_view_interval() if isinstance(tick, XTick) else tick.axes.get_ylim())
    return low <= tick.get_loc() <= high


def panels_of(figure: Figure) -> dict:
    return dict(zip(("loss", "share", "drift"), figure.axes, strict=True))


def ticks(axis) -> list[str]:
    """What is written at the ticks that are seen."""
    drawn_on(axis.get_figure())
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if is_seen(tick)]


# ---------------------------------------------------------------- nothing is cut

FAILURES = [Failure(name, dtype, 12, "step 12, loss") for name in LONG for dtype in DTYPES[:2]]
SHEETS = {
    "the longest name of a case": run_of("numpy", "torch", "jax", case=LONGEST),
    "a name of many words": run_of("numpy", "torch", case="words of a name " * 20),
    "a name of one long word": run_of("numpy", "torch", case="W" * 300),
    "eight long names of one's own": run_of("numpy", "torch", "jax", *LONG, steps=60),
    "and all of them fail": run_of("numpy", *LONG, dtypes=DTYPES[:2], steps=60, failures=FAILURES),
    "they fail in the end": run_of(
        "numpy", *LONG[:2], failures=[Failure(name, "float64", 159, "") for name in LONG[:2]]
    ),
    "four dtypes": run_of("numpy", "torch", "jax", dtypes=DTYPES),
    "a single step": run_of("numpy", "torch", steps=1),
    "a million steps": Curves("a", [line("share", values=(0.1, 0.2), steps=(0, 1_000_000))], []),
    "a hundred thousand steps": Curves("a", [line("share", values=(0.1, 0.2), steps=(0, 100_000))], []),
    "five steps": run_of("numpy", "torch", "jax", *LONG, steps=5),
}


@pytest.mark.parametrize("what", SHEETS)
def test_nothing_is_cut_and_no_words_lie_on_others(what):
    figure = figure_of(SHEETS[what])
    assert_nothing_is_cut(figure)
    for (one, box), (other, place) in combinations(words_in(figure), 2):
        assert not box.shrunk(0.95, 0.95).overlaps(place.shrunk(0.95, 0.95)), (one, other)


def assert_nothing_is_cut(figure: Figure) -> None:
    box, sheet = figure.get_tightbbox(drawn_on(figure)), figure.bbox_inches
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= sheet.x1
    assert box.y1 <= sheet.y1


def test_words_are_large_enough():
    """In points at the width that is drawn, which is that of a page: 960 pixels."""
    svg = draw_run(SHEETS["four dtypes"], OURS).decode()
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:bold )?([\d.]+)px", svg)]
    assert len(sizes) > 20
    assert min(sizes) >= 8
    assert 'width="720pt"' in svg


def test_it_has_a_ground_of_its_own():
    """So that black words are seen on a dark page."""
    svg = ET.fromstring(draw_run(SHEETS["five steps"], looks(LONG)))  # noqa: S314, we wrote it
    ground = next(svg.iter(f"{SVG}path"))
    assert "fill: #ffffff" in ground.get("style")
    assert "opacity" not in ground.get("style")


# ---------------------------------------------------------------- what is in it


def test_it_is_the_same_to_the_byte():
    curves = run_of("numpy", "torch")
    assert draw_run(curves, looks([])) == draw_run(curves, looks([]))


def test_every_backend_and_every_pair_is_drawn():
    """Each in a look of its own, and its name in the key."""
    svg = draw_run(run_of(*OURS, steps=20), OURS)
    words = words_of(svg)
    for name, look in OURS.items():
        assert name in words
        assert f"stroke: {look.colour}" in svg.decode()
    assert "2 more, which differ less" in words
    words = drawn(run_of(*[*OURS][:4], steps=20))
    for pair in combinations([*OURS][:4], 2):
        assert "-".join(pair) in words


def test_the_name_of_the_case_is_in_it_and_nothing_of_it_is_markup():
    name = "<script>&\x00\ud800 $x$ ]]>"
    svg = draw_run(run_of("numpy", case=name), OURS)
    root = ET.fromstring(svg)  # noqa: S314, we wrote it
    assert root.find(f"{SVG}title").text == "<script>&\ufffd\ufffd $x$ ]]>"
    assert root.find(f"{SVG}desc").text.startswith("<script>&\ufffd\ufffd $x$ ]]>: numpy in float64")
    assert "<script>&\ufffd\ufffd $x$ ]]>" in words_of(svg)
    assert b"<script" not in svg
    assert root.get("role") == "img"


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ([("torch", "float32", 12, "differs")], "torch float32 differs at step 12"),
        ([("torch", "float64", 3, "out of range")], "torch float64 is out of range at step 3"),
        ([("torch", "float64", 3, "differs"), ("torch", "float32", 4, "differs")], "torch float32 differs at step 4"),
        (
            [("torch", dtype, 1_200, "differs") for dtype in ("float64", "float32")],
            "torch float64 and float32 differ at step 1,200",
        ),
        ([("torch", dtype, 3, "undecided") for dtype in DTYPES[:3]], "torch is undecided at step 3 in every dtype"),
    ],
)
def test_a_failure_is_marked_in_words(failures, told):
    found = [Failure(name, dtype, step, f"step {step}, loss", verdict) for name, dtype, step, verdict in failures]
    curves = run_of("numpy", "torch", dtypes=DTYPES[:3], steps=5_000, failures=found)
    assert told in [words for _, words in failed(curves)]
    assert told.split()[-1] in drawn(curves)
    assert f"{told} (loss)" in alt_text(curves)


def test_of_many_failures_some_are_told():
    names = [f"mine{number}" for number in range(12)]
    found = [Failure(name, "float64", 10, "step 10, loss") for name in names]
    words = drawn(run_of("numpy", *names, failures=found, steps=20))
    assert "mine3 float64 differs at step 10" in words
    assert "and 8 more" in words
    assert "mine4 float64" not in words


def test_the_line_of_a_failure_stands_at_its_step():
    curves = run_of("numpy", "torch", failures=[Failure("torch", "float64", 12, "step 12, loss")])
    for axes in figure_of(curves).axes:
        upright = [one for one in axes.lines if [*one.get_xdata()] == [12, 12]]
        assert [one.get_color() for one in upright] == ["#d55e00"]


def test_what_is_above_is_clipped_with_a_mark():
    shares = [0.5, 0.9, 3.0, None, 0.9, 1e20]
    axes = panels_of(figure_of(Curves("a", [line("share", values=shares), line("loss", values=[1.0] * 6)], [])))[
        "share"
    ]
    (marks,) = [one for one in axes.lines if one.get_marker() == "^" and one.get_markersize() == 8]
    assert [*marks.get_xdata()] == [2, 5]  # where it begins to be above
    highest = envelope([line("share", values=shares)])[2]
    assert highest.tolist() == [0.5, 0.9, CLIPPED, CLIPPED, 0.9, CLIPPED]
    assert axes.get_ylim()[1] > CLIPPED


def test_an_envelope_has_the_highest_and_the_lowest_of_all_dtypes():
    lines = [line("share", values=[0.1, 0.9, 0.4]), line("share", dtype="float32", values=[0.3, 0.2, 0.5])]
    steps, lowest, highest = envelope(lines)
    assert (steps.tolist(), lowest.tolist(), highest.tolist()) == ([0, 1, 2], [0.1, 0.2, 0.4], [0.3, 0.9, 0.5])
    values = np.random.default_rng(1).uniform(0, 1, 500)
    values[[300, 301]] = 3.0, 4.0
    steps, lowest, highest = envelope([line("share", values=values.tolist())])
    assert len(steps) <= BINS
    assert (np.diff(steps) > 0).all()
    assert steps[highest == CLIPPED] == [300]
    assert (lowest.min(), highest.tolist()) == (values.min(), np.fmin(values[steps], CLIPPED).tolist())


TWO = {"float32": (1, 2), "float64": (2, 1)}


def test_lines_that_lie_on_one_another_are_told_so():
    assert "losses: all on one line" in drawn(run_of("numpy", "torch", "jax"))
    apart = [
        line(name=name, values=values) for name, values in {"numpy": (2, 1), "torch": (2, 1), "jax": (1, 2)}.items()
    ]
    shares = [line("share", name=name, values=(1, 1)) for name in ("numpy", "torch", "jax")]
    assert "numpy, torch (float64) on one line" in drawn(Curves("a", [*apart, *shares], []))
    near = [one._replace(values=[x + 0.003 for x in one.values]) for one in apart[:1]]
    assert "numpy, torch (float64) on one line" in drawn(Curves("a", [*near, *apart[1:], *shares], []))
    far = [one._replace(values=[x + 0.02 for x in one.values]) for one in apart[:1]]
    assert "on one line" not in drawn(Curves("a", [*far, *apart[1:], *shares], []))
    short = [one._replace(steps=[0], values=one.values[:1]) for one in apart[:1]]
    assert "numpy, torch (float64) on one line" in drawn(Curves("a", [*short, *apart[1:], *shares], []))
    crossed = [line(name=name, dtype=dtype, values=TWO[name]) for name in TWO for dtype in TWO]
    crossed[1] = crossed[1]._replace(values=[2, 1])
    told = drawn(Curves("a", [*crossed, *(one._replace(panel="share") for one in crossed)], []))
    assert "float32 float64, float64 float32, float64 float64 on one line" in told
    drifts = [line("drift", f"{one}-{other}", values=(1e-9, 1e-3)) for one, other in combinations(OURS, 2)][:2]
    assert "all on one line" in drawn(Curves("a", [*apart, *shares, *drifts], []))


def test_markers_of_lines_that_coincide_lie_at_different_points():
    def marks(steps: int) -> list[Line2D]:
        return panels_of(figure_of(run_of(*OURS, steps=steps)))["loss"].lines

    found = [one.get_markevery() for one in marks(200)]
    assert len({*map(tuple, found)}) == 5
    assert len(set().union(*found)) >= 0.8 * sum(map(len, found)) > 20
    rings = [one.get_markersize() for one in marks(6)]
    assert rings == sorted(rings, reverse=True)
    assert len({*rings}) == 5


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.0, 0.0], "all equal to the bit"),
        ([None, None], "all not finite"),
    ],
)
def test_a_drift_that_can_not_be_drawn_is_told(values, told):
    curves = run_of("numpy", "torch", steps=2)
    kept = [one for one in curves.lines if one.panel != "drift"]
    assert told in drawn(curves._replace(lines=[*kept, line("drift", "numpy-torch", values=values)]))


def test_of_one_run_without_losses_there_is_a_figure():
    words = drawn(Curves("a", [line("share", values=(0.5, 0.6))], []))
    assert "losses: none is recorded" in words
    assert "one run, compared with no other" in words
    assert "on one line" not in words
    assert "lie on" not in words


def test_pairs_have_a_look_where_a_name_has_a_hyphen():
    names = ("torch-compile", "my-own-code", "jax")
    words = drawn(run_of(*names))
    for pair in combinations(names, 2):
        assert "-".join(pair) in words


# ---------------------------------------------------------------- axes


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (10_000, ["0", "1", "10", "100", "1,000"]),
        (50, ["0", "1", "10"]),
        (5, ["0", "1", "2", "3", "4"]),
        (1_000_001, ["0", "1", "100", "10,000", "1,000,000"]),
    ],
)
def test_steps_are_counted_from_0_in_whole_numbers(steps, told):
    curves = Curves("a", [line("share", values=(0.1, 0.2), steps=(0, steps - 1))], [])
    for axes in figure_of(curves).axes:
        assert ticks(axes.xaxis) == told
        assert not axes.xaxis.get_minorticklocs().size


def test_powers_of_ten_are_written_alike():
    def drifts(*values: float) -> list[str]:
        lines = [line("share"), line("share", "torch"), line("drift", "numpy-torch", values=values)]
        return ticks(panels_of(figure_of(Curves("a", lines, [])))["drift"].yaxis)

    assert drifts(1e-3, 10.0) == ["1e-3", "1e-2", "1e-1", "1", "1e1"]
    assert drifts(1e-17, 1e5) == ["1e-16", "1e-12", "1e-8", "1e-4", "1", "1e4"]
    assert len(drifts(5e-324, 1.7e308)) > 4
    assert "e-0" not in drawn(run_of("numpy", "torch"))
    small = Curves("a", [line(values=[2e-5, 1e-5]), line("share", values=(0.5, 0.6))], [])
    assert "1.5e-5" in ticks(panels_of(figure_of(small))["loss"].yaxis)


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [-1e-200, 1e-200], [0.3, -0.1], [1e300, -1e300], [1e-9, 1.0]])
def test_every_loss_lies_on_its_axis(values):
    axes = panels_of(figure_of(Curves("a", [line(values=values), line("share", values=[0.5] * len(values))], [])))[
        "loss"
    ]
    low, high = axes.get_ylim()
    assert low <= min(values) <= max(values) <= high
    assert len(ticks(axes.yaxis)) >= 2


# ---------------------------------------------------------------- in words


def test_the_words_say_what_the_figure_shows():
    curves = run_of("numpy", "torch", "jax", dtypes=DTYPES[:2])
    told = alt_text(curves)
    assert told.startswith(
        "a case: numpy, torch and jax in float64 and float32, steps 0 to 159: the loss, the share of "
    )
    assert re.search(r"at most 0\.99, and how far two runs drift apart, at most 1\.0e-05\. ", told)
    assert told.endswith("Every run shown is certified.")
    assert alt_text(run_of("numpy")).count("drift") == 0


# ---------------------------------------------------------------- gradients by layer


def network(layers: int, times: float, bound: float = 1.0) -> list[LayerGradient]:
    back = range(layers)[::-1]
    return [LayerGradient(f"dense{i}", 1.0, 2 * times**i, 2 * bound**i) for i in back]


def test_each_network_has_a_colour_and_a_marker():
    networks = {f"depth/{number}": network(8, 0.5 + number / 40) for number in range(14)}
    svg = draw_depth(networks)
    for name in networks:
        assert name in words_of(svg)
    solid = [one for one in figure_of_depth(networks).axes[0].lines if one.get_linestyle() == "-"]
    assert len(solid) == len({tuple(one.get_color()) for one in solid}) == 14
    assert svg == draw_depth(networks)


def test_networks_that_lie_on_one_another_are_told_so():
    networks = {"short": network(4, 0.5), "long": network(16, 0.5), "other": network(8, 0.9)}
    words = words_of(draw_depth(networks))
    assert "long = short" in words
    assert "a = b: on one line" in words
    assert "a = b: on one line" not in words_of(draw_depth({"one": networks["long"]}))
    assert "16 networks" not in alt_text_of_depth(networks)
    assert alt_text_of_depth(networks).endswith(f"The least is left at the first layer of long: {0.5**15:.1e} of it.")


@pytest.mark.parametrize("name", ["depth/sigmoid_16", "W" * 90, "many words " * 20])
def test_nothing_is_cut_in_the_figure_of_the_layers(name):
    assert_nothing_is_cut(figure_of_depth({f"{name}{i}": network(5 + i, 0.3 + i / 40, 2.0) for i in range(16)}))


def test_a_cotangent_that_vanishes_leaves_a_gap():
    layers = network(4, 0.5)
    layers[0] = layers[0]._replace(cotangent=0.0, bound=0.0)
    assert b"<svg" in draw_depth({"a": layers})
