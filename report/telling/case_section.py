"""The section of one case: scenario, runs, chain rule, trajectory, published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

import numpy as np

from backproof.backends.trajectory import cut
from backproof.cases.format.concept import Concept
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.schema import Case
from backproof.reference.numbers.balls import balls, floats, sizes, working_precision
from backproof.report.judging.following import followed
from backproof.report.judging.kinks import decided_checks
from backproof.report.judging.outcome import Comparison, Result, suspect
from backproof.report.telling.cells import cell, may_pass, short, some, table
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.escape import block, parts, text
from backproof.report.telling.gaps import not_judged
from backproof.report.telling.places import figure_of

SHOWN_STEPS = {0, *(digit * 10**power for power in range(5) for digit in (1, 2, 5)), 100_000}


def case_section(
    comparisons: list[Comparison],
    layers: list[LayerGradient],
    *,
    figure: bool = False,
    notes: Iterable[str] = (),
) -> str:
    """Write one case at all its dtypes: the scenario, the runs, and their numbers.

    Args:
        comparisons: the case at each of its dtypes.
        layers: for the gradient by layer.
        figure: show the figure.
        notes: what is left out.
    """
    with np.errstate(all="ignore"):
        whole = [*_beginning(comparisons), *notes]
        for comparison in comparisons:
            whole += parts("the odd one out", _odd_one_out, comparison)
        if figure:
            whole.append(f"![]({quote(figure_of(comparisons[0].case))})")
        if len(layers) > 1:
            what = "gradient size by layer"
            whole += parts(f"the {what}", lambda: _folded(what, _layers_table(layers)))
        return "\n\n".join([*whole, *_end(comparisons)])


def _beginning(comparisons: list[Comparison]) -> Iterator[str]:
    case = comparisons[0].case
    yield f"### {text(case.name)}"
    yield f"{text(case.title)}." + (f" *Source: {text(case.source)}.*" if case.source else "")
    yield from parts("the scenario", lambda: text(_scenario(comparisons[0])))
    if gaps := not_judged(comparisons[0].problem):
        yield f"*{gaps}.*"
    if case.note:
        yield "\n".join(f"> {text(line)}" for line in case.note.strip().splitlines())
    yield from parts("the table of the runs", _runs_table, comparisons)
    yield from parts("the output of the processes", _outputs, comparisons)


def _odd_one_out(comparison: Comparison) -> Iterator[str]:
    if who := suspect(comparison):
        yield f"**{comparison.dtype}: {text(who)}.**"


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _end(comparisons: list[Comparison]) -> Iterator[str]:
    """Yield the numbers of each dtype at which there is a whole trajectory at hand.

    Of a case that is not told there are verdicts only.
    """
    for comparison in comparisons:
        if any(result.trajectory for result in comparison.whole):
            numbers = "\n\n".join(_numbers(comparison))
            yield _folded(f"{comparison.dtype}: the numbers", numbers)


def _outputs(comparisons: list[Comparison]) -> Iterator[str]:
    """Yield what the processes have left that did not finish."""
    for comparison in comparisons:
        for result in comparison.results:
            if result.output:
                what = f"{comparison.dtype} {result.backend}: the output of the process"
                yield _folded(what, block(result.output))


def figure_name(comparison: Comparison) -> str | None:
    """Return where the figure of a case is; none for a single step, which has no curve."""
    return figure_of(comparison.case) if comparison.problem.steps > 1 else None


def _scenario(comparison: Comparison) -> str:
    """Say what is trained, on what, and how."""
    case, problem = comparison.case, comparison.problem
    size, samples = problem.batches.shape[1], len(problem.inputs)
    if case.objective:
        numbers = problem.targets.shape[-1]
        return f"{case.objective.kind} objective of {numbers} numbers; {_training(case)}."
    batches = "all samples" if size == samples else f"batches of {size} of {samples} samples"
    shape = "×".join(map(str, problem.shapes["input"]))
    network = " → ".join([f"input ({shape})", *map(_layer, case.network)])
    return f"{'; '.join([network, *_sharing(case), _loss(case), _training(case)])}, {batches}."


def _layer(layer: LayerConcept) -> str:
    inputs = f"of {', '.join(layer.inputs)}" if layer.inputs else ""
    told = "; ".join(filter(None, [layer.brief, inputs]))
    return f"{layer.name} ({told})" if told else layer.name


def _sharing(case: Case) -> Iterator[str]:
    for path, tie in case.tied.items():
        yield f"{path} is {tie.parameter}{' transposed' if tie.transposed else ''}"
    if case.frozen:
        yield f"{', '.join(case.frozen)} frozen"


def _loss(case: Case) -> str:
    loss = f"{case.loss.kind.replace('_', ' ')} × {case.loss.factor:g} ({case.loss.reduction})"
    penalties = (
        f"{term.kind} × {term.coefficient:g} of {', '.join(term.parameters)}"
        for term in case.penalties
    )
    return " + ".join([loss, *penalties])


def _training(case: Case) -> str:
    if not (training := case.training):
        return "gradients only"
    steps = f"{case.steps:,} step{'s' * (case.steps > 1)} of {_with_settings(training.optimizer)}"
    clip = f", clipped by {_with_settings(training.clip)}" if training.clip else ""
    schedule = training.schedule
    rate = f", learning rate by {_with_settings(schedule)}" if schedule else ""
    return steps + clip + rate


def _with_settings(concept: Concept) -> str:
    """Write its kind, and what the case sets in it; the rest is as the reference page says."""
    given = [(name, value) for name, value in concept if name in concept.model_fields_set]
    told = [f"{name} {_with_settings(x) if isinstance(x, Concept) else x}" for name, x in given]
    return f"{concept.kind} ({', '.join(told)})" if told else concept.kind


def _runs_table(comparisons: list[Comparison]) -> str:
    rows = []
    for comparison in comparisons:
        for result in comparison.results:
            row = [comparison.dtype, result.backend, cell(result)]
            told = _run_cells(result) if result.judgement else [text(result.message)] + 4 * [""]
            rows.append(row + told)
    numbers = ["resolution", "elements", "resolved", "run + judge"]
    return table(rows, ["dtype", "backend", "verdict", "largest budget at", *numbers])


def _run_cells(result: Result) -> list[str]:
    judgement, where = result.judgement, result.judgement.where
    well = [where.place if where else "", result.message]
    place = text("; ".join(filter(None, well)) if result.verdict == "certified" else result.message)
    resolution = f"{may_pass(judgement.resolution)}, median {judgement.resolution.median:.0e}"
    seconds = f"{result.seconds['run']:.2f} + {result.seconds['judge']:.2f} s"
    ledger = judgement.ledger
    return [place, resolution, f"{ledger.elements:,}", f"{ledger.resolved:,}", seconds]


def _layers_table(layers: list[LayerGradient]) -> str:
    rows = []
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        sizes = [f"{layer.gradient:.3g}", f"{layer.cotangent:.3g}"]
        share = f"{layer.cotangent / after.cotangent:.3g}" if after and after.cotangent else ""
        bound = f"{layer.bound / after.bound:.3g}" if after and after.bound else ""
        rows.append([text(layer.layer), *sizes, share, bound])
    return table(rows, ["layer", "gradient", "cotangent", "times the layer behind", "bound"])


def _numbers(comparison: Comparison) -> Iterator[str]:
    yield f"#### {comparison.dtype}, step 0"
    yield from parts("the table of step 0", _step_zero, comparison)
    if comparison.problem.steps > 1:
        yield f"#### {comparison.dtype}, the run"
        yield from parts("the table of the run", _trajectory, comparison)
    if comparison.problem.published:
        yield f"#### {comparison.dtype}, published numbers"
        yield from parts("the table of the published numbers", _published, comparison)


def _step_zero(comparison: Comparison) -> str:
    """Write every tensor of step 0 in the order in which it is computed."""
    problem, results = comparison.problem, comparison.whole
    size = int((problem.batches[0] >= 0).sum())
    checks = []
    for result in results:
        step = followed(problem, cut(result.trajectory, np.array([0]), size))
        checks.append({check[:2]: check for check in decided_checks(problem, step)})
    rows = []
    for name, check in max(checks, key=len).items():
        budgets = [short(float(own[name].budget().max())) if name in own else "" for own in checks]
        shape = "×".join(map(str, check.actual.shape[1:])) or "number"
        what = check.phase if check.phase == check.tensor else f"{check.phase} {check.tensor}"
        rows.append([text(what), shape, some(floats(check.truth.value[0])), *budgets])
    return table(rows, ["", "shape", "truth", *(result.backend for result in results)])


def shown_steps(comparison: Comparison) -> list[int]:
    """Return the recorded steps of the trajectory table."""
    recorded = comparison.problem.recorded
    return [int(step) for step in recorded if step in SHOWN_STEPS or step == recorded[-1]]


def _trajectory(comparison: Comparison) -> str:
    """Write the first backend's run at some steps, and how far each one is from the exact run."""
    exact, first = comparison.exact, comparison.whole[0].trajectory
    with_digits = [result for result in comparison.whole if exact and result.verdict == "certified"]
    rows = []
    for step in shown_steps(comparison):
        row = int(np.searchsorted(comparison.problem.recorded, step))
        gradient = max(float(np.abs(values[row]).max()) for values in first.gradients.values())
        digits = [digits_from_exact(comparison, result, step, row) for result in with_digits]
        loss = "–" if first.loss is None else f"{first.loss[row]:.6g}"
        rows.append([f"{step:,}", loss, f"{gradient:.3g}", *digits])
    columns = [f"digits, {result.backend}" for result in with_digits]
    output = first.final_values.get(comparison.problem.output)
    shown = "" if output is None else f", the output {some(output)}"
    final = "not recorded" if first.final_loss is None else f"{float(first.final_loss):.6g}"
    told = (
        "*Digits*: how many decimal digits of the parameters after that step agree with the exact "
        f"run, proved in ball arithmetic of {exact.bits} bits."
        if with_digits
        else f"The exact run in ball arithmetic was not made: {text(comparison.no_exact)}."
    )
    return (
        f"{table(rows, ['step', 'loss', 'largest gradient', *columns])}\n\n"
        f"{told} After the last step the loss of all samples is "
        f"{final}{shown}.{_accuracy(comparison)}"
    )


def _accuracy(comparison: Comparison) -> str:
    """Say what share of all samples each backend puts into their class in the end."""
    classified = [result for result in comparison.whole if result.accuracy is not None]
    shares = ", ".join(f"{result.backend} {result.accuracy:.2%}" for result in classified)
    samples = f"{len(comparison.problem.inputs):,} samples"
    return f" Put into their class: {shares} of {samples}." if shares else ""


def digits_from_exact(comparison: Comparison, result: Result, step: int, row: int) -> str:
    """Count the digits after a step that agree with the exact run, in the worst tensor."""
    with working_precision(comparison.exact.bits):
        pairs = [
            (sizes(balls(result.trajectory.after[path][row]) - exact).max(), sizes(exact).max())
            for path, exact in comparison.exact.steps[step].after.items()
        ]
    relative = max((distance / size for distance, size in pairs if size), default=0)
    return f"{-np.log10(relative):.1f}" if relative else "all"


def _published(comparison: Comparison) -> str:
    results = comparison.whole
    rows = []
    for numbers in zip(*(result.judgement.published for result in results), strict=True):
        entry = numbers[0].entry
        place = text(f"{entry.tensor} at {entry.step}")
        statuses = (number.status for number in numbers)
        rows.append([text(entry.source), place, some(entry.value, str), *statuses])
    names = [result.backend for result in results]
    return table(rows, ["source", "tensor and step", "printed", *names])
