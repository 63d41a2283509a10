"""What is seen while a report is made: who is at work, what is left, and what is finished."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from backproof.cases.console.command import Heedless, say
from backproof.cases.console.terminal import cut, plain
from backproof.report.judging.outcome import Comparison, Result
from backproof.report.telling.cells import cell
from backproof.report.telling.rows import Columns, planned

if TYPE_CHECKING:  # slow to import
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

BAR, SHOWN, LONGEST = 16, 8, 200
EARLY = 0.1  # of the work: before that nobody knows how long it will take


class Working(Protocol):
    """What is at work: who, for how many seconds, and how much of it is done."""

    def running(self) -> list[tuple[tuple[str, ...], float]]:
        """Return what is at work now, by what it is called, and for how many seconds."""

    def done(self) -> tuple[int, int]:
        """Return how many units are done, and how many there are."""

    def share(self) -> float:
        """Return the share of the work that is done, by what it was thought to cost."""


@dataclass
class Progress:
    """Shows how far the work is, in one of these ways, or in several.

    Attributes:
        cases: how many there are.
        quiet: say nothing.
        verbose: a line a unit too.
        lines: a line a case, on stderr.
        columns: of the table whose rows are printed on stdout, if they are.
        moving: makes what moves, on stderr; None where that is no terminal.
        printed: the cases whose rows were printed.
    """

    cases: int
    quiet: bool = False
    verbose: bool = False
    lines: bool = False
    columns: Columns | None = None
    moving: Callable[[Progress], Live] | None = None
    live: Live | None = None
    work: Working | None = None
    printed: set[str] = field(default_factory=set)
    told: int = 0
    start: float = field(default_factory=time.monotonic)

    def unit(self, name: tuple[str, ...], result: Result, *, kept: bool) -> None:
        """Say that a unit is done."""
        if self.verbose:
            self._say(f"{' '.join(map(plain, name))}: {_unit_in_words(result, kept=kept)}")

    def case(self, comparisons: Sequence[Comparison], seconds: float) -> None:
        """Say that a case is told."""
        self.told += 1
        if self.lines:
            told = case_in_words(comparisons)
            self._say(f"{self.told}/{self.cases} {told}, {seconds:.1f} s")
        if self.columns:
            head = [] if self.printed else [self.columns.head()]
            self._say("\n".join([*head, self.columns.rows(comparisons)]), error=False)
            self.printed.add(comparisons[0].case.name)

    def table(self, comparisons: list[Comparison]) -> str:
        """Return what is not printed yet of the table of all cases, and the remarks on it."""
        from backproof.report.telling.overview import remarks, summary

        if self.quiet:
            return ""
        if not self.printed:
            return f"{summary(comparisons)}\n\n"
        left = [one for one in comparisons if one.case.name not in self.printed]
        rows = f"{self.columns.rows(left)}\n" if left else ""
        return "\n".join([rows, *(f"{remark}\n" for remark in remarks(comparisons)), ""])

    def _say(self, words: str, *, error: bool = True) -> None:
        """Print above what moves."""
        self.stop()
        say(words, error=error)
        self.move()

    def move(self) -> None:
        """Show what moves, below all that is printed."""
        if self.moving:
            self.live = self.moving(self)
            self.live.start()

    def stop(self) -> None:
        """Remove what moves."""
        if self.live:
            self.live.stop()
            self.live = None

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Draw who is at work, and what is left."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        for line in lines_of(self.work.running() if self.work else []):
            yield Text(line, no_wrap=True, overflow="ellipsis")
        words = self.left(options.max_width - BAR - len("cases  "))
        bar = Table.grid(padding=(0, 1, 0, 0))
        bar.add_row("cases", ProgressBar(self.cases, self.told, width=BAR), words)
        yield bar

    def left(self, room: int) -> str:
        """Say how much is done, for how long it has been at work, and how much is left.

        What has no room is left out, the last first.
        """
        took = time.monotonic() - self.start
        parts = [f"{self.told}/{self.cases}", clock(took)]
        if self.work:
            if (share := self.work.share()) >= EARLY:
                parts.append(f"about {_rough(took / share - took)} left")
            done, units = self.work.done()
            parts.append(f"{done} of {units} runs")
        while len(parts) > 1 and len("  ".join(parts)) > room:
            parts.pop()
        return "  ".join(parts)


def lines_of(running: list[tuple[tuple[str, ...], float]]) -> Iterator[str]:
    """Write a line each for what is at work, the longest first, with its seconds."""
    first = sorted(running, key=lambda one: -one[1])[:SHOWN]
    widths = [max(map(len, column)) for column in zip(*(_named(name) for name, _ in first))]  # noqa: B905
    for name, seconds in first:
        cells = [words.ljust(width) for words, width in zip(_named(name), widths, strict=True)]
        yield "  ".join([*cells, f"{seconds:.0f} s"])
    if more := len(running) - len(first):
        yield f"and {more} more"


def _named(name: tuple[str, ...]) -> tuple[str, ...]:
    """Return three parts of a name."""
    return tuple(map(plain, (*name, "", "")))[:3]


def clock(seconds: float) -> str:
    """Write `1:05`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _rough(seconds: float) -> str:
    """Write as many digits as an estimate deserves."""
    if seconds < 100:
        return f"{max(round(seconds, -1), 10):.0f} s"
    return f"{seconds / 60:.0f} min"


# ---------------------------------------------------------------- lines


def case_in_words(comparisons: Sequence[Comparison]) -> str:
    """Write `xor/relu: 6 of 6 certified`, and in front of that what is not, with its place."""
    results = [(one.dtype, result) for one in comparisons for result in one.results]
    certified = sum(result.verdict == "certified" for _, result in results)
    failed = [
        f"{dtype} {plain(result.backend)} {plain(cell(result))}"
        for dtype, result in results
        if result.verdict != "certified"
    ]
    count = f"{certified} of {len(results)} certified"
    name = plain(comparisons[0].case.name)
    return cut(f"{name}: {', '.join([*failed, count])}")


def _unit_in_words(result: Result, *, kept: bool) -> str:
    """Write `certified, 0.52 + 0.03 s, new`: the run and the judge."""
    seconds = " + ".join(f"{taken:.2f}" for taken in result.seconds.values())
    took = f"{seconds} s" if seconds else ""
    return ", ".join(filter(None, [plain(cell(result)), took, "cached" if kept else "new"]))


# ---------------------------------------------------------------- where it is seen


def is_terminal(stream: Any) -> bool:
    """Return whether somebody looks at a stream, on a terminal that can move its cursor."""
    if os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    with suppress(AttributeError, ValueError, OSError):
        return stream.isatty()
    return False


@contextmanager
def shown(
    units: Sequence[tuple[str, str, str]], *, quiet: bool, verbose: bool
) -> Iterator[Progress]:
    """Yield what shows the progress, as the streams allow; what moves is gone in the end.

    Args:
        units: case, dtype and backend of each.
        quiet: show nothing.
        verbose: a line a unit and a case on stderr, and the table in the end.
    """
    cases = len({case for case, *_ in units})
    if quiet:
        yield Progress(cases, quiet=True)
        return
    moves = is_terminal(sys.stderr)
    progress = Progress(cases, verbose=verbose, lines=verbose or not moves)
    if units and is_terminal(sys.stdout) and not verbose:
        backends = [*dict.fromkeys(name for *_, name in units)]
        rows = {(case, dtype) for case, dtype, _ in units}
        progress.columns = planned(rows, backends, shutil.get_terminal_size().columns)
    if not moves:
        yield progress
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=cast(TextIO, Heedless(sys.stderr)))
    progress.moving = partial(
        Live, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    )
    progress.move()
    try:
        yield progress
    finally:
        progress.stop()
