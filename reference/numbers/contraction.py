"""Bilinear formulas: products of which some are added up, `contract("ni,io->no", x, W)`.

It is made of moves and one `@`, so that every kind of number has it by its own `@`: a sum of n
products has the bound γ(n) Σ|terms|, whatever the order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from math import prod

PATTERN = re.compile(r"([A-Za-z]*),([A-Za-z]*)->([A-Za-z]*)")


def contract(subscripts: str, a, b):
    """Multiply two arrays of numbers, and add up over the letters that the result does not have.

    The letters name the last axes of each operand. Axes in front of them are carried: those that
    both operands have in front, counted from the left, are steps, one beside the other; further
    ones, which only one operand has (samples, positions), come behind the steps. So
    `contract("i,io->o", x, W)` takes x of the shape (samples, i), and (samples, time, i) and
    (steps, samples, time, i), with W of the shape (i, o), or (steps, i, o) of many steps.

    Args:
        subscripts: the letters of a, of b and of the result, "ni,io->no"; a letter that only one
            operand has is in the result.
        a: (*steps, *kept, *letters), kept axes in one of the operands only.
        b: likewise.

    Returns:
        (*steps, *kept, *letters of the result).

    Raises:
        ValueError: with what is expected and what is found, where the subscripts are malformed or a
        shape does not fit.
    """
    product = _plan(subscripts, a.ndim, b.ndim)
    try:
        return product(a, b)
    except ValueError:
        _Contraction(subscripts, a.ndim, b.ndim).check(a, b)  # tells it in words
        raise


@cache
def _plan(subscripts: str, axes_a: int, axes_b: int) -> Callable:
    """Choose how to contract operands with so many axes: as matrices, or else reshaped."""
    plan = _Contraction(subscripts, axes_a, axes_b)
    return plan.of_matrices if plan.is_of_matrices else plan.reshaped


def _letters(subscripts: str) -> tuple[str, str, str]:
    """Read the letters of both operands and of the result; raise ValueError for a mistake."""
    match, told = PATTERN.fullmatch(subscripts), f'contract("{subscripts}"): expected'
    if not match:
        raise ValueError(f'contract: expected subscripts such as "ni,io->no", found {subscripts!r}')
    a, b, result = match.groups()
    for letters in (a, b, result):
        if doubled := [letter for letter, times in Counter(letters).items() if times > 1]:
            raise ValueError(f"{told} each axis once in {letters!r}, found {doubled} twice")
    if unknown := set(result) - set(a + b):
        raise ValueError(f"{told} axes of the operands in the result, found {unknown}")
    if alone := ({*a} ^ {*b}) - {*result}:
        raise ValueError(
            f"{told} to add up over axes that both operands have, found {alone} in one"
        )
    return a, b, result


class _Contraction:
    """What is done with operands of so many axes.

    That is (*lead, rows, summed) @ (*lead, summed, columns) of axes in another order; steps, and
    letters that both operands and the result have, lead. `of_a`, `of_b` and `of_result` are these
    orders. `shared` are axes that both operands have: in words, and the place in each.
    """

    def __init__(self, subscripts: str, axes_a: int, axes_b: int):
        self.subscripts, (a, b, result) = subscripts, _letters(subscripts)
        if axes_a < len(a) or axes_b < len(b):
            raise ValueError(
                f'contract("{subscripts}"): expected {len(a)} and {len(b)} axes or more, '
                f"found {axes_a} and {axes_b}"
            )
        steps = [*range(min(axes_a - len(a), axes_b - len(b)))]
        kept_a = [-1 - place for place in range(axes_a - len(a) - len(steps))]
        kept_b = [-1 - place for place in range(axes_b - len(b) - len(steps))]
        both = [letter for letter in a if letter in b]
        self.shared = [(f"the axis {step} of steps", step, step) for step in steps]
        self.shared += [(f"the axis {x}", a.index(x) - len(a), b.index(x) - len(b)) for x in both]
        self.lead = [*steps, *(letter for letter in both if letter in result)]
        self.summed = [letter for letter in both if letter not in result]
        self.rows = [*kept_a, *(letter for letter in a if letter not in b)]
        self.columns = [*kept_b, *(letter for letter in b if letter not in a)]
        self.of_a = _places([*steps, *kept_a, *a], [*self.lead, *self.rows, *self.summed])
        self.of_b = _places([*steps, *kept_b, *b], [*self.lead, *self.summed, *self.columns])
        after = [*self.lead, *self.rows, *self.columns]
        self.of_result = _places(after, [*steps, *kept_a, *kept_b, *result])
        # One product of matrices a step, transposed perhaps, whose result stays as it comes.
        one_each = len(self.rows) == len(self.columns) == len(self.summed) == 1
        as_it_comes = self.lead == steps and self.of_result == sorted(self.of_result)
        self.is_of_matrices = one_each and as_it_comes
        self.turns_a, self.turns_b = (order != sorted(order) for order in (self.of_a, self.of_b))

    def check(self, a, b) -> None:
        """Raise ValueError where the operands differ in the size of a letter, or in the steps."""
        for axis, in_a, in_b in self.shared:
            if a.shape[in_a] != b.shape[in_b]:
                raise ValueError(
                    f'contract("{self.subscripts}"): expected one size of {axis}, found '
                    f"{a.shape[in_a]} and {b.shape[in_b]} in the shapes {a.shape} and {b.shape}"
                ) from None

    def of_matrices(self, a, b):
        """Multiply the operands as they are, or transposed; NumPy would broadcast steps."""
        if self.lead:
            self.check(a, b)
        return (a.mT if self.turns_a else a) @ (b.mT if self.turns_b else b)

    def reshaped(self, a, b):
        """Multiply the operands as matrices, and give the result its axes."""
        self.check(a, b)
        a, b, lead = _transposed(a, self.of_a), _transposed(b, self.of_b), len(self.lead)
        rows, columns = lead + len(self.rows), lead + len(self.summed)
        batch, summed = a.shape[:lead], prod(a.shape[rows:])
        left = a.reshape((*batch, prod(a.shape[lead:rows]), summed))
        right = b.reshape((*batch, summed, prod(b.shape[columns:])))
        product = (left @ right).reshape(a.shape[:rows] + b.shape[columns:])
        return _transposed(product, self.of_result)


def _places(axes: list, wanted: list) -> list[int]:
    return [axes.index(axis) for axis in wanted]


def _transposed(x, order: list[int]):
    return x if order == sorted(order) else x.transpose(order)
