"""One step of a run, tensor by tensor: what was found, the truth, and whether that is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Trajectory, cut, settled
from backproof.cases.problem import Problem
from backproof.reference.numbers.balls import floats, working_precision
from backproof.report.judging.finding import Finding
from backproof.report.judging.following import followed
from backproof.report.judging.judge import BALL_BITS
from backproof.report.judging.kinks import decided_checks
from backproof.report.judging.operations import Check, final_checks
from backproof.report.judging.share import short
from backproof.report.telling.cells import table
from backproof.report.telling.escape import plain, text

HEADERS = ["", "at", "found", "truth", "allowed", "share", ""]
SHARE = HEADERS.index("share")  # a terminal has no room for it
AROUND, DIGITS, MOST_DIGITS = 3, 6, 17
ZERO = np.zeros(())


class Element(NamedTuple):
    """One number of a step beside its truth; of an update, the change that it makes."""

    at: tuple[int, ...]
    found: float
    truth: float
    allowance: float
    share: float
    undecided: bool

    @property
    def status(self) -> str:
        """Say whether it is right."""
        if not np.isfinite(self.allowance):
            return "out of range"
        if self.undecided:
            return "undecided"
        return "right" if self.share <= 1 else "wrong"

    def cells(self) -> list[str]:
        """Write it with as many digits as it takes to see a wrong one."""
        digits = DIGITS
        apart = abs(self.found - self.truth)
        if self.status == "wrong" and 0 < apart < abs(self.truth):
            digits = int(np.clip(np.log10(abs(self.truth) / apart) + 2, DIGITS, MOST_DIGITS))
        at = f"[{', '.join(map(str, self.at))}]" if self.at else ""
        numbers = f"{self.found:.{digits}g}", f"{self.truth:.{digits}g}", f"{self.allowance:.1e}"
        return [at, *numbers, short(self.share), self.status]


class Tensor(NamedTuple):
    """One tensor of a step: its elements, in the order in which they lie in memory.

    Attributes:
        what: `gradient hidden.weight`.
        elements: shape as the tensor's, of the fields of an `Element`.
    """

    what: str
    found: np.ndarray
    truth: np.ndarray
    allowance: np.ndarray
    share: np.ndarray
    undecided: np.ndarray

    def element(self, at: tuple[int, ...]) -> Element:
        """Return one of its elements."""
        arrays = self.found, self.truth, self.allowance, self.share
        found, truth, allowance, share = (float(array[at]) for array in arrays)
        return Element(at, found, truth, allowance, share, bool(self.undecided[at]))

    @property
    def wrong(self) -> np.ndarray:
        """Which elements are wrong, or can't be judged."""
        return ~(self.share <= 1) | ~np.isfinite(self.allowance)

    @property
    def worst(self) -> Element:
        """Its first wrong element, or else the one that uses the largest share."""
        wrong = self.wrong & ~self.undecided
        at = wrong.argmax() if wrong.any() else np.nan_to_num(self.share).argmax()
        return self.element(tuple(map(int, np.unravel_index(at, self.share.shape))))


def tensors_at(problem: Problem, run: Trajectory, step: int) -> list[Tensor]:
    """Return every tensor of a step in the order in which it is computed.

    There are none where the step is not recorded. The step behind the last one is the look at all
    samples with the final parameters.
    """
    run = settled(run, problem.recorded)
    with working_precision(BALL_BITS), np.errstate(all="ignore"):
        if step == problem.steps:
            return [_tensor(check, ZERO) for check in final_checks(problem, run)]
        rows = np.flatnonzero(run.steps == step)
        if not rows.size:
            return []
        before = cut(run, np.arange(rows[0] + 1), problem.batches.shape[1])  # no later one matters
        size = int((problem.batches[step] >= 0).sum())
        one = cut(followed(problem, before), rows, size)
        checks = decided_checks(problem, one)
        return [_tensor(check, one.before.get(check.tensor, ZERO)) for check in checks]


def _tensor(check: Check, before: np.ndarray) -> Tensor:
    """Take the one step of a check; of an update, the change from what was before it."""
    truth, is_update = check.truth, check.phase == "update"
    start = truth.precision.wider(before) if is_update else ZERO
    found, right = truth.precision.wider(check.actual) - start, truth.value - start
    undecided = np.zeros(check.actual.shape, bool) if check.undecided is None else check.undecided
    arrays = floats(found), floats(right), truth.allowance, check.budget(), undecided
    phase = "change" if is_update else check.phase
    what = check.phase if check.phase == check.tensor else f"{phase} {check.tensor}"
    return Tensor(what, *(np.broadcast_to(array, check.actual.shape)[0] for array in arrays))


def holds(tensors: list[Tensor], where: Finding | None) -> bool:
    """Tell whether a finding is about one of the tensors, and not about what the step was given."""
    if where is None or where.verdict == "undecided":
        return True
    names = (tensor.what.replace("change ", "update ", 1) for tensor in tensors)
    return (
        where.phase if where.phase == where.tensor else f"{where.phase} {where.tensor}"
    ) in names


def step_table(tensors: list[Tensor], form: str = "pipe") -> str:
    """Write a row for each tensor: its first wrong element, or the one that uses most."""
    rows, write = [], text if form == "pipe" else plain
    for tensor in tensors:
        *numbers, status = tensor.worst.cells()
        if (wrong := int((tensor.wrong & ~tensor.undecided).sum())) and tensor.share.size > 1:
            status += f" {wrong:,}/{tensor.share.size:,}"
        rows.append([write(tensor.what), *numbers, status])
    return _table(rows, HEADERS, form)


def neighbours(tensors: list[Tensor], form: str = "pipe") -> str:
    """Write the elements around the first wrong one; nothing where none is, or it is a number."""
    wrong = [tensor for tensor in tensors if (tensor.wrong & ~tensor.undecided).any()]
    if not wrong or not wrong[0].worst.at:
        return ""
    first, write = wrong[0], text if form == "pipe" else plain
    at = first.worst.cells()[0]
    rows = [first.element(index).cells() for index in _around(first.worst.at, first.share.shape)]
    named = [[write(first.what) if row[0] == at else "", *row] for row in rows]
    return _table(named, HEADERS, form)


def _table(rows: list[list[str]], headers: list[str], form: str) -> str:
    """Write a table; in a terminal, which is narrow, without the shares."""
    if form != "pipe":
        headers = ["±" if header == "allowed" else header for header in headers]
        rows, headers = [_without_share(row) for row in rows], _without_share(headers)
    return table(rows, headers, form)


def _without_share(row: list[str]) -> list[str]:
    return [cell for place, cell in enumerate(row) if place != SHARE]


def _around(index: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the elements beside one in its row, and those above and below it."""
    near = {(*index[:-1], index[-1] + d) for d in range(-AROUND, AROUND + 1)}
    if len(index) > 1:
        near |= {(*index[:-2], index[-2] + d, index[-1]) for d in (-1, 1)}
    for other in sorted(near):
        if all(0 <= i < n for i, n in zip(other, shape, strict=True)):
            yield other
