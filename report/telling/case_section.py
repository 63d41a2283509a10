"""The section of one case: the scenario, the runs, the chain rule with numbers, the trajectory, what is published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

import numpy as np

from backproof.backends.trajectory import Trajectory, cut
from backproof.cases.format.concept import Concept
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.schema import Case
from backproof.reference.numbers.balls import balls, floats, sizes, working_precision
from backproof.report.judging.following import followed
from backproof.report.judging.kinks import decided_checks
from backproof.report.judging.outcome import Comparison, Result, suspect
from backproof.report.telling.cells import cell, may_pass, printed, short, some, table
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.escape import block, parts, text
from backproof.report.telling.gaps import not_judged
from backproof.report.telling.places import figure_of

SHOWN_STEPS = (
    0,
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    20_000,
    50_000,
    100_000,
)


def case_section(
    comparisons: list[Comparison],
    layers: list[LayerGradient],
    *,
    figure: bool = False,
    notes: Iterable[str] = (),
) -> str:
    """One case at all its dtypes: the scenario, the runs, and their numbers.

    `layers` are for the gradient by layer, `notes` say what is left out, and the figure is shown if there is one.
    """
    with np.errstate(all="ignore"):
        return "\n\n".join(
            [
                *_beginning(comparisons),
                *notes,
                *_middle(comparisons, layers, figure),
                *_end(comparisons),
            ]
        )


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


def _middle(
    comparisons: list[Comparison], layers: list[LayerGradient], figure: bool
) -> Iterator[str]:  # noqa: FBT001
    for comparison in comparisons:
        yield from parts("the odd one out", _odd_one_out, comparison)
    if figure:
        yield f"![]({quote(figure_of(comparisons[0].case))})"
    if len(layers) > 1:
        yield from parts("the gradient size by layer", _folded_layers, layers)


def _odd_one_out(comparison: Comparison) -> Iterator[str]:
    if who := suspect(comparison):
        yield f"**{comparison.dtype}: {text(who)}.**"


def _folded_layers(layers: list[LayerGradient]) -> str:
    return f"<details><summary>gradient size by layer</summary>\n\n{_layers_table(layers)}\n\n</details>"


def _end(comparisons: list[Comparison]) -> Iterator[str]:
    for comparison in comparisons:
        if _has_numbers(comparison):
            yield f"<details><summary>{comparison.dtype}: the numbers</summary>"
            yield from _numbers(comparison)
            yield "</details>"


def _has_numbers(comparison: Comparison) -> bool:
    """There is a whole trajectory at hand; of a case that is not told there are verdicts only."""
    return any(result.trajectory for result in comparison.whole)


def _outputs(comparisons: list[Comparison]) -> Iterator[str]:
    """What the processes have left that did not finish."""
    for comparison in comparisons:
        for result in comparison.results:
            if result.output:
                what = f"{comparison.dtype} {result.backend}: the output of the process"
                yield f"<details><summary>{what}</summary>\n\n{block(result.output)}\n\n</details>"


def figure_name(comparison: Comparison) -> str | None:
    """Where the figure of a case is, a name for each case; none for a single step, which has no curve."""
    return figure_of(comparison.case) if comparison.problem.steps > 1 else None


def _scenario(comparison: Comparison) -> str:
    """What is trained, on what, and how."""
    case, problem = comparison.case, comparison.problem
    size, samples = problem.batches.shape[1], len(problem.inputs)
    batches = "all samples" if size == samples else f"batches of {size} of {samples} samples"
    if case.objective:
        return f"{case.objective.kind} objective of {problem.targets.shape[-1]} numbers; {_training(case)}."
    network = f"input ({'×'.join(map(str, problem.shapes['input']))}) → {' → '.join(_layer(layer) for layer in case.network)}"
    return f"{'; '.join([network, *_sharing(case), _loss(case), _training(case)])}, {batches}."


def _layer(layer: LayerConcept) -> str:
    told = "; ".join(
        filter(None, [layer.brief, f"of {', '.join(layer.inputs)}" if layer.inputs else ""])
    )
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
    if not case.training:
        return "gradients only"
    steps = (
        f"{case.steps:,} step{'s' * (case.steps > 1)} of {_with_settings(case.training.optimizer)}"
    )
    clip = f", clipped by {_with_settings(case.training.clip)}" if case.training.clip else ""
    schedule = (
        f", learning rate by {_with_settings(case.training.schedule)}"
        if case.training.schedule
        else ""
    )
    return steps + clip + schedule


def _with_settings(concept: Concept) -> str:
    """Its kind, and what the case sets in it; the rest is as the reference page says."""
    settings = [
        f"{name} {_with_settings(value) if isinstance(value, Concept) else value}"
        for name, value in concept
        if name in concept.model_fields_set
    ]
    return f"{concept.kind} ({', '.join(settings)})" if settings else concept.kind


def _runs_table(comparisons: list[Comparison]) -> str:
    rows = []
    for comparison in comparisons:
        for result in comparison.results:
            row = [comparison.dtype, result.backend, cell(result)]
            rows.append(
                row
                + (
                    _run_cells(result)
                    if result.judgement
                    else [text(result.message), "", "", "", ""]
                )
            )
    headers = [
        "dtype",
        "backend",
        "verdict",
        "largest budget at",
        "resolution",
        "elements",
        "resolved",
        "run + judge",
    ]
    return table(rows, headers)


def _run_cells(result: Result) -> list[str]:
    judgement, where = result.judgement, result.judgement.where
    well = [where.place if where else "", result.message]
    place = text("; ".join(filter(None, well)) if result.verdict == "certified" else result.message)
    resolution = f"{may_pass(judgement.resolution)}, median {judgement.resolution.median:.0e}"
    seconds = f"{result.seconds['run']:.2f} + {result.seconds['judge']:.2f} s"
    return [
        place,
        resolution,
        f"{judgement.ledger.elements:,}",
        f"{judgement.ledger.resolved:,}",
        seconds,
    ]


def _layers_table(layers: list[LayerGradient]) -> str:
    behind = [*layers[1:], None]
    rows = [
        [
            text(layer.layer), f"{layer.gradient:.3g}", f"{layer.cotangent:.3g}",
            f"{layer.cotangent / after.cotangent:.3g}" if after and after.cotangent else "",
            f"{layer.bound / after.bound:.3g}" if after and after.bound else "",
        ]
        for layer, after in zip(layers, behind, strict=True)
    ]  # fmt: skip
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
    """The chain rule with numbers: every tensor of step 0 in the order in which it is computed."""
    problem, results = comparison.problem, comparison.whole
    size = int((problem.batches[0] >= 0).sum())
    first_steps = [cut(result.trajectory, np.array([0]), size) for result in results]
    checks = [
        {check[:2]: check for check in decided_checks(problem, followed(problem, step))}
        for step in first_steps
    ]
    rows = []
    for name, check in max(checks, key=len).items():
        budgets = [short(float(own[name].budget().max())) if name in own else "" for own in checks]
        shape = "×".join(map(str, check.actual.shape[1:])) or "number"
        what = check.phase if check.phase == check.tensor else f"{check.phase} {check.tensor}"
        rows.append([text(what), shape, some(floats(check.truth.value[0])), *budgets])
    return table(rows, ["", "shape", "truth", *(result.backend for result in results)])


def shown_steps(comparison: Comparison) -> list[int]:
    """The recorded steps of the trajectory table."""
    recorded = comparison.problem.recorded
    return [int(step) for step in recorded if step in SHOWN_STEPS or step == recorded[-1]]


def _trajectory(comparison: Comparison) -> str:
    """The run of the first backend at some steps, and how far each backend is from the exact run."""
    exact, first = comparison.exact, comparison.whole[0].trajectory
    with_digits = [result for result in comparison.whole if exact and result.verdict == "certified"]
    rows = []
    for step in shown_steps(comparison):
        row = int(np.searchsorted(comparison.problem.recorded, step))
        gradient = max(float(np.abs(values[row]).max()) for values in first.gradients.values())
        digits = [digits_from_exact(comparison, result, step, row) for result in with_digits]
        rows.append([f"{step:,}", _loss_at(first, row), f"{gradient:.3g}", *digits])
    headers = [
        "step",
        "loss",
        "largest gradient",
        *(f"digits, {result.backend}" for result in with_digits),
    ]
    digits = (
        f"*Digits*: how many decimal digits of the parameters after that step agree with the exact run, proved in ball "
        f"arithmetic of {exact.bits} bits."
        if with_digits
        else f"The exact run in ball arithmetic was not made: {text(comparison.no_exact)}."
    )
    output = first.final_values.get(comparison.problem.output)
    shown = "" if output is None else f", the output {some(output)}"
    final = "not recorded" if first.final_loss is None else f"{float(first.final_loss):.6g}"
    return (
        f"{table(rows, headers)}\n\n{digits} After the last step the loss of all samples is "
        f"{final}{shown}.{_accuracy(comparison)}"
    )


def _loss_at(run: Trajectory, row: int) -> str:
    """The loss of a recorded step; a dash where none is recorded."""
    return "–" if run.loss is None else f"{run.loss[row]:.6g}"


def _accuracy(comparison: Comparison) -> str:
    """The share of all samples that each backend puts into their class in the end."""
    shares = [
        f"{result.backend} {result.accuracy:.2%}"
        for result in comparison.whole
        if result.accuracy is not None
    ]
    return (
        f" Put into their class: {', '.join(shares)} of {len(comparison.problem.inputs):,} samples."
        if shares
        else ""
    )


def digits_from_exact(comparison: Comparison, result: Result, step: int, row: int) -> str:
    """Decimal digits of the parameters after a step that agree with the exact run, in the tensor where fewest do."""
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
        statuses = (number.status for number in numbers)
        rows.append(
            [
                text(entry.source),
                text(f"{entry.tensor} at {entry.step}"),
                printed(entry.value),
                *statuses,
            ]
        )
    return table(
        rows, ["source", "tensor and step", "printed", *(result.backend for result in results)]
    )
