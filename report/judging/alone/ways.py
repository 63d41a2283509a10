"""The ways in which a function is called with the same inputs, and the cotangents it is given.

What a kernel leaves behind for the next call, or destroys for the next backward pass, is seen only
if there is a next one, with another cotangent. So each forward pass is gone back through twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backproof.backends.function_calls import EXPANDED, PLAIN, STRIDED, TRANSPOSED, Way
from backproof.report.judging.alone.asked import Asked
from backproof.report.judging.alone.hostile import Trial
from backproof.report.judging.alone.one_operation import Judge

DRAWN = 3  # as many as there are layouts, in turn, each with a judge
SECOND = "in a second backward pass of the same forward pass"


class Ways:
    """The calls to make with some inputs: all ways with the given ones, else one.

    Attributes:
        plan: the ways in their order.
    """

    def __init__(
        self, asked: Asked, given: np.ndarray | None, seed: int, trial: Trial, framework: str
    ):
        self.asked = asked
        self.cotangents = _cotangents(asked, given, seed, trial)
        self.judges: dict[int, Judge] = {}
        only = Way(EXPANDED) if trial.cotangent == "expanded" else Way()
        self.plan = [only] if trial.words else _all_ways(asked, framework)
        drawn = self.cotangents[0]
        self.expanded = None if drawn is None or given is not None else _one_row(drawn)
        if not trial.words and self.expanded is None:
            self.plan = [way for way in self.plan if way.cotangent != EXPANDED]

    def of(self, way: Way) -> dict[str, Any]:
        """Return the two cotangents of a call, by name."""
        if way.cotangent == EXPANDED and self.expanded is not None:
            return dict.fromkeys(("expanded", "expanded again"), self.expanded)
        place, several = self.plan.index(way), len(self.cotangents)
        both = place % several, (place + 1) % several
        names = (str(both[0]), str(both[1]) if several > 1 else "again")
        return {name: self.cotangents[n] for name, n in zip(names, both, strict=True)}

    def judge(self, dy: np.ndarray | None) -> Judge:
        """Return the judge of a cotangent."""
        if id(dy) not in self.judges:
            self.judges[id(dy)] = Judge(self.asked, dy)
        return self.judges[id(dy)]


def _all_ways(asked: Asked, framework: str) -> list[Way]:
    """Return the layouts of the cotangent and of the inputs, and each input without derivative."""
    of_inputs = [Way(inputs=TRANSPOSED), Way(inputs=STRIDED), Way(again=True)]
    if not asked.wanted:
        return [Way(), *of_inputs]
    is_autograd = framework == "torch" and len(asked.wanted) > 1
    frozen = [Way(frozen=name) for name in asked.wanted if is_autograd]
    layouts = (PLAIN, TRANSPOSED, STRIDED, EXPANDED)
    return [*map(Way, layouts), *of_inputs, *frozen]


def _cotangents(
    asked: Asked, given: np.ndarray | None, seed: int, trial: Trial
) -> list[np.ndarray | None]:
    """Return the given cotangent alone, or those that are drawn; of an optimizer none."""
    if given is not None or not asked.wanted:
        return [given]
    dy = asked.drawn(seed)
    if trial.cotangent == "expanded":
        return [np.broadcast_to(dy.reshape(-1)[:1].reshape((1,) * dy.ndim), dy.shape)]
    if trial.cotangent == "last":
        last = np.zeros_like(dy)
        last[(-1,) * dy.ndim] = dy[(-1,) * dy.ndim]
        return [last]
    if trial.words:
        return [dy]
    return [asked.drawn(seed, which) for which in range(DRAWN)]


def _one_row(dy: np.ndarray) -> np.ndarray | None:
    """Return a cotangent that is the same along its first axis; None where there is only one."""
    axis = next((axis for axis, size in enumerate(dy.shape) if size > 1), None)
    return None if axis is None else np.broadcast_to(dy.take([0], axis), dy.shape)
