"""The share of an allowance that an error uses, as it is written everywhere."""

from __future__ import annotations

import numpy as np


def short(share: float) -> str:
    """Write two decimals of a share, never rounded up to 1; powers of ten for what is far off."""
    return f"{np.floor(share * 100) / 100:.2f}" if share < 100 else f"{share:.1e}"


def of_the_allowed(share: float) -> str:
    """Write a share in words: 0.99 of the rounding allowed, 12.50 times the rounding allowed."""
    if np.isnan(share):
        return "not a number"
    if np.isinf(share):
        return "infinitely more than the rounding allowed"
    return f"{short(share)} {'of' if share <= 1 else 'times'} the rounding allowed"
