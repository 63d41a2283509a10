"""Digits lost against a wrong formula: how many agree, and whether the numbers are those of a lesser precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ml_dtypes import bfloat16, finfo

from backproof.report.judging.mistakes.scene import Scene

LESSER = {"float32": np.float32, "float16": np.float16, "bfloat16": bfloat16}
ENOUGH = 4  # elements, of which some are too large and some too small
EITHER_SIGN = 1 / 8


def told(scene: Scene) -> str:
    """The end of a message about numbers that are nearly right."""
    truth, rounding = scene.truth, scene.rounding[scene.key]
    resolved, found = np.abs(truth) > rounding, scene.found[scene.key]
    if not (np.isfinite(found) & (resolved | (np.abs(found - truth) <= rounding))).all():
        return ""
    if scene.phase == "update" and (words := _of_an_update(scene)):
        return words
    lost = scene.phase in ("value", "cotangent", "gradient", "loss", "state", "update")
    wrong = resolved & (np.abs(found - truth) > rounding)
    return (
        between(found[resolved], truth[resolved], scene.precision.u)
        if lost and wrong.sum() >= ENOUGH
        else ""
    )


def _of_an_update(scene: Scene) -> str:
    """The change, or the parameter behind it, is one of a lesser precision."""
    found, right, start = scene.found[scene.key], scene.truth, scene.start(scene.key)
    for name, dtype in _lesser_than(scene.precision.u):
        if (np.abs(right - found) <= scene.rounding[scene.key]).all():
            return ""
        rounded = right.astype(dtype).astype(np.float64)
        if (np.abs(rounded - found) <= scene.rounding[scene.key]).all():
            return f"; this is what a change that is rounded to {name} would give"
        kept = (right + start).astype(dtype).astype(np.float64) - start
        if (np.abs(kept - found) <= scene.rounding[scene.key]).all():
            return f"; this is what a parameter that is kept in {name} would give"
    return ""


def _lesser_than(u: float) -> Iterator[tuple[str, type]]:
    """The dtypes that are clearly coarser than one of this unit roundoff."""
    return ((name, dtype) for name, dtype in LESSER.items() if float(finfo(dtype).eps) > 4 * u)


def _is_erratic(errors: np.ndarray) -> bool:
    """The errors have either sign, or very different sizes: not one added number, or one factor, makes them."""
    sizes = np.abs(errors)
    return (
        min((errors > 0).mean(), (errors < 0).mean()) >= EITHER_SIGN
        or sizes.max() > 4 * sizes.min()
    )


def between(found: np.ndarray, right: np.ndarray, u: float = 2.0**-53) -> str:
    """Words for errors that are small, and of either sign; none for others."""
    found, right = np.ravel(found), np.ravel(right)
    if not found.size or not np.isfinite(found).all() or not right.any():
        return ""
    for name, dtype in _lesser_than(u):
        step = float(finfo(dtype).eps)
        with np.errstate(all="ignore"):
            same = np.array_equal(found.astype(dtype).astype(np.float64), found)
        if same and (np.abs(found - right) <= 2 * step * np.abs(right).max()).all():
            return (
                f"; every number found is one of {name}: computed or stored in a lesser precision"
            )
    off = (found - right) / np.abs(right).max()
    worst = np.abs(off).max()
    large = np.abs(off) > worst / 64
    if found.size < ENOUGH or not 0 < worst <= np.sqrt(u):
        return ""
    if not _is_erratic(off[large]) or not _is_erratic(off[large] / right[large]):
        return ""
    agree = int(-np.log10(worst))
    return (
        f"; it agrees to {agree} digits: digits lost (a cancellation, a lesser precision, finite differences) rather "
        "than a wrong formula"
    )
