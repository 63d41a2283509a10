"""The public verb: it raises `NotCertified` with the judge's message, at home in any test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from backproof.backends.registry import DEFAULT, backend, chosen, known
from backproof.backends.users_code import of_function
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load
from backproof.report.judging import outcome
from backproof.report.judging.judge import Judgement
from backproof.report.running.judge_apart import JudgeApart

MINE = "mine"


class NotCertified(AssertionError):  # noqa: N818, it is a verdict
    """Something is not certified; the message is the judge's: what differs first, and where."""


def certify_case(path: str | Path, mine: Callable | str | None = None) -> dict[str, Judgement]:
    """Run a case at each of its dtypes, and judge every number of it in a process apart.

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
            comparison = outcome.Comparison(case, materialise(case, dtype))
            comparison.results = _results(comparison.problem, mine, judge.of(case))
            for result in comparison.finished:
                judgements[f"{dtype}-{result.backend}"] = result.judgement
            failures += _failures(comparison, asked_for=mine is not None)
    if failures or not judgements:
        told = [f"{case.name} {failure}" for failure in failures]
        raise NotCertified("\n".join(told) or f"{case.name}: nothing was judged: no backend ran it")
    return judgements


def _results(
    problem: Problem, mine: Callable | str | None, judging: outcome.Judging
) -> list[outcome.Result]:
    """Run the problem on what was asked for, and return what came of each run."""
    if callable(mine):
        run = lambda: of_function(mine, backend("numpy")).run(problem)  # noqa: E731
        return [outcome.run_openly(problem, MINE, run, judging)]
    if mine is None:
        return [outcome.attempt_openly(problem, name, judging) for name in DEFAULT]
    name = chosen(mine if mine in known() or "=" in mine else f"{MINE}={mine}")
    return [outcome.attempt_openly(problem, name, judging)]


def _failures(comparison: outcome.Comparison, *, asked_for: bool) -> Iterator[str]:
    """Yield what is not certified, and which pairs are outside the case's tolerance."""
    for result in comparison.results:
        passed_over = result.verdict in ("unsupported", "missing") and not asked_for
        if result.verdict != "certified" and not passed_over:
            yield f"{comparison.dtype} {result.backend}: {result.verdict}\n  {result.message}"
    has_tolerance = comparison.dtype in comparison.case.tolerance
    for pair in outcome.pairs_of(comparison) if has_tolerance else ():
        if pair.status == "outside":
            names = f"{comparison.dtype} {'-'.join(pair.names)}"
            yield f"{names}: outside the case's tolerance\n  {pair.drift}"
