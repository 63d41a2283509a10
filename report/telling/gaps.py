"""Which steps of a run nobody has judged, in words: the verdict of a thinned run says so."""

from __future__ import annotations

import numpy as np

from backproof.cases.problem import Problem

MOST_GAPS = 3


def not_judged(problem: Problem) -> str:
    """Say which steps are not recorded; nothing where all are.

    `9,880 of 10,000 steps are not recorded and so not judged: 1 to 99, ...`
    """
    missing = np.setdiff1d(np.arange(problem.steps), problem.recorded)
    if not missing.size:
        return ""
    gaps = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    told = [
        f"{gap[0]:,}" + (f" to {gap[-1]:,}" if len(gap) > 1 else "") for gap in gaps[:MOST_GAPS]
    ]
    if (others := len(gaps) - MOST_GAPS) > 0:
        told.append(f"and {others:,} more gap{'s' if others > 1 else ''} up to {missing[-1]:,}")
    verb = "is" if missing.size == 1 else "are"
    steps = f"{missing.size:,} of {problem.steps:,} steps {verb} not recorded and so not judged"
    return f"{steps}: {', '.join(told)}"
