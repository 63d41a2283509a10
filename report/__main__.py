"""`python -m report`: run the cases on every backend, judge them, and write the report."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backends import BACKENDS, DEFAULT
from cases.command import run_command
from cases.load import Mistake, load_all
from cases.schema import Case, Dtype

USAGE, INCOMPLETE, NOTHING = 2, 3, 5
DTYPES = get_args(Dtype)
CASES_WORTH_A_PROCESS = 8


def main(argv: list[str] | None = None) -> int:
    """Parse, run, write, and summarise; the exit code is the verdict (see `report.results.exit_code`)."""
    arguments = parser().parse_args(argv)
    return run_command(partial(_report, arguments))


def _report(arguments: argparse.Namespace) -> int:
    cases, mistakes = load_all(arguments.cases)
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    if not cases and not mistakes:
        print("no case found", file=sys.stderr)
        return NOTHING
    if not cases:
        return USAGE
    try:
        return run(arguments, cases, mistakes)
    except BrokenProcessPool:
        print("a process that runs cases died; --jobs 1 shows at which case", file=sys.stderr)
        return INCOMPLETE
    except CannotWriteError as error:
        print(error, file=sys.stderr)
        return USAGE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m report",
        description="Run training scenarios on hand-written backpropagation, PyTorch and JAX, judge every number "
        "against the proved truth, and write results/report.md, report.json and figures/.",
        epilog="exit codes: 0 certified, 1 a difference, 2 usage or an invalid case, 3 incomplete (error, out of "
        "range, missing backend), 5 nothing selected, 130 interrupted",
    )
    parser.add_argument("cases", nargs="*", type=Path, metavar="CASE", help="case files or folders (default: all)")
    parser.add_argument("--backend", action="append", choices=list(BACKENDS), help="run this backend only; repeatable")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="run this dtype only; repeatable")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder to write to (default: results)")
    parser.add_argument("--jobs", type=_positive, help="processes to run cases in (default: one a core, if many cases)")
    parser.add_argument("--no-exact", action="store_true", help="skip the exact trajectories in ball arithmetic")
    return parser


def run(arguments: argparse.Namespace, cases: list[Case], mistakes: list[Mistake]) -> int:
    """Everything after reading; the modules that are slow to import are imported here."""
    from report.environment import describe_environment
    from report.markdown import summary, verdict_sentence
    from report.results import exit_code, write_results
    from report.story import Plan, prepare, tell_cases, write_story

    backends, dtypes = arguments.backend or list(DEFAULT), arguments.dtype or DTYPES
    plan = Plan(tuple(dtypes), tuple(backends), not arguments.no_exact, arguments.output)
    jobs = arguments.jobs or (os.cpu_count() if len(cases) >= CASES_WORTH_A_PROCESS else 1)
    with _writing(plan.output):
        prepare(plan.output)
    with _progress() as progress:
        chapters = list(progress.track(tell_cases(plan, cases, min(jobs, len(cases))), total=len(cases)))
    comparisons = [comparison for chapter in chapters for comparison in chapter.comparisons]
    environment, verdict = describe_environment(backends), verdict_sentence(comparisons, mistakes)
    with _writing(plan.output):
        write_story(plan.output, chapters, mistakes, environment)
        write_results(plan.output / "report.json", comparisons, verdict, environment)
    print(summary(comparisons), "", textwrap.fill(verdict, 80), sep="\n")
    print(f"\nThe report is in {plan.output / 'report.md'}.")
    return exit_code(comparisons, invalid=bool(mistakes))


class CannotWriteError(Exception):
    """The output folder does not take the report."""


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWriteError(f"cannot write to {output}: {error.strerror}") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def _progress() -> Progress:
    columns = (TextColumn("cases"), BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
