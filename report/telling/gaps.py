"""Which steps of a run nobody has judged, in words: a thinned run says it in the sentence of its verdict."""

from __future__ import annotations

import numpy as np

from backproof.cases.problem import Problem

MOST_GAPS = 3


def not_judged(problem: Problem) -> str:
    """`9,880 of 10,000 steps are not recorded and so not judged: 1 to 99, ...`; empty where all are recorded."""
    missing = np.setdiff1d(np.arange(problem.steps), problem.recorded)
    if not missing.size:
        return ""
    gaps = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    told = [
        f"{gap[0]:,} to {gap[-1]:,}" if len(gap) > 1 else f"{gap[0]:,}" for gap in gaps[:MOST_GAPS]
    ]
    others = len(gaps) - MOST_GAPS
    more = (
        [f"and {others:,} more gap{'s' if others > 1 else ''} up to {missing[-1]:,}"]
        if others > 0
        else []
    )
    verb = "is" if missing.size == 1 else "are"
    steps = f"{missing.size:,} of {problem.steps:,} steps {verb} not recorded and so not judged"
    return f"{steps}: {', '.join([*told, *more])}"
