"""Numbers with a bound, as the judge makes them, and what a number uses of its allowance."""

import numpy as np
from ml_dtypes import bfloat16

from backproof.reference.numbers.balls import sizes
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.precision import precision_of

WIDE_DTYPES = [np.float32, np.float64]
DTYPES = [*WIDE_DTYPES, np.float16, bfloat16]
SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


def given(values, dtype=np.float32) -> Bounded:
    """Numbers without error."""
    dtype = np.dtype(dtype)
    return exact(np.asarray(values, dtype), precision_of(dtype))


def uncertain(value: float, bound: float, *, undecided: bool = False) -> Bounded:
    """One float32 number, and how far a program may have strayed from it."""
    return Bounded(np.array([float(value)]), np.array([bound]), precision_of(np.dtype(np.float32)), undecided=undecided)


def budgets(bounded: Bounded, actual) -> np.ndarray:
    """Share of the allowance that a number uses; where no bound is finite nothing is judged."""
    with np.errstate(all="ignore"):
        distance = sizes(bounded.precision.wider(actual) - bounded.value)
        used = (distance + bounded.truth_bound) / bounded.allowance
    judged = np.isfinite(bounded.allowance) & ~((distance == 0) & (bounded.allowance == 0))
    return np.where(judged, used, 0)
