"""Layers that combine a value with another one, or with random numbers, by hand."""

from __future__ import annotations

from backproof.reference.numbers.protocol import in_any_order, number_like


def add(sums: dict, name: str, derivative) -> None:
    """Add a derivative to `sums[name]`; a value used twice has the sum of both, in any order."""
    sums[name] = in_any_order(sums[name]) + derivative if name in sums else derivative


def skip_forward(x, other):
    """y = x + the value of another layer."""
    return x + other


def skip_backward(x, other, y, dy):
    """dx = dy, and dy for the other layer."""
    return dy, dy


def dropout_forward(x, mask, rate):
    """y = m x / (1 - rate); y = x without a mask."""
    return x if mask is None else x * mask / (1 - number_like(x, rate))


def dropout_backward(x, y, dy, mask, rate):
    """dx = m dy / (1 - rate)."""
    return dropout_forward(dy, mask, rate)
