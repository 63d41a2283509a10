"""On which side of a kink a number is: certain, told by `Kinks`, or in doubt.

A side is certain where the bound leaves no doubt, and where every program finds the same number
(`grids.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.kinks import Kink
from backproof.reference.numbers.protocol import first_largest as place_of_largest
from backproof.reference.numbers.protocol import positive
from backproof.reference.numbers.rules import Result


def heaviside(a, at_zero) -> Result:
    """Return 0 or 1, and `at_zero` at 0; an interval where the side is neither certain nor told."""
    return _at_kink(a, lambda sign: np.heaviside(sign, floats(at_zero.value)))


def sign(a) -> Result:
    """Return -1, 0 or 1, likewise."""
    return _at_kink(a, np.positive)


def _at_kink(a, of_sign: Callable) -> Result:
    """Let the sign of a number decide, or of the midpoint of a ball.

    It is uncertain where x may have either sign or be flushed to zero, unless every program finds
    the same x.
    """
    signs = np.sign(floats(a.value))
    uncertain = (a.magnitude <= a.bound) | (a.magnitude < a.precision.smallest)
    uncertain &= (signs != 0) | (a.bound != 0)
    if uncertain.any():
        uncertain &= a.grid == 0
    undecided = bool((uncertain & (a.magnitude <= a.truth_bound)).any())
    of_signs = {float(of_sign(sign)): sign for sign in (-1.0, 0.0, 1.0)}
    kink = Kink(a, uncertain, tuple(of_signs.values()))
    width, is_finite = max(of_signs) - min(of_signs), np.isfinite(a.bound)
    return _decided(kink, signs, of_sign, width, is_finite, a.precision, undecided=undecided)


def _decided(
    kink: Kink, signs, of_sign, width: float, is_finite, precision, *, undecided: bool
) -> Result:
    """Return what the signs give; where they are uncertain, those told, or an interval."""
    taken = precision.kinks.meet(kink) if precision.kinks else None
    if taken is not None:
        signs, undecided, width = np.where(kink.uncertain, taken, signs), False, 0.0
    bound = np.where(is_finite, np.where(kink.uncertain, width, 0.0), np.inf)
    return Result(precision.wider(of_sign(signs)), bound, undecided=undecided, passed=1)


# ---------------------------------------------------------------- the first largest


def first_largest(a, axis: int) -> Result:
    """Return 1 at the first largest number along an axis, else 0; an interval in doubt."""
    lead, uncertain, undecided = a.remember(("lead", axis), lambda: _lead(a, axis))
    kink = Kink(lead, uncertain, (-1.0, 1.0))
    is_finite = np.broadcast_to(np.isfinite(a.bound).all(axis=axis, keepdims=True), a.shape)
    return _decided(kink, lead.value, positive, 1.0, is_finite, a.precision, undecided=undecided)


def _lead(a, axis: int) -> tuple[Result, np.ndarray, bool]:
    """Find the likely first largest along an axis.

    Returns:
        1 there and -1 elsewhere, where that is uncertain, and whether the exact result is, too.
    """
    likely = np.expand_dims(floats(a.value).argmax(axis=axis), axis)
    ahead = floats(a.value - np.take_along_axis(a.value, likely, axis))
    lead = 2 * place_of_largest(ahead, axis) - 1
    result = Result(lead, np.zeros(a.shape), passed=a.passed)
    uncertain = _rivals(ahead, a.bound, np.zeros(a.shape, bool), axis)
    if not uncertain.any():
        return result, uncertain, False
    is_known = (a.grid > 0) | (a.bound == 0)
    uncertain = _rivals(ahead, a.bound, is_known, axis)
    return result, uncertain, bool(_rivals(ahead, a.truth_bound, is_known, axis).any())


def _rivals(ahead, bound, is_known, axis: int) -> np.ndarray:
    """Mark the numbers that may be the largest, where there are two or more of them.

    Of those that every program finds (`is_known`), only the first largest may be.
    """
    bound = np.where(is_known, 0.0, bound)
    may_lead = ahead + bound >= (ahead - bound).max(axis=axis, keepdims=True)
    first_known = place_of_largest(np.where(is_known, ahead, -np.inf), axis)
    may_lead &= ~is_known | (first_known == 1)
    return may_lead & (may_lead.sum(axis=axis, keepdims=True) > 1)
