"""Formulas that programs write in several ways: equal but for rounding, and each rounds every operation once.

The first form is the textbook's, and the one that is computed. An error bound has to cover the others as well.
"""

from __future__ import annotations

from collections.abc import Callable


def by_any_form(x, *forms: Callable):
    """Compute the first of some formulas for numbers like x; a kind of number may know of all (`by_any_form`)."""
    better = getattr(x, "by_any_form", None)
    return better(forms) if better else forms[0]()


def sum_of_three(a, b, c):
    """a + b + c, whichever two are added first."""
    return by_any_form(a, lambda: (a + b) + c, lambda: (a + c) + b, lambda: a + (b + c))


def mixture(before, now, share):
    """(1 - s) before + s now = before + s (now - before)."""
    return by_any_form(before, lambda: (1 - share) * before + share * now, lambda: before + share * (now - before))


def shrunk(w, rate, decay, step):
    """(1 - h λ) w + d = w - h λ w + d in any order."""
    return by_any_form(w, lambda: (1 - rate * decay) * w + step, lambda: sum_of_three(w, step, -(rate * (decay * w))))
