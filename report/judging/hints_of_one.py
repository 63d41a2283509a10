"""The known mistake that explains a wrong result of one operation that was called alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from backproof.report.judging.asked import Asked
from backproof.report.judging.hints import first_fitting
from backproof.report.judging.mistakes import digits, of_one, of_one_update
from backproof.report.judging.operations import Check

MANY_NUMBERS = 100_000
FAMILIES: dict[str, list[Callable]] = {
    "value": of_one.VALUES,
    "loss": of_one.VALUES,
    "cotangent": of_one.DERIVATIVES,
    "gradient": of_one.DERIVATIVES,
    "state": [*of_one_update.FAMILIES, *of_one.VALUES],
    "update": [*of_one_update.FAMILIES, *of_one.VALUES],
}


def hint_of(
    asked: Asked, check: Check, cotangent: np.ndarray | None, found: Mapping[str, np.ndarray]
) -> str:
    """Return the end of a message: the known mistake that gives this tensor, or nothing."""
    families = FAMILIES[check.phase]
    if sum(array.size for array in asked.inputs.values()) > MANY_NUMBERS:  # a second for each try
        families = [family for family in families if family in of_one.QUICK]
    scene = of_one.OneScene(asked, check, cotangent)
    if check.phase in ("state", "update"):
        scene = of_one_update.UpdateScene(asked, check, found)
    if known := first_fitting(families, scene, []):
        return known.words
    return digits.told(scene)
