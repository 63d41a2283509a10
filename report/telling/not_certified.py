"""What is not certified: each run with what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from backproof.cases.console.command import as_called
from backproof.cases.console.terminal import cut
from backproof.cases.reading.load import Mistake
from backproof.report.judging.outcome import Comparison, Result, suspect
from backproof.report.telling.cells import cell, linked
from backproof.report.telling.escape import code, text
from backproof.report.telling.sentence import all_pairs

MOST_LISTED, MOST_WORDS = 40, 1_000
NOT_CERTIFIED_LEGEND = (
    "The first number of each run that is not right, what it should be, and what that looks like. "
    "The page behind a name shows every tensor of that step, and the elements around the first "
    "wrong one; so does `{explain}` in a terminal."
)


def not_certified(comparisons: list[Comparison], mistakes: list[Mistake]) -> Iterator[str]:
    """Say what is wrong with each run, then why backends can't express cases, then with files."""
    runs = [
        (comparison, result)
        for comparison in comparisons
        for result in comparison.results
        if result.verdict not in ("certified", "unsupported")
    ]
    if runs:
        yield NOT_CERTIFIED_LEGEND.format(explain=f"{as_called('report')} --explain CASE")
        yield "\n".join(f"- {_failure(*run)}" for run in runs[:MOST_LISTED])
    if len(runs) > MOST_LISTED:
        yield f"{len(runs) - MOST_LISTED} more are marked in the table of every run below."
    yield from _outside(comparisons)
    yield from _unsupported(comparisons)
    yield from _invalid(mistakes)


def _failure(comparison: Comparison, result: Result) -> str:
    """Tell one run: where it fails, what is wrong, and who is the odd one out."""
    run = f"{comparison.dtype} {result.backend}: {cell(result).rstrip('*')}"
    message = cut(result.message, MOST_WORDS)
    end = "" if message.endswith(("?", ".", ")")) else "."
    who = suspect(comparison) if result.verdict == "differs" else ""
    alone = f" Here {who}." if who else ""
    return f"{linked(comparison.case)} **{text(run)}** · {text(f'{message}{end}{alone}')}"


def _outside(comparisons: list[Comparison]) -> Iterator[str]:
    """List the pairs that are outside the tolerance."""
    pairs = [(one, pair) for one, pair in all_pairs(comparisons) if pair.status == "outside"]
    if pairs:
        yield "### Pairs outside the tolerance"
        told = (
            f"- {linked(one.case)} {one.dtype} {text('-'.join(pair.names))}: {text(pair.drift)}"
            for one, pair in pairs[:MOST_LISTED]
        )
        yield "\n".join(told)
    if len(pairs) > MOST_LISTED:
        yield f"{len(pairs) - MOST_LISTED} more stand on the pages of their cases."


def _unsupported(comparisons: list[Comparison]) -> Iterator[str]:
    """List why backends can't express cases, each reason once, with the cases."""
    cases: dict[str, dict[str, list[str]]] = {}
    for comparison in comparisons:
        for result in comparison.results:
            if result.verdict == "unsupported":
                found = cases.setdefault(f"{result.backend}: {result.message}", {})
                found.setdefault(linked(comparison.case), []).append(comparison.dtype)
    if cases:
        yield "### Unsupported"
        told = (
            f"- {text(reason)}: "
            + ", ".join(f"{case} {' '.join(dtypes)}" for case, dtypes in found.items())
            for reason, found in cases.items()
        )
        yield "\n".join(told)


def _invalid(mistakes: list[Mistake]) -> Iterator[str]:
    """List the mistakes in case files."""
    if mistakes:
        yield "### Case files with mistakes"
        yield "\n".join(f"- {code(cut(str(mistake)))}" for mistake in mistakes[:MOST_LISTED])
    if len(mistakes) > MOST_LISTED:
        yield f"{len(mistakes) - MOST_LISTED} more were printed."
