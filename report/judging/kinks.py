"""Kinks whose side is not certain: a correct program is on one side of each or on the other, never between.

So the numbers behind them are compared with each side. Where operations are judged one by one, an element depends on
the kink of that element alone. End to end a gradient adds up what is behind many of them, and all gradients of a step
must fit the same sides: all combinations are tried of those that change a number together, seen from several sides.
Where these are too many, what is behind them is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from math import prod
from typing import NamedTuple

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
END_TO_END = ("loss", "gradient")


def decided_checks(problem: Problem, run: Trajectory) -> list[Check]:
    """The checks of some steps, where a side is uncertain with the truth of the side that fits best."""
    kinks, checks, together = Kinks(), [], 0
    for check in checks_of_steps(problem, run, kinks):
        checks.append(check)
        if not run.has_layers and check.phase in END_TO_END:
            together = len(kinks.met)
    first = sum(not run.has_layers and check.phase in END_TO_END for check in checks)
    return [
        *_all_together(problem, run, checks[:first], kinks.met[:together]),
        *_each_alone(problem, run, checks[first:], kinks.met, together),
    ]


def _uncertain_rows(kinks: list[Kink], steps: int) -> np.ndarray:
    """The steps at which the side of one of these kinks is uncertain."""
    return np.flatnonzero(
        np.any([kink.uncertain.reshape(steps, -1).any(axis=1) for kink in kinks], axis=0)
    )


# ---------------------------------------------------------------- one by one


def _each_alone(
    problem: Problem, run: Trajectory, checks: list[Check], kinks: list[Kink], since: int
) -> Iterator[Check]:
    """Each element with the truth of the sides that it fits best, of the kinks met from the place `since` on.

    An element passes them one after the other, at most one of each depth.
    """
    uncertain = [kink for kink in kinks[since:] if kink.uncertain.any()]
    if not uncertain:
        yield from checks
        return
    rows = _uncertain_rows(uncertain, len(run.steps))
    on_sides = [
        found[-len(checks) :]
        for found in _on_all_sides(problem, _cut(problem, run, rows), uncertain, since)
    ]
    for check, *sides in zip(checks, *on_sides, strict=True):
        yield _best(check, rows, [side.truth for side in sides], [side.budget() for side in sides])


def _on_all_sides(
    problem: Problem, run: Trajectory, uncertain: list[Kink], since: int
) -> Iterator[list[Check]]:
    """The checks on each side of the kinks, one depth after the other: what is told may decide the deeper ones."""
    waiting = _further({}, uncertain)
    while waiting:
        signs = waiting.pop()
        kinks = Kinks(
            lambda place, kink, signs=signs: signs.get(kink.depth) if place >= since else None
        )
        checks = list(checks_of_steps(problem, run, kinks))
        if further := _further(signs, [kink for kink in kinks.met[since:] if kink.uncertain.any()]):
            waiting += further
        else:
            yield checks


def _further(signs: dict[int, float], uncertain: list[Kink]) -> list[dict[int, float]]:
    """These signs by depth, and each that makes a difference at the first depth that is told none yet."""
    untold = [kink for kink in uncertain if kink.depth not in signs]
    depth = min((kink.depth for kink in untold), default=None)
    return [
        signs | {depth: sign}
        for sign in sorted({s for kink in untold if kink.depth == depth for s in kink.signs})
    ]


def _cut(problem: Problem, run: Trajectory, rows: np.ndarray) -> Trajectory:
    """Some of the steps, which have as many samples as all of them."""
    return cut(run, rows, int((problem.batches[run.steps[0]] >= 0).sum()))


def _best(
    check: Check, rows: np.ndarray, truths: list[Bounded], budgets: list[np.ndarray]
) -> Check:
    """The check with each element of these rows as it fits best."""
    best = np.nan_to_num(budgets, nan=np.inf).argmin(axis=0)[None]
    truth = _Patched(check.truth)
    truth.put(
        rows,
        [
            np.take_along_axis(np.stack(parts), best, axis=0)[0]
            for parts in zip(*map(_parts, truths), strict=True)
        ],
    )
    return check._replace(truth=truth.bounded())


def _parts(truth: Bounded) -> tuple:
    return truth.value, truth.bound, truth.magnitude


class _Patched:
    """A truth of some steps, of which some are replaced."""

    def __init__(self, truth: Bounded):
        self.precision, self.parts = truth.precision, [part.copy() for part in _parts(truth)]

    def put(self, rows: np.ndarray | int, found: Sequence[np.ndarray]) -> None:
        """Replace these steps."""
        for part, new in zip(self.parts, found, strict=True):
            part[rows] = new

    def bounded(self) -> Bounded:
        """What there is now; where it is an interval still, no more is claimed of it than that."""
        value, bound, magnitude = self.parts
        return Bounded(value, bound, self.precision, magnitude=magnitude)


# ---------------------------------------------------------------- end to end


class _Gate(NamedTuple):
    """One uncertain element of a kink in one step, and the signs to try."""

    place: int
    index: tuple[int, ...]
    signs: tuple[float, ...]


def _all_together(
    problem: Problem, run: Trajectory, checks: list[Check], kinks: list[Kink]
) -> Iterator[Check]:
    """The loss and the gradients of all steps, those of an uncertain step with the truth of the sides that fit best."""
    if not any(kink.uncertain.any() for kink in kinks):
        yield from checks
        return
    truths = [_Patched(check.truth) for check in checks]
    undecided = [np.zeros(check.actual.shape, bool) for check in checks]
    for row in _uncertain_rows(kinks, len(run.steps)):
        step = _Step(problem, run, int(row), kinks, len(checks))
        best, fits = step.best()
        for check, truth, unknown, at_best in zip(checks, truths, undecided, best, strict=True):
            if fits or step.all_were_tried:
                truth.put(row, [part[0] for part in _parts(at_best)])
            else:
                unknown[row] = (check.truth.bound[row] > at_best.bound[0]) & (
                    check.budget()[row] <= 1
                )
    for check, truth, unknown in zip(checks, truths, undecided, strict=True):
        yield check._replace(truth=truth.bounded(), undecided=unknown if unknown.any() else None)


class _Step:
    """One step with its uncertain gates, and what comes of the sides that are tried of them."""

    def __init__(self, problem: Problem, run: Trajectory, row: int, kinks: list[Kink], count: int):
        self.problem, self.run, self.row, self.kinks, self.count = (
            problem,
            run,
            np.array([row]),
            kinks,
            count,
        )
        self.gates = [
            _Gate(place, tuple(map(int, index)), kink.signs)
            for place, kink in enumerate(kinks)
            for index in np.argwhere(kink.uncertain[row])
        ]
        self.signs = [np.sign(floats(kink.numbers.value[row])) for kink in kinks]
        self.all_were_tried = True

    def best(self) -> tuple[list[Bounded], bool]:
        """The truths on the sides that fit best, each of one step, and whether everything fits there."""
        sides = np.array([self.signs[gate.place][gate.index] for gate in self.gates])
        for likely in (sides, 0 * sides):
            if not self._misfits(likely[None]).any():
                return self._at(likely), True
        groups = list(self._groups())
        for together in groups:
            sides = self._tried_together(together, sides)
        if self._misfits(sides[None]).any() and len(np.concatenate([[], *groups])) < len(
            self.gates
        ):
            sides = self._tried_together(np.arange(len(self.gates)), sides)
        return self._at(sides), not self._misfits(sides[None]).any()

    def _tried_together(self, gates: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """The sides with those of these gates that fit best, of all combinations if they are not too many."""
        signs = [self.gates[gate].signs for gate in gates]
        if (count := prod(map(len, signs))) > MOST_COMBINATIONS:
            self.all_were_tried = False
            return sides
        combinations = np.repeat(sides[None], count, axis=0)
        combinations[:, gates] = list(product(*signs))
        return combinations[self._misfits(combinations).argmin()]

    def _groups(self) -> Iterator[np.ndarray]:
        """The gates that change a number together, a group for each; a gate that changes nothing is in none."""
        if len(self.gates) > MOST_GATES:
            self.all_were_tried = False
            return
        changes = sum(self._changes(base) for base in self._bases()) > 0
        numbers = changes.astype(np.float32)
        count, group_of = connected_components(numbers @ numbers.T)
        groups = (np.flatnonzero(group_of == number) for number in range(count))
        yield from (group for group in groups if changes[group].any())

    def _bases(self) -> Iterator[np.ndarray]:
        """Sides from which to look what a gate changes: what is behind a closed one does not show, nor what cancels."""
        highest, lowest = (
            np.array([pick(gate.signs) for gate in self.gates]) for pick in (max, min)
        )
        odd = np.arange(len(self.gates)) % 2 > 0
        yield from (highest, lowest, np.where(odd, highest, lowest), np.where(odd, lowest, highest))

    def _changes(self, base: np.ndarray) -> np.ndarray:
        """(gates, numbers): which numbers another side of each gate changes."""
        changed = np.repeat(base[None], len(self.gates) + 1, axis=0)
        for number, gate in enumerate(self.gates):
            changed[number + 1, number] = next(sign for sign in gate.signs if sign != base[number])
        first, *others = self._tried(changed, lambda check: floats(check.truth.value))
        return np.array(others) != first

    def _misfits(self, combinations: np.ndarray) -> np.ndarray:
        """How many numbers do not fit each combination."""
        return (~(self._tried(combinations, Check.budget) <= 1)).sum(axis=1)

    def _tried(self, combinations: np.ndarray, of: Callable[[Check], np.ndarray]) -> np.ndarray:
        """Something of every number of the step on each combination of sides, (combinations, numbers)."""
        at_a_time = max(1, AT_A_TIME // max(1, sum(signs.size for signs in self.signs)))
        starts = range(0, len(combinations), at_a_time)
        parts = (self._on(combinations[start : start + at_a_time]) for start in starts)
        return np.concatenate(
            [np.hstack([of(c).reshape(len(c.actual), -1) for c in checks]) for checks in parts]
        )

    def _at(self, sides: np.ndarray) -> list[Bounded]:
        return [check.truth for check in self._on(sides[None])]

    def _on(self, combinations: np.ndarray) -> list[Check]:
        """The checks of this step on each combination of sides, stacked in the place of steps."""
        sides = [np.repeat(signs[None], len(combinations), axis=0) for signs in self.signs]
        for number, gate in enumerate(self.gates):
            sides[gate.place][(slice(None), *gate.index)] = combinations[:, number]
        stacked = _cut(self.problem, self.run, np.repeat(self.row, len(combinations)))
        kinks = Kinks(lambda place, _: sides[place] if place < len(sides) else None)
        return list(islice(checks_of_steps(self.problem, stacked, kinks), self.count))
