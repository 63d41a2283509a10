"""Digits lost against a wrong formula: how many agree, and whether they are of another dtype."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ml_dtypes import bfloat16, finfo

from backproof.report.judging.mistakes.scene import Scene

LESSER = {"float32": np.float32, "float16": np.float16, "bfloat16": bfloat16}
ENOUGH = 4  # elements, of which some are too large and some too small
EITHER_SIGN = 1 / 8


def told(scene: Scene) -> str:
    """Return the end of a message about numbers that are nearly right, or nothing."""
    truth, rounding, found = scene.truth, scene.rounding[scene.key], scene.found[scene.key]
    resolved, wrong = np.abs(truth) > rounding, np.abs(found - truth) > rounding
    if not (np.isfinite(found) & (resolved | ~wrong)).all():
        return ""
    if scene.phase == "update" and (words := _of_an_update(scene)):
        return words
    if scene.phase == "learning rate" or (resolved & wrong).sum() < ENOUGH:
        return ""
    return between(found[resolved], truth[resolved], scene.precision.u)


def _of_an_update(scene: Scene) -> str:
    """Tell that the change, or the parameter behind it, is one of a lesser precision."""
    right, start = scene.truth, scene.start(scene.key)

    def is_found(array: np.ndarray) -> bool:
        return (np.abs(array - scene.found[scene.key]) <= scene.rounding[scene.key]).all()

    for name, dtype in _lesser_than(scene.precision.u) if not is_found(right) else ():
        if is_found(right.astype(dtype).astype(np.float64)):
            return f"; this is what a change that is rounded to {name} would give"
        if is_found((right + start).astype(dtype).astype(np.float64) - start):
            return f"; this is what a parameter that is kept in {name} would give"
    return ""


def _lesser_than(u: float) -> Iterator[tuple[str, type]]:
    """Yield the dtypes that are clearly coarser than one of this unit roundoff."""
    return ((name, dtype) for name, dtype in LESSER.items() if float(finfo(dtype).eps) > 4 * u)


def _is_erratic(errors: np.ndarray) -> bool:
    """Tell whether they have either sign, or very different sizes: no one number makes them."""
    sizes, signs = np.abs(errors), [(errors > 0).mean(), (errors < 0).mean()]
    return min(signs) >= EITHER_SIGN or sizes.max() > 4 * sizes.min()


def between(found: np.ndarray, right: np.ndarray, u: float = 2.0**-53) -> str:
    """Return words for errors that are small, and of either sign; none for others."""
    found, right = np.ravel(found), np.ravel(right)
    if not found.size or not np.isfinite(found).all() or not right.any():
        return ""
    for name, dtype in _lesser_than(u):
        step = float(finfo(dtype).eps)
        with np.errstate(all="ignore"):
            same = np.array_equal(found.astype(dtype).astype(np.float64), found)
        if same and (np.abs(found - right) <= 2 * step * np.abs(right).max()).all():
            stored = "computed or stored in a lesser precision"
            return f"; every number found is one of {name}: {stored}"
    off = (found - right) / np.abs(right).max()
    worst = np.abs(off).max()
    large = np.abs(off) > worst / 64
    if found.size < ENOUGH or not 0 < worst <= np.sqrt(u):
        return ""
    if not _is_erratic(off[large]) or not _is_erratic(off[large] / right[large]):
        return ""
    agree = int(-np.log10(worst))
    causes = "a cancellation, a lesser precision, finite differences"
    return f"; it agrees to {agree} digits: digits lost ({causes}) rather than a wrong formula"
