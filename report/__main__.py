"""`python -m report`: run the cases on every backend, judge them, and write the report."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backproof.backends.registry import DEFAULT, label
from backproof.cases.console.command import INTERRUPTED, run_command, say
from backproof.cases.console.terminal import cut, plain, wrapped
from backproof.cases.format.basics import DTYPES
from backproof.report.running.arguments import parser

if TYPE_CHECKING:  # slow to import
    from backproof.cases.format.schema import Case
    from backproof.cases.reading.files import Mistake
    from backproof.report.running.cache import Cache
    from backproof.report.running.plan import Plan
    from backproof.report.running.work import Work

USAGE, NOTHING = 2, 5


class UsageError(Exception):
    """The report can't be made as it was asked for; the message says why."""


def main(argv: list[str] | None = None) -> int:
    """Parse, run, write, and summarise; return the verdict as an exit code (`exit_code`)."""
    arguments = parser().parse_args(argv)
    return run_command(_print_schema if arguments.schema else partial(_report, arguments))


def _print_schema() -> int:
    from backproof.report.telling.report_format import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    """Read the cases, and report on those that are asked for."""
    from backproof.cases.reading.load import load_all

    if why := _at_odds(arguments):
        _complain(why)
        return USAGE
    cases, mistakes = load_all(arguments.explain or arguments.cases)
    for mistake in mistakes:
        say(cut(plain(mistake)), error=True)
    if not cases:
        if mistakes:
            return USAGE
        _complain("no case found")
        return NOTHING
    try:
        plan = _plan(arguments, cases)
        wanted = _wanted(arguments, plan, cases)
        if nothing := _nothing(arguments, wanted):
            _complain(nothing)
            return USAGE if mistakes else NOTHING
        return run(arguments, plan, wanted, mistakes)
    except UsageError as error:
        _complain(error)
        return USAGE


def _at_odds(arguments: argparse.Namespace) -> str:
    """Say which arguments don't go together; empty if all do."""
    if arguments.explain and (arguments.cases or arguments.format or arguments.save_runs):
        return "--explain CASE writes no report: name no other case with it, nor what to write"
    return (
        "--step is of --explain CASE"
        if arguments.step is not None and not arguments.explain
        else ""
    )


def _plan(arguments: argparse.Namespace, cases: list[Case]) -> Plan:
    """Return what to do with every case; raise UsageError where the arguments are at odds."""
    from backproof.backends.trajectory_files import NotARun, read_header
    from backproof.report.running.plan import Plan
    from backproof.report.running.saved_runs import Given, Saved, matched

    dtypes = tuple(arguments.dtype or DTYPES)
    try:
        given = (Given(name, read_header(file), file) for name, file in arguments.run)
        runs = tuple(matched(run, cases, dtypes) for run in given)
    except NotARun as reason:
        raise UsageError(str(reason)) from None
    saved = Saved(arguments.from_runs) if arguments.from_runs else None
    backends = arguments.backend or (saved and saved.backends()) or DEFAULT
    # Runs of one name may be of several cases.
    names = [*map(label, backends), *dict.fromkeys(name for name, _ in arguments.run)]
    rows = [(run.name, run.header.case, run.header.dtype) for run in runs]
    if twice := [*_repeated(names), *(name for name, *_ in _repeated(rows))]:
        raise UsageError(f"{twice[0]} is given twice")
    if saved and not (saved.folder / "runs").is_dir():
        raise UsageError(f"there is no folder {saved.folder / 'runs'}; --save-runs makes it")
    exact = not (arguments.no_exact or arguments.explain)
    return Plan(dtypes, tuple(backends), exact, runs, saved)


def _repeated(things: list) -> list:
    """Return what is there more than once."""
    return [thing for thing, times in Counter(things).items() if times > 1]


def _nothing(arguments: argparse.Namespace, cases: list[Case]) -> str:
    """Say why nothing is left to be run; empty if something is."""
    from backproof.cases.format.message import listed

    if not cases:
        return f"no run in {arguments.from_runs / 'runs'} is of a case here"
    found = dict.fromkeys(dtype for case in cases for dtype in case.dtypes)
    if not arguments.dtype or found.keys() & {*arguments.dtype}:
        return ""
    who = f"{cases[0].name} has" if len(cases) == 1 else "they have"
    return f"no case here has {listed(arguments.dtype)}; {who} {' and '.join(found)}"


def _wanted(arguments: argparse.Namespace, plan: Plan, cases: list[Case]) -> list[Case]:
    """Return the cases; those that have a run, where only runs are named."""
    if arguments.cases or not (plan.runs or plan.saved):
        return cases
    names = {run.header.case for run in plan.runs}
    names |= plan.saved.names(cases) if plan.saved else set()
    return [case for case in cases if case.name in names]


def run(
    arguments: argparse.Namespace, plan: Plan, cases: list[Case], mistakes: list[Mistake]
) -> int:
    """Do the work, and write the report; return the exit code.

    The modules that are slow to import are imported here.
    """
    from backproof.report.running.isolation import limits
    from backproof.report.running.programs import kept_programs
    from backproof.report.running.sites import UnreachableError, site
    from backproof.report.running.work import Work
    from backproof.report.telling.progress import shown

    units = [unit.name for case in cases for unit in plan.units(case)]
    jobs = arguments.jobs or os.cpu_count()
    limit = limits(jobs, arguments.time_limit, arguments.memory_limit)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not arguments.explain:
        with _writing(arguments.output):  # now, rather than when everything is done
            (arguments.output / "figures").mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=arguments.output).close()
    with _folder(arguments) as (cache, folder):
        interrupted, described = False, []
        try:
            with (
                kept_programs(cache) as variables,
                site(arguments.executor, jobs, limit, folder, variables) as place,
                shown(units, quiet=arguments.quiet, verbose=arguments.verbose) as progress,
            ):
                work = progress.work = Work(plan, cases, place, cache, progress)
                try:
                    work.do()
                    if arguments.explain:
                        return _explain(arguments, work, mistakes)
                except KeyboardInterrupt:
                    if arguments.explain:
                        raise
                    interrupted = True
                described = work.described()
        except UnreachableError as error:
            raise UsageError(str(error)) from None
        return _write(arguments, work, mistakes, described, interrupted=interrupted)


def _explain(arguments: argparse.Namespace, work: Work, mistakes: list[Mistake]) -> int:
    """Print a step of every run; return the exit code that a report would have."""
    from backproof.report.telling.json_rows import exit_code

    for words in work.explained(arguments.step):
        say(f"{words}\n")
    comparisons = [one for chapter in work.told.values() for one in chapter.comparisons]
    return exit_code(comparisons, invalid=bool(mistakes), fail_on=arguments.fail_on)


def _write(
    arguments: argparse.Namespace,
    work: Work,
    mistakes: list[Mistake],
    described: list[dict[str, str]],
    *,
    interrupted: bool,
) -> int:
    """Write the report and print its summary; return the exit code.

    An unfinished report goes into a folder of its own, beside a whole one.
    """
    from backproof.report.running.chapter import files_of
    from backproof.report.telling.annotations import files_for_ci
    from backproof.report.telling.atomic_folder import SUMMARY, write_all, write_summary
    from backproof.report.telling.environment import describe_environment
    from backproof.report.telling.json_rows import exit_code, results_json
    from backproof.report.telling.sentence import headline, verdict_sentence

    chapters = [work.told[one.number] for one in work.cases if one.number in work.told]
    output, unfinished = arguments.output, ""
    if interrupted:
        output /= "unfinished"
        unfinished = f"Interrupted: {len(chapters)} of {len(work.cases)} cases were finished. "
    chapters += work.unfinished()
    comparisons = [comparison for chapter in chapters for comparison in chapter.comparisons]
    environment = describe_environment(described)
    verdict = verdict_sentence(comparisons, mistakes, unfinished)
    rows = results_json(comparisons, verdict, environment, complete=not interrupted)
    with _writing(output):
        told = headline(comparisons, mistakes, unfinished)
        files = files_of(chapters, mistakes, environment, told, work.plan.names)
        try:
            files |= files_for_ci(arguments.format, comparisons, mistakes)
        except Exception as error:  # noqa: BLE001, telling never changes a verdict
            _complain(f"what --format asks for is left out: {type(error).__name__}: {error}")
        write_all(output, files | {"report.json": rows}, "figures/*.svg", "cases/*.md", "report.*")
        if arguments.save_runs:
            work.save_runs(output)
    try:
        write_summary(files["report.md"])
    except OSError as error:
        where = f"{os.environ[SUMMARY]}, where {SUMMARY} expects the report"
        _complain(f"cannot write to {where}: {error.strerror}")
    table = work.progress.table(comparisons)
    say(f"{table}{wrapped(verdict)}\n\nThe report is in {plain(output / 'report.md')}.")
    if interrupted:
        return INTERRUPTED
    return exit_code(comparisons, invalid=bool(mistakes), fail_on=arguments.fail_on)


@contextmanager
def _folder(arguments: argparse.Namespace) -> Iterator[tuple[Cache | None, Path]]:
    """Yield the cache, or none, and a folder for new runs."""
    cache = None if arguments.no_cache or arguments.executor == "inline" else _cache()
    at = cache.folder if cache else None
    with tempfile.TemporaryDirectory(prefix=".new-", dir=at, ignore_cleanup_errors=True) as folder:
        yield cache, Path(folder)
    if cache:
        cache.shrink()


def _cache() -> Cache | None:
    """Return the cache; say why there is none where it can't be written."""
    from backproof.cases.reading.kept import PLACE, cache_folder
    from backproof.report.running.cache import Cache

    try:
        cache = Cache(cache_folder())
        tempfile.TemporaryFile(dir=cache.folder).close()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        what = "nothing is kept for the next report, for the cache can't be written"
        _complain(f"{what}: {why} ({PLACE} names another folder)")
        return None
    return cache


def _complain(words: object) -> None:
    """Say what is wrong, in lines that a terminal takes."""
    say(wrapped(cut(plain(words))), error=True)


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Raise UsageError where the output folder does not take the report."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write to {output}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
