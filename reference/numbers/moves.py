"""Functions that only move numbers: they change none, and nothing that is known of them.

`MOVES` says of each NumPy function which of its arguments are numbers, and how to make the move
with something else in the place of each: with their bounds, say. So a kind of number moves all it
knows alike, and a function that is not here is refused, loudly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Move(NamedTuple):
    """The numbers that are moved, and how: `make(parts, zero)` moves what stands in their places.

    `zero` is what a zero is there that comes from beyond an edge.
    """

    numbers: list
    make: Callable[[list, Any], np.ndarray]


def _of_one(function, x, *places, **options) -> Move:
    return Move([x], lambda parts, _: function(*parts, *places, **options))


def _of_many(function, numbers, *places, **options) -> Move:
    return Move(list(numbers), lambda parts, _: function(parts, *places, **options))


def _of_choice(function, condition, x, y) -> Move:
    """Choose between x and y; `condition` is exact, an array of booleans."""
    return Move([x, y], lambda parts, _: function(condition, *parts))


def _of_padding(function, x, widths, mode="constant", constant_values=0) -> Move:
    """Pad with zeros; nothing else is a move."""
    if mode != "constant" or np.any(constant_values):
        raise ValueError(
            f'np.pad: expected the mode "constant" and zeros, found {mode!r} and {constant_values}'
        )
    return Move([x], lambda parts, zero: function(*parts, widths, constant_values=zero))


RESHAPING = (np.reshape, np.ravel, np.squeeze, np.expand_dims, np.broadcast_to)
REORDERING = (np.transpose, np.moveaxis, np.swapaxes, np.flip, np.take, np.take_along_axis)
JOINING = (np.concatenate, np.stack)
MOVES: dict[Callable, Callable[..., Move]] = {
    **dict.fromkeys((*RESHAPING, *REORDERING), _of_one),
    **dict.fromkeys(JOINING, _of_many),
    np.pad: _of_padding,
    np.where: _of_choice,
}


def move_of(function: Callable, arguments: tuple, options: dict) -> Move | None:
    """Read a call of a NumPy function; None where it is no move."""
    return MOVES[function](function, *arguments, **options) if function in MOVES else None


def index_of(x, index) -> Move:
    """Read `x[index]`."""
    return Move([x], lambda parts, _: parts[0][index])


# ---------------------------------------------------------------- made of moves


def split(x, sections, axis: int = 0) -> list:
    """Cut x along an axis, as `np.split` does, into so many equal parts or at these places."""
    axis %= x.ndim
    parts = np.split(np.arange(x.shape[axis]), sections)
    slices = (slice(part[0], part[-1] + 1) if len(part) else slice(0, 0) for part in parts)
    return [x[(slice(None),) * axis + (part,)] for part in slices]


def gather(x, index, axis: int = 0, paired: int = 0):
    """Take numbers from places along an axis; the place -1 is beyond the edge, and there is 0.

    Args:
        x: (*before, size, *after), the axis being `axis`.
        index: (*places), of whole numbers from -1 to size - 1; or (*steps, *places), see below.
        axis: along which.
        paired: how many axes in front, the steps, `x` and `index` have in common: each step has its
            own places.

    Returns:
        (*before, *places, *after), x[..., index, ...].
    """
    axis %= x.ndim
    index = checked_index(index, x.shape[axis])
    if not x.shape[axis]:  # nothing to take from: a zero that no place names
        x = np.pad(x, [(0, int(place == axis)) for place in range(x.ndim)])
    places, after = index.shape[paired:], (1,) * (x.ndim - axis - 1)
    if paired:
        along = index.reshape(*index.shape[:paired], *(1,) * (axis - paired), -1, *after)
        taken = np.take_along_axis(x, along, axis)
        taken = np.reshape(taken, (*x.shape[:axis], *places, *x.shape[axis + 1 :]))
    else:
        taken = np.take(x, index, axis=axis)
    is_inside = index.reshape(*index.shape[:paired], *(1,) * (axis - paired), *places, *after) >= 0
    return taken if is_inside.all() else np.where(is_inside, taken, 0)


def checked_index(index, size: int) -> np.ndarray:
    """Return the places as an array; raise ValueError where one is not from -1 to size - 1."""
    index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise ValueError(f"places: expected whole numbers, found an array of {index.dtype}")
    if index.size and not -1 <= index.min() <= index.max() < size:
        raise ValueError(f"places: expected -1 to {size - 1}, found {index.min()} to {index.max()}")
    return index
