"""Values have any number of positions between samples and features; a parameter has none.

Shapes: a value is (*steps, samples, *positions, features), a parameter (*steps, *its own axes).
Steps are the same for both, so that a parameter whose own axes are known tells how many axes of a
value are steps.
"""

from __future__ import annotations

import numpy as np


def beside(vector, x):
    """Give a vector (*steps, features) an axis of length 1 for samples and each position of x."""
    missing = len(x.shape) - len(vector.shape)
    return vector[(..., *[None] * missing, slice(None))]


def rows(x, steps: int):
    """Lay the samples and positions of x out in one axis: (*steps, rows, features)."""
    if len(x.shape) == steps + 2:
        return x
    return np.reshape(x, (*x.shape[:steps], -1, x.shape[-1]))


def over_rows(x, vector):
    """Sum x over samples and positions, to the shape (*steps, features) of a vector."""
    return x.sum(axis=tuple(range(len(vector.shape) - 1, len(x.shape) - 1)))
