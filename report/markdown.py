"""The report as Markdown: the verdict, the tables, and a section a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from tabulate import tabulate

from cases.load import Mistake
from cases.schema import Dense
from reference.proof import balls, floats, working_precision
from report.checks import Check, checks_of_steps
from report.depth import LayerGradient
from report.judge import Ledger, cut
from report.run import Comparison, Result, suspect

SHOWN_STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
SHOWN_ELEMENTS = 4
VERDICTS = {
    "differs": "differ", "out of range": "leave the range of their dtype", "unsupported": "are not supported",
    "missing": "lack their backend", "error": "stopped with an error", "out of memory": "ran out of memory",
}  # fmt: skip
DEEP = 4


def whole_report(
    comparisons: list[Comparison],
    sections: list[str],
    mistakes: list[Mistake],
    depth: dict[str, list[LayerGradient]],
    environment: dict[str, str],
) -> str:
    """The report, from all comparisons and the sections of the cases."""
    parts = [
        "# backproof report", f"**{verdict_sentence(comparisons, mistakes)}**",
        "## Verdicts", _legend(), matrix(comparisons, link=True), *_invalid(mistakes),
        "## What was compared", _ledger(comparisons),
        "## Free-running differences", _pairs_legend(), pairs_table(comparisons),
        *_depth(depth), "## Cases", *sections,
        "## Environment", table([[key, value] for key, value in environment.items()], ["", ""]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def table(rows: list[list], headers: list[str], form: str = "pipe") -> str:
    """A table whose cells are taken as they are; in Markdown `|` is escaped."""
    bar = "\\|" if form == "pipe" else "|"
    rows, headers = ([[str(cell).replace("|", bar) for cell in row] for row in part] for part in (rows, [headers]))
    return tabulate(rows, headers[0], tablefmt=form, disable_numparse=True)


# ---------------------------------------------------------------- all cases


def verdict_sentence(comparisons: list[Comparison], mistakes: list[Mistake]) -> str:
    """The result in one sentence, and the first failure in another."""
    results = [(comparison, result) for comparison in comparisons for result in comparison.results]
    counts = Counter(result.verdict for _, result in results)
    ledger, certified = total(comparisons), counts.pop("certified", 0)
    compared = f"{ledger.elements:,} numbers at {ledger.steps:,} recorded steps"
    everything = results and certified == len(results)
    parts = [
        f"All {len(results)} runs are certified: each of {compared} lies within the derived allowance of the truth"
        if everything
        else f"{certified} of {len(results)} runs are certified"
    ]
    parts += [f"{count} {VERDICTS[verdict]}" for verdict, count in counts.items()]
    outside = sum(pair.status == "outside" for comparison in comparisons for pair in comparison.pairs)
    parts += [f"{outside} of the pairs are outside their tolerance"] if outside else []
    parts += [f"{len(mistakes)} mistakes in case files"] if mistakes else []
    return ", ".join(parts) + "." + _first_failure(results)


def _first_failure(results: list[tuple[Comparison, Result]]) -> str:
    for comparison, result in results:
        if result.verdict not in ("certified", "unsupported"):
            who = suspect(comparison)
            where = f"{comparison.case.name} {comparison.dtype} {result.backend}"
            return f" First: {where}: {result.message}." + (f" {who[0].upper()}{who[1:]}." if who else "")
    return ""


def matrix(comparisons: list[Comparison], form: str = "pipe", *, link: bool = False) -> str:
    """One row a case and dtype: each backend's verdict and largest budget."""
    names = backend_names(comparisons)
    rows = []
    for comparison in comparisons:
        cells = {result.backend: cell(result) for result in comparison.results}
        name = comparison.case.name
        case = f"[{name}](#{anchor(name)})" if link else name
        rows.append([case, comparison.dtype, *(cells.get(backend, "") for backend in names)])
    return table(rows, ["case", "dtype", *names], form)


def backend_names(comparisons: list[Comparison]) -> list[str]:
    """The backends that were asked for, in their order."""
    return list(dict.fromkeys(result.backend for comparison in comparisons for result in comparison.results))


def cell(result: Result) -> str:
    """A verdict with its budget; with its resolution where only gradients were there to judge."""
    if (judgement := result.judgement) is None:
        return result.verdict
    end_to_end = f", end to end, resolves {judgement.resolution:.0e}" if judgement.scope == "gradients" else ""
    return f"{result.verdict} {short(judgement.budget)}{end_to_end}"


def short(share: float) -> str:
    """Three decimals of a share, never rounded up to 1; powers of ten for what is far off."""
    return f"{np.floor(share * 1000) / 1000:.3f}" if share < 100 else f"{share:.1e}"


def anchor(name: str) -> str:
    """The link target that Markdown viewers make of a heading."""
    return name.replace("/", "").replace(".", "")


def _legend() -> str:
    return (
        "Each cell: the verdict, and the largest share of its derived rounding allowance that any number of the run "
        "used (1 is all of it). *Certified* means that every recorded value, loss, cotangent, gradient and update is "
        "right for the backend's own recorded inputs."
    )


def _invalid(mistakes: list[Mistake]) -> list[str]:
    return ["### Case files with mistakes", "\n".join(f"- `{mistake}`" for mistake in mistakes)] if mistakes else []


def total(comparisons: list[Comparison]) -> Ledger:
    """All ledgers added up."""
    ledgers = [result.judgement.ledger for comparison in comparisons for result in comparison.finished]
    return Ledger(*(sum(getattr(ledger, name) for ledger in ledgers) for name in vars(Ledger())))


def _ledger(comparisons: list[Comparison]) -> str:
    ledger = total(comparisons)
    statuses = [
        number.status for comparison in comparisons for result in comparison.finished
        for number in result.judgement.published
    ]  # fmt: skip
    share = ledger.resolved / max(ledger.elements, 1)
    rows = [
        ["cases", f"{len({comparison.case.name for comparison in comparisons}):,}"],
        ["runs (case × dtype × backend)", f"{sum(len(comparison.results) for comparison in comparisons):,}"],
        ["recorded steps", f"{ledger.steps:,}"],
        ["tensors", f"{ledger.tensors:,}"],
        ["elements", f"{ledger.elements:,}"],
        ["resolved elements (allowance < abs(truth))", f"{ledger.resolved:,} ({share:.1%})"],
        ["published numbers met", f"{statuses.count('met'):,} of {len(statuses):,}"],
    ]
    return table(rows, ["", "number"])


def _pairs_legend() -> str:
    return (
        "The same run on two backends, each left to itself. *Within*: never outside rtol and atol (1e-9 in float64, "
        "1e-4 in float32, unless the case sets them). *Explained*: outside, while both runs are certified at every "
        "step: rounding, amplified by the training itself."
    )


def pairs_table(comparisons: list[Comparison]) -> str:
    """One row a pair: the largest differences over the run, and where."""
    rows = [
        [
            comparison.case.name, comparison.dtype, "-".join(pair.names), f"{pair.drift.gradient:.1e}",
            f"{pair.drift.parameter:.1e}", f"{pair.drift.step:,}", pair.status,
        ]
        for comparison in comparisons
        for pair in comparison.pairs
    ]  # fmt: skip
    return table(rows, ["case", "dtype", "pair", "max abs Δgradient", "max abs Δparameter", "at step", "rtol and atol"])


def _depth(networks: dict[str, list[LayerGradient]]) -> list[str]:
    """The size of gradients by layer, for all networks with several dense layers."""
    if not networks:
        return []
    rows = [
        [
            name, len(layers), f"{layers[0].gradient:.3g}", f"{layers[-1].gradient:.3g}",
            f"{layers[0].cotangent / layers[-1].cotangent:.3g}", f"{layers[0].bound / layers[-1].cotangent:.3g}",
        ]
        for name, layers in networks.items()
    ]  # fmt: skip
    headers = ["case", "dense layers", "gradient, first layer", "gradient, last layer", "cotangent, first / last"]
    legend = (
        "Step 0, Euclidean sizes, float64. Behind every layer the cotangent of the preactivation is at most the "
        "activation's steepest slope times ‖W‖ times as large: 0.25·|w| for a sigmoid chain, 1·|w| for relu and tanh."
    )
    figure = ["![](figures/depth.svg)"] if max(map(len, networks.values())) >= DEEP else []
    return ["## Gradient size by layer", legend, table(rows, [*headers, "bound"]), *figure]


# ---------------------------------------------------------------- one case


def case_section(comparisons: list[Comparison]) -> str:
    """One case at all its dtypes: the scenario, the runs, and their numbers."""
    return "\n\n".join(_case_parts(comparisons))


def _case_parts(comparisons: list[Comparison]) -> Iterator[str]:
    case = comparisons[0].case
    yield f"### {case.name}"
    yield f"{case.title}." + (f" *Source: {case.source}.*" if case.source else "")
    yield _scenario(comparisons[0])
    if case.note:
        yield "\n".join(f"> {line}" for line in case.note.strip().splitlines())
    yield _runs_table(comparisons)
    for comparison in comparisons:
        if who := suspect(comparison):
            yield f"**{comparison.dtype}: {who}.**"
    if figure := figure_name(comparisons[0]):
        yield f"![]({figure})"
    for comparison in comparisons:
        if comparison.finished:
            yield f"<details><summary>{comparison.dtype}: the numbers</summary>"
            yield from _numbers(comparison)
            yield "</details>"


def figure_name(comparison: Comparison) -> str | None:
    """Where the figure of a case is; none for a single step, which has no curve."""
    return f"figures/{comparison.case.name.replace('/', '-')}.svg" if comparison.problem.steps > 1 else None


def _scenario(comparison: Comparison) -> str:
    case, problem = comparison.case, comparison.problem
    layers = " → ".join(_layer(layer) for layer in case.network)
    loss = f"{case.loss.kind.replace('_', ' ')} × {case.loss.factor:g} ({case.loss.reduction})"
    size, samples = problem.batches.shape[1], len(problem.inputs)
    batches = "all samples" if size == samples else f"batches of {size} of {samples} samples"
    training = "gradients only"
    if case.training:
        settings = ", ".join(f"{name} {value}" for name, value in case.training.optimizer.model_dump().items())
        training = f"{problem.steps:,} steps of {case.training.optimizer.kind} ({settings})"
    return f"input ({problem.inputs.shape[1]}) → {layers}; {loss}; {training}, {batches}."


def _layer(layer) -> str:
    if isinstance(layer, Dense):
        return f"{layer.name} ({layer.units}{'' if layer.bias else ', no bias'})"
    return layer.name


def _runs_table(comparisons: list[Comparison]) -> str:
    rows = []
    for comparison in comparisons:
        for result in comparison.results:
            row = [comparison.dtype, result.backend, cell(result)]
            rows.append(row + (_run_cells(result) if result.judgement else [result.message, "", "", "", ""]))
    headers = ["dtype", "backend", "verdict", "largest budget at", "resolution", "elements", "resolved", "run + judge"]
    return table(rows, headers)


def _run_cells(result: Result) -> list[str]:
    judgement, where = result.judgement, result.judgement.where
    place = str(where) if result.verdict != "certified" else where.place if where else ""
    resolution = "" if judgement.resolution is None else f"{judgement.resolution:.1e}"
    seconds = f"{result.seconds['run']:.2f} + {result.seconds['judge']:.2f} s"
    return [place, resolution, f"{judgement.ledger.elements:,}", f"{judgement.ledger.resolved:,}", seconds]


def _numbers(comparison: Comparison) -> Iterator[str]:
    yield f"#### {comparison.dtype}, step 0"
    yield _step_zero(comparison)
    if comparison.problem.steps > 1:
        yield f"#### {comparison.dtype}, the run"
        yield _trajectory(comparison)
    if comparison.problem.published:
        yield f"#### {comparison.dtype}, published numbers"
        yield _published(comparison)


def _step_zero(comparison: Comparison) -> str:
    """The chain rule with numbers: every tensor of step 0 in the order in which it is computed."""
    problem, results = comparison.problem, comparison.finished
    size = int((problem.batches[0] >= 0).sum())
    whole = [result for result in results if result.judgement.ledger.steps]
    checks = [list(checks_of_steps(problem, cut(result.trajectory, np.array([0]), size))) for result in whole]
    rows = []
    for of_backends in zip(*checks, strict=True):
        check = of_backends[0]
        budgets = [short(float(of_backend.budget().max())) for of_backend in of_backends]
        shape = "×".join(map(str, check.actual.shape[1:])) or "number"
        rows.append([f"{check.phase} {check.tensor}", shape, _elements(check), *budgets])
    return table(rows, ["", "shape", "truth", *(result.backend for result in whole)])


def _elements(check: Check) -> str:
    return some(floats(check.truth.value[0]))


def some(values: np.ndarray) -> str:
    """The first few numbers of an array."""
    values = np.asarray(values).ravel()
    shown = ", ".join(f"{value:.6g}" for value in values[:SHOWN_ELEMENTS])
    return shown + (", …" if values.size > SHOWN_ELEMENTS else "")


def shown_steps(comparison: Comparison) -> list[int]:
    """The recorded steps of the trajectory table."""
    recorded = comparison.problem.recorded
    return [int(step) for step in recorded if step in SHOWN_STEPS or step == recorded[-1]]


def _trajectory(comparison: Comparison) -> str:
    results = comparison.finished
    rows = []
    for step in shown_steps(comparison):
        row = int(np.searchsorted(comparison.problem.recorded, step))
        first = results[0].trajectory
        gradient = max(float(np.abs(values[row]).max()) for values in first.gradients.values())
        digits = [digits_from_exact(comparison, result, step, row) for result in results]
        rows.append([f"{step:,}", f"{first.loss[row]:.6g}", f"{gradient:.3g}", *digits])
    final, last = results[0].trajectory, comparison.problem.network[-1].name
    exact = f"in {comparison.exact.bits} bits" if comparison.exact else "too costly here"
    headers = ["step", "loss", "largest gradient", *(f"digits, {result.backend}" for result in results)]
    return (
        f"{table(rows, headers)}\n\nDigits: how many of the parameters' decimal digits after that step agree with the "
        f"exact run (ball arithmetic {exact}). After the last step the loss of all samples is "
        f"{float(final.final_loss):.6g}, the output {some(final.final_values[last])}."
    )


def digits_from_exact(comparison: Comparison, result: Result, step: int, row: int) -> str:
    """Decimal digits of the parameters after a step that agree with the exact run, in the tensor where fewest do."""
    if comparison.exact is None or result.verdict != "certified":
        return ""
    with working_precision(comparison.exact.bits):
        pairs = [
            (floats(np.abs(balls(result.trajectory.after[path][row]) - exact)).max(), floats(np.abs(exact)).max())
            for path, exact in comparison.exact.steps[step].after.items()
        ]
    relative = max(distance / size for distance, size in pairs if size)
    return f"{-np.log10(relative):.1f}" if relative else "all"


def _published(comparison: Comparison) -> str:
    results = comparison.finished
    rows = []
    for numbers in zip(*(result.judgement.published for result in results), strict=True):
        entry = numbers[0].entry
        printed = ", ".join(entry.value.ravel()[:SHOWN_ELEMENTS])
        rows.append([entry.source, f"{entry.tensor} at {entry.step}", printed, *(number.status for number in numbers)])
    return table(rows, ["source", "tensor and step", "printed", *(result.backend for result in results)])
