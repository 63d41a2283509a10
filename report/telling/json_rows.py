"""The results as JSON, for programs: one row a case, dtype and backend, and one a pair."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any, Literal

from backproof.report.judging import bias
from backproof.report.judging.judge import Judgement
from backproof.report.judging.outcome import INCOMPLETE, Comparison, Pair, Result
from backproof.report.judging.published import Published
from backproof.report.telling.report_format import (
    Bias,
    Compared,
    PairRow,
    PrintedNumbers,
    Prints,
    Recorded,
    Report,
    Row,
    Seconds,
    Where,
)

SCHEMA: Literal[1] = 1


def exit_code(comparisons: list[Comparison], *, invalid: bool, fail_on: str = "incomplete") -> int:
    """Return the exit code of a report.

    Args:
        comparisons: of all cases.
        invalid: there are mistakes in case files.
        fail_on: the least that fails: only a `difference` (and an invalid case), what is
            `incomplete` too, or even what is `unsupported`.

    Returns:
        0 all certified, 1 a difference, 2 an invalid case, 3 incomplete, 4 unsupported, 5 nothing
        was compared. What is unsupported fails by itself where there was nothing else to judge.
    """
    verdicts = {result.verdict for comparison in comparisons for result in comparison.results}
    pairs = {pair.status for comparison in comparisons for pair in comparison.pairs}
    if "differs" in verdicts or "outside" in pairs:
        return 1
    if invalid:
        return 2
    if fail_on != "difference" and not verdicts.isdisjoint(INCOMPLETE):
        return 3
    if verdicts == {"unsupported"} or ("unsupported" in verdicts and fail_on == "unsupported"):
        return 4
    return 0 if "certified" in verdicts else 5


def results_json(
    comparisons: list[Comparison], verdict: str, environment: dict, *, complete: bool
) -> bytes:
    """Return the content of `report.json`; it is not complete after an interruption."""
    content = Report(
        schema=SCHEMA,
        verdict=verdict,
        complete=complete,
        environment=environment,
        results=[_row(one, result) for one in comparisons for result in one.results],
        pairs=[_pair(one, pair) for one in comparisons for pair in one.pairs],
    )
    return (json.dumps(asdict(content), indent=1, allow_nan=False) + "\n").encode()


def _row(comparison: Comparison, result: Result) -> Row:
    """Return the row of a run; what a judgement would say is None where there is none."""
    judged: dict[str, Any] = {field.name: None for field in fields(Row)}
    if result.judgement:
        judged |= _told(comparison, result, result.judgement)
    return Row(
        **judged
        | {
            "case": comparison.case.name,
            "dtype": comparison.dtype,
            "backend": result.backend,
            "verdict": result.verdict,
            "message": result.message,
        }
    )


def _told(comparison: Comparison, result: Result, judgement: Judgement) -> dict[str, Any]:
    """Return what the judge says of a run, by key."""
    where, resolution = judgement.where, judgement.resolution
    statuses = [number.status for number in judgement.published]
    is_wrong = where is not None and judgement.verdict == "differs"
    return {
        "budget": finite(judgement.budget),
        "resolution": finite(resolution.relative),
        "absolute_resolution": finite(resolution.absolute),
        "median_resolution": finite(resolution.median),
        "where": where and Where(where.step, where.phase, where.tensor, list(where.index)),
        "ledger": Compared(**vars(judgement.ledger)),
        "published": Prints(statuses.count("met"), statuses.count("missed")),
        "misses": [miss for number in judgement.published for miss in number.misses],
        "numbers": [_numbers(number) for number in judgement.published],
        "accuracy": result.accuracy,
        "seconds": Seconds(**{name: round(one, 6) for name, one in result.seconds.items()}),
        "hint": where.hint if is_wrong else "",
        "look": where.look if is_wrong else "",
        "recorded": _recorded(comparison, judgement),
        "undecided": judgement.undecided,
        "bias": judgement.bias and _bias(judgement.bias),
        "biased": list(map(_bias, judgement.biased)),
    }


def _recorded(comparison: Comparison, judgement: Judgement) -> Recorded:
    own, borrowed = list(judgement.phases), list(judgement.borrowed)
    steps = len(judgement.budgets), comparison.problem.steps
    return Recorded(judgement.scope, own, borrowed, list(judgement.lacks), *steps)


def _bias(found: bias.Bias) -> Bias:
    told = asdict(found)
    return Bias(**told | {name: finite(told[name]) for name in ("mean", "leaning")})


def _numbers(number: Published) -> PrintedNumbers:
    """Return a published entry beside what the run has."""
    entry, found = number.entry, number.actual
    return PrintedNumbers(
        source=entry.source,
        tensor=entry.tensor,
        step=entry.step,
        steps=entry.steps,
        shape=list(entry.value.shape),
        printed=list(map(str, entry.value.ravel())),
        found=None if found is None else list(map(finite, found.ravel())),
        status=number.status,
    )


def _pair(comparison: Comparison, pair: Pair) -> PairRow:
    return PairRow(
        case=comparison.case.name,
        dtype=comparison.dtype,
        pair="-".join(pair.names),
        max_gradient_difference=finite(pair.drift.gradient),
        max_parameter_difference=finite(pair.drift.parameter),
        step=pair.drift.step,
        status=pair.status,
    )


def finite(number: float | None) -> float | None:
    """Return a number as JSON has it: None for what is not finite."""
    return None if number is None or not math.isfinite(number) else float(number)
