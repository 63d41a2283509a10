"""The known mistake that explains a wrong result of one operation that was called alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from backproof.report.judging.alone import mistakes, mistakes_of_updates
from backproof.report.judging.alone.asked import Asked
from backproof.report.judging.hints import first_fitting
from backproof.report.judging.mistakes import digits
from backproof.report.judging.operations import Check

MANY_NUMBERS = 100_000
FAMILIES: dict[str, list[Callable]] = {
    "value": mistakes.VALUES,
    "loss": mistakes.VALUES,
    "cotangent": mistakes.DERIVATIVES,
    "gradient": mistakes.DERIVATIVES,
    "state": [*mistakes_of_updates.FAMILIES, *mistakes.VALUES],
    "update": [*mistakes_of_updates.FAMILIES, *mistakes.VALUES],
}


def hint_of(
    asked: Asked, check: Check, cotangent: np.ndarray | None, found: Mapping[str, np.ndarray]
) -> str:
    """Return the end of a message: the known mistake that gives this tensor, or nothing."""
    families = FAMILIES[check.phase]
    if sum(array.size for array in asked.inputs.values()) > MANY_NUMBERS:  # a second for each try
        families = [family for family in families if family in mistakes.QUICK]
    scene = mistakes.OneScene(asked, check, cotangent)
    if check.phase in ("state", "update"):
        scene = mistakes_of_updates.UpdateScene(asked, check, found)
    if known := first_fitting(families, scene, []):
        return known.words
    return digits.told(scene)
