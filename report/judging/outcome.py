"""What came of one case at one dtype: every backend's run and judgement, the pairs, and who is the odd one out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from backproof.backends.registry import Missing, Unsupported, backend, framework, label
from backproof.backends.trajectory import Incomplete, Trajectory, WrongReturn, seconds_of
from backproof.cases.console.terminal import cut
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem
from backproof.reference.exact_run import ExactRun
from backproof.report.judging.drift import Drift, compare
from backproof.report.judging.exceptions import EndedError, told
from backproof.report.judging.judge import Judgement, judge

INCOMPLETE = (
    "undecided",
    "incomplete",
    "out of range",
    "error",
    "crash",
    "timeout",
    "out of memory",
    "missing",
)


@dataclass
class Result:
    """What came of one backend: a verdict, and what there is behind it.

    `accuracy` is there where the targets are classes, `output` is what a process that did not finish has printed.
    """

    backend: str
    verdict: str
    message: str = ""
    trajectory: Trajectory | None = None
    judgement: Judgement | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    output: str = ""

    def __post_init__(self):
        self.message = cut(self.message)


@dataclass
class Pair:
    """Two free runs beside each other; `status` is `within`, `explained` or `outside`."""

    names: tuple[str, str]
    drift: Drift
    status: str


@dataclass
class Comparison:
    """One case at one dtype, on every backend; where there is no exact run, `no_exact` says why."""

    case: Case
    problem: Problem
    results: list[Result] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    exact: ExactRun | None = None
    no_exact: str = ""

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self.problem.dtype.name

    @property
    def finished(self) -> list[Result]:
        """The results that have a judged trajectory."""
        return [result for result in self.results if result.judgement]

    @property
    def whole(self) -> list[Result]:
        """Those whose trajectory holds every tensor that it must, so that steps of it were judged."""
        return [result for result in self.finished if result.judgement.ledger.steps]


Judging = Callable[[Problem, str, Trajectory], Result]


def attempt(problem: Problem, name: str, judging: Judging | None = None) -> Result:
    """Run and judge a problem on one backend, here or as `judging` does. Whatever goes wrong there is a verdict."""
    try:
        return attempt_openly(problem, name, judging)
    except (Exception, SystemExit) as error:  # noqa: BLE001, a backend may fail in any way: the others still run
        return failed(label(name), error)


def attempt_openly(problem: Problem, name: str, judging: Judging | None = None) -> Result:
    """Run and judge a problem on one backend; an exception of its code is raised as it is."""
    return run_openly(problem, label(name), lambda: backend(name).run(problem), judging)


def run_openly(
    problem: Problem, name: str, run: Callable[[], Trajectory], judging: Judging | None = None
) -> Result:
    """Judge the trajectory that `run` returns, under this name; an exception of its code is raised as it is."""
    try:
        trajectory = run()
    except (Exception, SystemExit) as error:  # noqa: BLE001, what is not told in words is raised again
        return failed_in_words(name, error)
    return (judging or judged)(problem, name, trajectory)


def failed_in_words(name: str, error: BaseException) -> Result:
    """The verdict on a backend that left no run and says why; to be called where the exception is handled.

    Raises:
        Exception: the same, if it is an exception of the backend's code.
        EndedError: if that code would end the program.
    """
    result = failed(name, error)
    if isinstance(error, SystemExit):
        raise EndedError(result.message) from error
    if result.verdict == "error" and not isinstance(error, WrongReturn):
        raise error
    return result


def judged(problem: Problem, name: str, trajectory: Trajectory) -> Result:
    """What came of a trajectory that a backend left."""
    start = time.perf_counter()
    judgement = judge(problem, trajectory)
    seconds = {"run": seconds_of(trajectory.seconds), "judge": time.perf_counter() - start}
    share = accuracy(problem, trajectory) if judgement.ledger.steps else None
    return Result(name, judgement.verdict, judgement.message, trajectory, judgement, seconds, share)


def failed(name: str, error: BaseException) -> Result:
    """The verdict on a backend that left none."""
    if isinstance(error, Missing):
        return Result(name, "missing", str(error))
    if isinstance(error, Incomplete):
        return Result(name, "incomplete", str(error))
    if isinstance(error, Unsupported):
        return Result(name, "unsupported", str(error))
    if isinstance(error, MemoryError):
        return Result(name, "out of memory", "the run needs more memory than there is")
    return Result(name, "error", told(error))


def accuracy(problem: Problem, trajectory: Trajectory) -> float | None:
    """The share of samples, at every position, whose largest final output is at their class; None without classes."""
    output, targets = trajectory.final_values.get(problem.output), problem.targets
    one_class = (
        problem.loss.by_class
        and np.isin(targets, (0, 1)).all()
        and (targets.sum(axis=-1) == 1).all()
    )
    if output is None or not one_class or not np.isfinite(output).all():
        return None
    return float((output.argmax(axis=-1) == targets.argmax(axis=-1)).mean())


def pairs_of(comparison: Comparison) -> Iterator[Pair]:
    """All pairs of whole runs that stay within the range of the dtype."""
    in_range = [
        result
        for result in comparison.finished
        if result.verdict not in ("out of range", "incomplete")
    ]
    for actual, desired in combinations(in_range, 2):
        names = actual.backend, desired.backend
        drift = compare(comparison.problem, actual.trajectory, desired.trajectory, names)
        certified = actual.verdict == desired.verdict == "certified"
        everything = len(comparison.problem.recorded) == comparison.problem.steps
        explained = certified and everything and comparison.problem.tolerance is None
        status = "within" if drift.within else "explained" if explained else "outside"
        yield Pair(names, drift, status)


def suspect(comparison: Comparison) -> str:
    """Who is the odd one out? Empty where nobody differs, or where it can't be told."""
    results = comparison.finished
    only_print = [result for result in results if result.judgement.only_print_missed]
    if only_print and only_print == results:
        return "every backend is right by the formulas and misses the printed number: suspect it, or the case"
    wrong = [result for result in results if result.judgement.missed_the_truth]
    others = [result for result in results if result.backend != "numpy"]
    if (
        _frameworks(others) > 1
        and all(result in wrong for result in others)
        and _miss_alike(comparison, others)
    ):
        agreement = f"{_names(others)} agree with each other and miss the truth"
        return f"{agreement} ({others[0].judgement.where.place}): suspect the reference (numpy) or the case"
    certified = [result for result in results if result.verdict == "certified"]
    if _frameworks(wrong) != 1 or not certified:
        return ""
    if _names(certified) == "numpy":
        return "only the reference (numpy) met the truth, which is its own: another backend would tell who is wrong"
    return f"{_names(wrong)} {'are' if len(wrong) > 1 else 'is'} alone: {_names(certified)} met the truth"


def _frameworks(results: list[Result]) -> int:
    """How many independent witnesses they are."""
    return len({framework(result.backend) for result in results})


def _names(results: list[Result]) -> str:
    *others, last = (result.backend for result in results)
    return f"{', '.join(others)} and {last}" if others else last


def _miss_alike(comparison: Comparison, results: list[Result]) -> bool:
    """They miss the truth at the same step, in the same phase, and are within the tolerance of each other so far.

    What comes later may be chaos: correct runs drift apart as well.
    """
    first, *others = [result.judgement.where for result in results]
    agree = {pair.names for pair in comparison.pairs if pair.drift.within_up_to(first.step)}
    pairs = {*combinations([result.backend for result in results], 2)}
    return pairs <= agree and all(
        (other.step, other.phase) == (first.step, first.phase) for other in others
    )
