"""One step of a run for the terminal: every tensor in the order in which it is computed."""

from __future__ import annotations

from collections.abc import Iterator

from backproof.cases.console.terminal import plain, wrapped
from backproof.report.judging.outcome import Comparison, Result
from backproof.report.judging.share import of_the_allowed
from backproof.report.telling.case_page import GIVEN, STEP_LEGEND
from backproof.report.telling.cells import cell
from backproof.report.telling.step_table import holds, neighbours, step_table, tensors_at

PLAIN = "simple"
LEGEND = f"{STEP_LEGEND} ± is the rounding allowed."


def explained(comparison: Comparison, step: int | None) -> str:
    """Write a step of every run of a case at one dtype.

    Args:
        comparison: with the trajectories.
        step: None for the first wrong one, or the one with the largest error.
    """
    told = (
        paragraph for result in comparison.results for paragraph in _run(comparison, result, step)
    )
    return "\n\n".join(told)


def _run(comparison: Comparison, result: Result, step: int | None) -> Iterator[str]:
    """Yield the verdict on a run, and its step."""
    run, judgement = result.trajectory, result.judgement
    where = judgement.where if judgement else None
    yield plain(f"{comparison.case.name} {comparison.dtype} {result.backend}: {cell(result)}")
    if result.message:
        yield wrapped(result.message)
    if run is None or not judgement.ledger.steps:
        return
    if step is None:
        step = where.step if where else int(run.steps[0])
    if judgement.verdict == "certified" and where:
        yield wrapped(f"Its largest error is {of_the_allowed(judgement.budget)}: {where.place}.")
    tensors = tensors_at(comparison.problem, run, step)
    if not tensors:
        yield wrapped(_not_recorded(comparison, step))
        return
    if where and where.step == step and not holds(tensors, where):
        yield wrapped(GIVEN)
    yield f"{wrapped(LEGEND)}\n\nstep {step:,}\n\n{step_table(tensors, PLAIN)}"
    if around := neighbours(tensors, PLAIN):
        yield f"Around the first wrong element:\n\n{around}"


def _not_recorded(comparison: Comparison, step: int) -> str:
    """Say that there is no such step, and which there are."""
    recorded = comparison.problem.recorded
    near = recorded[max(0, int(recorded.searchsorted(step)) - 1) :][:2]
    known = " and ".join(f"{one:,}" for one in near)
    return f"Step {step:,} is not recorded, so there is nothing to show; the nearest are {known}."
