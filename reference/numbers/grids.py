"""What every program finds: numbers that lie on a grid, and that no rounding moves.

The grid of a number is a power of two that divides it as every program finds it, and the terms of a
sum that may go on. Sums and products of such numbers are exact in any order while they fit into the
significand. A rule has the result and the operands of an operation, numbers with bounds
(`bounded.py`), and gives the grid of the result: 0 where programs may find different numbers,
infinity for a 0 that nothing was added up to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.sums import scattered

# Of magnitudes, which are sums of at most millions of terms in float64.
ROUNDING_OF_SIZES = 2.0**-30


def lowest_bit(values) -> np.ndarray:
    """Find the largest power of two that divides each number; infinity for 0."""
    significand, exponent = np.frexp(floats(values))
    whole = (significand * 2.0**53).astype(np.int64)
    lowest = np.ldexp((whole & -whole).astype(np.float64), exponent - 53)
    return np.where(whole == 0, np.inf, lowest)


def own_grid(a) -> np.ndarray:
    """Find the grid of a number itself, rather than of the terms that were added up to it."""
    return np.where(a.grid > 0, lowest_bit(a.value), 0)


def _fitting(grid, size, precision) -> np.ndarray:
    """Return the grid where no program rounds or flushes its multiples up to that size, else 0."""
    fits = size * (1 + ROUNDING_OF_SIZES) < precision.significand * grid
    return np.where(fits & (grid >= precision.smallest), grid, 0)


def _fitting_sum(grid, magnitude, result) -> np.ndarray:
    """Find the grid of a sum; no partial sum is larger than its terms of one sign together."""
    partial_sums = (magnitude + result.magnitude) / 2
    inside = _fitting(grid, partial_sums, result.precision.accumulator)
    return np.minimum(inside, _fitting(grid, result.magnitude, result.precision))


def _grid_of_sum(result, a, b) -> np.ndarray:
    terms = sum(part.terms[1] if part.terms else part.magnitude for part in (a, b))
    grids = (part.grid if part.terms else own_grid(part) for part in (a, b))
    return _fitting_sum(np.minimum(*grids), terms, result)


def _grid_of_difference(result, a, b) -> np.ndarray:
    return _fitting(np.minimum(own_grid(a), own_grid(b)), result.magnitude, result.precision)


def _grid_of_product(result, a, b) -> np.ndarray:
    grid = _fitting(own_grid(a) * own_grid(b), result.magnitude, result.precision)
    return np.maximum(_grid_of_zero(result), grid)


def _grid_of_quotient(result, a, b) -> np.ndarray:
    """Only a power of two divides without rounding."""
    grid = _fitting(own_grid(a) / b.magnitude, result.magnitude, result.precision)
    is_power = own_grid(b) == b.magnitude
    return np.maximum(_grid_of_zero(result), np.where(is_power, grid, 0))


def _grid_of_zero(result, *_) -> np.ndarray:
    return np.where(result.is_zero, np.inf, 0.0)


def _grid_of_reduction(result, a, **axes) -> np.ndarray:
    return _fitting_sum(np.minimum.reduce(own_grid(a), **axes), a.magnitude.sum(**axes), result)


def _grid_of_matmul(result, a, b) -> np.ndarray:
    """Find it by row and column; a term is exact where both factors are, or one is exactly 0."""
    rows, columns = own_grid(a), own_grid(b)
    vague = (rows == 0) @ (columns != np.inf) | (rows != np.inf) @ (columns == 0)
    of_rows, of_columns = (np.where(grid == 0, np.inf, grid) for grid in (rows, columns))
    grid = of_rows.min(axis=-1)[..., :, None] * of_columns.min(axis=-2)[..., None, :]
    return np.where(vague, 0, _fitting_sum(grid, result.terms[1], result))


def _grid_of_scattered(result, a, how) -> np.ndarray:
    grid = scattered(own_grid(a), *how, into=np.minimum, start=np.inf)
    return _fitting_sum(grid, result.terms[1], result)


def _grid_of_larger(result, a, b) -> np.ndarray:
    """Take the grid of the one that is copied, or of both."""
    ahead, doubt = floats(a.value - b.value), a.bound + b.bound
    grids = own_grid(a), own_grid(b)
    return np.where(ahead > doubt, grids[0], np.where(-ahead > doubt, grids[1], np.minimum(*grids)))


def _grid_of_smaller(result, a, b) -> np.ndarray:
    return _grid_of_larger(result, -a, -b)


def _grid_of_copy(result, a) -> np.ndarray:
    return own_grid(a)


def _grid_at_kink(result, *_) -> np.ndarray:
    return np.where(result.bound == 0, lowest_bit(result.value), 0)


GRIDS: dict[tuple, Callable[..., np.ndarray]] = {
    (np.add, "__call__"): _grid_of_sum,
    (np.add, "reduce"): _grid_of_reduction,
    (np.subtract, "__call__"): _grid_of_difference,
    (np.multiply, "__call__"): _grid_of_product,
    (np.divide, "__call__"): _grid_of_quotient,
    (np.square, "__call__"): lambda result, a: _grid_of_product(result, a, a),
    (np.matmul, "__call__"): _grid_of_matmul,
    (np.maximum, "__call__"): _grid_of_larger,
    (np.minimum, "__call__"): _grid_of_smaller,
    (np.negative, "__call__"): _grid_of_copy,
    (np.absolute, "__call__"): _grid_of_copy,
    (np.tanh, "__call__"): _grid_of_zero,
    (np.expm1, "__call__"): _grid_of_zero,
    (np.log1p, "__call__"): _grid_of_zero,
    (np.sqrt, "__call__"): _grid_of_zero,
    (np.heaviside, "__call__"): _grid_at_kink,
    (np.sign, "__call__"): _grid_at_kink,
    ("first_largest", "method"): _grid_at_kink,
    ("scatter_add", "method"): _grid_of_scattered,
}
