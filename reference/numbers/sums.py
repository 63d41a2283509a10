"""Sums and means of every kind of number, and sums of what meets at a place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

from backproof.reference.numbers.moves import Move, checked_index, index_of, move_of, split


def mean(x, axis=None, *, keepdims: bool = False):
    """Divide the sum over one or more axes, by default over all, by the number of its terms."""
    total = x.sum(axis=axis, keepdims=keepdims)
    return total / (x.size // total.size)


def scatter_add(values, index, size: int, axis: int = 0, paired: int = 0):
    """Add numbers up at the places where they belong: `gather` the other way round.

    Args:
        values: (*before, *places, *after).
        index: (*places), of whole numbers from -1 to size - 1; what belongs to -1 is dropped. Or
            (*steps, *places).
        size: of the axis of places.
        axis: the place of that axis in the result.
        paired: how many axes in front, the steps, `values` and `index` have in common.

    Returns:
        (*before, size, *after): at each place the sum of the values whose index it is, 0 where
        there is none.
    """
    better = getattr(values, "scatter_add", None)
    return (better or partial(scattered, values))(index, size, axis, paired)


def scattered(
    values: np.ndarray, index, size: int, axis: int, paired: int, *, into=np.add, start=0
) -> np.ndarray:
    """Scatter a plain array so, by any ufunc `into` and from any number `start`."""
    index = checked_index(index, size)
    many = index.ndim - paired
    axis %= values.ndim - many + 1
    before, after = values.shape[:axis], values.shape[axis + many :]
    expected = before[:paired] + values.shape[axis : axis + many]
    if index.shape != expected:
        raise ValueError(
            f"scatter_add: expected an index of the shape {expected}, found {index.shape}"
        )
    result = np.full((*before, size + 1, *after), start, values.dtype)  # -1 is the last place
    terms = np.moveaxis(values.reshape(*before, index[(0,) * paired].size, *after), axis, paired)
    steps: tuple = np.ix_(*map(np.arange, (*index.shape[:paired], 1)))[:paired]
    places = (*steps, index.reshape(*index.shape[:paired], -1))
    into.at(np.moveaxis(result, axis, paired), places, terms)
    return result[(slice(None),) * axis + (slice(size),)]


class Answering:
    """A kind of number that answers NumPy's functions: `moved` makes the moves among them.

    Numbers of a higher `rank` may contain those of a lower one.
    """

    rank = 0
    moved: Callable[[Move], Any]
    mean: Any = mean

    def __array_function__(self, function, types, arguments, options):
        if function in NAMED:
            return NAMED[function](*arguments, **options)
        move = None if is_beyond(type(self), types) else move_of(function, arguments, options)
        return NotImplemented if move is None else self.moved(move)


class Movable(Answering):
    """The methods of NumPy's arrays that move numbers and add them up, by NumPy's functions.

    A kind of number that has them has a `shape` and `moved`.
    """

    shape: tuple[int, ...]

    def __getitem__(self, index):
        return self.moved(index_of(self, index))

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
        return self.swapaxes(-1, -2)

    def reshape(self, *shape):
        """Give the same numbers another shape."""
        return np.reshape(self, shape[0] if isinstance(shape[0], tuple | list) else shape)

    def transpose(self, *axes):
        """Put the axes in another order, by default reversed."""
        order = axes[0] if axes and isinstance(axes[0], tuple | list) else axes
        return np.transpose(self, order or None)

    def swapaxes(self, one: int, other: int):
        """Exchange two axes."""
        return np.swapaxes(self, one, other)  # type: ignore[call-overload]  # by __array_function__

    def squeeze(self, axis=None):
        """Leave out axes of size 1."""
        return np.squeeze(self, axis)

    def ravel(self):
        """Put all numbers in a row."""
        return np.ravel(self)

    flatten = ravel

    def sum(self, axis=None, *, keepdims: bool = False):
        """Add up over one or more axes, by default over all."""
        add_up: Callable = np.add.reduce
        return add_up(self, axis=axis, keepdims=keepdims)


def is_beyond(own: type[Answering], kinds: Iterable[type]) -> bool:
    """Say whether one of the kinds may contain numbers of `own`, so that it knows what to do."""
    return any(rank_of(kind) > own.rank for kind in {*kinds})


@cache
def rank_of(kind: type) -> int:
    """Return how far beyond NumPy's own a kind of number is; 0 for what is none of ours."""
    return getattr(kind, "rank", 0)


# By the names that NumPy has for them.
NAMED = {
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.sum: lambda x, axis=None, *, keepdims=False: x.sum(axis=axis, keepdims=keepdims),
    np.mean: mean,
    np.max: lambda x, axis=None, **how: np.maximum.reduce(x, axis=axis, **how),
    np.split: split,
}
