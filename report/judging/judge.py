"""Problem + Trajectory → Judgement: is every recorded number right? If not, which is the first?

Every operation is judged locally: the reference's formula, fed with the backend's own recorded
inputs, gives the truth and the allowance (`reference/numbers/bounded.py`), and

    budget = (|actual - truth| + truth bound) / allowance,   within iff budget <= 1, so NaN fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from backproof.backends.trajectory import Trajectory, cut, settled
from backproof.cases.problem import Problem
from backproof.reference.numbers.balls import working_precision
from backproof.report.judging.bias import Bias, SignedErrors, biased, largest_bias
from backproof.report.judging.blame import explained
from backproof.report.judging.equality import unequal
from backproof.report.judging.finding import Finding
from backproof.report.judging.following import blocks, followed, lacks, notes
from backproof.report.judging.kinks import decided_checks
from backproof.report.judging.operations import Check, final_checks
from backproof.report.judging.published import Published, compare_published, tell_misses
from backproof.report.judging.share import of_the_allowed
from backproof.report.judging.structure import structure_mistakes
from backproof.report.judging.unseen import unseen

BALL_BITS = 128
BY_LAYER = ("value", "cotangent")
PUBLISHED, NOTHING, INCOMPLETE = "published number", "nothing", "incomplete"
DROWNED = (
    "no element of the step is larger than the bound of what is followed before it: "
    "a step of zero would pass as well; record {}"
)


@dataclass
class Ledger:
    """What was compared: steps, tensors (of one step each), and elements.

    Of these some are resolved, larger than their allowance, and some undecided, behind kinks whose
    side is not certain.
    """

    steps: int = 0
    tensors: int = 0
    elements: int = 0
    resolved: int = 0
    undecided: int = 0


@dataclass(frozen=True)
class Resolution:
    """The largest error that may have passed in a gradient, or behind what is followed.

    Attributes:
        relative: to the largest element of its tensor, where that is larger than the error.
        absolute: of tensors that have no such element at a step, as where the truth is 0; 0 if
            there are none.
        median: the relative one at the median step, of the tensor where that is worst.
    """

    relative: float = 0.0
    absolute: float = 0.0
    median: float = 0.0


@dataclass(repr=False)
class Judgement:
    """What the judge says of one trajectory.

    Attributes:
        verdict: `certified`, `differs`, `undecided`, `out of range`, or `incomplete` where the
            record lacks something or holds something else than it must; then no number was
            compared.
        budget: the largest share of an allowance that was used; of the first failure, if any.
        where: the step, phase, tensor and index of that budget.
        message: the first failure in words, and what is not recorded; empty if there is nothing.
        resolution: the largest error that may have passed in a gradient, of the worst tensor at
            the worst judged step.
        ledger: what was compared.
        published: the numbers printed elsewhere, and whether they are met.
        budgets: the largest budget of every recorded step.
        scope: what the trajectory holds, `layers` or `gradients`; the latter is judged end to end.
        borrowed: the phases that the reference computed for the run; judged, but in no budget and
            no ledger.
        phases: those that the run holds itself, in the order in which they are computed.
        undecided: the first number that could not be decided, in words; empty if there is none.
        bias: of the tensor whose errors lean most to one side; no verdict depends on it.
        lacks: what a whole run holds and this one does not, `values/hidden`; it is followed.
        biased: the tensors whose errors lean farther than by chance, of a run without a wrong
            number; nor does any depend on these.
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
    phases: tuple[str, ...] = ()
    undecided: str = ""
    bias: Bias | None = None
    lacks: tuple[str, ...] = ()
    biased: tuple[Bias, ...] = ()

    def __repr__(self) -> str:
        """Say the verdict, what was compared, and the largest error or what is wrong."""
        compared = f"{self.ledger.elements:,} numbers of {self.ledger.steps:,} steps"
        parts = [f"{self.verdict}, {compared}"]
        if self.verdict == "certified" and self.where:
            parts.append(f"the largest error is {of_the_allowed(self.budget)} ({self.where.place})")
        return "; ".join(filter(None, [*parts, self.message]))

    @property
    def missed_the_truth(self) -> bool:
        """Some number is wrong; not if only a printed one is missed, or nothing was compared."""
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
        tally.findings += unequal(problem, trajectory)
        run = followed(problem, trajectory)
        for positions, size in blocks(problem, run.steps):
            for order, check in enumerate(decided_checks(problem, cut(run, positions, size))):
                tally.take(check, order, positions)
        for order, check in enumerate(final_checks(problem, trajectory)):
            tally.take(check, order, np.array([len(trajectory.steps)]))
        wrong = min((one for one in tally.findings if one.verdict != "undecided"), default=None)
        if wrong and wrong.verdict == "differs":
            wrong = explained(problem, run, wrong)
        if not wrong:
            tally.findings += unseen(problem, trajectory, run)
        judgement = tally.judgement(compare_published(problem, trajectory), wrong)
    words = [judgement.message, *notes(problem, trajectory), *map(str, judgement.biased)]
    judgement.message = "; ".join(filter(None, words))
    missing = lacks(problem, trajectory)
    judgement.lacks = tuple(f"{field}/{name}".removesuffix("/") for field, name in missing)
    return judgement


# ---------------------------------------------------------------- the tally


class _Tally:
    """Adds the checks up: a row for each recorded step, and a last one for the final parameters."""

    def __init__(self, problem: Problem, trajectory: Trajectory):
        self.scope, self.borrowed, self.not_counted = trajectory.scope, trajectory.borrowed, set()
        self.steps = np.append(trajectory.steps, problem.steps)
        self.findings: list[Finding] = []
        self.largest: tuple[float, Finding | None] = (0.0, None)
        self.budgets = np.zeros(len(self.steps))
        self.counts = np.zeros((4, len(self.steps)), int)  # as `Ledger` has them behind the steps
        # Of gradients, and of what is judged behind something that is followed.
        self.claims: dict[tuple[str, str], _Claims] = {}
        self.errors: dict[tuple[str, str], SignedErrors] = {}

    def take(self, check: Check, order: int, rows: np.ndarray) -> None:
        """Count one tensor of some steps; remember its largest budget and its first failure.

        Args:
            check: of the tensor.
            order: the how-manieth of these steps it is.
            rows: of the steps in the tally.
        """
        budget, errors, allowance, truth = (
            array.reshape(len(rows), -1)
            for array in (*check.compared(), check.truth.allowance, check.truth.magnitude)
        )
        unbounded = ~np.isfinite(allowance)
        undecided = np.zeros((len(rows), 1), bool)
        if check.undecided is not None:
            undecided = check.undecided.reshape(budget.shape)
        for fails in ((~(budget <= 1) | unbounded) & ~undecided, undecided):
            if fails.any():
                self.findings.append(self._finding(check, order, rows, budget, fails.argmax()))
        if check.moved is not None:
            self._take_followed(check, order, rows, allowance)
        if check.phase in self.borrowed:
            self.not_counted.add(check.phase)
            return
        signed = self.errors.setdefault(check[:2], SignedErrors(*check[:2], len(self.steps)))
        signed.take(rows, errors / allowance, unbounded | undecided, check.truth)
        largest = budget.max(axis=1, initial=0)
        if largest.max() > self.largest[0]:
            where = self._finding(check, order, rows, budget, budget.argmax())
            self.largest = (largest.max(), where)
        self.budgets[rows] = np.fmax(self.budgets[rows], largest)
        counted = 1, budget.shape[1], (allowance < truth).sum(axis=1), undecided.sum(axis=1)
        self.counts[:, rows] += np.stack(np.broadcast_arrays(*counted))
        if check.phase == "gradient" or (check.record and check.phase in BY_LAYER):
            known_to = 0 if check.truth.undecided else check.truth.truth_bound.reshape(budget.shape)
            claims = _Claims(order, len(self.steps), is_followed=bool(check.record))
            claims = self.claims.setdefault(check[:2], claims)
            claims.take(rows, allowance, np.where(truth <= known_to, 0, truth))

    def _take_followed(
        self, check: Check, order: int, rows: np.ndarray, allowance: np.ndarray
    ) -> None:
        """Count an update by a followed state, whose bound may be wider than the step it makes."""
        moved = check.moved.reshape(allowance.shape)
        claims = self.claims.setdefault(check[:2], _Claims(order, len(self.steps)))
        claims.take(rows, allowance, moved)
        rounding = 4 * check.truth.precision.u * check.truth.magnitude.reshape(allowance.shape)
        drowned = (moved > rounding).any(axis=1) & ~(allowance < moved).any(axis=1)
        if drowned.any():
            step, where = int(self.steps[rows[drowned.argmax()]]), (check.phase, check.tensor, ())
            why = DROWNED.format(check.record)
            self.findings.append(Finding(step, order, *where, why, "undecided"))

    def _finding(
        self, check: Check, order: int, rows: np.ndarray, budget: np.ndarray, at: np.intp
    ) -> Finding:
        """Return the finding at one of all numbers of a check, counted through its steps."""
        position, *index = map(int, np.unravel_index(at, check.actual.shape))
        used, where = float(budget.flat[at]), (check.phase, check.tensor, tuple(index))
        verdict, message = check.describe(position, tuple(index), used)
        step = int(self.steps[rows[position]])
        return Finding(step, order, *where, message, verdict, used, check.look)

    def judgement(self, published: list[Published], wrong: Finding | None) -> Judgement:
        """Return the verdict; only steps up to the first wrong number are judged."""
        judged = self.steps <= (wrong.step if wrong else self.steps[-1])
        counts = self.counts[:, judged].sum(axis=1).tolist()
        ledger = Ledger(int(judged[:-1].sum()), *counts)
        errors = zip(*(one.resolution(judged) for one in self.claims.values()), strict=True)
        first = wrong or self._not_certified(published, ledger)
        budget, where = (wrong.budget, wrong) if wrong else self.largest
        return Judgement(
            verdict=first.verdict if first else "certified",
            budget=budget,
            where=first or where,
            message=str(first) if first else "",
            resolution=Resolution(*map(max, errors)),
            ledger=ledger,
            published=published,
            budgets=self.budgets[:-1],
            scope=self.scope,
            borrowed=tuple(sorted(self.not_counted)),
            phases=tuple(dict.fromkeys(phase for phase, _ in self.errors)),
            undecided=self._undecided(first),
            bias=largest_bias(self.errors.values(), judged),
            biased=() if wrong else tuple(biased(self.errors.values(), judged)),
        )

    def _undecided(self, first: Finding | None) -> str:
        """Tell the first number that could not be decided, of those up to the first wrong one."""
        findings = [*self.findings, *filter(None, [first])]
        last = first.step if first and first.verdict != "undecided" else math.inf
        unknown = (one for one in findings if one.verdict == "undecided" and one.step <= last)
        return str(min(unknown, default=""))

    def _not_certified(self, published: list[Published], ledger: Ledger) -> Finding | None:
        """Return why a run is not certified of which no number is wrong.

        It misses a printed number, something is undecided, or nothing is resolved.
        """
        missed = [number for number in published if number.status == "missed"]
        if missed:
            entry = missed[0].entry
            return Finding(entry.step, 0, PUBLISHED, entry.tensor, (), tell_misses(missed))
        if self.findings:
            return min(self.findings)
        for where, claims in self.claims.items():
            if claims.is_followed and (why := claims.claims_nothing()):
                return Finding(0, claims.order, *where, (), why, "undecided")
        if ledger.resolved:
            return None
        why = "no number is larger than its allowance"
        if self.not_counted and not ledger.elements:
            why = "no number of it is the run's own"
        return Finding(0, 0, NOTHING, "", (), f"nothing was compared: {why}", "undecided")


class _Claims:
    """What may be claimed of one tensor: at each step its largest allowance and element."""

    def __init__(self, order: int, steps: int, *, is_followed: bool = False):
        self.order, self.is_followed = order, is_followed
        self.allowance, self.truth = np.zeros((2, steps))
        self.resolved = np.zeros(steps, bool)

    def take(self, rows: np.ndarray, allowance: np.ndarray, truth: np.ndarray) -> None:
        """Keep the largest of each step, (steps, elements), and whether any element is resolved."""
        self.allowance[rows], self.truth[rows] = allowance.max(axis=1), truth.max(axis=1)
        self.resolved[rows] = (allowance < truth).any(axis=1)

    def resolution(self, judged: np.ndarray) -> tuple[float, float, float]:
        """Return the error that may have passed: the fields of `Resolution`, of this tensor."""
        resolved = judged & (self.allowance < self.truth)
        relative = self.allowance[resolved] / self.truth[resolved]
        absolute = self.allowance[judged & ~resolved].max(initial=0)
        median = np.median(relative) if relative.size else 0
        return float(relative.max(initial=0)), float(absolute), float(median)

    def claims_nothing(self) -> str:
        """Say why a correct gradient can't be told from any other one; nothing if it can.

        It can't if it is within its allowance of zero at every step.
        """
        if self.resolved.any() or not self.truth.any():
            return ""
        times = np.nanmax(self.allowance / self.truth)
        return (
            "no element of it is larger than its allowance at any step, which is up to "
            f"{times:.0e} times the largest: a gradient of zeros would pass as well; "
            "record the layers, so that each operation is judged by itself"
        )
