"""Kinks whose side is not certain: a program is on one side of each or on the other, never between.

So the numbers behind them are compared with each side. Where operations are judged one by one, an
element depends on the kink of that element alone. Where something is followed a number adds up what
is behind many of them, and all numbers of a step must fit the same sides: all combinations are
tried of those that change a number together, seen from several sides. Where these are too many,
what is behind them is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components

from backproof.backends.trajectory import Trajectory, cut
from backproof.cases.problem import Problem
from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.bounded import Bounded
from backproof.reference.numbers.kinks import Kink, Kinks
from backproof.report.judging.operations import Check, checks_of_steps

MOST_COMBINATIONS, MOST_GATES = 1024, 1024
AT_A_TIME = 65_536
PASSES = ("value", "buffer", "loss", "cotangent", "gradient")  # forward and backward
PARTS = ("value", "bound", "magnitude")  # arrays of a truth
ChecksOf = Callable[[Kinks], Iterable[Check]]


def decided_checks(problem: Problem, run: Trajectory) -> list[Check]:
    """Return the checks of some steps, behind an uncertain kink with the side that fits best."""
    kinks, first, others, together = Kinks(), [], [], 0
    for check in checks_of_steps(problem, run, kinks):
        if run.has_layers or check.phase not in PASSES:
            others.append(check)
        else:
            first.append(check)
            together = len(kinks.met)
    return [
        *_all_together(problem, run, first, kinks.met[:together]),
        *_each_alone(problem, run, others, kinks.met, together),
    ]


def _uncertain_rows(kinks: list[Kink], steps: int) -> np.ndarray:
    """Return the steps at which the side of one of these kinks is uncertain."""
    uncertain = [kink.uncertain.reshape(steps, -1).any(axis=1) for kink in kinks]
    return np.flatnonzero(np.any(uncertain, axis=0))


def _copied(truth: Bounded) -> Bounded:
    """Copy a truth, to replace it at some steps; of an interval no more is claimed than that."""
    value, bound, magnitude = (getattr(truth, part).copy() for part in PARTS)
    copied = Bounded(value, bound, truth.precision, magnitude=magnitude)
    copied.shared = truth.shared
    return copied


# ---------------------------------------------------------------- one by one


def _each_alone(
    problem: Problem, run: Trajectory, checks: list[Check], kinks: list[Kink], since: int
) -> Iterator[Check]:
    """Yield each check with the sides that its elements fit best, of the kinks from `since` on.

    An element passes them one after the other, at most one of each depth.
    """
    uncertain = [kink for kink in kinks[since:] if kink.uncertain.any()]
    if not (checks and uncertain):
        yield from checks
        return
    rows = _uncertain_rows(uncertain, len(run.steps))
    checks_of = partial(checks_of_steps, problem, _cut(problem, run, rows))
    yield from on_best_sides(checks, rows, uncertain, checks_of, since)


def on_best_sides(
    checks: list[Check],
    rows: np.ndarray,
    uncertain: list[Kink],
    checks_of: ChecksOf,
    since: int = 0,
) -> Iterator[Check]:
    """Yield each check with its elements on the sides where they fit best.

    Args:
        checks: of some steps.
        rows: of those at which something is uncertain.
        uncertain: the kinks, of those from number `since` on.
        checks_of: computes the last of these checks at these rows, with the sides that it is told.
        since: see above.
    """
    all_sides = _on_all_sides(checks_of, uncertain, since)
    on_sides = [found[-len(checks) :] for found in all_sides]
    for check, *sides in zip(checks, *on_sides, strict=True):
        yield _best(check, rows, sides)


def _on_all_sides(checks_of: ChecksOf, uncertain: list[Kink], since: int) -> Iterator[list[Check]]:
    """Yield the checks on each side of the kinks, depth by depth: a side may decide deeper ones."""
    waiting = _further({}, uncertain)
    while waiting:
        signs = waiting.pop()

        def side(place: int, kink: Kink, signs: dict[int, float] = signs) -> float | None:
            return signs.get(kink.depth) if place >= since else None

        kinks = Kinks(side)
        checks = list(checks_of(kinks))
        further = _further(signs, [kink for kink in kinks.met[since:] if kink.uncertain.any()])
        waiting += further
        if not further:
            yield checks


def _further(signs: dict[int, float], uncertain: list[Kink]) -> list[dict[int, float]]:
    """Add to signs by depth each that makes a difference at the first depth that has none yet."""
    untold = [kink for kink in uncertain if kink.depth not in signs]
    depth = min((kink.depth for kink in untold), default=None)
    at_depth = {sign for kink in untold if kink.depth == depth for sign in kink.signs}
    return [signs | {depth: sign} for sign in sorted(at_depth)]


def _cut(problem: Problem, run: Trajectory, rows: np.ndarray) -> Trajectory:
    """Return some of the steps, which have as many samples as all of them."""
    return cut(run, rows, int((problem.batches[run.steps[0]] >= 0).sum()))


def _best(check: Check, rows: np.ndarray, sides: list[Check]) -> Check:
    """Return the check with each element of these rows on the side where it fits best."""
    budgets = np.array([side.budget() for side in sides])
    best = np.nan_to_num(budgets, nan=np.inf).argmin(axis=0)[None]
    truth = _copied(check.truth)
    for part in PARTS:
        on_sides = np.stack([getattr(side.truth, part) for side in sides])
        getattr(truth, part)[rows] = np.take_along_axis(on_sides, best, axis=0)[0]
    return check._replace(truth=truth)


# ---------------------------------------------------------------- end to end


class _Gate(NamedTuple):
    """One uncertain element of a kink in one step, and the signs to try."""

    place: int
    element: tuple[int, ...]
    signs: tuple[float, ...]


def _all_together(
    problem: Problem, run: Trajectory, checks: list[Check], kinks: list[Kink]
) -> Iterator[Check]:
    """Yield what both passes leave; of an uncertain step, on the sides that fit best."""
    if not any(kink.uncertain.any() for kink in kinks):
        yield from checks
        return
    truths = [_copied(check.truth) for check in checks]
    undecided = [np.zeros(check.actual.shape, bool) for check in checks]
    for row in _uncertain_rows(kinks, len(run.steps)):
        step = _Step(problem, run, int(row), kinks, len(checks))
        best, fits = step.best()
        for check, truth, unknown, at_best in zip(checks, truths, undecided, best, strict=True):
            if fits or step.all_were_tried:
                for part in PARTS:
                    getattr(truth, part)[row] = getattr(at_best, part)[0]
            else:
                wider = check.truth.bound[row] > at_best.bound[0]
                unknown[row] = wider & (check.budget()[row] <= 1)
    for check, truth, unknown in zip(checks, truths, undecided, strict=True):
        yield check._replace(truth=truth, undecided=unknown if unknown.any() else None)


class _Step:
    """One step with its uncertain gates, and what comes of the sides that are tried of them."""

    def __init__(self, problem: Problem, run: Trajectory, row: int, kinks: list[Kink], count: int):
        self.problem, self.run, self.row, self.count = problem, run, row, count
        self.gates = [
            _Gate(place, tuple(map(int, index)), kink.signs)
            for place, kink in enumerate(kinks)
            for index in np.argwhere(kink.uncertain[row])
        ]
        self.signs = [np.sign(floats(kink.numbers.value[row])) for kink in kinks]
        self.all_were_tried = True

    def best(self) -> tuple[list[Bounded], bool]:
        """Look for the sides that fit best: the likely ones, none at all, or those of each group.

        Returns:
            The truths there, each of one step, and whether everything fits.
        """
        sides = np.array([self.signs[gate.place][gate.element] for gate in self.gates])
        for likely in (sides, 0 * sides):
            if self._fits(likely):
                return self._at(likely), True
        groups = list(self._groups())
        for together in groups:
            sides = self._tried_together(together, sides)
        if sum(map(len, groups)) < len(self.gates) and not self._fits(sides):
            sides = self._tried_together(np.arange(len(self.gates)), sides)
        return self._at(sides), self._fits(sides)

    def _fits(self, sides: np.ndarray) -> bool:
        """Return whether every number fits these sides, (gates,)."""
        return not self._misfits(sides[None]).any()

    def _tried_together(self, gates: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """Return the sides with those of these gates that fit best, if these are not too many."""
        signs = [self.gates[gate].signs for gate in gates]
        if (count := prod(map(len, signs))) > MOST_COMBINATIONS:
            self.all_were_tried = False
            return sides
        combinations = np.repeat(sides[None], count, axis=0)
        combinations[:, gates] = list(product(*signs))
        return combinations[self._misfits(combinations).argmin()]

    def _groups(self) -> Iterator[np.ndarray]:
        """Yield the gates that change a number together; what changes nothing is in no group."""
        if len(self.gates) > MOST_GATES:
            self.all_were_tried = False
            return
        changes = np.any([self._changes(base) for base in self._bases()], axis=0)
        numbers = changes.astype(np.float32)
        count, group_of = connected_components(numbers @ numbers.T)
        groups = (np.flatnonzero(group_of == number) for number in range(count))
        yield from (group for group in groups if changes[group].any())

    def _bases(self) -> Iterator[np.ndarray]:
        """Yield sides from which to look what a gate changes.

        What is behind a closed one does not show, nor what cancels.
        """
        highest = np.array([max(gate.signs) for gate in self.gates])
        lowest = np.array([min(gate.signs) for gate in self.gates])
        odd = np.arange(len(self.gates)) % 2 > 0
        yield from (highest, lowest, np.where(odd, highest, lowest), np.where(odd, lowest, highest))

    def _changes(self, base: np.ndarray) -> np.ndarray:
        """Find which numbers another side of each gate changes, (gates, numbers)."""
        changed = np.repeat(base[None], len(self.gates) + 1, axis=0)
        for number, gate in enumerate(self.gates):
            changed[number + 1, number] = next(sign for sign in gate.signs if sign != base[number])
        first, *others = self._tried(changed, lambda check: floats(check.truth.value))
        return np.array(others) != first

    def _misfits(self, combinations: np.ndarray) -> np.ndarray:
        """Count the numbers that do not fit each combination, (combinations,)."""
        return (~(self._tried(combinations, Check.budget) <= 1)).sum(axis=1)

    def _tried(self, combinations: np.ndarray, of: Callable[[Check], np.ndarray]) -> np.ndarray:
        """Take something of every number of the step, (combinations, numbers)."""
        at_a_time = max(1, AT_A_TIME // max(1, sum(signs.size for signs in self.signs)))
        parts = np.split(combinations, range(at_a_time, len(combinations), at_a_time))
        checks = map(self._on, parts)
        rows = [np.hstack([of(c).reshape(len(c.actual), -1) for c in part]) for part in checks]
        return np.concatenate(rows)

    def _at(self, sides: np.ndarray) -> list[Bounded]:
        """Return the truths on these sides, (gates,)."""
        return [check.truth for check in self._on(sides[None])]

    def _on(self, combinations: np.ndarray) -> list[Check]:
        """Return the checks of this step on each combination, stacked in the place of steps."""
        sides = [np.repeat(signs[None], len(combinations), axis=0) for signs in self.signs]
        for number, gate in enumerate(self.gates):
            at: tuple[Any, ...] = (slice(None), *gate.element)
            sides[gate.place][at] = combinations[:, number]
        stacked = _cut(self.problem, self.run, np.full(len(combinations), self.row))
        kinks = Kinks(lambda place, _: sides[place] if place < len(sides) else None)
        return list(islice(checks_of_steps(self.problem, stacked, kinks), self.count))
