"""Kinks whose side is not certain: a correct program is on one side of each or on the other, never between.

So the numbers behind them are compared with each side. Where operations are judged one by one, an element depends on
the kink of that element alone. End to end a gradient adds up what is behind many of them, and all gradients of a step
must fit the same sides: all combinations are tried of those that change a number together. Where these are too many,
what is behind them is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, product
from math import prod
from typing import NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components

from backends.trajectory import Trajectory, cut
from cases.problem import Problem
from reference.proof import floats
from reference.rounding import Bounded, Kink, Kinks
from report.checks import Check, checks_of_steps

MOST_COMBINATIONS, MOST_GATES = 1024, 1024
AT_A_TIME = 65_536
END_TO_END = ("loss", "gradient")
SIGNS = (-1.0, 0.0, 1.0)


def decided_checks(problem: Problem, run: Trajectory) -> list[Check]:
    """The checks of some steps, where a side is uncertain with the truth of the side that fits best."""
    kinks, checks, together = Kinks(), [], 0
    for check in checks_of_steps(problem, run, kinks):
        checks.append(check)
        if not run.has_layers and check.phase in END_TO_END:
            together = len(kinks.met)
    if alone := kinks.met[together:]:
        checks = _each_alone(problem, run, checks, alone)
    if together:
        first = [check for check in checks if check.phase in END_TO_END]
        checks = [*_all_together(problem, run, first, kinks.met[:together]), *checks[len(first) :]]
    return checks


# ---------------------------------------------------------------- one by one


def _each_alone(problem: Problem, run: Trajectory, checks: list[Check], kinks: list[Kink]) -> list[Check]:
    """Each element with the truth of the sides that it fits best, of the kinks that it passes one after the other."""
    depths = sorted({kink.depth for kink in kinks})
    on_sides = []
    for combination in product(SIGNS, repeat=len(depths)):
        signs = dict(zip(depths, combination, strict=True))
        on_sides.append(checks_of_steps(problem, run, Kinks(lambda _, kink, signs=signs: signs.get(kink.depth))))
    return [_best(*each) for each in zip(checks, *on_sides, strict=True)]


def _best(check: Check, *on_sides: Check) -> Check:
    if not (check.truth.bound != on_sides[0].truth.bound).any():
        return check
    best = np.nan_to_num([side.budget() for side in on_sides], nan=np.inf).argmin(axis=0)[None]
    value, bound, magnitude = (
        np.take_along_axis(np.stack([getattr(side.truth, part) for side in on_sides]), best, axis=0)[0]
        for part in ("value", "bound", "magnitude")
    )
    return check._replace(truth=Bounded(value, bound, check.truth.precision, magnitude=magnitude))


# ---------------------------------------------------------------- end to end


class _Gate(NamedTuple):
    """One uncertain element of a kink in one step, and the signs to try."""

    kink: int
    index: tuple[int, ...]
    signs: tuple[float, ...]


def _all_together(problem: Problem, run: Trajectory, checks: list[Check], kinks: list[Kink]) -> Iterator[Check]:
    """The loss and the gradients of all steps, those of an uncertain step with the truth of the sides that fit best."""
    uncertain = np.any([kink.uncertain.reshape(len(run.steps), -1).any(axis=1) for kink in kinks], axis=0)
    truths = [[part.copy() for part in (c.truth.value, c.truth.bound, c.truth.magnitude)] for c in checks]
    undecided = [np.zeros(check.actual.shape, bool) for check in checks]
    for row in np.flatnonzero(uncertain):
        step = _Step(problem, run, int(row), kinks, checks)
        best, fits = step.best()
        for check, truth, unknown, at_best in zip(checks, truths, undecided, best, strict=True):
            if fits or step.all_were_tried:
                for part, found in zip(truth, (at_best.value, at_best.bound, at_best.magnitude), strict=True):
                    part[row] = found[0]
            else:
                unknown[row] = (check.truth.bound[row] > at_best.bound[0]) & (check.budget()[row] <= 1)
    for check, (value, bound, magnitude), unknown in zip(checks, truths, undecided, strict=True):
        truth = Bounded(value, bound, check.truth.precision, magnitude=magnitude)
        yield check._replace(truth=truth, undecided=unknown if unknown.any() else None)


class _Step:
    """One step with its uncertain gates, and what comes of the sides that are tried of them."""

    def __init__(self, problem: Problem, run: Trajectory, row: int, kinks: list[Kink], checks: list[Check]):
        self.problem, self.run, self.row, self.kinks, self.count = problem, run, row, kinks, len(checks)
        self.gates = [
            _Gate(number, tuple(map(int, index)), kink.signs)
            for number, kink in enumerate(kinks)
            for index in np.argwhere(kink.uncertain[row])
        ]
        self.all_were_tried = True

    def best(self) -> tuple[list[Bounded], bool]:
        """The truths on the sides that fit best, each of one step, and whether everything fits there."""
        sides = np.ones(len(self.gates))  # where a gate is open, the ones before it matter
        for together in self._groups(sides):
            signs = [self.gates[gate].signs for gate in together]
            if prod(map(len, signs)) > MOST_COMBINATIONS:
                self.all_were_tried = False
                continue
            combinations = np.repeat(sides[None], prod(map(len, signs)), axis=0)
            combinations[:, together] = list(product(*signs))
            misfits = (~(self._tried(combinations, Check.budget) <= 1)).sum(axis=1)
            sides = combinations[misfits.argmin()]
        checks = self._on(sides[None])
        return [check.truth for check in checks], all((check.budget() <= 1).all() for check in checks)

    def _groups(self, sides: np.ndarray) -> Iterator[np.ndarray]:
        """The gates that change a number together, a group for each; a gate that changes nothing is in none."""
        if len(self.gates) > MOST_GATES:
            self.all_were_tried = False
            return
        changed = np.repeat(sides[None], len(self.gates) + 1, axis=0)
        changed[np.arange(1, len(changed)), np.arange(len(self.gates))] = [gate.signs[0] for gate in self.gates]
        base, *others = self._tried(changed, lambda check: floats(check.truth.value))
        changes = (np.array(others) != base).astype(int)
        count, group_of = connected_components(changes @ changes.T)
        groups = (np.flatnonzero(group_of == number) for number in range(count))
        yield from (group for group in groups if changes[group].any())

    def _tried(self, combinations: np.ndarray, of: Callable[[Check], np.ndarray]) -> np.ndarray:
        """Something of every number of the step on each combination of sides, (combinations, numbers)."""
        at_a_time = max(1, AT_A_TIME // sum(kink.uncertain[0].size for kink in self.kinks))
        starts = range(0, len(combinations), at_a_time)
        parts = (self._on(combinations[start : start + at_a_time]) for start in starts)
        return np.concatenate([np.hstack([of(c).reshape(len(c.actual), -1) for c in checks]) for checks in parts])

    def _on(self, combinations: np.ndarray) -> list[Check]:
        """The checks of this step on each combination of sides, stacked in the place of steps."""
        sides = [np.zeros((len(combinations), *kink.uncertain.shape[1:])) for kink in self.kinks]
        for number, gate in enumerate(self.gates):
            sides[gate.kink][(slice(None), *gate.index)] = combinations[:, number]
        samples = int((self.problem.batches[self.run.steps[self.row]] >= 0).sum())
        stacked = cut(self.run, np.full(len(combinations), self.row), samples)
        kinks = Kinks(lambda place, _: sides[place])
        return list(islice(checks_of_steps(self.problem, stacked, kinks), self.count))
