"""The results as JSON, for programs: one row a case, dtype and backend, and one a pair."""

from __future__ import annotations

import json
import math

from backproof.report.judging.outcome import INCOMPLETE, Comparison, Pair, Result

SCHEMA = 1


def exit_code(comparisons: list[Comparison], *, invalid: bool, fail_on: str = "incomplete") -> int:
    """0 all certified, 1 a difference, 2 an invalid case, 3 incomplete, 4 unsupported, 5 nothing was compared.

    What is unsupported fails by itself where nothing else was there to be judged.

    `fail_on` is the least that fails: only a `difference` (and an invalid case), what is `incomplete` too, or even
    what is `unsupported`.
    """
    verdicts = {result.verdict for comparison in comparisons for result in comparison.results}
    outside = any(
        pair.status == "outside" for comparison in comparisons for pair in comparison.pairs
    )
    incomplete = {*INCOMPLETE} if fail_on != "difference" else set()
    if "differs" in verdicts or outside:
        return 1
    if invalid:
        return 2
    if verdicts & incomplete:
        return 3
    if verdicts == {"unsupported"} or ("unsupported" in verdicts and fail_on == "unsupported"):
        return 4
    return 0 if "certified" in verdicts else 5


def results_json(
    comparisons: list[Comparison], verdict: str, environment: dict, *, complete: bool
) -> bytes:
    """The content of `report.json`; it is not complete after an interruption."""
    content = {
        "schema": SCHEMA,
        "verdict": verdict,
        "complete": complete,
        "environment": environment,
        "results": [
            _result(comparison, result)
            for comparison in comparisons
            for result in comparison.results
        ],
        "pairs": [
            _pair(comparison, pair) for comparison in comparisons for pair in comparison.pairs
        ],
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _result(comparison: Comparison, result: Result) -> dict:
    """A row; what a judgement would say is None where there is none."""
    row = {"case": comparison.case.name, "dtype": comparison.dtype, "backend": result.backend}
    judged = {name: tell(result) if result.judgement else None for name, tell in JUDGED.items()}
    return row | {"verdict": result.verdict} | judged | {"message": result.message}


def _where(result: Result) -> dict | None:
    where = result.judgement.where
    return where and {
        "step": where.step,
        "phase": where.phase,
        "tensor": where.tensor,
        "index": list(where.index),
    }


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
    """None for what JSON has no number for."""
    return None if number is None or not math.isfinite(number) else float(number)
