"""Sums and means of every kind of number, and sums of what meets at a place."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from backproof.reference.numbers.moves import checked_index, split


def mean(x, axis=None, *, keepdims: bool = False):
    """The mean over one or more axes, of all by default: a sum divided by a whole number."""
    total = x.sum(axis=axis, keepdims=keepdims)
    return total / (x.size // total.size)


def scatter_add(values, index, size: int, axis: int = 0, paired: int = 0):
    """Add numbers up at the places where they belong: `gather` the other way round.

    Args:
        values: (*before, *places, *after).
        index: (*places), of whole numbers from -1 to size - 1; what belongs to -1 is dropped. Or (*steps, *places).
        size: of the axis of places.
        axis: the place of that axis in the result.
        paired: how many axes in front, the steps, `values` and `index` have in common.

    Returns:
        (*before, size, *after): at each place the sum of the values whose index it is, 0 where there is none.
    """
    better = getattr(values, "scatter_add", None)
    return (
        better(index, size, axis, paired)
        if better
        else scattered(values, index, size, axis, paired)
    )


def scattered(
    values: np.ndarray, index, size: int, axis: int, paired: int, *, into=np.add, start=0
) -> np.ndarray:
    """The same of a plain array, by any ufunc `into` and from any number `start`."""
    index = checked_index(index, size)
    many = index.ndim - paired
    axis %= values.ndim - many + 1
    before, after = values.shape[:axis], values.shape[axis + many :]
    if (
        values.shape[axis : axis + many] != index.shape[paired:]
        or before[:paired] != index.shape[:paired]
    ):
        raise ValueError(
            f"scatter_add: expected an index of the shape "
            f"{before[:paired] + values.shape[axis : axis + many]}, found {index.shape}"
        )
    result = np.full(
        (*before, size + 1, *after), start, values.dtype
    )  # the last place is that of -1
    terms = np.moveaxis(values.reshape(*before, index[(0,) * paired].size, *after), axis, paired)
    steps = np.ix_(*map(np.arange, index.shape[:paired]), [0])[:paired]
    into.at(
        np.moveaxis(result, axis, paired), (*steps, index.reshape(*index.shape[:paired], -1)), terms
    )
    return result[(slice(None),) * axis + (slice(size),)]


class Movable:
    """The methods of NumPy's arrays that move numbers and add them up, by NumPy's functions.

    A kind of number that has them answers these functions, has a `shape` and takes an index.
    """

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return prod(self.shape)

    @property
    def T(self):  # noqa: N802, NumPy's name
        """The axes reversed."""
        return np.transpose(self)

    @property
    def mT(self):  # noqa: N802, NumPy's name
        """The matrix transpose."""
        return np.swapaxes(self, -1, -2)

    def reshape(self, *shape):
        """The same numbers in another shape."""
        return np.reshape(self, shape[0] if isinstance(shape[0], tuple | list) else shape)

    def transpose(self, *axes):
        """The axes in another order, by default reversed."""
        return np.transpose(
            self, (axes[0] if isinstance(axes[0], tuple | list) else axes) if axes else None
        )

    def swapaxes(self, one: int, other: int):
        """Two axes exchanged."""
        return np.swapaxes(self, one, other)

    def squeeze(self, axis=None):
        """Without axes of size 1."""
        return np.squeeze(self, axis)

    def ravel(self):
        """All numbers in a row."""
        return np.ravel(self)

    flatten = ravel

    def sum(self, axis=None, *, keepdims: bool = False):
        """The sum over one or more axes, of all by default."""
        return np.add.reduce(self, axis=axis, keepdims=keepdims)

    mean = mean


def is_beyond(own: type, kinds: Iterable[type]) -> bool:
    """Whether there are numbers that contain others, of another kind than `own`: these know what to do."""
    return any(kind is not own and issubclass(kind, Movable) for kind in kinds)


# By the names that NumPy has for them.
NAMED = {
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.sum: lambda x, axis=None, *, keepdims=False: x.sum(axis=axis, keepdims=keepdims),
    np.mean: mean,
    np.max: lambda x, axis=None, *, keepdims=False: np.maximum.reduce(
        x, axis=axis, keepdims=keepdims
    ),
    np.split: split,
}
