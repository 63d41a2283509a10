"""The public verbs: each raises `NotCertified` with the judge's message, so that it is at home in any test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from backproof.backends.registry import DEFAULT, backend, chosen, known
from backproof.backends.users_code import of_function
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load
from backproof.report.judging.judge import Judgement
from backproof.report.judging.outcome import (
    Comparison,
    Judging,
    Result,
    attempt_openly,
    pairs_of,
    run_openly,
)
from backproof.report.running.judge_apart import JudgeApart

MINE = "mine"


class NotCertified(AssertionError):  # noqa: N818, it is a verdict
    """Something is not certified; the message is the judge's: what differs first, and where."""


def certify_case(path: str | Path, mine: Callable | str | None = None) -> dict[str, Judgement]:
    """Run a case at each of its dtypes, and judge every number of it in a process of the judge's own.

    Args:
        path: of the case's YAML file.
        mine: what to run: a function as `docs/your-own.md` has them, `FILE.py:FUNCTION`, or the
            name of a backend. Without it all backends run that do so by default; one that is
            missing, or can't express the case, is passed over.

    Returns:
        The judgement of each run, by dtype and backend: `float64-torch`.

    Raises:
        NotCertified: if a run is not certified, or two of them are outside the case's tolerance; it
            names all of these.
        InvalidCase: if the file is no case.
        Exception: what the user's own code raises.
    """
    case, judgements, failures = load(path), {}, []
    with closing(JudgeApart()) as judge:
        for dtype in case.dtypes:
            comparison = Comparison(case, materialise(case, dtype))
            comparison.results = list(_results(comparison.problem, mine, judge.of(case)))
            judgements |= {
                f"{dtype}-{result.backend}": result.judgement for result in comparison.finished
            }
            failures += _failures(comparison, asked_for=mine is not None)
    if failures:
        raise NotCertified("\n".join(f"{case.name} {failure}" for failure in failures))
    return judgements


def _results(problem: Problem, mine: Callable | str | None, judging: Judging) -> Iterator[Result]:
    """Run the problem on what was asked for."""
    if callable(mine):
        yield run_openly(
            problem, MINE, lambda: of_function(mine, backend("numpy")).run(problem), judging
        )
        return
    names = (
        DEFAULT
        if mine is None
        else [chosen(mine if mine in known() or "=" in mine else f"{MINE}={mine}")]
    )
    for name in names:
        yield attempt_openly(problem, name, judging)


def _failures(comparison: Comparison, *, asked_for: bool) -> Iterator[str]:
    """Tell what is not certified, and which pairs are outside the case's tolerance."""
    for result in comparison.results:
        passed_over = result.verdict in ("unsupported", "missing") and not asked_for
        if result.verdict != "certified" and not passed_over:
            yield f"{comparison.dtype} {result.backend}: {result.verdict}\n  {result.message}"
    for pair in pairs_of(comparison) if comparison.dtype in comparison.case.tolerance else ():
        if pair.status == "outside":
            yield f"{comparison.dtype} {'-'.join(pair.names)}: outside the case's tolerance\n  {pair.drift}"
