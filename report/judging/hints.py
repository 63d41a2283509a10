"""Where what was found fits a known mistake as a whole, the message says so.

A mistake is computed, not guessed: the reference's own formulas on a changed problem, or a changed
formula on the recorded numbers. It is told where it gives every element of the tensor (end to end:
of all gradients and of the loss) within the allowance, here and at other wrong steps. The families
stand in order, the more specific ones first; the first one with a mistake that fits is told, and no
other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem
from backproof.report.judging.mistakes import (
    copies,
    digits,
    factors,
    layers,
    losses,
    optimizing,
    passes,
    schedules,
    sharing,
)
from backproof.report.judging.mistakes.scene import Key, Mistake, Mistakes, Scene

EVIDENCE = 3  # digits
ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # of telling
LOOK = "look at "
OTHER_STEPS, STEPS_TO_TRY, AT_MOST = 3, 8, 3
Family = Callable[[Scene], Mistakes]

LAST = (factors.of_any_factor, factors.of_other_places, factors.of_a_changing_factor)
FAMILIES: dict[str, list[Family]] = {
    "value": [layers.values, layers.other_values, *LAST],
    "loss": [
        *(sharing.penalties, factors.of_other_steps, factors.of_known_factors),
        *(passes.settings, passes.forwards, passes.samples, losses.values, losses.settings),
        *(losses.parts, factors.of_any_factor, losses.other_kinds, *LAST),
    ],
    "cotangent": [
        *(factors.of_other_steps, sharing.users, passes.kinks, passes.slopes),
        *(factors.of_known_factors, losses.slopes, losses.settings, losses.parts),
        *(factors.of_any_factor, losses.other_kinds, passes.other_slopes, *LAST),
    ],
    "gradient": [
        *(sharing.penalties, sharing.users, factors.of_other_steps, optimizing.on_record),
        *(passes.kinks, passes.settings, factors.of_known_factors, passes.slopes),
        *(losses.slopes, losses.settings, losses.parts, factors.of_any_factor, passes.of_factors),
        passes.joint,
        *(losses.other_kinds, passes.other_slopes, passes.slopes_and_factors, passes.gradients),
        *(factors.of_other_tensors, *LAST),
    ],
    "learning rate": [schedules.rates, factors.of_any_factor],
    "state": [optimizing.settings, optimizing.formulas, factors.of_known_factors, *LAST],
    "update": [
        *(optimizing.settings, optimizing.formulas, factors.of_other_steps),
        *(optimizing.other_kinds, optimizing.followed, factors.of_known_factors),
        *(factors.of_other_tensors, *LAST),
    ],
}
OF_A_TENSOR = [factors.of_known_factors, passes.gradients, factors.of_other_tensors, *LAST]
TABLES = {  # of which the first mistake that fits is told, and no other
    *(layers.other_values, schedules.rates, losses.other_kinds, passes.other_slopes),
    *(optimizing.other_kinds, optimizing.followed),
}


class Hint(NamedTuple):
    """What to add to a message about a wrong tensor, and where to look instead, if known."""

    words: str = ""
    look: str = ""

    def added_to(self, message: str) -> str:
        """Return the message with these words, and this place to look at instead of its own."""
        return self.instead_of(message) + self.words

    def instead_of(self, look: str) -> str:
        """Return the words with this place to look at in place of theirs, if it is known."""
        before, mark, _ = look.rpartition(LOOK)
        return before + self.look if mark and self.look else look


def hint(problem: Problem, trajectory: Trajectory, step: int, phase: str, tensor: str) -> Hint:
    """Return the known mistakes that would have given this wrong tensor, mostly none."""
    try:
        return found(problem, trajectory, step, phase, tensor)
    except ERRORS:
        return Hint()  # telling never changes a verdict


def found(problem: Problem, trajectory: Trajectory, step: int, phase: str, tensor: str) -> Hint:
    """Return what `hint` does, but raise what goes wrong."""
    if step == problem.steps:
        return Hint()
    scene = Scene(problem, trajectory, int(np.searchsorted(trajectory.steps, step)), phase, tensor)
    if phase in copies.PHASES and (statement := copies.told(scene)):
        return Hint(statement)
    if phase not in FAMILIES or not scene.checks:
        return Hint()
    if np.isnan(scene.found[scene.key]).all():
        return Hint("; every element is NaN")
    others = list(_other_wrong_steps(scene))
    if known := first_fitting(FAMILIES[phase], scene, others):
        return known
    if len(scene.checks) > 1 and (scene.truth.size > 1 or others):  # what explains this one alone
        families = FAMILIES["loss"] if phase == "loss" else OF_A_TENSOR
        alone, *others = (replace(one, alone=True) for one in (scene, *others))
        if known := first_fitting(families, alone, others):
            return known
    return Hint(digits.told(scene))


def first_fitting(families: Sequence[Family], scene: Scene, others: list[Scene]) -> Hint | None:
    """Return what the first family with a mistake that fits says of the step, None if none does."""
    for family in families:
        if fitting := _fitting(family, scene, others):
            return _said(fitting[:1] if family in TABLES else fitting)
    return None


def _other_wrong_steps(scene: Scene) -> Iterator[Scene]:
    """Yield some later steps, of as many samples, at which the same tensor is wrong too."""
    sizes = (scene.problem.batches[scene.trajectory.steps] >= 0).sum(axis=1)
    rows = np.flatnonzero(sizes == sizes[scene.row])
    later = rows[rows > scene.row][:STEPS_TO_TRY].tolist()
    others = (replace(scene, row=row) for row in later)
    wrong = (
        one for one in others if np.isfinite(one.found[one.key]).all() and one.is_wrong(one.key)
    )
    yield from islice(wrong, OTHER_STEPS)


# ---------------------------------------------------------------- comparing


def _fitting(family: Family, scene: Scene, others: list[Scene]) -> list[Mistake]:
    """Return the mistakes of a family that explain the step and the other ones."""
    fitting = _explaining(family, scene)
    for other in others:
        again = {mistake.words for mistake in _explaining(family, other)} if fitting else set()
        fitting = [mistake for mistake in fitting if mistake.words in again]
    steps = 1 + len(others)
    return [
        mistake
        for mistake in fitting
        if (others or not mistake.again) and _evidence(mistake, scene) * steps > EVIDENCE
    ]


def _explaining(family: Family, scene: Scene) -> list[Mistake]:
    """Return the mistakes that give what was found, and not what is right."""
    return [mistake for mistake in family(scene) if _explains(mistake, scene)]


def _explains(mistake: Mistake, scene: Scene) -> bool:
    """Return whether every number that was found is the mistake's, and some are not the truth's."""
    if scene.key not in mistake.tensors:
        return False
    tensors = scene.truths | mistake.tensors
    for key in scene.checks:
        mistaken, found = tensors[key], scene.found[key]
        if mistaken.shape != found.shape:
            return False
        if not (np.abs(found - mistaken) <= _limits(mistaken, scene, key)).all():
            return False
    mistaken = tensors[scene.key]
    near = np.abs(mistaken - scene.truth) <= 2 * _limits(mistaken, scene, scene.key)
    return not near.all()


def _evidence(mistake: Mistake, scene: Scene) -> float:
    """Compute how unlikely a coincidence is, in digits.

    It is by how many allowances the mistake lies beside the truth.
    """
    told_apart = 0.0
    for key, mistaken in mistake.tensors.items():
        allowances = np.abs(mistaken - scene.truths[key]) / _limits(mistaken, scene, key)
        told_apart += np.nan_to_num(np.log10(np.maximum(allowances, 1)), posinf=16).sum()
    return float(told_apart)


def _limits(mistaken: np.ndarray, scene: Scene, key: Key) -> np.ndarray:
    """Return the allowance of each element; of larger numbers than the true ones as much more."""
    truth, rounding = np.abs(scene.truths[key]), scene.rounding[key]
    largest = truth.max(initial=0)
    if not largest:
        return 64 * scene.precision.u * np.abs(mistaken)
    relative = np.median(rounding[truth > 0] / truth[truth > 0])
    return rounding * (1 + np.abs(mistaken).max() / largest) + 4 * relative * np.abs(mistaken)


# ---------------------------------------------------------------- words


def _said(mistakes: list[Mistake]) -> Hint:
    """Say at most three of them, each by its own words."""
    first, looks = mistakes[0], {mistake.look for mistake in mistakes}
    look = first.look if len(looks) == 1 else ""
    if first.statement:
        return Hint(f"; {first.words}", look)
    words = dict.fromkeys(mistake.words for mistake in mistakes if not mistake.statement)
    several = ", or ".join(list(words)[:AT_MOST])
    return Hint(f"; this is what {several} would give".replace(",,", ","), look)
