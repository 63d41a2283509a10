"""The table of verdicts in plain text, of which a row can be printed before the next is there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from backproof.cases.console.terminal import plain
from backproof.report.judging.outcome import Comparison
from backproof.report.telling.cells import cell

GAP, LEAST, MOST = 2, len("certified *"), len("out of range at 9,999")


class Columns(NamedTuple):
    """The columns of the table: the backends in it, and how wide each column is.

    The first two are for case and dtype. A cell that is wider than its column has several lines.
    """

    backends: Sequence[str]
    widths: Sequence[int]

    @property
    def width(self) -> int:
        """Of the table, in characters."""
        return sum(self.widths) + GAP * (len(self.widths) - 1)

    def head(self) -> str:
        """Return the names of the columns, and a rule below them."""
        rule = (" " * GAP).join("-" * width for width in self.widths)
        return f"{self._row(['case', 'dtype', *map(plain, self.backends)])}\n{rule}"

    def rows(self, comparisons: Iterable[Comparison]) -> str:
        """Return a row for each dtype of a case."""
        return "\n".join(self._row(row) for row in _cells(comparisons, self.backends))

    def _row(self, cells: list[str]) -> str:
        """Return a row, whose cells are broken between words where they don't fit."""
        lines = [_broken(words, width) for words, width in zip(cells, self.widths, strict=True)]
        height = max(map(len, lines))
        filled = ([*each, *[""] * (height - len(each))] for each in lines)
        return "\n".join(self._line(line) for line in zip(*filled, strict=True))

    def _line(self, cells: Sequence[str]) -> str:
        padded = (words.ljust(width) for words, width in zip(cells, self.widths, strict=True))
        return (" " * GAP).join(padded).rstrip()


def _cells(comparisons: Iterable[Comparison], backends: Sequence[str]) -> Iterator[list[str]]:
    """Yield the cells of each row."""
    for one in comparisons:
        cells = {result.backend: plain(cell(result)) for result in one.results}
        yield [plain(one.case.name), one.dtype, *(cells.get(name, "") for name in backends)]


def _broken(words: str, width: int) -> list[str]:
    """Return the lines of a cell; a word that is too long stays whole."""
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False) or [""]


def filled(comparisons: Sequence[Comparison], backends: Sequence[str]) -> Columns:
    """Return columns that are as wide as what will stand in them."""
    heads = ["case", "dtype", *map(plain, backends)]
    table = zip(heads, *_cells(comparisons, backends), strict=True)
    return Columns(backends, [max(map(len, column)) for column in table])


def planned(rows: Iterable[tuple[str, str]], backends: Sequence[str], room: int) -> Columns | None:
    """Return columns for what is not known yet; None where they don't fit.

    Args:
        rows: their cases and dtypes.
        backends: all that there will be.
        room: how many characters a line may have.
    """
    names, dtypes = zip(*rows, strict=True)
    left = max(map(len, map(plain, ("case", *names)))), max(map(len, ("dtype", *dtypes)))
    share = (room - sum(left) - GAP) // max(len(backends), 1) - GAP
    widths = [max(min(share, MOST), len(plain(name))) for name in backends]
    columns = Columns(backends, [*left, *widths])
    return columns if share >= LEAST and columns.width <= room else None
