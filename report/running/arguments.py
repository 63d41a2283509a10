"""The command line of `python -m report`: what may be asked for."""

from __future__ import annotations

import argparse
import re
from contextlib import suppress
from pathlib import Path

from backproof.backends.registry import chosen, free_name
from backproof.cases.console.command import as_called
from backproof.cases.format.basics import DTYPES

FAIL_ON = ("difference", "incomplete", "unsupported")
FORMATS = ("junit", "sarif")
DESCRIPTION = (
    "Run training scenarios on hand-written backpropagation, PyTorch and JAX, judge every number "
    "against the proved truth, and write results/report.md, report.html, report.json, and a page "
    "and a figure for each case."
)
EPILOG = (
    "exit codes: 0 certified, 1 a difference, 2 usage or an invalid case, 3 incomplete (undecided, "
    "an incomplete record, error, crash, timeout, out of memory, out of range, missing backend), "
    "4 unsupported (nothing else was there to be judged, or --fail-on unsupported), "
    "5 nothing selected, 130 interrupted"
)
OWN_BACKEND = "NAME=FILE.py:FUNCTION is a function of your own (docs/your-own.md)"
EXECUTORS = (
    "processes (default), dask://HOST:PORT, or inline: everything in this process, for debuggers"
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=as_called("report"), description=DESCRIPTION, epilog=EPILOG
    )
    add = parser.add_argument
    add("cases", nargs="*", type=Path, metavar="CASE", help="case files or folders (default: all)")
    add("--dtype", action="append", choices=DTYPES, help="run this dtype only; repeatable")
    into = "folder to write to (default: results)"
    add("--output", type=Path, default=Path("results"), help=into)
    others = "write report.junit.xml or report.sarif too, for CI; repeatable (docs/ci.md)"
    add("--format", action="append", choices=FORMATS, default=[], help=others)
    add("--schema", action="store_true", help="print the JSON Schema of report.json, and stop")
    add("--no-exact", action="store_true", help="skip the exact trajectories in ball arithmetic")
    explain = "print every tensor of a step of this case, and write no report; repeatable"
    add("--explain", action="append", type=Path, metavar="CASE", help=explain)
    first = "the step that --explain prints (default: the first wrong one)"
    add("--step", type=_from_zero, metavar="K", help=first)
    least = "the least that fails (default: incomplete)"
    add("--fail-on", choices=FAIL_ON, default="incomplete", help=least)
    add = parser.add_mutually_exclusive_group().add_argument
    quiet = "print the verdict and where the report is, nothing else"
    add("--quiet", action="store_true", help=quiet)
    add("--verbose", action="store_true", help="a line on stderr for each case and run")
    add = parser.add_argument_group("what is judged").add_argument
    backend = f"run this backend only; repeatable. {OWN_BACKEND}"
    add("--backend", action="append", type=_backend, metavar="NAME", help=backend)
    own = "judge the run in this file too; repeatable (docs/runs.md)"
    add("--run", action="append", type=_own_run, metavar="NAME=FILE", default=[], help=own)
    add("--save-runs", action="store_true", help="leave every run in OUTPUT/runs")
    saved = "judge the runs in FOLDER/runs in place of new ones"
    add("--from-runs", type=Path, metavar="FOLDER", help=saved)
    add = parser.add_argument_group("how it is run").add_argument
    add("--jobs", type=_whole, help="runs at a time (default: one a core)")
    add("--time-limit", type=_positive, metavar="SECONDS", help="of a run (default: 600)")
    memory = "of a run (default: a job's share of 80 %% of it)"
    add("--memory-limit", type=_positive, metavar="GIB", help=memory)
    add("--no-cache", action="store_true", help="run everything anew, and keep nothing")
    add("--executor", default="processes", type=_executor, help=EXECUTORS)
    return parser


def _backend(text: str) -> str:
    """Return what names a backend."""
    try:
        return chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _own_run(text: str) -> tuple[str, Path]:
    """Return the name and the file of a run."""
    name, equals, file = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, found {text!r}")
    try:
        return free_name(name), Path(file).expanduser()
    except (ValueError, RuntimeError) as error:  # RuntimeError: ~ of nobody
        raise argparse.ArgumentTypeError(str(error)) from None


def _executor(text: str) -> str:
    """Return what names a site."""
    if text not in ("processes", "inline") and not re.fullmatch(r"dask://[\w.-]+:\d+", text):
        expected = "expected processes, inline or dask://HOST:PORT"
        raise argparse.ArgumentTypeError(f"{expected}, found {text!r}")
    return text


def _whole(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def _from_zero(text: str) -> int:
    """Return a whole number, 0 or above."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, found {text!r}")
    return int(text)


def _positive(text: str) -> float:
    """Return a finite number above 0."""
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
