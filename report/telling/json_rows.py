"""The results as JSON, for programs: one row a case, dtype and backend, and one a pair."""

from __future__ import annotations

import json
import math

from backproof.report.judging.outcome import INCOMPLETE, Comparison, Pair, Result

SCHEMA = 1


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
    content = {
        "schema": SCHEMA,
        "verdict": verdict,
        "complete": complete,
        "environment": environment,
        "results": [_result(one, result) for one in comparisons for result in one.results],
        "pairs": [_pair(one, pair) for one in comparisons for pair in one.pairs],
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _result(comparison: Comparison, result: Result) -> dict:
    """Return the row of a run; what a judgement would say is None where there is none."""
    row = {"case": comparison.case.name, "dtype": comparison.dtype, "backend": result.backend}
    judged = {name: tell(result) if result.judgement else None for name, tell in JUDGED.items()}
    return row | {"verdict": result.verdict} | judged | {"message": result.message}


def _where(result: Result) -> dict | None:
    where = result.judgement.where
    names = ("step", "phase", "tensor", "index")
    return {name: getattr(where, name) for name in names} if where else None


def _prints(result: Result) -> dict:
    statuses = [number.status for number in result.judgement.published]
    return {"met": statuses.count("met"), "missed": statuses.count("missed")}


JUDGED = {
    "budget": lambda result: finite(result.judgement.budget),
    "resolution": lambda result: finite(result.judgement.resolution.relative),
    "absolute_resolution": lambda result: finite(result.judgement.resolution.absolute),
    "where": _where,
    "ledger": lambda result: vars(result.judgement.ledger),
    "published": _prints,
    "misses": lambda result: [
        miss for number in result.judgement.published for miss in number.misses
    ],
    "accuracy": lambda result: result.accuracy,
    "seconds": lambda result: {name: round(seconds, 6) for name, seconds in result.seconds.items()},
}


def _pair(comparison: Comparison, pair: Pair) -> dict:
    return {
        "case": comparison.case.name,
        "dtype": comparison.dtype,
        "pair": "-".join(pair.names),
        "max_gradient_difference": finite(pair.drift.gradient),
        "max_parameter_difference": finite(pair.drift.parameter),
        "step": pair.drift.step,
        "status": pair.status,
    }


def finite(number: float | None) -> float | None:
    """Return a number as JSON has it: None for what is not finite."""
    return None if number is None or not math.isfinite(number) else float(number)
