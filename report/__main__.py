"""`python -m report`: run the cases on every backend, judge them, and write the report."""

from __future__ import annotations

import argparse
import sys
import textwrap
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from backends import BACKENDS
from cases.command import run_command
from cases.load import Mistake, load_all
from cases.schema import Case

USAGE, NOTHING = 2, 5
DTYPES = ("float64", "float32")


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
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"cannot write to {arguments.output}: {error.strerror}", file=sys.stderr)
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
    parser.add_argument("--no-exact", action="store_true", help="skip the exact trajectories in ball arithmetic")
    return parser


def run(arguments: argparse.Namespace, cases: list[Case], mistakes: list[Mistake]) -> int:
    """Everything after reading; the modules that are slow to import are imported here."""
    from report.environment import describe_environment
    from report.markdown import matrix, verdict_sentence
    from report.results import exit_code, write_results
    from report.story import Story

    backends = arguments.backend or list(BACKENDS)
    story = Story(arguments.output, exact=not arguments.no_exact)
    with _progress() as progress:
        task = progress.add_task("", total=sum(len(_dtypes(case, arguments)) for case in cases) * len(backends))
        for case in cases:
            for dtype in _dtypes(case, arguments):
                story.run(case, dtype, backends, partial(_tell, progress, task))
            story.close_case()
    environment = describe_environment(backends)
    story.write(mistakes, environment)
    verdict = verdict_sentence(story.comparisons, mistakes)
    write_results(arguments.output / "report.json", story.comparisons, verdict, environment)
    print(matrix(story.comparisons, "simple"), "", textwrap.fill(verdict, 80), sep="\n")
    print(f"\nThe report is in {arguments.output / 'report.md'}.")
    return exit_code(story.comparisons, invalid=bool(mistakes))


def _dtypes(case: Case, arguments: argparse.Namespace) -> list[str]:
    return [dtype for dtype in case.dtypes if arguments.dtype is None or dtype in arguments.dtype]


def _tell(progress: Progress, task: TaskID, what: str, done: int) -> None:
    progress.update(task, description=what, completed=done)


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<44}"), BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
