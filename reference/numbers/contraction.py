"""Bilinear formulas: products of which some are added up, `contract("ni,io->no", x, W)`.

It is made of moves and one `@`, so that every kind of number has it by its own `@`: a sum of n products has the bound
γ(n) Σ|terms|, whatever the order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from math import prod
from operator import matmul
from typing import NamedTuple

PATTERN = re.compile(r"([A-Za-z]*),([A-Za-z]*)->([A-Za-z]*)")


def contract(subscripts: str, a, b):
    """Multiply two arrays of numbers, and add up over the letters that the result does not have.

    The letters name the last axes of each operand. Axes in front of them are carried: those that both operands have in
    front, counted from the left, are steps, one beside the other; further ones, which only one operand has (samples,
    positions), come behind the steps. So `contract("i,io->o", x, W)` takes x of the shape (samples, i), and
    (samples, time, i) and (steps, samples, time, i), with W of the shape (i, o), or (steps, i, o) of many steps.

    Args:
        subscripts: the letters of a, of b and of the result, "ni,io->no"; a letter that only one operand has is in the
            result.
        a: (*steps, *kept, *letters), kept axes in one of the operands only.
        b: likewise.

    Returns:
        (*steps, *kept, *letters of the result).

    Raises:
        ValueError: with what is expected and what is found, where the subscripts are malformed or a shape does not fit.
    """
    product = _plan(subscripts, a.ndim, b.ndim)
    try:
        return product(a, b)
    except ValueError:
        _check(_read(subscripts, a.ndim, b.ndim), a.shape, b.shape)  # tells it in words
        raise


class _Letters(NamedTuple):
    """What the subscripts say of operands with so many axes."""

    subscripts: str
    of_a: str
    of_b: str
    of_result: str
    steps: int
    kept_a: int
    kept_b: int
    shared: tuple[tuple[str, int, int], ...]


def _read(subscripts: str, axes_a: int, axes_b: int) -> _Letters:
    match = PATTERN.fullmatch(subscripts)
    if not match:
        raise ValueError(f'contract: expected subscripts such as "ni,io->no", found {subscripts!r}')
    a, b, result = match.groups()
    for letters in (a, b, result):
        if doubled := [letter for letter, times in Counter(letters).items() if times > 1]:
            raise ValueError(
                f'contract("{subscripts}"): expected each axis once in {letters!r}, found {doubled} twice'
            )
    if unknown := set(result) - set(a + b):
        raise ValueError(
            f'contract("{subscripts}"): expected axes of the operands in the result, found {unknown}'
        )
    if alone := ({*a} ^ {*b}) - {*result}:
        raise ValueError(
            f'contract("{subscripts}"): expected to add up over axes that both operands have, found {alone} in one'
        )
    if axes_a < len(a) or axes_b < len(b):
        raise ValueError(
            f'contract("{subscripts}"): expected {len(a)} and {len(b)} axes or more, found {axes_a} and {axes_b}'
        )
    in_front = axes_a - len(a), axes_b - len(b)
    steps = min(in_front)
    shared = [(f"the axis {step} of steps", step, step) for step in range(steps)]
    shared += [
        (f"the axis {axis}", a.index(axis) - len(a), b.index(axis) - len(b))
        for axis in a
        if axis in b
    ]
    return _Letters(
        subscripts, a, b, result, steps, in_front[0] - steps, in_front[1] - steps, tuple(shared)
    )


def _check(letters: _Letters, shape_a: tuple, shape_b: tuple) -> None:
    """Raise ValueError where the operands don't agree about the size of a letter, or about the steps."""
    for axis, in_a, in_b in letters.shared:
        if shape_a[in_a] != shape_b[in_b]:
            raise ValueError(
                f'contract("{letters.subscripts}"): expected one size of {axis}, found {shape_a[in_a]} and '
                f"{shape_b[in_b]} in the shapes {shape_a} and {shape_b}"
            ) from None


# ---------------------------------------------------------------- how it is done


@cache
def _plan(subscripts: str, axes_a: int, axes_b: int) -> Callable:
    """How to contract operands with so many axes: as it stands or by transposed matrices, else with reshaped ones."""
    letters = _read(subscripts, axes_a, axes_b)
    order = _Order(letters)
    if not order.is_of_matrices:
        return partial(_reshaped, letters, order)
    product = PRODUCTS[order.of_a != sorted(order.of_a), order.of_b != sorted(order.of_b)]
    return partial(_of_steps, letters, product) if axes_a > 2 else product


PRODUCTS = {
    (False, False): matmul,
    (True, False): lambda a, b: a.mT @ b,
    (False, True): lambda a, b: a @ b.mT,
    (True, True): lambda a, b: a.mT @ b.mT,
}


class _Order:
    """In which order the axes are multiplied as (*batch, rows, summed) @ (*batch, summed, columns)."""

    def __init__(self, letters: _Letters):
        a, b, result = letters.of_a, letters.of_b, letters.of_result
        self.batch = [letter for letter in a if letter in b and letter in result]
        summed = [letter for letter in a if letter in b and letter not in result]
        own_a, own_b = (
            [letter for letter in mine if letter not in other] for mine, other in ((a, b), (b, a))
        )
        steps = [*range(letters.steps)]
        kept_a, kept_b = (
            [-1 - place for place in range(kept)] for kept in (letters.kept_a, letters.kept_b)
        )
        self.rows, self.columns, self.summed = [*kept_a, *own_a], [*kept_b, *own_b], summed
        self.of_a = _places([*steps, *kept_a, *a], [*steps, *self.batch, *self.rows, *summed])
        self.of_b = _places([*steps, *kept_b, *b], [*steps, *self.batch, *summed, *self.columns])
        after = [*steps, *self.batch, *self.rows, *self.columns]
        self.of_result = _places(after, [*steps, *kept_a, *kept_b, *result])
        self.lead = letters.steps + len(self.batch)

    @property
    def is_of_matrices(self) -> bool:
        """Each operand is a matrix a step, if it is transposed perhaps, and so is the result as it comes."""
        one_each = len(self.rows) == len(self.columns) == len(self.summed) == 1
        return one_each and not self.batch and self.of_result == sorted(self.of_result)


def _places(axes: list, wanted: list) -> list[int]:
    return [axes.index(axis) for axis in wanted]


def _of_steps(letters: _Letters, product: Callable, a, b):
    _check(letters, a.shape, b.shape)
    return product(a, b)


def _reshaped(letters: _Letters, order: _Order, a, b):
    _check(letters, a.shape, b.shape)
    a, b = _transposed(a, order.of_a), _transposed(b, order.of_b)
    rows, columns = order.lead + len(order.rows), order.lead + len(order.summed)
    batch, summed = a.shape[: order.lead], prod(a.shape[rows:])
    left = a.reshape((*batch, prod(a.shape[order.lead : rows]), summed))
    right = b.reshape((*batch, summed, prod(b.shape[columns:])))
    return _transposed((left @ right).reshape(a.shape[:rows] + b.shape[columns:]), order.of_result)


def _transposed(x, order: list[int]):
    return x if order == sorted(order) else x.transpose(order)
