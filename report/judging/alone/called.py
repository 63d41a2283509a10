"""A function of one operation, called as often as it takes, and judged each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from backproof.backends.function_calls import EXPANDED, Callee, Found, Way
from backproof.backends.registry import Unsupported
from backproof.backends.returned import as_array
from backproof.backends.trajectory import Arrays, WrongReturn
from backproof.cases.format.message import hint
from backproof.report.judging.alone.asked import Asked, Unfit, whole_number
from backproof.report.judging.alone.hostile import Trial, trials, unequal
from backproof.report.judging.alone.one_operation import Failure, Judge, Tally, Tolerance
from backproof.report.judging.alone.ways import SECOND, Ways
from backproof.report.judging.bias import Bias
from backproof.report.judging.share import short

Asking = Callable[[Arrays, str | None], Asked]  # of inputs, and of `accumulate`


class Options(NamedTuple):
    """How a function is tried: `accumulate`, hostile inputs too, the seed of the cotangent."""

    accumulate: str | None
    hostile: bool
    seed: int = 0


class Refused(Exception):  # noqa: N818, it is a verdict
    """The operation is not certified; the message says what is wrong, and where."""


class _Unjudged(Exception):  # noqa: N818, likewise
    """Nothing wrong was seen of hostile inputs, but not everything could be judged: why."""


@dataclass(frozen=True, repr=False)
class Certified:
    """What was certified of one operation.

    Attributes:
        kind, dtype: of the operation.
        budget: the largest share of an allowance that was used, `where` it was.
        elements: how many numbers were compared, of `calls` calls of the function.
        resolution: the largest error that may have passed in a derivative, or in what an optimizer
            leaves, relative to the largest element of its tensor; None where none was judged.
        bias: of the tensor whose errors lean most to one side.
        tolerances: by tensor, the smallest `atol` and the smallest `rtol` that no correct program
            exceeds on these inputs; see `tightest`.
        passed_over: the layouts and inputs that were not judged, with the reason.
        unproved: the inputs whose derivative is 0 in all calls, so that one that is never computed
            would be right as well.
    """

    kind: str
    dtype: str
    budget: float
    where: str
    elements: int
    calls: int
    resolution: float | None
    bias: Bias | None
    tolerances: dict[str, Tolerance]
    passed_over: tuple[str, ...] = ()
    unproved: tuple[str, ...] = ()

    @property
    def tightest(self) -> dict[str, float]:
        """The tightest fixed tolerance that would have been right: `assert_close(**tightest)`.

        It comes from the allowances, so it is what any correct program may need on these inputs,
        not what this one needed; of all tensors together, compared with the exact result. `rtol` is
        0: an element may be as small as it likes. `tolerances` has it of each tensor.
        """
        return {"rtol": 0.0, "atol": max(one.atol for one in self.tolerances.values())}

    @property
    def tightest_relative(self) -> dict[str, float]:
        """The same as an `rtol`, with `atol=0`; of the elements whose exact value is not 0."""
        return {"rtol": max(one.rtol for one in self.tolerances.values()), "atol": 0.0}

    def __repr__(self) -> str:
        told = [
            f"{self.kind} {self.dtype}: certified, {self.elements:,} numbers of {self.calls} calls",
            f"the largest error is {short(self.budget)} of the rounding allowed ({self.where})",
            *self._passed(),
            *(f"nothing was proved of {name}: its derivative is 0 here" for name in self.unproved),
            *([f"not judged: {', '.join(self.passed_over)}"] if self.passed_over else []),
        ]
        return "; ".join(told)

    def _passed(self) -> list[str]:
        """Say how large an error may have passed, or that there was no derivative to judge."""
        if self.resolution is not None:
            size = f"{self.resolution:.1e} of a tensor's largest element"
            return [f"an error of {size} may have passed"]
        return [] if self.unproved else ["no derivative was judged: there is no cotangent"]


def certified(asking: Asking, callee: Callee, cotangent: Any, options: Options) -> Certified:
    """Judge a function on its inputs, in all ways to call it, and on hostile inputs.

    Raises:
        Refused: with the first thing that is wrong.
        Unfit: if the inputs are those of no such operation.
    """
    options = options._replace(seed=whole_number("seed", options.seed))
    asked, tally = asking(callee.arrays, options.accumulate), Tally()
    tally.calls = _tried(asking, callee, Trial("", callee.arrays), cotangent, options, tally)
    beside = [(one, cotangent) for one in filter(None, (unequal(asked, options.seed),))]
    beside += [(one, None) for one in (trials(asked) if options.hostile else ())]
    for trial, dy in beside:
        try:
            tally.calls += _tried(asking, callee, trial, dy, options, tally)
        except (Unfit, Unsupported, _Unjudged) as reason:
            tally.passed_over.append(f"{trial.words}: {reason}")
    return _result(asked, tally)


def _tried(
    asking: Asking, callee: Callee, trial: Trial, cotangent: Any, options: Options, tally: Tally
) -> int:
    """Judge a function on some inputs, and return how often it was called.

    Raises:
        Refused: if something is wrong.
        _Unjudged: if nothing is, but hostile inputs leave something open.
        Unfit: if the inputs are those of no such operation.
    """
    asked, calls = asking(trial.inputs, options.accumulate), set()
    given = _of_shape(asked, cotangent)
    ways, right = Ways(asked, given, options.seed, trial, callee.framework), {}
    for way, which, found in _calls(callee, ways, trial, tally):
        calls.add(way)
        dys = ways.of(way)
        judge = ways.judge(dys[which])
        whole = found._replace(arrays=right.get(which, {}) | found.arrays)
        failure = _changed(whole, judge.failure(whole.arrays, tally, given=not trial.words))
        second = SECOND if ways.asked.wanted and which != next(iter(dys)) else ""
        words = _listed(trial.words, way.words, second)
        if failure and failure.verdict != "differs" and trial.words:
            raise _Unjudged(failure.verdict)
        if failure and failure.verdict != "differs" and way.cotangent == EXPANDED:
            tally.passed_over.append(f"{words}: {failure.verdict}")
        elif failure:
            by_step = Judge(asking(trial.inputs, None), judge.cotangent)
            raise Refused(_told(asked, failure, words) + _as_steps(by_step, asked, whole))
        right[which] = whole.arrays
    return len(calls)


def _listed(*words: str) -> str:
    """Join what there is to say."""
    return ", ".join(filter(None, words))


def certified_numbers(
    asking: Asking, inputs: Arrays, cotangent: Any, found: Mapping[str, Any], accumulate: str | None
) -> Certified:
    """Judge numbers that were computed somewhere else; without a cotangent only the value.

    Raises:
        Refused: with the first thing that is wrong.
        Unfit: if these are the inputs and results of no such operation.
    """
    asked, tally = asking(inputs, accumulate), Tally()
    dy = _of_shape(asked, cotangent)
    there = {name: as_array(one, asked.dtype) for name, one in found.items()}
    judge = Judge(asked, dy)
    if extra := [name for name in there if name not in judge.expected]:
        why = "a derivative needs the cotangent that it was computed with"
        why = why if extra[0] in asked.wanted else "nothing of that name is expected"
        raise Unfit(f"found: {extra[0]}: {why}{hint(extra[0], judge.expected)}")
    if failure := judge.failure(there, tally):
        by_step = Judge(asking(inputs, None), dy)
        raise Refused(_told(asked, failure) + _as_steps(by_step, asked, Found(there, ())))
    tally.calls = 1
    return _result(asked, tally)


def _as_steps(by_step: Judge, asked: Asked, found: Found) -> str:
    """Say that results are right of a function whose every operation rounds to the dtype."""
    if by_step.asked.inner == asked.inner or found.changed:
        return ""
    if by_step.failure(found.arrays, Tally()):
        return ""
    rounds = f"every operation inside rounded to {asked.dtype}"
    return f"; it is right if {rounds}: if that is what it does, say accumulate=None"


def _calls(
    callee: Callee, ways: Ways, trial: Trial, tally: Tally
) -> Iterator[tuple[Way, str, Found]]:
    """Call the function in every way, and yield how, with which cotangent, and what it left."""
    asked = ways.asked
    inputs = {name: trial.inputs[name] for name in callee.arrays}
    for way in ways.plan:
        wanted = tuple(name for name in asked.wanted if name != way.frozen)
        try:
            if wanted:
                found = callee.found(inputs, wanted, asked.value, ways.of(way), way)
                yield from ((way, which, one) for which, one in found)
            elif updated := callee.updated(inputs, tuple(asked.results), way):
                yield way, next(iter(ways.of(way))), updated
        except Unsupported as reason:
            if way == ways.plan[0]:
                raise
            tally.passed_over.append(f"{way.words}: {reason}")
        except Exception as error:
            if not isinstance(error, WrongReturn):
                words = _listed(trial.words, way.words)
                error.add_note(f"backproof called it {words or 'with the given inputs'}")
            raise


def _changed(found: Found, failure: Failure | None) -> Failure | None:
    """Add to a failure, or to none, that a function changed what it was given, if it did."""
    if not found.changed:
        return failure
    told = f"{' and '.join(found.changed)}, and others may still read it"
    return Failure("differs", f"{told}; {failure.message}" if failure else told)


def _of_shape(asked: Asked, cotangent: Any) -> np.ndarray | None:
    """Return a given cotangent as an array; raise Unfit where it does not fit the value."""
    if cotangent is None:
        return None
    array, shape = as_array(cotangent, asked.dtype), asked.results[asked.value]
    if not asked.wanted:
        raise Unfit(f"{asked.kind}: a step of an optimizer has no cotangent")
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != asked.dtype:
        found = getattr(array, "shape", type(array).__name__), getattr(array, "dtype", "")
        expected = f"expected {asked.dtype} of shape {shape}, that of {asked.value}"
        raise Unfit(f"{asked.kind}: the cotangent: {expected}, found {found[1]} of {found[0]}")
    if array.size > 1 and (array == array.reshape(-1)[0]).all():
        told = "all its elements are equal, which hides what sums and orders get wrong"
        raise Unfit(f"{asked.kind}: the cotangent: {told}; leave it out, and it is drawn")
    return array


def _told(asked: Asked, failure: Failure, words: str = "") -> str:
    """Write a failure for people."""
    verdict = "" if failure.verdict == "differs" else f"{failure.verdict}: "
    which = f", {words}" if words else ""
    return f"{asked.kind} {asked.dtype}{which}: {verdict}{failure.message}"


def _result(asked: Asked, tally: Tally) -> Certified:
    """Return what was certified; raise NotCertified where nothing was compared."""
    if not tally.resolved:
        raise Refused(
            f"{asked.kind} {asked.dtype}: nothing was compared: no number is larger than its "
            "allowance"
        )
    return Certified(
        kind=asked.kind,
        dtype=str(asked.dtype),
        budget=tally.budget,
        where=tally.where,
        elements=tally.elements,
        calls=tally.calls,
        resolution=tally.resolution,
        bias=tally.bias,
        tolerances=tally.tolerances,
        unproved=tuple(tally.unproved),
        passed_over=tuple(dict.fromkeys(tally.passed_over)),
    )
