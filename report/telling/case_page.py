"""The page of one case: scenario, runs, chain rule, trajectory, published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

import numpy as np

from backproof.cases.format.concept import Concept
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.schema import Case
from backproof.reference.numbers.balls import balls, sizes, working_precision
from backproof.report.judging.outcome import Comparison, Result, suspect
from backproof.report.judging.share import of_the_allowed, short
from backproof.report.telling.cells import cell, may_pass, some, table
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.escape import block, label, parts, text
from backproof.report.telling.gaps import not_judged
from backproof.report.telling.pairs import pairs_table
from backproof.report.telling.places import figure_of
from backproof.report.telling.sentence import all_pairs
from backproof.report.telling.step_table import holds, neighbours, step_table, tensors_at

CASES_LEGEND = (
    "*Largest error*: of all numbers of the run, as a share of the rounding allowed: how far a "
    "correct program may stray from the proved truth, derived for each number; 1 is all of it, and "
    "more is wrong. *Resolution*: the largest error of a gradient that may have passed, of the "
    "worst tensor at the worst judged step, relative to the tensor's largest element; absolute, "
    "with ±, where the truth is no larger than it; and the relative one at the median step. "
    "*Resolved*: elements whose allowance is smaller than they are. In the tables of step 0 the "
    "truth is what the reference's formula gives for the own inputs of the backend that records "
    "most, the first of several, and a backend's column is its largest share of the rounding "
    "allowed."
)
STEP_LEGEND = (
    "Every tensor of the step in the order in which it is computed, by its first wrong element, or "
    "the one with the largest share of the rounding allowed. Each is judged from the run's own "
    "numbers before it, so the first wrong line is where the fault is; a later one is a second "
    "fault, or shows that the run has used other numbers than it recorded. Of an update the change "
    "is shown."
)
GIVEN = (
    "What is wrong is what the step was given, before anything in it was computed; the table shows "
    "how it was used."
)
SHOWN_STEPS = {0, *(digit * 10**power for power in range(5) for digit in (1, 2, 5)), 100_000}


def case_page(
    comparisons: list[Comparison],
    layers: Sequence[LayerGradient],
    *,
    picture: str | None = None,
    notes: Iterable[str] = (),
) -> str:
    """Write one case at all its dtypes: the scenario, the runs, and their numbers.

    Args:
        comparisons: the case at each of its dtypes.
        layers: for the gradient by layer.
        picture: what the figure shows, in words; None where there is no figure.
        notes: what is left out.
    """
    with np.errstate(all="ignore"):
        whole = [*_beginning(comparisons), *notes]
        for comparison in comparisons:
            whole += parts("the odd one out", _odd_one_out, comparison)
            whole += parts("the failing step", _failing_steps, comparison)
        if picture is not None:
            figure = quote(figure_of(comparisons[0].case))
            whole.append(f"![{label(picture)}](../{figure})")
        if len(layers) > 1:
            what = "gradient size by layer"
            whole += parts(f"the {what}", lambda: _folded(what, _layers_table(layers)))
        return "\n\n".join([*whole, *_end(comparisons)]) + "\n"


def _beginning(comparisons: list[Comparison]) -> Iterator[str]:
    case = comparisons[0].case
    yield f"# {text(case.name)}"
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


def _failing_steps(comparison: Comparison) -> Iterator[str]:
    """Yield, of each run that is not certified because of a step, every tensor of that step."""
    for result in comparison.whole:
        judgement, run = result.judgement, result.trajectory
        if result.verdict == "certified" or run is None or judgement.only_print_missed:
            continue
        step = judgement.where.step if judgement.where else 0
        tensors = tensors_at(comparison.problem, run, step)
        if not tensors:
            continue
        yield f"## {comparison.dtype} {text(result.backend)}, step {step:,}: {text(cell(result))}"
        yield text(result.message)
        if not holds(tensors, judgement.where):
            yield GIVEN
        yield f"{STEP_LEGEND}\n\n{step_table(tensors)}"
        if around := neighbours(tensors):
            yield f"Around the first wrong element:\n\n{around}"


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _end(comparisons: list[Comparison]) -> Iterator[str]:
    """Yield how free runs drift apart, and the numbers of each dtype with a whole trajectory.

    Of a case that is not told there are verdicts only.
    """
    if pairs := all_pairs(comparisons):
        drift = "how far free runs drift apart"
        yield from parts("the table of pairs", lambda: _folded(drift, pairs_table(pairs)))
    for comparison in comparisons:
        if any(result.trajectory for result in comparison.whole):
            numbers = "\n\n".join(_numbers(comparison))
            yield _folded(f"{comparison.dtype}: the numbers", numbers)
    yield CASES_LEGEND


def _outputs(comparisons: list[Comparison]) -> Iterator[str]:
    """Yield what the processes have left that did not finish."""
    for comparison in comparisons:
        for result in comparison.results:
            if result.output:
                what = f"{comparison.dtype} {text(result.backend)}: the output of the process"
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
            row = [comparison.dtype, text(result.backend), cell(result)]
            told = _run_cells(result) if result.judgement else [text(result.message)] + 4 * [""]
            rows.append(row + told)
    numbers = ["resolution", "elements", "resolved", "run + judge"]
    return table(rows, ["dtype", "backend", "verdict", "largest error", *numbers])


def _run_cells(result: Result) -> list[str]:
    judgement = result.judgement
    resolution = f"{may_pass(judgement.resolution)}, median {judgement.resolution.median:.0e}"
    seconds = f"{result.seconds['run']:.2f} + {result.seconds['judge']:.2f} s"
    ledger = judgement.ledger
    counts = [f"{ledger.elements:,}", f"{ledger.resolved:,}"]
    return [text(_largest_error(result)), resolution, *counts, seconds]


def _largest_error(result: Result) -> str:
    """Say where the largest error is, or the first wrong number, up to which a run is counted."""
    judgement = result.judgement
    if judgement.missed_the_truth:
        share = of_the_allowed(judgement.budget)
        return f"first wrong: {judgement.where.place}, {share}; counted up to that step"
    if result.verdict != "certified" or not judgement.where:
        return result.message
    told = f"{of_the_allowed(judgement.budget)}: {judgement.where.place}"
    return "; ".join(filter(None, [told, result.message]))


def _layers_table(layers: Sequence[LayerGradient]) -> str:
    rows = []
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        sizes = [f"{layer.gradient:.3g}", f"{layer.cotangent:.3g}"]
        share = f"{layer.cotangent / after.cotangent:.3g}" if after and after.cotangent else ""
        bound = f"{layer.bound / after.bound:.3g}" if after and after.bound else ""
        rows.append([text(layer.layer), *sizes, share, bound])
    return table(rows, ["layer", "gradient", "cotangent", "times the layer behind", "bound"])


def _numbers(comparison: Comparison) -> Iterator[str]:
    yield f"### {comparison.dtype}, step 0"
    yield from parts("the table of step 0", _step_zero, comparison)
    if comparison.problem.steps > 1:
        yield f"### {comparison.dtype}, the run"
        yield from parts("the table of the run", _trajectory, comparison)
    if comparison.problem.published:
        yield f"### {comparison.dtype}, published numbers"
        yield from parts("the table of the published numbers", _published, comparison)


def _step_zero(comparison: Comparison) -> str:
    """Write every tensor of step 0 in the order in which it is computed."""
    results = comparison.whole
    runs = [tensors_at(comparison.problem, result.trajectory, 0) for result in results]
    by_name = [{tensor.what: tensor for tensor in tensors} for tensors in runs]
    rows = []
    for tensor in max(runs, key=len):
        shares = [
            short(float(own[tensor.what].share.max())) if tensor.what in own else ""
            for own in by_name
        ]
        shape = "×".join(map(str, tensor.share.shape)) or "number"
        rows.append([text(tensor.what), shape, some(tensor.truth), *shares])
    return table(rows, ["", "shape", "truth", *(text(result.backend) for result in results)])


def shown_steps(comparison: Comparison) -> list[int]:
    """Return the recorded steps of the trajectory table."""
    recorded = comparison.problem.recorded
    return [int(step) for step in recorded if step in SHOWN_STEPS or step == recorded[-1]]


def _trajectory(comparison: Comparison) -> str:
    """Write the first backend's run at some steps, and how far each one is from the exact run."""
    exact, runs = comparison.exact, [result.trajectory for result in comparison.whole]
    first = next((run for run in runs if run.has_layers), runs[0])
    with_digits = [result for result in comparison.whole if exact and result.verdict == "certified"]
    rows = []
    for step in shown_steps(comparison):
        row = int(np.searchsorted(comparison.problem.recorded, step))
        sizes_of = (float(np.abs(values[row]).max()) for values in first.gradients.values())
        gradient = max(sizes_of, default=np.nan)
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
