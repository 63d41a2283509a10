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
    "Who, where, and the first number that is not right: what it should be, and what that looks "
    "like; or why a run did not finish. The page behind a name shows every tensor of that step, "
    "and the elements around the first wrong one; so does `{explain}` in a terminal, with the same "
    "`--backend`."
)
Runs = list[tuple[Comparison, Result]]


def not_certified(comparisons: list[Comparison], mistakes: list[Mistake]) -> Iterator[str]:
    """Say what is wrong with each run, then why backends can't express cases, then with files."""
    causes: dict[tuple, Runs] = {}
    for comparison in comparisons:
        for result in comparison.results:
            if result.verdict not in ("certified", "unsupported"):
                causes.setdefault(_cause(comparison, result), []).append((comparison, result))
    if causes:
        yield NOT_CERTIFIED_LEGEND.format(explain=f"{as_called('report')} --explain CASE.yaml")
        yield "\n".join(f"- {_failure(runs)}" for runs in [*causes.values()][:MOST_LISTED])
    if len(causes) > MOST_LISTED:
        yield f"{len(causes) - MOST_LISTED} more are marked in the table of every run below."
    yield from _outside(comparisons)
    yield from _unsupported(comparisons)
    yield from _invalid(mistakes)


def _cause(comparison: Comparison, result: Result) -> tuple:
    """Return what runs have in common that fail alike: a place of a case, or else a message."""
    judgement = result.judgement
    if judgement is None or judgement.where is None or judgement.where.tensor == "":
        return result.backend, result.verdict, result.message
    where = judgement.where
    backend = "" if judgement.only_print_missed else result.backend  # one print, whoever misses it
    return backend, result.verdict, comparison.case.name, where.step, where.phase, where.tensor


def _failure(runs: Runs) -> str:
    """Tell runs that fail alike: which, who is the odd one out, and what is wrong with one."""
    cases: dict[str, dict[str, None]] = {}
    for comparison, _ in runs:
        cases.setdefault(linked(comparison.case), {})[comparison.dtype] = None
    which = ", ".join(f"{case} {' '.join(dtypes)}" for case, dtypes in cases.items())
    backends = ", ".join(dict.fromkeys(result.backend for _, result in runs))
    comparison, result = next((run for run in runs if _has_hint(run[1])), runs[0])
    who = suspect(comparison) if result.verdict == "differs" else ""
    blamed = f" Here {who}." if who else ""
    of_one = f" In {comparison.dtype}:" if len(runs) > 1 and len(cases) == 1 else ""
    message = cut(result.message, MOST_WORDS)
    end = "" if message.endswith(("?", ".", ")")) else "."
    told = text(f"{backends}: {cell(result).rstrip('*')}")
    return f"{which}: **{told}**. {text(f'{blamed}{of_one} {message}{end}')}"


def _has_hint(result: Result) -> bool:
    """Tell whether the message names a known mistake."""
    return bool(result.judgement and result.judgement.where and result.judgement.where.hint)


def _outside(comparisons: list[Comparison]) -> Iterator[str]:
    """List the pairs that are outside the tolerance while both runs are right by themselves."""
    pairs = [(one, pair) for one, pair in all_pairs(comparisons) if pair.status == "outside"]
    told = []
    for one, pair in pairs:
        verdicts = {result.backend: result.verdict for result in one.results}
        if "differs" not in {verdicts.get(name) for name in pair.names}:
            names = text("-".join(pair.names))
            told.append(f"- {linked(one.case)} {one.dtype} {names}: {text(pair.drift)}")
    if told:
        yield "### Pairs outside the tolerance"
        yield "\n".join(told[:MOST_LISTED])
    if len(told) > MOST_LISTED:
        yield f"{len(told) - MOST_LISTED} more stand on the pages of their cases."


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
