"""How much of a wrong tensor is wrong, and where: what the wrong elements share, in words."""

from __future__ import annotations

import numpy as np

from backproof.report.judging.operations import Check

OF_VALUES = ("value", "cotangent")
WIDE = 4  # an axis with an inside


def wrong_elements(check: Check) -> np.ndarray:
    """Return which elements are wrong of the one step that a check holds, (*shape,)."""
    return ~(check.budget()[0] <= 1)


def extent(check: Check) -> tuple[str, str]:
    """Say how many elements of a tensor are wrong, and in which line of it all of them are.

    Returns:
        Both, empty where there is nothing to say.
    """
    wrong = wrong_elements(check)
    count, size = int(wrong.sum()), wrong.size
    if size == 1:
        return "", ""
    many = f"all {count}" if count == size else f"{count} of {size}"
    words = f"{many} elements are wrong" if count > 1 else f"1 of {size} elements is wrong"
    return words, _shared_line(check, wrong) if count > 1 else ""


def _shared_line(check: Check, wrong: np.ndarray) -> str:
    """Name the row or the column, of several, that all wrong elements are in."""
    for axis, name in enumerate(_axes(check.phase, wrong.ndim)):
        places = np.unique(np.nonzero(wrong)[axis])
        if wrong.ndim > 1 and len(places) == 1 and wrong.shape[axis] > 1:
            return f", all in {name} {places[0]}"
    return ""


def _axes(phase: str, axes: int) -> tuple[str, ...]:
    """Name the axes of a tensor of one step; of a parameter the first two."""
    if phase not in OF_VALUES:
        return ("row", "column")[:axes]
    positions = [f"position (axis {axis})" for axis in range(1, axes - 1)]
    return "sample", *(positions if axes > 3 else ["position"] * (axes - 2)), "unit"


def shared_part(check: Check) -> str:
    """Name the part of the axes that all wrong elements are in: an end, every second, a border."""
    wrong = wrong_elements(check)
    if wrong.all() or not wrong.any() or wrong.sum() == 1:
        return ""
    names = [name.partition(" (")[0] for name in _axes(check.phase, wrong.ndim)]
    for axis, name in enumerate(names):
        size = wrong.shape[axis]
        places = np.unique(np.nonzero(wrong)[axis])
        if words := _of_axis(places, size, name, f" of axis {axis}" * (wrong.ndim > 3)):
            return f", all in {words}"
    wide = [axis for axis, size in enumerate(wrong.shape) if size >= WIDE]
    inside = tuple(slice(1, -1) if axis in wide else slice(None) for axis in range(wrong.ndim))
    return ", all at the border" if len(wide) > 1 and not wrong[inside].any() else ""


def _of_axis(places: np.ndarray, size: int, name: str, of_axis: str) -> str:
    """Say which places along an axis these are, if they are some that have a name."""
    count = len(places)
    if count == size:
        return ""
    first, last = int(places[0]), int(places[-1])
    if count == 1:
        return f"{name} {first}{of_axis}"
    if last - first + 1 == count:
        end = "first " if first == 0 else "last " if last == size - 1 else ""
        return f"the {end}{count} of {size} {name}s{of_axis}, {first} to {last}"
    right = np.setdiff1d(np.arange(size), places)
    if right[-1] - right[0] + 1 == len(right) > 1:
        return (
            f"the first {right[0]} and the last {size - 1 - right[-1]} of {size} {name}s{of_axis}"
        )
    if count > 2 and (np.diff(places) == 2).all():
        return f"every second {name}{of_axis}, from {first} on"
    return ""
