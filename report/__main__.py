"""`python -m report`: run the cases on every backend, judge them, and write the report."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backproof.backends.registry import DEFAULT, chosen, free_name, label
from backproof.cases.console.command import INTERRUPTED, Heedless, as_called, run_command, say
from backproof.cases.console.terminal import cut, plain, wrapped
from backproof.cases.format.fields import listed
from backproof.cases.format.schema import Case, Dtype
from backproof.cases.reading.load import Mistake, load_all

USAGE, NOTHING = 2, 5
DTYPES = get_args(Dtype)
FAIL_ON = ("difference", "incomplete", "unsupported")
EPILOG = (
    "exit codes: 0 certified, 1 a difference, 2 usage or an invalid case, 3 incomplete (undecided, an incomplete "
    "record, error, crash, timeout, out of memory, out of range, missing backend), 4 unsupported (nothing else was "
    "there to be judged, or --fail-on unsupported), 5 nothing selected, 130 interrupted"
)


def main(argv: list[str] | None = None) -> int:
    """Parse, run, write, and summarise; return the verdict as an exit code (`exit_code`)."""
    arguments = parser().parse_args(argv)
    return run_command(partial(_report, arguments))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=as_called("report"),
        description="Run training scenarios on hand-written backpropagation, PyTorch and JAX, judge every number "
        "against the proved truth, and write results/report.md, report.json and figures/.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("cases", nargs="*", type=Path, metavar="CASE", help="case files or folders (default: all)")
    add("--dtype", action="append", choices=DTYPES, help="run this dtype only; repeatable")
    add(
        "--output", type=Path, default=Path("results"), help="folder to write to (default: results)"
    )
    add("--no-exact", action="store_true", help="skip the exact trajectories in ball arithmetic")
    add(
        "--fail-on",
        choices=FAIL_ON,
        default="incomplete",
        help="the least that fails (default: incomplete)",
    )
    add = parser.add_argument_group("what is judged").add_argument
    add("--backend", action="append", type=_backend, metavar="NAME", help="run this backend only; repeatable. "
        "NAME=FILE.py:FUNCTION is a function of your own (docs/your-own.md)")  # fmt: skip
    add("--run", action="append", type=_own_run, metavar="NAME=FILE", default=[], help="judge the run in this file "
        "too; repeatable (docs/runs.md)")  # fmt: skip
    add("--save-runs", action="store_true", help="leave every run in OUTPUT/runs")
    add(
        "--from-runs",
        type=Path,
        metavar="FOLDER",
        help="judge the runs in FOLDER/runs in place of new ones",
    )
    add = parser.add_argument_group("how it is run").add_argument
    add("--jobs", type=_whole, help="runs at a time (default: one a core)")
    add("--time-limit", type=_positive, metavar="SECONDS", help="of a run (default: 600)")
    add(
        "--memory-limit",
        type=_positive,
        metavar="GIB",
        help="of a run (default: a job's share of 80 %% of it)",
    )
    add("--no-cache", action="store_true", help="run everything anew, and keep nothing")
    add("--executor", default="processes", type=_executor, help="processes (default), dask://HOST:PORT, or inline: "
        "everything in this process, for debuggers")  # fmt: skip
    return parser


def _report(arguments: argparse.Namespace) -> int:
    """Read the cases, and report on those that are asked for."""
    from backproof.backends.trajectory_files import NotARun, read_header
    from backproof.report.running.saved_runs import Given, matched

    cases, mistakes = load_all(arguments.cases)
    for mistake in mistakes:
        say(cut(plain(mistake)), error=True)
    if not cases and not mistakes:
        _complain("no case found")
        return NOTHING
    if not cases:
        return USAGE
    try:
        given = (Given(name, read_header(file), file) for name, file in arguments.run)
        runs = tuple(matched(run, cases, arguments.dtype or DTYPES) for run in given)
    except NotARun as reason:
        _complain(reason)
        return USAGE
    if wrong := _wrong_choice(arguments, runs):
        _complain(wrong)
        return USAGE
    wanted = _wanted(arguments, cases, runs)
    if nothing := _nothing(arguments, wanted):
        _complain(nothing)
        return USAGE if mistakes else NOTHING
    try:
        return run(arguments, wanted, mistakes, runs)
    except CannotWriteError as error:
        _complain(error)
        return USAGE


def _wrong_choice(arguments: argparse.Namespace, runs: tuple) -> str:
    """What is wrong with the choice of backends and runs; empty if nothing is."""
    backends = map(label, arguments.backend or _saved_backends(arguments.from_runs))
    names = [
        *backends,
        *dict.fromkeys(name for name, _ in arguments.run),
    ]  # runs of one name may be of several cases
    rows = [(name, header.case, header.dtype) for name, header, _ in runs]
    if twice := [*_repeated(names), *(name for name, *_ in _repeated(rows))]:
        return f"{twice[0]} is given twice"
    if arguments.from_runs and not (arguments.from_runs / "runs").is_dir():
        return f"there is no folder {arguments.from_runs / 'runs'}; --save-runs makes it"
    return ""


def _repeated(things: list) -> list:
    """Return what is there more than once."""
    return [thing for thing, times in Counter(things).items() if times > 1]


def _nothing(arguments: argparse.Namespace, cases: list[Case]) -> str:
    """Say why nothing is left to be run; empty if something is."""
    if not cases:
        return f"no run in {arguments.from_runs / 'runs'} is of a case here"
    found = dict.fromkeys(dtype for case in cases for dtype in case.dtypes)
    if not arguments.dtype or found.keys() & {*arguments.dtype}:
        return ""
    who = f"{cases[0].name} has" if len(cases) == 1 else "they have"
    return f"no case here has {listed(arguments.dtype)}; {who} {' and '.join(found)}"


def _wanted(arguments: argparse.Namespace, cases: list[Case], runs: tuple) -> list[Case]:
    """Return the cases; those that have a run, where only runs are named."""
    from backproof.report.running.saved_runs import Saved

    if arguments.cases or not (runs or arguments.from_runs):
        return cases
    names = {header.case for _, header, _ in runs}
    names |= Saved(arguments.from_runs).names(cases) if arguments.from_runs else set()
    return [case for case in cases if case.name in names]


def run(
    arguments: argparse.Namespace, cases: list[Case], mistakes: list[Mistake], runs: tuple
) -> int:
    """Do the work, and write the report; return the exit code.

    The modules that are slow to import are imported here.
    """
    from backproof.report.running.campaign import Plan, Work, descriptions
    from backproof.report.running.isolation import limits
    from backproof.report.running.saved_runs import Saved
    from backproof.report.running.sites import UnreachableError, site

    backends = tuple(
        dict.fromkeys(arguments.backend or _saved_backends(arguments.from_runs) or DEFAULT)
    )
    saved = Saved(arguments.from_runs) if arguments.from_runs else None
    plan = Plan(tuple(arguments.dtype or DTYPES), backends, not arguments.no_exact, runs, saved)
    jobs = arguments.jobs or os.cpu_count()
    limit = limits(jobs, arguments.time_limit, arguments.memory_limit)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _writing(arguments.output):  # now, rather than when everything is done
        (arguments.output / "figures").mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=arguments.output).close()
    with _folder(arguments) as (cache, folder):
        interrupted = False
        try:
            with site(arguments.executor, jobs, limit, folder) as place, _progress() as progress:
                work, described = Work(plan, cases, place, cache), None
                try:
                    described = descriptions(plan, place, cache)
                    list(progress.track(work.chapters(), total=len(work.cases)))
                except KeyboardInterrupt:
                    interrupted = True
        except UnreachableError as error:
            _complain(error)
            return USAGE
        return _write(arguments, work, mistakes, described or [], interrupted=interrupted)


def _write(
    arguments: argparse.Namespace,
    work,
    mistakes: list[Mistake],
    described: list,
    *,
    interrupted: bool,
) -> int:
    """Write the report and print its summary; return the exit code.

    An unfinished report goes into a folder of its own, beside a whole one.
    """
    from backproof.report.running.campaign import story
    from backproof.report.telling.atomic_folder import SUMMARY, write_all, write_summary
    from backproof.report.telling.environment import describe_environment
    from backproof.report.telling.json_rows import exit_code, results_json
    from backproof.report.telling.overview import summary, verdict_sentence

    chapters = [work.told[one.number] for one in work.cases if one.number in work.told]
    unfinished = (
        f"Interrupted: {len(chapters)} of {len(work.cases)} cases were finished. "
        if interrupted
        else ""
    )
    chapters += work.unfinished()
    comparisons = [comparison for chapter in chapters for comparison in chapter.comparisons]
    output = arguments.output / "unfinished" if interrupted else arguments.output
    environment, verdict = (
        describe_environment(described),
        verdict_sentence(comparisons, mistakes, unfinished),
    )
    with _writing(output):
        files = story(chapters, mistakes, environment, unfinished)
        files |= {
            "report.json": results_json(comparisons, verdict, environment, complete=not interrupted)
        }
        write_all(output, files, "figures/*.svg")
        if arguments.save_runs:
            work.save_runs(output)
    try:
        write_summary(files["report.md"])
    except OSError as error:
        _complain(
            f"cannot write to {os.environ[SUMMARY]}, where {SUMMARY} expects the report: {error.strerror}"
        )
    say(f"{summary(comparisons)}\n\n{wrapped(verdict)}")
    say(f"\nThe report is in {plain(output / 'report.md')}.")
    return (
        INTERRUPTED
        if interrupted
        else exit_code(comparisons, invalid=bool(mistakes), fail_on=arguments.fail_on)
    )


def _saved_backends(folder: Path | None) -> list[str]:
    """The names of the backends that have left a run there."""
    files = (folder / "runs").rglob("*-*.safetensors") if folder else ()
    names = {file.stem.partition("-")[2] for file in files}
    return [*(name for name in DEFAULT if name in names), *sorted(names - {*DEFAULT})]


@contextmanager
def _folder(arguments: argparse.Namespace) -> Iterator[tuple]:
    """Yield the cache, or none, and a folder for new runs."""
    cache = None if arguments.no_cache or arguments.executor == "inline" else _cache()
    with tempfile.TemporaryDirectory(
        prefix=".new-", dir=cache and cache.folder, ignore_cleanup_errors=True
    ) as folder:
        yield cache, Path(folder)
    if cache:
        cache.shrink()


def _cache():
    """Return the cache; say why there is none where it can't be written."""
    from backproof.report.running.cache import PLACE, Cache, cache_folder

    try:
        cache = Cache(cache_folder())
        tempfile.TemporaryFile(dir=cache.folder).close()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        _complain(
            f"nothing is kept for the next report, for the cache can't be written: {why} ({PLACE} names another folder)"
        )
        return None
    return cache


def _complain(words: object) -> None:
    """Say what is wrong, in lines that a terminal takes."""
    say(wrapped(cut(plain(words))), error=True)


class CannotWriteError(Exception):
    """The output folder does not take the report."""


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Raise UsageError where the output folder does not take the report."""
    try:
        yield
    except OSError as error:
        raise CannotWriteError(f"cannot write to {output}: {error.strerror}") from None


# ---------------------------------------------------------------- arguments


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
        raise argparse.ArgumentTypeError(
            f"expected processes, inline or dask://HOST:PORT, found {text!r}"
        )
    return text


def _whole(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def _positive(text: str) -> float:
    """Return a finite number above 0."""
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")


def _progress() -> Progress:
    """Return the bar, which counts cases."""
    columns = (
        TextColumn("cases"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(file=Heedless(sys.stderr)), transient=True)


if __name__ == "__main__":
    sys.exit(main())
