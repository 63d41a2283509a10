"""Layers that combine a value with another one, or with random numbers, by hand."""

from __future__ import annotations

from backproof.reference.numbers.protocol import number_like


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
