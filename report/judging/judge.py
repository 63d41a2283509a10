"""Problem + Trajectory → Judgement: is every recorded number right, and if not, which is the first that isn't?

Every operation is judged locally: the reference's formula, fed with the backend's own recorded inputs, gives the
truth and the allowance (`reference/numbers/bounded.py`), and

    budget = (|actual - truth| + truth bound) / allowance,   within iff budget <= 1, so NaN fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from backproof.backends.trajectory import Trajectory, cut, settled
from backproof.cases.problem import Problem
from backproof.reference.formulas.optimizers import init
from backproof.reference.numbers.balls import working_precision
from backproof.reference.numbers.half import half
from backproof.report.judging.blame import explained
from backproof.report.judging.finding import Finding
from backproof.report.judging.following import followed, notes
from backproof.report.judging.kinks import decided_checks
from backproof.report.judging.operations import Check, final_checks
from backproof.report.judging.published import Published, compare_published, tell_misses
from backproof.report.judging.structure import structure_mistakes

ELEMENTS_AT_A_TIME = 32_768
BALL_BITS = 128
PUBLISHED, NOTHING, INCOMPLETE = "published number", "nothing", "incomplete"
DROWNED = (
    "no element of the step is larger than the bound of what is followed of the state: a step of zero would pass as "
    "well; record the state"
)


@dataclass
class Ledger:
    """What was compared: steps, tensors (of one step each), and elements.

    Of these some are resolved, larger than their allowance, and some undecided, behind kinks whose side is not certain.
    """

    steps: int = 0
    tensors: int = 0
    elements: int = 0
    resolved: int = 0
    undecided: int = 0


@dataclass(frozen=True)
class Resolution:
    """The largest error that may have passed in a gradient.

    Attributes:
        relative: to the largest element of its tensor, where that is larger than the error.
        absolute: of tensors that have no such element at a step, as where the truth is 0; 0 if there are none.
        median: the relative one at the median step, of the tensor where that is worst.
    """

    relative: float = 0.0
    absolute: float = 0.0
    median: float = 0.0


@dataclass
class Judgement:
    """What the judge says of one trajectory.

    Attributes:
        verdict: `certified`, `differs`, `undecided`, `out of range`, or `incomplete` where the record lacks something
            or holds something else than it must; then no number was compared.
        budget: the largest share of an allowance that was used; of the first failure, if there is one.
        where: the step, phase, tensor and index of that budget.
        message: the first failure in words, and what is not recorded; empty if nothing is to be told.
        resolution: the largest error that may have passed in a gradient, of the worst tensor at the worst judged step.
        scope: what the trajectory holds, `layers` or `gradients`; the latter is judged end to end.
        published: the numbers printed elsewhere, and whether they are met.
        budgets: the largest budget of every recorded step.
        borrowed: the phases that the reference computed for the run; judged, but in no budget and no ledger.
    """

    verdict: str
    budget: float
    where: Finding | None
    message: str
    resolution: Resolution
    ledger: Ledger
    published: list[Published]
    budgets: np.ndarray
    scope: str
    borrowed: tuple[str, ...] = ()

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
        first = Finding(0, 0, "structure", "", (), "; ".join(mistakes), INCOMPLETE, np.nan)
        none = Resolution(), Ledger(), [], np.zeros(0)
        return Judgement(INCOMPLETE, np.nan, first, str(first), *none, trajectory.scope)
    trajectory = settled(trajectory, problem.recorded)
    tally = _Tally(problem, trajectory)
    with working_precision(BALL_BITS), threadpool_limits(1), np.errstate(all="ignore"):
        tally.findings += [
            *_copies(problem, trajectory),
            *_padding(problem, trajectory),
            *_continuity(trajectory),
        ]
        run = followed(problem, trajectory)
        for block, positions in _blocks(problem, run):
            for order, check in enumerate(decided_checks(problem, block)):
                tally.take(check, order, positions)
        for order, check in enumerate(final_checks(problem, trajectory)):
            tally.take(check, order, np.array([len(trajectory.steps)]))
        judgement = tally.judgement(
            compare_published(problem, trajectory), partial(explained, problem, run)
        )
        return replace(
            judgement,
            message="; ".join(filter(None, [judgement.message, *notes(problem, trajectory)])),
        )


# ---------------------------------------------------------------- what must be equal


def _copies(problem: Problem, trajectory: Trajectory) -> Iterator[Finding]:
    """The initial parameters and the batches are the problem's; where no update is asked for, none is ever made."""
    for path, initial in problem.parameters.items():
        message = "the run starts from {}, but the case from {}"
        yield from _unequal(
            trajectory.before[path][:1], initial[None], trajectory.steps, "start", path, message
        )
        if path not in problem.trained:
            message = "the parameter is frozen; the step starts from {}, but the case from {}"
            before, same = (
                trajectory.before[path],
                np.broadcast_to(initial, trajectory.before[path].shape),
            )
            yield from _unequal(before, same, trajectory.steps, "continuity", path, message)
    trained = {path: half(problem.parameters[path]) for path in problem.trained}
    for name, initial in (
        init(problem.optimizer, trained).items() if trajectory.state_before else ()
    ):
        message = "the run starts from a state of {}, but the optimizer from {}"
        yield from _unequal(
            trajectory.state_before[name][:1],
            initial[None],
            trajectory.steps,
            "start",
            name,
            message,
        )
    for path, initial in problem.buffers.items():
        message = "the run starts from a buffer of {}, but the layer from {}"
        yield from _unequal(
            trajectory.buffers_before[path][:1],
            initial[None],
            trajectory.steps,
            "start",
            path,
            message,
        )
    for path, before in trajectory.before.items():
        if problem.optimizer is None or path not in problem.trained:
            message = "no update is asked for; found {} after the step, {} before it"
            yield from _unequal(
                trajectory.after[path], before, trajectory.steps, "update", path, message
            )
    if trajectory.has_layers:
        batches = problem.batches[trajectory.steps]
        seen, message = (
            trajectory.values["input"],
            "the step saw the input {}, but its batch holds {}",
        )
        desired = np.where(_of_samples(batches >= 0, seen), problem.inputs[batches], seen)
        yield from _unequal(seen, desired, trajectory.steps, "value", "input", message)
        final, after_all = trajectory.final_values["input"], np.array([problem.steps])
        yield from _unequal(final[None], problem.inputs[None], after_all, "value", "input", message)


def _padding(problem: Problem, trajectory: Trajectory) -> Iterator[Finding]:
    """Behind a short batch, every value and every cotangent is 0."""
    short = np.flatnonzero((problem.batches[trajectory.steps] < 0).any(axis=1))
    steps = trajectory.steps[short]
    real = problem.batches[steps] >= 0
    message = (
        "the step saw one more sample than its batch has: found {} where {} should pad the record"
    )
    for phase, tensors in (("value", trajectory.values), ("cotangent", trajectory.cotangents)):
        for name, array in tensors.items():
            found = array[short]
            padded = np.where(_of_samples(real, found) | (found == 0), found, found.dtype.type(0))
            yield from _unequal(found, padded, steps, phase, name, message)


def _continuity(trajectory: Trajectory) -> Iterator[Finding]:
    """Where consecutive steps are recorded, a step starts from what the step before it left."""
    later = np.flatnonzero(np.diff(trajectory.steps) == 1) + 1
    message = "the step starts from {}, but the step before it left {}"
    fields = (
        ("before", "after"),
        ("state_before", "state_after"),
        ("buffers_before", "buffers_after"),
    )
    for before, after in ((getattr(trajectory, one) for one in pair) for pair in fields):
        for name in before:
            taken, left = before[name][later], after[name][later - 1]
            yield from _unequal(taken, left, trajectory.steps[later], "continuity", name, message)


def _of_samples(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A mask (steps, samples) with as many axes as the values have."""
    return mask.reshape(*mask.shape, *[1] * (values.ndim - 2))


def _unequal(
    actual: np.ndarray,
    desired: np.ndarray,
    steps: np.ndarray,
    phase: str,
    tensor: str,
    message: str,
) -> Iterator[Finding]:
    """The first element that differs in a single bit; the first axis is the steps."""
    bits = f"u{actual.itemsize}"
    other = np.ascontiguousarray(actual).view(bits) != np.ascontiguousarray(desired).view(bits)
    if other.any():
        at = np.unravel_index(other.argmax(), other.shape)
        index = tuple(int(i) for i in at[1:])
        yield Finding(
            int(steps[at[0]]), -1, phase, tensor, index, message.format(actual[at], desired[at])
        )


# ---------------------------------------------------------------- blocks of steps


def _blocks(problem: Problem, trajectory: Trajectory) -> Iterator[tuple[Trajectory, np.ndarray]]:
    """Steps with the same number of real samples, stacked, as many as fit well in memory."""
    sizes = (problem.batches[trajectory.steps] >= 0).sum(axis=1)
    a_step = problem.batches.shape[1] * max(map(math.prod, problem.shapes.values()))
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
        self.scope, self.borrowed, self.not_counted = trajectory.scope, trajectory.borrowed, set()
        self.steps = np.append(trajectory.steps, problem.steps)
        self.findings: list[Finding] = []
        self.largest: tuple[float, Finding | None] = (0.0, None)
        self.budgets = np.zeros(len(self.steps))
        self.tensors, self.elements, self.resolved, self.undecided = np.zeros(
            (4, len(self.steps)), int
        )
        self.gradients: dict[str, _Claims] = {}
        self.updates: dict[str, _Claims] = {}

    def take(self, check: Check, order: int, rows: np.ndarray) -> None:
        """Count one tensor of the steps in these rows; remember its largest budget and its first failure."""
        budget, allowance, truth = (
            array.reshape(len(rows), -1)
            for array in (check.budget(), check.truth.allowance, check.truth.magnitude)
        )
        undecided = (
            np.zeros(budget.shape, bool)
            if check.undecided is None
            else check.undecided.reshape(budget.shape)
        )
        for fails in ((~(budget <= 1) | ~np.isfinite(allowance)) & ~undecided, undecided):
            if fails.any():
                row, element = np.unravel_index(fails.argmax(), fails.shape)
                self.findings.append(
                    self._finding(check, order, rows[row], row, element, budget[row, element])
                )
        if check.moved is not None:
            self._take_followed(check, order, rows, allowance)
        if check.phase in self.borrowed:
            self.not_counted.add(check.phase)
            return
        largest = budget.max(axis=1, initial=0)
        if largest.max() > self.largest[0]:
            row, element = np.unravel_index(budget.argmax(), budget.shape)
            self.largest = (
                largest.max(),
                self._finding(check, order, rows[row], row, element, largest.max()),
            )
        self.budgets[rows] = np.fmax(self.budgets[rows], largest)
        self.tensors[rows] += 1
        self.elements[rows] += budget.shape[1]
        self.resolved[rows] += (allowance < truth).sum(axis=1)
        self.undecided[rows] += undecided.sum(axis=1)
        if check.phase == "gradient":
            known_to = 0 if check.truth.undecided else check.truth.truth_bound.reshape(budget.shape)
            claims = self.gradients.setdefault(check.tensor, _Claims(order, len(self.steps)))
            claims.take(rows, allowance, np.where(truth <= known_to, 0, truth))

    def _take_followed(
        self, check: Check, order: int, rows: np.ndarray, allowance: np.ndarray
    ) -> None:
        """An update by a state that is followed: its bound may be wider than the step that the optimizer makes."""
        moved = check.moved.reshape(allowance.shape)
        self.updates.setdefault(check.tensor, _Claims(order, len(self.steps))).take(
            rows, allowance, moved
        )
        rounding = 4 * check.truth.precision.u * check.truth.magnitude.reshape(allowance.shape)
        drowned = np.flatnonzero((moved > rounding).any(axis=1) & ~(allowance < moved).any(axis=1))
        if drowned.size:
            step = int(self.steps[rows[drowned[0]]])
            self.findings.append(
                Finding(step, order, check.phase, check.tensor, (), DROWNED, "undecided")
            )

    def _finding(
        self, check: Check, order: int, row: int, position: int, element: int, budget: float
    ) -> Finding:
        index = tuple(int(i) for i in np.unravel_index(element, check.actual.shape[1:]))
        verdict, message = check.describe(position, index, budget)
        step = int(self.steps[row])
        return Finding(
            step,
            order,
            check.phase,
            check.tensor,
            index,
            message,
            verdict,
            float(budget),
            check.look,
        )

    def judgement(
        self, published: list[Published], explained: Callable[[Finding], Finding]
    ) -> Judgement:
        """The verdict, with the first finding in the order of computation and the mistake that it looks like."""
        first = min(
            (finding for finding in self.findings if finding.verdict != "undecided"), default=None
        )
        if first and first.verdict == "differs":
            first = explained(first)
        judged = self.steps <= first.step if first else np.full(len(self.steps), fill_value=True)
        of_ledger = ("tensors", "elements", "resolved", "undecided")
        ledger = Ledger(
            steps=int(judged[:-1].sum()),
            **{name: int(getattr(self, name)[judged].sum()) for name in of_ledger},
        )
        worst = [
            claims.resolution(judged)
            for claims in (*self.gradients.values(), *self.updates.values())
        ]
        resolution = (
            Resolution(*(max(errors) for errors in zip(*worst, strict=True)))
            if worst
            else Resolution()
        )
        budget, where = self.largest
        if first:
            where, budget = first, first.budget
        else:
            first = self._not_certified(published, ledger)
            where = first or where
        return Judgement(
            verdict=first.verdict if first else "certified",
            budget=budget, where=where, message=str(first) if first else "",
            resolution=resolution, ledger=ledger, published=published,
            budgets=self.budgets[:-1], scope=self.scope, borrowed=tuple(sorted(self.not_counted)),
        )  # fmt: skip

    def _not_certified(self, published: list[Published], ledger: Ledger) -> Finding | None:
        """Why a run is not certified of which no number is wrong: what is undecided, missed, or not resolved."""
        missed = [number for number in published if number.status == "missed"]
        if missed:
            entry = missed[0].entry
            return Finding(entry.step, 0, PUBLISHED, entry.tensor, (), tell_misses(missed))
        if undecided := min(
            (finding for finding in self.findings if finding.verdict == "undecided"), default=None
        ):
            return undecided
        for path, gradient in self.gradients.items():
            if self.scope == "gradients" and (why := gradient.claims_nothing()):
                return Finding(0, gradient.order, "gradient", path, (), why, "undecided")
        if not ledger.resolved:
            why = "nothing was compared: no number is larger than its allowance"
            if self.not_counted and not ledger.elements:
                why = "nothing was compared: no number of it is the run's own"
            return Finding(0, 0, NOTHING, "", (), why, "undecided")
        return None


class _Claims:
    """What may be claimed of one tensor, by recorded step: its largest allowance and its largest element."""

    def __init__(self, order: int, steps: int):
        self.order = order
        self.allowance, self.truth = np.zeros((2, steps))
        self.resolved = np.zeros(steps, bool)

    def take(self, rows: np.ndarray, allowance: np.ndarray, truth: np.ndarray) -> None:
        """Keep the largest allowance and the largest element of each step, and whether an element is resolved."""
        self.allowance[rows], self.truth[rows] = allowance.max(axis=1), truth.max(axis=1)
        self.resolved[rows] = (allowance < truth).any(axis=1)

    def resolution(self, judged: np.ndarray) -> tuple[float, float, float]:
        """The error that may have passed: relative in resolved steps, absolute in others; and the median."""
        resolved, not_resolved = (
            judged & (self.allowance < self.truth),
            judged & ~(self.allowance < self.truth),
        )
        with np.errstate(all="ignore"):
            relative = self.allowance[resolved] / self.truth[resolved]
        median = float(np.median(relative)) if relative.size else 0.0
        return (
            float(relative.max(initial=0)),
            float(self.allowance[not_resolved].max(initial=0)),
            median,
        )

    def claims_nothing(self) -> str:
        """Why a correct gradient can't be told from any other one: it is within its allowance of zero at every step."""
        if self.resolved.any() or not self.truth.any():
            return ""
        with np.errstate(all="ignore"):
            times = np.nanmax(self.allowance / self.truth)
        return (
            f"no element of it is larger than its allowance at any step, which is up to {times:.0e} times the largest: "
            "a gradient of zeros would pass as well; record the layers, so that each operation is judged by itself"
        )
