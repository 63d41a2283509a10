"""The known mistake that explains a wrong result of one operation that was called alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from backproof.report.judging.alone import mistakes, mistakes_of_updates
from backproof.report.judging.alone.asked import Asked
from backproof.report.judging.hints import first_fitting
from backproof.report.judging.mistakes import digits
from backproof.report.judging.operations import Check

LAST_DIGITS = 8  # units of 1 + erf, which is rounded near 0 as numbers near 1 are
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
    return _of_cancellation(scene) or digits.told(scene)


def _of_cancellation(scene: mistakes.OneScene) -> str:
    """Return words for a gelu whose last digits are lost where 1 + erf is nearly 0, or nothing."""
    is_by_erf = getattr(scene.asked.settings, "approximate", "") == "none"
    if not is_by_erf or scene.phase != "value":
        return ""
    x, error = scene.numbers["x"], np.abs(scene.found[scene.key] - scene.truth)
    wrong = error > scene.rounding[scene.key]
    is_cancelled = (x < 0) & (error <= LAST_DIGITS * scene.asked.inner.u * np.abs(x))
    if not is_cancelled[wrong].all():
        return ""
    return "; 1 + erf cancels for negative x: erfc(-x / sqrt(2)) keeps the digits"
