"""What every figure is drawn on: a sheet, its panels, and the keys below them.

The sheet is laid out in inches. Matplotlib's own axes with their ticks, and its search for a
layout, would take ten times as long as the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.textpath import text_to_path

from backproof.cases.console.terminal import plain
from backproof.report.telling.axes import Axis, Numbers

Style = dict[str, Any]

SMALL, LARGE = 9, 11  # points
WIDTH, LEFT, EDGE, ROW, HANDLE = 10.0, 0.62, 0.15, 0.17, 0.5  # inches
STYLE = {
    "svg.hashsalt": "backproof", "svg.fonttype": "none", "text.parse_math": False,
    "font.size": SMALL, "font.family": "sans-serif", "figure.facecolor": "white",
    "lines.linewidth": 1.2, "lines.markersize": 4,
}  # fmt: skip
GRID: Style = {"color": "#e4e4e4", "linewidth": 0.7, "zorder": 0}
CARD: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
FRAME: Style = {"color": "black", "linewidth": 0.8}


# ---------------------------------------------------------------- words


@cache
def inches(line: str, size: float = SMALL) -> float:
    """Measure the width of one line of text of some points."""
    font = FontProperties(family="sans-serif", size=size)
    return text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] / 72


def folded(words: str, width: float, size: float = SMALL) -> str:
    """Return the words in lines of at most `width` inches, broken inside a word only if need be."""
    lines = [""]
    for word in words.split():
        if lines[-1] and inches(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word if inches(word, size) > width else [word]:
            if inches(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return "\n".join(filter(None, lines))


def lines_of(words: str) -> int:
    """Count the lines of some words, of none if there are none."""
    return len(words.splitlines())


# ---------------------------------------------------------------- the sheet


class Sheet(NamedTuple):
    """A white sheet, `WIDTH` inches wide; places on it are inches from its upper left corner."""

    figure: Figure
    height: float

    def line(self, x: np.ndarray, y: np.ndarray, **style) -> None:
        """Draw a line through points, each (points,)."""
        place = self.figure.dpi_scale_trans
        self.figure.add_artist(Line2D(x, self.height - y, transform=place, **style))

    def area(self, x: np.ndarray, y: np.ndarray, **style) -> None:
        """Fill what lies between points, each (points,)."""
        corners = np.stack([x, self.height - y], axis=1)
        style |= {"transform": self.figure.dpi_scale_trans, "linewidth": 0}
        self.figure.add_artist(Polygon(corners, closed=True, **style))

    def words(self, x: float, y: float, words: str, **style) -> None:
        """Write words whose upper left corner is there, unless the style says otherwise."""
        place: Style = {"transform": self.figure.dpi_scale_trans, "ha": "left", "va": "top"}
        self.figure.text(x, self.height - y, words, **place | style)


@contextmanager
def sheet(picture: BytesIO, height: float, title: str, told: str) -> Iterator[Sheet]:
    """Give a sheet, which is written into `picture` as SVG in the end.

    Args:
        picture: takes the SVG.
        height: of the sheet, in inches.
        title: stands above, in as many lines as it has.
        told: what the figure shows, for those who do not see it.
    """
    whole = BytesIO()
    with mpl.rc_context(STYLE):
        one = Sheet(Figure(figsize=(WIDTH, height)), height)
        one.words(LEFT, 0.1, title, fontsize=LARGE, fontweight="bold")
        yield one
        about = {"Date": None, "Creator": None, "Title": " ".join(title.split())}
        one.figure.savefig(whole, format="svg", metadata=about)
    svg = whole.getvalue().decode().replace("<svg ", '<svg role="img" ', 1)
    described = f"</title>\n <desc>{escape(plain(told))}</desc>"
    picture.write(svg.replace("</title>", described, 1).encode())


def title_of(words: str) -> str:
    """Return the words as the title of a sheet, in lines that are no wider."""
    return folded(plain(words), (WIDTH - LEFT - EDGE) / 1.2, LARGE)  # bold letters are wider


# ---------------------------------------------------------------- panels


class Panel(NamedTuple):
    """A panel of a sheet: its upper left corner and its size in inches, and its axes."""

    sheet: Sheet
    left: float
    above: float
    width: float
    height: float
    across: Axis
    up: Axis

    def x(self, values: Numbers) -> np.ndarray:
        """Return where values of the axis across lie on the sheet."""
        return self.left + self.width * self.across.places(values)

    def y(self, values: Numbers) -> np.ndarray:
        """Return where values of the axis upwards lie on the sheet."""
        return self.above + self.height * (1 - self.up.places(values))

    def plot(self, x: Numbers, y: Numbers, **style) -> None:
        """Draw a line; it has gaps where there is no number."""
        self.sheet.line(self.x(x), self.y(y), **style)

    def fill(self, x: Numbers, low: Numbers, high: Numbers, **style) -> None:
        """Fill what lies between two lines."""
        along = self.x(x)
        borders = self.y(high), self.y(low)[::-1]
        self.sheet.area(np.append(along, along[::-1]), np.concatenate(borders), **style)

    def upright(self, x: float, **style) -> None:
        """Draw an upright line from edge to edge."""
        ends = np.array([self.above, self.above + self.height])
        self.sheet.line(np.repeat(self.x([x]), 2), ends, **style)

    def level(self, y: float, **style) -> None:
        """Draw a level line from edge to edge."""
        ends = np.array([self.left, self.left + self.width])
        self.sheet.line(ends, np.repeat(self.y([y]), 2), **style)

    def say(self, words: str) -> None:
        """Write words in the middle of it."""
        x, y = self.left + self.width / 2, self.above + self.height / 2
        style = {"ha": "center", "va": "center", "bbox": CARD}
        self.sheet.words(x, y, folded(words, self.width), **style)

    def show(self, title: str, below: str) -> None:
        """Draw the axes, with a title above and the name of the axis below."""
        foot = self.above + self.height
        self.sheet.words(self.left, self.above - 0.06, title, va="bottom", fontsize=9.5)
        self.sheet.words(self.left + self.width / 2, foot + 0.25, below, ha="center")
        for tick, words in self.across.ticks().items():
            self.upright(tick, **GRID)
            x = min(self.x([tick]).item(), self.left + self.width + (EDGE - inches(words)) / 2)
            self.sheet.words(x, foot + 0.06, words, ha="center")
        for tick, words in self.up.ticks().items():
            self.level(tick, **GRID)
            self.sheet.words(
                self.left - 0.06, self.y([tick]).item(), words, ha="right", va="center"
            )
        corner = self.left + self.width * np.array([0, 0, 1]), np.array([self.above, foot, foot])
        self.sheet.line(*corner, **FRAME)


# ---------------------------------------------------------------- keys


Entry = tuple[Style, str]


class Key(NamedTuple):
    """What stands below a panel or beside it.

    Attributes:
        groups: of entries, each how a line is drawn, and its name; a group begins a new row.
        columns: of the entries.
        words: below the entries.
    """

    groups: list[list[Entry]]
    columns: int = 1
    words: str = ""

    @property
    def height(self) -> float:
        """In inches."""
        return sum(height for _, height in self._rows()) + ROW * lines_of(self.words)

    def _rows(self) -> list[tuple[list[Entry], float]]:
        """Return the rows of entries, each with its height."""
        rows = [
            group[at : at + self.columns]
            for group in self.groups
            for at in range(0, len(group), self.columns)
        ]
        return [(row, 0.02 + ROW * max(lines_of(words) for _, words in row)) for row in rows]

    def draw(self, page: Sheet, left: float, above: float) -> None:
        """Draw it from its upper left corner on."""
        wide = max((wide_of(words) for group in self.groups for _, words in group), default=0)
        for row, height in self._rows():
            for column, (style, words) in enumerate(row):
                x, middle = left + column * wide, above + ROW / 2 - 0.02
                page.line(x + np.array([0, 0.2, 0.4]), np.full(3, middle), markevery=[1], **style)
                page.words(x + HANDLE, above, words)
            above += height
        page.words(left, above, self.words)


def wide_of(words: str) -> float:
    """Return the width of an entry of a key in inches."""
    return HANDLE + 0.2 + max(map(inches, words.splitlines()), default=0)


def columns_for(labels: Iterable[str], width: float) -> int:
    """Return in how many columns the entries of a key fit beside one another."""
    return max(1, int(width / max(map(wide_of, labels), default=1)))
