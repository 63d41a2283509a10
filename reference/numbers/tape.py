"""Reverse mode: the backward formula of a forward formula, in any kind of number.

It is for a layer that has only a forward formula, written with the ufuncs, moves and sums that
every kind of number knows. The chain rule is applied to its single operations, so its bound is that
of a program which does the same, or less well: a formula by hand is sharper, and knows in which
other forms programs compute it.

At a kink: max(x, c) and min(x, c) of a constant c have the derivative 0 by x where x = c, as
`positive(x - c)` has; of max(x, y) the first operand has 0 there and the second one 1, and |x| has
0 where x = 0. A largest number along an axis is the first one. Sides and places (`positive`,
np.sign, `first_largest`) have the derivative 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy.special import erfc, expit

from backproof.reference.numbers import protocol, sums
from backproof.reference.numbers.moves import Move, gather
from backproof.reference.numbers.protocol import elementary, first_largest, positive
from backproof.reference.numbers.sums import Movable


def derivative(forward: Callable) -> Callable:
    """Make the backward formula of `forward(*operands, **settings)`.

    A value may come with the buffers after the step, which have no part in the derivative.

    Returns:
        `backward(dy, y, *operands, **settings)`, which gives a tuple of the cotangents of the
        operands, each of its operand's shape, from dy, that of the value y. An operand that is None
        or holds whole numbers or truth values has None.
    """

    @wraps(forward)
    def backward(dy, y, *operands, **settings) -> tuple:
        tape: list[_Operation] = []
        traced = [Traced(x, tape) if _is_differentiable(x) else x for x in operands]
        result = forward(*traced, **settings)
        value = result[0] if isinstance(result, tuple) else result
        cotangents = _walked_back(tape, value, dy)
        return tuple(_cotangent(cotangents, operand) for operand in traced)

    return backward


def _is_differentiable(operand) -> bool:
    return operand is not None and getattr(operand, "dtype", np.dtype(float)).kind not in "iub"


def _cotangent(cotangents: dict, operand):
    if not isinstance(operand, Traced):
        return None
    return cotangents[id(operand)] if id(operand) in cotangents else 0 * operand.number


def _walked_back(tape: list[_Operation], result: Traced, dy) -> dict:
    """Compute the cotangents of all numbers on the tape, by id; one used twice has a sum."""
    cotangents = {id(result): dy}
    for operation in reversed(tape):
        if id(operation.result) not in cotangents:
            continue
        dy = cotangents[id(operation.result)]
        for operand, pull in operation.pulls:
            more, before = pull(dy), cotangents.get(id(operand))
            if before is not None:
                more = protocol.in_any_order(before) + more
            cotangents[id(operand)] = more
    return cotangents


class _Operation(NamedTuple):
    """What was computed, of which numbers, and what each has of the cotangent."""

    result: Traced
    pulls: list[tuple[Traced, Callable]]


class Traced(Movable, NDArrayOperatorsMixin):
    """Numbers of any kind, which write down on a tape what becomes of them."""

    rank = 2

    def __init__(self, number, tape: list[_Operation]):
        self.number, self.tape = number, tape

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the numbers."""
        return self.number.shape

    def __getattr__(self, name: str):
        """Hints that make a constant are those of the kind of number, if it has any."""
        if name in ("constant", "in_float64"):
            return getattr(self.number, name)
        raise AttributeError(name)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        is_larger = ufunc in (np.maximum, np.minimum) and method == "__call__"
        if is_larger and not isinstance(inputs[0], Traced):
            inputs = inputs[::-1]  # a constant comes last
        numbers = [_number(operand) for operand in inputs]
        value = getattr(ufunc, method)(*numbers, **options)
        if ufunc in WITHOUT_DERIVATIVE:
            return value
        if (ufunc, method) not in DERIVATIVES:
            return NotImplemented
        rules = DERIVATIVES[ufunc, method]
        pulls = [
            partial(_of_shape, rule, value, numbers, options, np.shape(number))
            for rule, number in zip(rules, numbers, strict=True)
        ]
        return self._made(value, zip(inputs, pulls, strict=True))

    def moved(self, move: Move) -> Traced:
        """Write the move down, which is a move or a sum on the way back."""
        value = move.make([_number(number) for number in move.numbers], 0)
        pulls = (partial(_moved_back, move, place) for place in range(len(move.numbers)))
        return self._made(value, zip(move.numbers, pulls, strict=True))

    def _made(self, number, pulls: Iterable[tuple[Any, Callable]]) -> Traced:
        result = Traced(number, self.tape)
        own = [(operand, pull) for operand, pull in pulls if isinstance(operand, Traced)]
        self.tape.append(_Operation(result, own))
        return result

    def _hinted(self, number) -> Traced:
        """Return the number by another bound; its derivative is 1."""
        return self._made(number, [(self, lambda dy: dy)])

    def elementary(self) -> Traced:
        """See `protocol.py`, and so for all hints."""
        return self._hinted(elementary(self.number))

    def in_any_order(self) -> Traced:
        """Pass the hint on."""
        return self._hinted(protocol.in_any_order(self.number))

    def flushed_with(self, factor) -> Traced:
        """Pass the hint on."""
        return self._hinted(protocol.flushed_with(self.number, _number(factor)))

    def by_any_form(self, forms: tuple[Callable, ...]) -> Traced:
        """Compute the value by any of the forms, and the derivative of the first."""
        first, *others = (form() for form in forms)
        values = [lambda form=form: form.number for form in (first, *others)]
        return first._hinted(protocol.by_any_form(self.number, *values))  # noqa: SLF001

    def first_largest(self, axis: int):
        """Return a place, which has no derivative."""
        return first_largest(self.number, axis)

    def scatter_add(self, index, size: int, axis: int, paired: int) -> Traced:
        """Add up; each term has the cotangent of the place where it went."""
        total = sums.scatter_add(self.number, index, size, axis, paired)
        return self._made(total, [(self, lambda dy: gather(dy, index, axis, paired))])


def _number(operand):
    return operand.number if isinstance(operand, Traced) else operand


def _moved_back(move: Move, place: int, dy):
    """Move a cotangent back to one of the moved arrays.

    Where a number went to several places, it has the sum of what is there.
    """
    shapes = [np.shape(_number(number)) for number in move.numbers]
    size = int(np.prod(shapes[place]))
    origins = [np.full(shape, -1) for shape in shapes]
    origins[place] = np.arange(size).reshape(shapes[place])
    origin = move.make(origins, -1).ravel()
    came = origin >= 0
    if np.bincount(origin[came], minlength=size).max(initial=0) > 1:
        return sums.scatter_add(dy.ravel(), origin, size).reshape(shapes[place])
    destination = np.full(size, -1)
    destination[origin[came]] = np.flatnonzero(came)
    return gather(dy.ravel(), destination).reshape(shapes[place])


def _of_shape(rule: Callable, y, numbers: list, options: dict, shape: tuple, dy):
    """Apply a rule, and sum over the axes along which the operand was broadcast."""
    cotangent = rule(dy, y, *numbers, **options)
    more = cotangent.ndim - len(shape)
    grown = [more + i for i, size in enumerate(shape) if size < cotangent.shape[more + i]]
    axes = (*range(more), *grown)
    return cotangent.sum(axis=axes).reshape(shape) if axes else cotangent


# ---------------------------------------------------------------- the rules, of dy, y, operands


def _ahead(a, b):
    """Return 1 where a > b, else 0."""
    return positive(a) if isinstance(b, int | float) and b == 0 else positive(a - b)


def _spread(dy, a, axis=None, keepdims=False):  # noqa: FBT002, as NumPy calls it
    """Give each term of a sum the cotangent of the sum."""
    axes = range(a.ndim) if axis is None else np.atleast_1d(np.array(axis, int)) % a.ndim
    kept = tuple(1 if place in axes else size for place, size in enumerate(a.shape))
    return np.broadcast_to(dy if keepdims else dy.reshape(kept), a.shape)


def _of_largest(dy, y, a, axis=None, keepdims=False):  # noqa: FBT002, as NumPy calls it
    if not isinstance(axis, int):
        raise ValueError(f"the derivative of a largest number: expected one axis, found {axis}")
    return _spread(dy, a, axis, keepdims) * first_largest(a, axis)


WITHOUT_DERIVATIVE = {np.heaviside, np.sign}
DERIVATIVES: dict[tuple, tuple[Callable, ...]] = {
    (np.add, "__call__"): (lambda dy, y, a, b: dy, lambda dy, y, a, b: dy),
    (np.subtract, "__call__"): (lambda dy, y, a, b: dy, lambda dy, y, a, b: -dy),
    (np.multiply, "__call__"): (lambda dy, y, a, b: dy * b, lambda dy, y, a, b: dy * a),
    (np.divide, "__call__"): (lambda dy, y, a, b: dy / b, lambda dy, y, a, b: -(dy * y) / b),
    (np.matmul, "__call__"): (lambda dy, y, a, b: dy @ b.mT, lambda dy, y, a, b: a.mT @ dy),
    (np.power, "__call__"): (
        lambda dy, y, a, b: dy * (b * a ** (b - 1)),
        lambda dy, y, a, b: dy * (y * np.log(a)),
    ),
    (np.maximum, "__call__"): (
        lambda dy, y, a, b: dy * _ahead(a, b),
        lambda dy, y, a, b: dy * (1 - _ahead(a, b)),
    ),
    (np.minimum, "__call__"): (
        lambda dy, y, a, b: dy * _ahead(-a, -b),
        lambda dy, y, a, b: dy * (1 - _ahead(-a, -b)),
    ),
    (np.add, "reduce"): (lambda dy, y, a, **axes: _spread(dy, a, **axes),),
    (np.maximum, "reduce"): (_of_largest,),
    (np.negative, "__call__"): (lambda dy, y, a: -dy,),
    (np.absolute, "__call__"): (lambda dy, y, a: dy * np.sign(a),),
    (np.square, "__call__"): (lambda dy, y, a: dy * (2 * a),),
    (np.sqrt, "__call__"): (lambda dy, y, a: dy / (2 * y),),
    (np.exp, "__call__"): (lambda dy, y, a: dy * y,),
    (np.expm1, "__call__"): (lambda dy, y, a: dy * (y + 1),),
    (np.log, "__call__"): (lambda dy, y, a: dy / a,),
    (np.log1p, "__call__"): (lambda dy, y, a: dy / (1 + a),),
    (np.tanh, "__call__"): (lambda dy, y, a: dy * elementary(1 - y * y),),
    (expit, "__call__"): (lambda dy, y, a: dy * elementary(y * (1 - y)),),
    (erfc, "__call__"): (
        lambda dy, y, a: -(protocol.TWO_BY_SQRT_PI * (dy * np.exp(-np.square(a)))),
    ),
}
