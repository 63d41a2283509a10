"""What came of one case at one dtype: every run, the pairs, and who is the odd one out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
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

NOT_JUDGED = ("error", "crash", "timeout", "out of memory", "missing")
INCOMPLETE = ("undecided", "incomplete", "out of range", *NOT_JUDGED)
SAY_WHY = {Missing: "missing", Incomplete: "incomplete", Unsupported: "unsupported"}


@dataclass
class Result:
    """What came of one backend: a verdict, and what there is behind it.

    Attributes:
        backend: its label.
        verdict, message: what is said of it.
        trajectory, judgement: what it left, and what the judge says of that; None if it left none.
        seconds: wall times, of the `run` and of the judge.
        accuracy: the share of samples told right, where the targets are classes.
        output: what a process that did not finish has printed.
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
        """Those whose trajectory holds every tensor that it must, so that its steps were judged."""
        return [result for result in self.finished if result.judgement.ledger.steps]


Judging = Callable[[Problem, str, Trajectory], Result]


def attempt(problem: Problem, name: str, judging: Judging | None = None) -> Result:
    """Run and judge a problem on one backend; whatever goes wrong there is a verdict.

    Args:
        problem: to run.
        name: of the backend.
        judging: judges in the stead of `judged`, such as in another process.
    """
    try:
        return attempt_openly(problem, name, judging)
    except (Exception, SystemExit) as error:  # noqa: BLE001, the others still run
        return failed(label(name), error)


def attempt_openly(problem: Problem, name: str, judging: Judging | None = None) -> Result:
    """Run and judge a problem on one backend; raise an exception of its code as it is."""
    return run_openly(problem, label(name), lambda: backend(name).run(problem), judging)


def run_openly(
    problem: Problem, name: str, run: Callable[[], Trajectory], judging: Judging | None = None
) -> Result:
    """Judge what `run` returns, under this name; raise an exception of its code as it is."""
    try:
        trajectory = run()
    except (Exception, SystemExit) as error:  # noqa: BLE001, raised again
        return failed_in_words(name, error)
    return (judging or judged)(problem, name, trajectory)


def failed_in_words(name: str, error: BaseException) -> Result:
    """Return the verdict on a backend that left no run and says why; call it in the handler.

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
    """Judge the trajectory that a backend left, and take the time."""
    start = time.perf_counter()
    judgement = judge(problem, trajectory)
    seconds = {"run": seconds_of(trajectory.seconds), "judge": time.perf_counter() - start}
    share = accuracy(problem, trajectory) if judgement.ledger.steps else None
    return Result(name, judgement.verdict, judgement.message, trajectory, judgement, seconds, share)


def failed(name: str, error: BaseException) -> Result:
    """Return the verdict on a backend that left no trajectory."""
    for kind, verdict in SAY_WHY.items():
        if isinstance(error, kind):
            return Result(name, verdict, str(error))
    if isinstance(error, MemoryError):
        return Result(name, "out of memory", "the run needs more memory than there is")
    return Result(name, "error", told(error))


def accuracy(problem: Problem, trajectory: Trajectory) -> float | None:
    """Return the share of samples and positions whose largest final output is at their class.

    None where the targets are no classes, or no finite output is recorded.
    """
    output, targets = trajectory.final_values.get(problem.output), problem.targets
    if output is None or not problem.loss.by_class or not np.isfinite(output).all():
        return None
    if not np.isin(targets, (0, 1)).all() or (targets.sum(axis=-1) != 1).any():
        return None
    return float((output.argmax(axis=-1) == targets.argmax(axis=-1)).mean())


def pairs_of(comparison: Comparison) -> Iterator[Pair]:
    """Yield all pairs of whole runs that stay within the range of the dtype."""
    problem = comparison.problem
    everything = len(problem.recorded) == problem.steps and problem.tolerance is None
    kept = [one for one in comparison.finished if one.verdict not in ("out of range", "incomplete")]
    for actual, desired in combinations(kept, 2):
        names = actual.backend, desired.backend
        drift = compare(problem, actual.trajectory, desired.trajectory, names)
        explained = everything and actual.verdict == desired.verdict == "certified"
        status = "within" if drift.within else "explained" if explained else "outside"
        yield Pair(names, drift, status)


def suspect(comparison: Comparison) -> str:
    """Say who is the odd one out; nothing where nobody differs, or where it can't be told."""
    results = comparison.finished
    only_print = [result for result in results if result.judgement.only_print_missed]
    if only_print and only_print == results:
        return (
            "every backend is right by the formulas and misses the printed number: "
            "suspect it, or the case"
        )
    wrong = [result for result in results if result.judgement.missed_the_truth]
    others = [result for result in results if result.backend != "numpy"]
    all_wrong = all(result in wrong for result in others)
    if _frameworks(others) > 1 and all_wrong and _miss_alike(comparison, others):
        place = others[0].judgement.where.place
        agreement = f"{_names(others)} agree with each other and miss the truth ({place})"
        return f"{agreement}: suspect the reference (numpy) or the case"
    certified = [result for result in results if result.verdict == "certified"]
    if _frameworks(wrong) != 1 or not certified:
        return ""
    if _names(certified) == "numpy":
        return (
            "only the reference (numpy) met the truth, which is its own: "
            "another backend would tell who is wrong"
        )
    are = "are" if len(wrong) > 1 else "is"
    return f"{_names(wrong)} {are} alone: {_names(certified)} met the truth"


def _frameworks(results: list[Result]) -> int:
    """Count the independent witnesses among the backends."""
    return len({framework(result.backend) for result in results})


def _names(results: list[Result]) -> str:
    """List the backends in words."""
    return listed(result.backend for result in results)


def listed(words: Iterable[str]) -> str:
    """List words as a sentence does, each once: numpy, torch and jax."""
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} and {last}" if others else last


def _miss_alike(comparison: Comparison, results: list[Result]) -> bool:
    """Return whether all miss the truth at the same step and phase, and agree so far.

    What comes later may be chaos: correct runs drift apart as well.
    """
    places = {(result.judgement.where.step, result.judgement.where.phase) for result in results}
    first = results[0].judgement.where.step
    agree = {pair.names for pair in comparison.pairs if pair.drift.within_up_to(first)}
    pairs = {*combinations([result.backend for result in results], 2)}
    return len(places) == 1 and pairs <= agree
