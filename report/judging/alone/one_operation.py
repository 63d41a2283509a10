"""Is one operation right? Its value and its derivatives, each element within its allowance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from backproof.backends.trajectory import dtype_name
from backproof.reference.numbers.balls import floats, working_precision
from backproof.reference.numbers.kinks import Kinks
from backproof.report.judging.alone.asked import Asked
from backproof.report.judging.alone.hints_of_one import hint_of
from backproof.report.judging.bias import Bias, SignedErrors, largest_bias
from backproof.report.judging.extent import extent, shared_part
from backproof.report.judging.hints import ERRORS
from backproof.report.judging.judge import BALL_BITS
from backproof.report.judging.kinks import on_best_sides
from backproof.report.judging.operations import Check

ONE_ROW = np.array([0])
UNRESOLVED = (
    "no element of it is larger than its allowance, so zeros would pass as well: nothing is proved "
    "of it by these numbers"
)


class Failure(NamedTuple):
    """What is not as it should be.

    Attributes:
        verdict: `differs`, or `undecided` or `out of range` where nothing wrong was seen.
        message: the phase, the tensor, the element, and the rest in words.
    """

    verdict: str
    message: str


class Tolerance(NamedTuple):
    """Fixed tolerances of a tensor, each the smallest that no correct program exceeds.

    Attributes:
        atol: beside `rtol=0`: the largest allowance.
        rtol: beside `atol=0`, of the elements whose truth is not 0: the largest allowance relative
            to it.
    """

    atol: float
    rtol: float


@dataclass
class Tally:
    """What was compared, over all calls of a function.

    Attributes:
        budget: the largest share of an allowance that was used; `where` it was.
        elements: how many were compared, `resolved` of them larger than their allowance.
        calls: how often the function was called.
        resolution: the largest error that may have passed in a derivative, or in an update,
            relative to the largest element of its tensor; None where none was judged.
        is_zero: of each derivative, whether it was 0 in all calls.
        tolerances: by tensor.
        passed_over: what could not be judged, with the reason.
    """

    budget: float = 0.0
    where: str = ""
    elements: int = 0
    calls: int = 0
    resolved: int = 0
    resolution: float | None = None
    is_zero: dict[str, bool] = field(default_factory=dict)
    tolerances: dict[str, Tolerance] = field(default_factory=dict)
    errors: list[SignedErrors] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    @property
    def bias(self) -> Bias | None:
        """The bias of the tensor whose errors lean most to one side."""
        return largest_bias(self.errors, np.array([True]))

    @property
    def unproved(self) -> list[str]:
        """The inputs of whose derivative nothing is proved, since it was 0 in all calls."""
        return [name for name, is_zero in self.is_zero.items() if is_zero]

    def take(self, check: Check, *, given: bool) -> None:
        """Count a tensor that is right; of `given` inputs, what an error may hide behind, too."""
        budget, error = (array[0] for array in check.compared())
        allowance, size = check.truth.allowance[0], np.abs(floats(check.truth.value[0]))
        self.elements += budget.size
        self.resolved += int((allowance < size).sum())
        if not self.where or budget.max(initial=0) > self.budget:
            at = np.unravel_index(budget.argmax(), budget.shape)
            self.budget, self.where = float(budget.max()), place(check, at)
        if check.phase in ("cotangent", "gradient"):
            is_zero = not _is_known(check)
            self.is_zero[check.tensor] = self.is_zero.get(check.tensor, True) and is_zero
        if given:
            self._allow(check, allowance, size)
        signed = SignedErrors(*check[:2], 1)
        shares = (error / allowance).reshape(1, -1)
        signed.take(ONE_ROW, shares, np.zeros(shares.shape, bool))
        self.errors.append(signed)

    def _allow(self, check: Check, allowance: np.ndarray, size: np.ndarray) -> None:
        """Widen the resolution, and the tolerances of a tensor, to what these elements ask for."""
        tensor = check.tensor
        if check.phase not in ("value", "loss") and allowance.max() < size.max():
            self.resolution = max(self.resolution or 0.0, float(allowance.max() / size.max()))
        relative = (allowance[size > 0] / size[size > 0]).max(initial=0)
        before = self.tolerances.get(tensor, Tolerance(0.0, 0.0))
        widened = max(before.atol, float(allowance.max())), max(before.rtol, float(relative))
        self.tolerances[tensor] = Tolerance(*widened)


class Judge:
    """Judges what is found of one operation with one cotangent, as often as it is found."""

    def __init__(self, asked: Asked, cotangent: np.ndarray | None):
        self.asked, self.cotangent = asked, cotangent
        self.expected = asked.expected(derivatives=cotangent is not None)
        self.kinks = Kinks()
        nothing = {name: np.zeros(s, asked.dtype) for name, s in self.expected.items()}
        with _computing():
            self.truths = list(asked.checks(nothing, cotangent, self.kinks))

    def failure(
        self, found: Mapping[str, Any], tally: Tally, *, given: bool = True
    ) -> Failure | None:
        """Return the first thing that is wrong with what was found; count what is right.

        Of `given` inputs the tally keeps what an error may hide behind, of hostile ones not.
        """
        for name, shape in self.expected.items():
            if words := odd(name, found.get(name), shape, self.asked):
                return Failure("differs", f"{self._phase(name)}{name}: {words}")
        with _computing():
            checks = self._checks(found)
            failures = [failure for check in checks if (failure := self._wrong(check, found))]
            if failures:
                return min(failures, key=lambda failure: failure.verdict)  # `differs` is first
            for check in checks:
                tally.take(check, given=given)
        return None

    def _phase(self, name: str) -> str:
        phase = next(check.phase for check in self.truths if check.tensor == name)
        return "" if phase == name else f"{phase} of "

    def _checks(self, found: Mapping[str, np.ndarray]) -> list[Check]:
        """Return the checks of what was found, behind uncertain kinks with the best side."""
        checks = [one._replace(actual=found[one.tensor][None]) for one in self.truths]
        uncertain = [kink for kink in self.kinks.met if kink.uncertain.any()]
        if not uncertain:
            return checks

        def on_sides(kinks: Kinks) -> Iterator[Check]:
            return self.asked.checks(found, self.cotangent, kinks)

        return list(on_best_sides(checks, ONE_ROW, uncertain, on_sides))

    def _wrong(self, check: Check, found: Mapping[str, np.ndarray]) -> Failure | None:
        """Return what is wrong with a tensor, if anything is."""
        budget = check.budget()[0]
        unbounded = ~np.isfinite(check.truth.allowance[0])
        fails = ~(budget <= 1) | unbounded
        if not fails.any():
            allowance = check.truth.allowance[0]
            if _is_known(check) and not (allowance < check.truth.magnitude[0]).any():
                return Failure("undecided", f"{place(check)}: {UNRESOLVED}")
            return None
        bounded = fails & ~unbounded
        at = np.unravel_index((bounded if bounded.any() else fails).argmax(), fails.shape)
        verdict, words = check.describe(0, tuple(map(int, at)), float(budget[at]))
        parts = [words]
        with suppress(*ERRORS):  # telling changes no verdict
            parts = [part for part in (words, _extent(check), check.look) if part]
            parts[-1] += hint_of(self.asked, check, self.cotangent, found)
        return Failure(verdict, f"{place(check, at)}: {'; '.join(parts)}")


def _is_known(check: Check) -> bool:
    """Tell whether an element of the truth is known not to be 0."""
    return bool((check.truth.magnitude[0] > check.truth.truth_bound[0]).any())


@contextmanager
def _computing() -> Iterator[None]:
    """Compute on one thread, with balls of the judge's bits, and without NumPy's warnings."""
    with working_precision(BALL_BITS), threadpool_limits(1), np.errstate(all="ignore"):
        yield


def place(check: Check, at: tuple = ()) -> str:
    """Name a tensor and an element of it: `gradient of weight at [0, 3]`."""
    tensor = "" if check.tensor == check.phase else f" of {check.tensor}"
    return f"{check.phase}{tensor}" + (f" at [{', '.join(map(str, map(int, at)))}]" if at else "")


def _extent(check: Check) -> str:
    """Say how many elements are wrong, how many of them NaN, and where they lie."""
    words, shared = extent(check)
    if not words:
        return ""
    nans = int(np.isnan(floats(check.actual[0])).sum())
    return words + (f", {nans} of them NaN" if nans else "") + (shared_part(check) or shared)


def odd(name: str, array: Any, shape: tuple[int, ...], asked: Asked) -> str:
    """Say what is wrong with an array before its numbers are looked at; nothing if it is right."""
    if array is None:
        return f"missing: {_why_missing(name, asked)}"
    if not isinstance(array, np.ndarray):
        return f"expected an array of shape {shape}, found a {type(array).__name__}"
    if array.shape != shape:
        turned = array.ndim == 2 and array.shape == shape[::-1]
        return f"expected shape {shape}, found {array.shape}{': transpose it' if turned else ''}"
    if array.dtype != asked.dtype:
        return f"expected {asked.dtype}, as the inputs are, found {dtype_name(array.dtype)}"
    if array.size and np.isnan(array.astype(np.float64)).all():
        return "every element is NaN" if array.size > 1 else "it is NaN"
    return ""


def _why_missing(name: str, asked: Asked) -> str:
    """Say what it means that a result is not there."""
    if name in asked.wanted:
        return "nothing comes back to it, so that it, and all before it, would never be trained"
    return "it is not among what was found"
