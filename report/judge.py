"""Problem + Trajectory → Judgement: is every recorded number right, and if not, which is the first that isn't?

Every operation is judged locally: the reference's formula, fed with the backend's own recorded inputs, gives the
truth and the allowance (`reference/rounding.py`), and

    budget = (|actual - truth| + truth bound) / allowance,   within iff budget <= 1, so NaN fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from backends.trajectory import Trajectory, cut
from cases.problem import Problem
from cases.words import cut as cut_words
from reference.half import half
from reference.optimizers import init
from reference.proof import working_precision
from report.checks import Check, checks_of_steps, final_checks
from report.hints import hint
from report.published import Published, compare_published
from report.structure import structure_mistakes

ELEMENTS_AT_A_TIME = 32_768
BALL_BITS = 128
PUBLISHED, NOTHING = "published number", "nothing"


@dataclass(frozen=True, order=True)
class Finding:
    """Something that is not as it should be. The first in order of computation is the one that is told."""

    step: int
    order: int
    phase: str = field(compare=False)
    tensor: str = field(compare=False)
    index: tuple[int, ...] = field(compare=False)
    message: str = field(compare=False)
    verdict: str = field(compare=False, default="differs")
    budget: float = field(compare=False, default=np.inf)

    @property
    def place(self) -> str:
        """Step, phase, tensor and element in words."""
        tensor = f" of {self.tensor}" if self.tensor not in ("", self.phase) else ""
        at = f" at [{', '.join(map(str, self.index))}]" if self.index else ""
        return f"step {self.step}, {self.phase}{tensor}{at}"

    def __str__(self) -> str:
        return cut_words(f"{self.place}: {self.message}" if self.tensor else self.message)


@dataclass
class Ledger:
    """What was compared: steps, tensors (of one step each), elements, and elements that the allowance resolves."""

    steps: int = 0
    tensors: int = 0
    elements: int = 0
    resolved: int = 0


@dataclass
class Judgement:
    """What the judge says of one trajectory.

    Attributes:
        verdict: `certified`, `differs` or `out of range`.
        budget: the largest share of an allowance that was used; of the first failure, if there is one.
        where: the step, phase, tensor and index of that budget.
        message: the first failure in words; empty if certified.
        resolution: the largest error that might have passed in a gradient, relative to the tensor's largest element:
            the median over the steps, of the tensor where it is worst. None if all gradients are zero.
        scope: what the trajectory holds, `layers` or `gradients`; the latter is judged end to end.
        published: the numbers printed elsewhere, and whether they are met.
        budgets: the largest budget of every recorded step.
    """

    verdict: str
    budget: float
    where: Finding | None
    message: str
    resolution: float | None
    ledger: Ledger
    published: list[Published]
    budgets: np.ndarray
    scope: str

    @property
    def missed_the_truth(self) -> bool:
        """Some number is wrong; not if only a printed one is missed, or if there was nothing to compare."""
        return self.verdict == "differs" and self.where.phase not in (PUBLISHED, NOTHING)

    @property
    def only_print_missed(self) -> bool:
        """Every judged number is right, but one that was printed elsewhere is not met."""
        return self.where is not None and self.where.phase == PUBLISHED


def judge(problem: Problem, trajectory: Trajectory) -> Judgement:
    """Judge every recorded number of a trajectory."""
    if mistakes := structure_mistakes(problem, trajectory):
        first = Finding(0, 0, "structure", "", (), "; ".join(mistakes))
        return Judgement("differs", np.inf, first, str(first), None, Ledger(), [], np.zeros(0), trajectory.scope)
    tally = _Tally(problem, trajectory)
    with working_precision(BALL_BITS), threadpool_limits(1), np.errstate(all="ignore"):
        tally.findings += [*_copies(problem, trajectory), *_continuity(trajectory)]
        for block, positions in _blocks(problem, trajectory):
            for order, check in enumerate(checks_of_steps(problem, block)):
                tally.take(check, order, positions)
        for order, check in enumerate(final_checks(problem, trajectory)):
            tally.take(check, order, np.array([len(trajectory.steps)]))
        return tally.judgement(compare_published(problem, trajectory), partial(hint, problem, trajectory))


# ---------------------------------------------------------------- what must be equal


def _copies(problem: Problem, trajectory: Trajectory) -> Iterator[Finding]:
    """The initial parameters and the batches are the problem's; where no update is asked for, none is ever made."""
    for path, initial in problem.parameters.items():
        message = "the run starts from {}, but the case from {}"
        yield from _unequal(trajectory.before[path][:1], initial[None], trajectory.steps, "start", path, message)
        if path not in problem.trained:
            message = "the parameter is frozen; the step starts from {}, but the case from {}"
            before, same = trajectory.before[path], np.broadcast_to(initial, trajectory.before[path].shape)
            yield from _unequal(before, same, trajectory.steps, "continuity", path, message)
    trained = {path: half(problem.parameters[path]) for path in problem.trained}
    for name, initial in init(problem.optimizer, trained).items():
        message = "the run starts from a state of {}, but the optimizer from {}"
        yield from _unequal(trajectory.state_before[name][:1], initial[None], trajectory.steps, "start", name, message)
    for path, before in trajectory.before.items():
        if problem.optimizer is None or path not in problem.trained:
            message = "no update is asked for; found {} after the step, {} before it"
            yield from _unequal(trajectory.after[path], before, trajectory.steps, "update", path, message)
    if trajectory.has_layers:
        batches = problem.batches[trajectory.steps]
        real = (batches >= 0)[..., None]
        seen, message = trajectory.values["input"], "the step saw the input {}, but its batch holds {}"
        desired = np.where(real, problem.inputs[batches], seen)
        yield from _unequal(seen, desired, trajectory.steps, "value", "input", message)
        too_many = "the step saw one more sample than its batch has: found {} where {} should pad the record"
        desired = np.where(real, seen, seen.dtype.type(0))
        yield from _unequal(seen, desired, trajectory.steps, "value", "input", too_many)
        final, after_all = trajectory.final_values["input"], np.array([problem.steps])
        yield from _unequal(final[None], problem.inputs[None], after_all, "value", "input", message)


def _continuity(trajectory: Trajectory) -> Iterator[Finding]:
    """Where consecutive steps are recorded, a step starts from what the step before it left."""
    later = np.flatnonzero(np.diff(trajectory.steps) == 1) + 1
    message = "the step starts from {}, but the step before it left {}"
    for before, after in ((trajectory.before, trajectory.after), (trajectory.state_before, trajectory.state_after)):
        for name in before:
            taken, left = before[name][later], after[name][later - 1]
            yield from _unequal(taken, left, trajectory.steps[later], "continuity", name, message)


def _unequal(
    actual: np.ndarray, desired: np.ndarray, steps: np.ndarray, phase: str, tensor: str, message: str
) -> Iterator[Finding]:
    """The first element that differs in a single bit; the first axis is the steps."""
    bits = f"u{actual.itemsize}"
    other = np.ascontiguousarray(actual).view(bits) != np.ascontiguousarray(desired).view(bits)
    if other.any():
        at = np.unravel_index(other.argmax(), other.shape)
        index = tuple(int(i) for i in at[1:])
        yield Finding(int(steps[at[0]]), -1, phase, tensor, index, message.format(actual[at], desired[at]))


# ---------------------------------------------------------------- blocks of steps


def _blocks(problem: Problem, trajectory: Trajectory) -> Iterator[tuple[Trajectory, np.ndarray]]:
    """Steps with the same number of real samples, stacked, as many as fit well in memory."""
    sizes = (problem.batches[trajectory.steps] >= 0).sum(axis=1)
    a_step = problem.batches.shape[1] * max(problem.widths.values())
    at_a_time = max(1, ELEMENTS_AT_A_TIME // a_step)
    for size in np.unique(sizes):
        positions = np.flatnonzero(sizes == size)
        for start in range(0, len(positions), at_a_time):
            block = positions[start : start + at_a_time]
            yield cut(trajectory, block, size), block


# ---------------------------------------------------------------- the tally


class _Tally:
    """Adds the checks up. Its rows are the recorded steps, and behind them one for the final parameters."""

    def __init__(self, problem: Problem, trajectory: Trajectory):
        self.scope = trajectory.scope
        self.steps = np.append(trajectory.steps, problem.steps)
        self.findings: list[Finding] = []
        self.largest: tuple[float, Finding | None] = (0.0, None)
        self.budgets = np.zeros(len(self.steps))
        self.tensors, self.elements, self.resolved = np.zeros((3, len(self.steps)), int)
        self.resolutions: dict[str, np.ndarray] = {}

    def take(self, check: Check, order: int, rows: np.ndarray) -> None:
        """Count one tensor of the steps in these rows; remember its largest budget and its first failure."""
        budget, allowance, truth = (
            array.reshape(len(rows), -1) for array in (check.budget(), check.truth.allowance, check.truth.magnitude)
        )
        fails = ~(budget <= 1) | ~np.isfinite(allowance)
        if fails.any():
            row, element = np.unravel_index(fails.argmax(), fails.shape)
            self.findings.append(self._finding(check, order, rows[row], row, element, budget[row, element]))
        largest = budget.max(axis=1, initial=0)
        if largest.max() > self.largest[0]:
            row, element = np.unravel_index(budget.argmax(), budget.shape)
            self.largest = largest.max(), self._finding(check, order, rows[row], row, element, largest.max())
        self.budgets[rows] = np.fmax(self.budgets[rows], largest)
        self.tensors[rows] += 1
        self.elements[rows] += budget.shape[1]
        self.resolved[rows] += (allowance < truth).sum(axis=1)
        if check.phase == "gradient":
            unresolved = self.resolutions.setdefault(check.tensor, np.full(len(self.steps), np.nan))
            with np.errstate(all="ignore"):
                unresolved[rows] = allowance.max(axis=1) / truth.max(axis=1)

    def _finding(self, check: Check, order: int, row: int, position: int, element: int, budget: float) -> Finding:
        index = tuple(int(i) for i in np.unravel_index(element, check.actual.shape[1:]))
        verdict, message = check.describe(position, index, budget)
        return Finding(int(self.steps[row]), order, check.phase, check.tensor, index, message, verdict, float(budget))

    def _resolution(self) -> float | None:
        """The median over the steps, of the tensor where it is worst."""
        medians = [np.nanmedian(steps) for steps in self.resolutions.values() if np.isfinite(steps).any()]
        return max(medians, default=None)

    def judgement(self, published: list[Published], hint: Callable[[int, str, str], str]) -> Judgement:
        """The verdict, with the first finding in the order of computation and the mistake that it looks like."""
        first = min(self.findings, default=None)
        if first and first.verdict == "differs":
            first = replace(first, message=first.message + hint(first.step, first.phase, first.tensor))
        judged = self.steps <= first.step if first else np.full(len(self.steps), fill_value=True)
        ledger = Ledger(
            steps=int(judged[:-1].sum()),
            **{name: int(getattr(self, name)[judged].sum()) for name in ("tensors", "elements", "resolved")},
        )
        budget, where = self.largest
        if first:
            where, budget = first, first.budget
        elif missed := [number for number in published if number.status == "missed"]:
            entry = missed[0].entry
            where = first = Finding(entry.step, 0, PUBLISHED, entry.tensor, (), missed[0].message)
        elif not ledger.resolved:
            where = first = Finding(
                0, 0, NOTHING, "", (), "nothing was compared: no number is larger than its allowance"
            )
        return Judgement(
            verdict=first.verdict if first else "certified",
            budget=budget, where=where, message=str(first) if first else "",
            resolution=self._resolution(), ledger=ledger, published=published,
            budgets=self.budgets[:-1], scope=self.scope,
        )  # fmt: skip
