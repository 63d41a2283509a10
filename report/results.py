"""The results as JSON, for programs: one row a case, dtype and backend, and one a pair."""

from __future__ import annotations

import json
import math

from report.run import INCOMPLETE, Comparison, Pair, Result

SCHEMA = 1


def exit_code(comparisons: list[Comparison], *, invalid: bool, fail_on: str = "incomplete") -> int:
    """0 all certified, 1 a difference, 2 an invalid case, 3 incomplete, 4 unsupported, 5 nothing was compared.

    What is unsupported fails by itself where nothing else was there to be judged.

    `fail_on` is the least that fails: only a `difference` (and an invalid case), what is `incomplete` too, or even
    what is `unsupported`.
    """
    verdicts = {result.verdict for comparison in comparisons for result in comparison.results}
    outside = any(pair.status == "outside" for comparison in comparisons for pair in comparison.pairs)
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


def results_json(comparisons: list[Comparison], verdict: str, environment: dict, *, complete: bool) -> bytes:
    """The content of `report.json`; it is not complete after an interruption."""
    content = {
        "schema": SCHEMA,
        "verdict": verdict,
        "complete": complete,
        "environment": environment,
        "results": [_result(comparison, result) for comparison in comparisons for result in comparison.results],
        "pairs": [_pair(comparison, pair) for comparison in comparisons for pair in comparison.pairs],
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _result(comparison: Comparison, result: Result) -> dict:
    judgement, row = result.judgement, {"case": comparison.case.name, "dtype": comparison.dtype}
    row |= {"backend": result.backend, "verdict": result.verdict}
    if judgement is None:
        nothing = dict.fromkeys(
            (
                "budget",
                "resolution",
                "absolute_resolution",
                "where",
                "ledger",
                "published",
                "misses",
                "accuracy",
                "seconds",
            )
        )
        return row | nothing | {"message": result.message}
    where, statuses = judgement.where, [number.status for number in judgement.published]
    return row | {
        "budget": finite(judgement.budget),
        "resolution": finite(judgement.resolution.relative),
        "absolute_resolution": finite(judgement.resolution.absolute),
        "where": where
        and {"step": where.step, "phase": where.phase, "tensor": where.tensor, "index": list(where.index)},
        "ledger": vars(judgement.ledger),
        "published": {"met": statuses.count("met"), "missed": statuses.count("missed")},
        "misses": [miss for number in judgement.published for miss in number.misses],
        "accuracy": result.accuracy,
        "seconds": {name: round(seconds, 6) for name, seconds in result.seconds.items()},
        "message": result.message,
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
