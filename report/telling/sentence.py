"""The result in a sentence: what came of all runs, the first failure, and what it does not say."""

from __future__ import annotations

from collections import Counter

from backproof.cases.reading.load import Mistake
from backproof.report.judging.judge import Ledger
from backproof.report.judging.outcome import Comparison, Pair, Result, suspect
from backproof.report.judging.share import of_the_allowed
from backproof.report.telling.gaps import not_judged

REASONS = 3
MANY = {"differs": "differ", "error": "errors", "crash": "crashes", "timeout": "timeouts"}
ONLY_THE_REFERENCE = (
    " Only the reference ran, and it is judged by its own formulas: run another backend beside it."
)


def verdict_sentence(
    comparisons: list[Comparison], mistakes: list[Mistake], unfinished: str = ""
) -> str:
    """Say the result, the first failure, and what the result does not say, a sentence each."""
    results = [(comparison, result) for comparison in comparisons for result in comparison.results]
    outside = [(one, pair) for one, pair in all_pairs(comparisons) if pair.status == "outside"]
    failure = _first_failure(results) or _first_outside(outside)
    return f"{headline(comparisons, mistakes, unfinished)}{failure}{_unsupported(results)}"


def headline(comparisons: list[Comparison], mistakes: list[Mistake], unfinished: str = "") -> str:
    """Say the result in a sentence; a report that is not finished says so first."""
    results = [result for comparison in comparisons for result in comparison.results]
    outside = sum(pair.status == "outside" for _, pair in all_pairs(comparisons))
    told = [counts_of(results)]
    if outside:
        told.append(f"{counted(outside, 'pair')} outside the tolerance")
    if mistakes:
        told.append(f"{counted(len(mistakes), 'mistake')} in case files")
    verdicts = {result.verdict for result in results}
    is_well = "certified" in verdicts <= {"certified", "unsupported"} and len(told) == 1
    compared = f": {_compared(comparisons)}" if is_well and not unfinished else ""
    largest = f" {_largest_error(comparisons)}" if compared else ""
    if compared and verdicts == {"certified"}:
        many = f"All {len(results)} runs are"
        told = [f"{many if len(results) > 1 else 'The only run is'} certified"]
    sentence = f"{unfinished}{', '.join(told)}{compared}{_gaps(comparisons)}."
    return f"{sentence}{largest}{_caveat(comparisons)}"


def counts_of(results: list[Result]) -> str:
    """Count the verdicts of runs: 14 of 16 runs certified, 2 differ."""
    counts = Counter(result.verdict for result in results)
    told = [f"{counts.pop('certified', 0)} of {counted(len(results), 'run')} certified"]
    for verdict, count in counts.items():
        told.append(f"{count} {MANY.get(verdict, verdict) if count > 1 else verdict}")
    return ", ".join(told)


def all_pairs(comparisons: list[Comparison]) -> list[tuple[Comparison, Pair]]:
    """Return the pairs of all cases, each with its case."""
    return [(comparison, pair) for comparison in comparisons for pair in comparison.pairs]


def _gaps(comparisons: list[Comparison]) -> str:
    """Name the steps that were not judged, of the first case and dtype that has some."""
    thinned = [comparison for comparison in comparisons if not_judged(comparison.problem)]
    if not thinned:
        return ""
    first, *others = thinned
    more = f", and steps of {len(others):,} other case and dtype" if others else ""
    return f"; but {not_judged(first.problem)} ({first.case.name} {first.dtype}{more})"


def _compared(comparisons: list[Comparison]) -> str:
    """Say how much was compared of runs that are certified."""
    ledger = total(comparisons)
    compared = f"{counted(ledger.elements, 'number')} at {counted(ledger.steps, 'recorded step')}"
    return f"each of {compared} lies within the derived allowance of the truth"


def _largest_error(comparisons: list[Comparison]) -> str:
    """Say how much of its allowance the number used that used most."""
    runs = [(one, result) for one in comparisons for result in one.finished]
    comparison, result = max(runs, key=lambda run: run[1].judgement.budget)
    share = of_the_allowed(result.judgement.budget)
    return f"The largest error is {share} ({where(comparison, result)})."


def where(comparison: Comparison, result: Result) -> str:
    """Name a run: its case, dtype and backend."""
    return f"{comparison.case.name} {comparison.dtype} {result.backend}"


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 run`, `2 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _first_failure(results: list[tuple[Comparison, Result]]) -> str:
    for comparison, result in results:
        if result.verdict not in ("certified", "unsupported"):
            who = suspect(comparison)
            end = "" if result.message.endswith("?") else "."
            blamed = f" Here {who}." if who else ""
            return f" First: {where(comparison, result)}: {result.message}{end}{blamed}"
    return ""


def _unsupported(results: list[tuple[Comparison, Result]]) -> str:
    """Say why backends can't express cases, each reason once."""
    unsupported = [result for _, result in results if result.verdict == "unsupported"]
    reasons = Counter(f"{result.backend}: {result.message}" for result in unsupported)
    if not reasons:
        return ""
    most = reasons.most_common(REASONS)
    shown = [f"{reason} ({counted(number, 'run')})" for reason, number in most]
    if len(reasons) > REASONS:
        shown.append(f"{len(reasons) - REASONS} more reasons are in the report")
    return f" Unsupported by {'; '.join(shown)}."


def _first_outside(outside: list[tuple[Comparison, Pair]]) -> str:
    if not outside:
        return ""
    (comparison, pair), *_ = outside
    place = f"{comparison.case.name} {comparison.dtype} {'-'.join(pair.names)}"
    gaps = len(comparison.problem.recorded) < comparison.problem.steps
    why = "; steps that are not recorded are not judged, and may be the cause" if gaps else ""
    return f" First pair outside: {place}: {pair.drift}{why}."


def _caveat(comparisons: list[Comparison]) -> str:
    is_alone = backend_names(comparisons) == ["numpy"]
    return ONLY_THE_REFERENCE if is_alone and any(one.finished for one in comparisons) else ""


def backend_names(comparisons: list[Comparison]) -> list[str]:
    """Return the backends that were asked for, in their order."""
    results = (result for comparison in comparisons for result in comparison.results)
    return [*dict.fromkeys(result.backend for result in results)]


def total(comparisons: list[Comparison]) -> Ledger:
    """Add up all ledgers."""
    ledgers = [result.judgement.ledger for one in comparisons for result in one.finished]
    return Ledger(*(sum(getattr(ledger, name) for ledger in ledgers) for name in vars(Ledger())))
