"""The report as Markdown: the verdict and the tables over all cases, around their own sections."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from backproof.backends.trajectory import PHASES
from backproof.cases.console.terminal import WIDTH, cut, wrapped
from backproof.cases.reading.load import Mistake
from backproof.report.judging.judge import Ledger
from backproof.report.judging.outcome import Comparison, Pair, Result, suspect
from backproof.report.judging.published import Published
from backproof.report.telling.cells import cell, some, table
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.escape import code, parts, text
from backproof.report.telling.gaps import not_judged
from backproof.report.telling.rows import filled

DEEP = 4
ABREAST, REASONS = 3, 3
DEPTH_LEGEND = (
    "Step 0, Euclidean sizes, in the case's first dtype. Behind every layer the cotangent of the "
    "preactivation is at most the activation's steepest slope times ‖W‖ times as large: 0.25·|w| "
    "for a sigmoid chain, 1·|w| for relu and tanh. The case's own section has the table by layer."
)
LEGEND = (
    "Each cell: the verdict, and the largest share of its derived rounding allowance that any "
    "number of the run used (1 is all of it; of a run that differs, the share of the first "
    "failure). *Certified* means that every recorded value, loss, cotangent, gradient and update "
    "is right for the backend's own recorded inputs."
)
CASES_LEGEND = (
    "*Resolution*: the largest error of a gradient that may have passed, of the worst tensor at "
    "the worst judged step, relative to the tensor's largest element; absolute, with ±, where the "
    "truth is no larger than it; and the relative one at the median step. *Resolved*: elements "
    "whose allowance is smaller than they are. In the tables of step 0 the truth is what the "
    "reference's formula gives for the first backend's own inputs, and a backend's column is its "
    "difference from its truth in units of the allowance."
)
PAIRS_LEGEND = (
    "The same run on two backends, each left to itself. *Within*: never outside rtol and atol "
    "(1e-9 in float64, 1e-4 in float32, 0.02 in float16, 0.06 in bfloat16, unless the case sets "
    "them). *Explained*: outside, while all steps of both runs are recorded and certified: "
    "rounding, amplified by the training itself."
)
STARRED = (
    "* judged end to end, from gradients alone; in brackets the largest error of a gradient that "
    "may have passed, relative to the largest element of its tensor, or absolute (±) where the "
    "truth is no larger than it"
)
ONLY_THE_REFERENCE = (
    " Only the reference ran, and it is judged by its own formulas: run another backend beside it."
)


def whole_report(
    comparisons: list[Comparison],
    sections: list[str],
    mistakes: list[Mistake],
    depth: dict[str, list[LayerGradient]],
    environment: dict[str, str],
    unfinished: str = "",
    depth_figure: str = "",
) -> str:
    """Write the report.

    Args:
        comparisons: of all cases.
        sections: of the cases.
        mistakes: in case files.
        depth: the gradients by layer of each network.
        environment: facts by name.
        unfinished: what is not in the report.
        depth_figure: the line that shows the figure.
    """
    facts = [[text(key), text(value)] for key, value in environment.items()]
    whole = [
        "# backproof report",
        f"**{text(verdict_sentence(comparisons, mistakes, unfinished))}**",
        "## Verdicts",
        LEGEND,
        matrix(comparisons, backend_names(comparisons), link=True),
        *map(text, _remarks(comparisons)),
        *_invalid(mistakes),
        "## What was compared",
        *parts("the table of what was compared", _ledger, comparisons),
        *parts("the section on wrong published numbers", _wrong_prints, comparisons),
        "## Free-running differences",
        *parts("the section on pairs", _pairs, comparisons),
        *parts("the section on gradient size by layer", _depth, depth, depth_figure),
        "## Cases",
        CASES_LEGEND,
        *sections,
        "## Environment",
        table(facts, ["", ""]),
    ]
    return "\n\n".join(whole) + "\n"


# ---------------------------------------------------------------- all cases


def verdict_sentence(
    comparisons: list[Comparison], mistakes: list[Mistake], unfinished: str = ""
) -> str:
    """Say the result, the first failure, and what the result does not say, a sentence each.

    A report that is not finished says so before anything else.
    """
    results = [(comparison, result) for comparison in comparisons for result in comparison.results]
    outside = [(one, pair) for one, pair in _all_pairs(comparisons) if pair.status == "outside"]
    counts = Counter(result.verdict for _, result in results)
    told = [f"{counts.pop('certified', 0)} of {_counted(len(results), 'run')} certified"]
    for verdict, count in counts.items():
        told.append(f"{count} {'differ' if verdict == 'differs' and count > 1 else verdict}")
    if outside:
        told.append(f"{_counted(len(outside), 'pair')} outside the tolerance")
    if mistakes:
        told.append(f"{_counted(len(mistakes), 'mistake')} in case files")
    all_well = results and len(told) == 1 and not unfinished
    sentence = _all_certified(comparisons, len(results)) if all_well else ", ".join(told)
    failure = _first_failure(results) or _first_outside(outside)
    more = f"{failure}{_unsupported(results)}{_caveat(comparisons)}"
    return f"{unfinished}{sentence}{_gaps(comparisons)}.{more}"


def _all_pairs(comparisons: list[Comparison]) -> list[tuple[Comparison, Pair]]:
    return [(comparison, pair) for comparison in comparisons for pair in comparison.pairs]


def _gaps(comparisons: list[Comparison]) -> str:
    """Name the steps that were not judged, of the first case and dtype that has some."""
    thinned = [comparison for comparison in comparisons if not_judged(comparison.problem)]
    if not thinned:
        return ""
    first, *others = thinned
    more = f", and steps of {len(others):,} other case and dtype" if others else ""
    return f"; but {not_judged(first.problem)} ({first.case.name} {first.dtype}{more})"


def _all_certified(comparisons: list[Comparison], runs: int) -> str:
    ledger = total(comparisons)
    who = f"All {runs} runs are" if runs > 1 else "The only run is"
    compared = f"{_counted(ledger.elements, 'number')} at {_counted(ledger.steps, 'recorded step')}"
    return f"{who} certified: each of {compared} lies within the derived allowance of the truth"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _first_failure(results: list[tuple[Comparison, Result]]) -> str:
    for comparison, result in results:
        if result.verdict not in ("certified", "unsupported"):
            who = suspect(comparison)
            where = f"{comparison.case.name} {comparison.dtype} {result.backend}"
            end = "" if result.message.endswith("?") else "."
            blamed = f" {who[0].upper()}{who[1:]}." if who else ""
            return f" First: {where}: {result.message}{end}{blamed}"
    return ""


def _unsupported(results: list[tuple[Comparison, Result]]) -> str:
    """Say why backends can't express cases, each reason once."""
    unsupported = [result for _, result in results if result.verdict == "unsupported"]
    reasons = Counter(f"{result.backend}: {result.message}" for result in unsupported)
    if not reasons:
        return ""
    most = reasons.most_common(REASONS)
    shown = [f"{reason} ({_counted(number, 'run')})" for reason, number in most]
    if len(reasons) > REASONS:
        shown.append(f"{len(reasons) - REASONS} more reasons are in the report")
    return f" Unsupported by {'; '.join(shown)}."


def _first_outside(outside: list[tuple[Comparison, Pair]]) -> str:
    if not outside:
        return ""
    (comparison, pair), *_ = outside
    where = f"{comparison.case.name} {comparison.dtype} {'-'.join(pair.names)}"
    gaps = len(comparison.problem.recorded) < comparison.problem.steps
    why = "; steps that are not recorded are not judged, and may be the cause" if gaps else ""
    return f" First pair outside: {where}: {pair.drift}{why}."


def _caveat(comparisons: list[Comparison]) -> str:
    is_alone = backend_names(comparisons) == ["numpy"]
    return ONLY_THE_REFERENCE if is_alone and any(one.finished for one in comparisons) else ""


def summary(comparisons: list[Comparison]) -> str:
    """Write the matrix in plain text, with as many backends abreast as a terminal takes."""
    names = backend_names(comparisons)
    for abreast in range(ABREAST, 0, -1):
        groups = [names[at : at + abreast] for at in range(0, max(len(names), 1), abreast)]
        tables = [filled(comparisons, group) for group in groups]
        if all(table.width <= WIDTH for table in tables):
            break
    written = [f"{table.head()}\n{table.rows(comparisons)}" for table in tables]
    return "\n\n".join([*written, *remarks(comparisons)])


def remarks(comparisons: list[Comparison]) -> list[str]:
    """Return what is to be said below the table, each in lines that a terminal takes."""
    return [*map(wrapped, _remarks(comparisons))]


def _remarks(comparisons: list[Comparison]) -> Iterator[str]:
    """Say what a star means, if there is one; what is not counted, and what is not recorded."""
    if any(cell(result).endswith("*") for one in comparisons for result in one.finished):
        yield STARRED
    yield from _borrowed(comparisons)
    yield from _not_recorded(comparisons)


def _borrowed(comparisons: list[Comparison]) -> Iterator[str]:
    """Say what the reference computed for the code of each backend: no numbers of its own."""
    found: dict[str, set[str]] = {}
    for comparison in comparisons:
        for result in comparison.finished:
            found.setdefault(result.backend, set()).update(result.judgement.borrowed)
    for name, phases in found.items():
        if phases:
            what = ", ".join(phase for phase in PHASES if phase in phases)
            yield f"{name}: what the reference computed for it ({what}) is judged, but not counted"


def _not_recorded(comparisons: list[Comparison]) -> list[str]:
    """Say what is not recorded of each backend's certified runs, each part once."""
    told: dict[str, dict[str, None]] = {}
    for comparison in comparisons:
        for result in comparison.results:
            if result.verdict == "certified" and result.message:
                missing = dict.fromkeys(result.message.split("; "))
                told.setdefault(result.backend, {}).update(missing)
    return [f"{name}: {'; '.join(missing)}" for name, missing in told.items()]


def matrix(
    comparisons: list[Comparison], names: list[str], form: str = "pipe", *, link: bool = False
) -> str:
    """Write a row for each case and dtype: the verdict and the largest budget of these backends."""
    rows = []
    for comparison in comparisons:
        cells = {result.backend: cell(result) for result in comparison.results}
        name = comparison.case.name
        case = f"[{text(name)}](#{anchor(name)})" if link else name
        rows.append([case, comparison.dtype, *(cells.get(backend, "") for backend in names)])
    return table(rows, ["case", "dtype", *names], form)


def backend_names(comparisons: list[Comparison]) -> list[str]:
    """Return the backends that were asked for, in their order."""
    results = (result for comparison in comparisons for result in comparison.results)
    return [*dict.fromkeys(result.backend for result in results)]


def anchor(name: str) -> str:
    """Return the link target that Markdown viewers make of a heading."""
    return re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-")


def _invalid(mistakes: list[Mistake]) -> list[str]:
    told = "\n".join(f"- {code(cut(str(mistake)))}" for mistake in mistakes)
    return ["### Case files with mistakes", told] if mistakes else []


def total(comparisons: list[Comparison]) -> Ledger:
    """Add up all ledgers."""
    ledgers = [result.judgement.ledger for one in comparisons for result in one.finished]
    return Ledger(*(sum(getattr(ledger, name) for ledger in ledgers) for name in vars(Ledger())))


def _ledger(comparisons: list[Comparison]) -> str:
    ledger = total(comparisons)
    finished = [result for comparison in comparisons for result in comparison.finished]
    published = [number for result in finished for number in result.judgement.published]
    statuses = Counter(number.status for number in published)
    share = ledger.resolved / max(ledger.elements, 1)
    met, missed = statuses["met"], statuses["missed"]
    counts = {
        "cases": f"{len({one.case.name for one in comparisons}):,}",
        "runs (case × dtype × backend)": f"{sum(len(one.results) for one in comparisons):,}",
        "recorded steps": f"{ledger.steps:,}",
        "tensors": f"{ledger.tensors:,}",
        "elements": f"{ledger.elements:,}",
        "resolved elements (allowance < abs(truth))": f"{ledger.resolved:,} ({share:.1%})",
        "undecided elements, behind kinks whose side is not certain": f"{ledger.undecided:,}",
        "published numbers met": f"{met:,} of {met + missed:,}",
    }
    if neither := statuses["noise"] + statuses["not resolved"]:
        what = "noise at their source, or finer than the run's rounding"
        counts[f"neither met nor missed: {what}"] = f"{neither:,}"
    return table([*map(list, counts.items())], ["", "number"])


def _wrong_prints(comparisons: list[Comparison]) -> list[str]:
    """Write the published numbers that are wrong at their source, each once, if there are any."""
    found: dict[tuple[str, int], list[Published]] = {}
    for comparison in comparisons:
        for result in comparison.finished:
            for i, number in enumerate(result.judgement.published):
                found.setdefault((comparison.case.name, i), []).append(number)
    rows = []
    for (name, _), numbers in found.items():
        statuses = {number.status for number in numbers} - {"not recorded", "not resolved"}
        if statuses == {"wrong at its source"}:
            entry = numbers[0].entry
            place, why = text(f"{entry.tensor} at {entry.step}"), text(entry.wrong.reason)
            case = f"[{text(name)}](#{anchor(name)})"
            rows.append([case, text(entry.source), place, some(entry.value, str), why])
    words = "Their cases say that they are wrong, and why; no run has met one of them."
    headers = ["case", "source", "tensor and step", "printed", "why it is wrong"]
    return ["## Published numbers that are wrong", words, table(rows, headers)] if rows else []


def _pairs(comparisons: list[Comparison]) -> Iterator[str]:
    """Say how far free runs drift apart: the counts, what stands out, and all of them, folded."""
    pairs = _all_pairs(comparisons)
    counts = Counter(pair.status for _, pair in pairs)
    told = f"{counts['within']} are within, {counts['explained']} explained"
    yield f"{PAIRS_LEGEND} Of {len(pairs)} pairs {told}, {counts['outside']} outside."
    if notable := [(comparison, pair) for comparison, pair in pairs if pair.status != "within"]:
        yield _pairs_table(notable)
    yield from ("<details><summary>all pairs</summary>", _pairs_table(pairs), "</details>")


def _pairs_table(pairs: list[tuple[Comparison, Pair]]) -> str:
    rows = []
    for comparison, pair in pairs:
        row = [text(comparison.case.name), comparison.dtype, "-".join(pair.names)]
        row += [_power(pair.drift.gradient), _power(pair.drift.parameter)]
        rows.append([*row, f"{pair.drift.step:,}", pair.status])
    headers = ["case", "dtype", "pair", "max abs Δgradient", "max abs Δparameter"]
    return table(rows, [*headers, "at step", "rtol and atol"])


def _power(number: float) -> str:
    return f"{number:.1e}" if number else "0"


def _depth(networks: dict[str, list[LayerGradient]], figure: str) -> list[str]:
    """Write the size of gradients by layer, for all networks with several dense layers."""
    if not networks:
        return []
    rows = []
    for name, layers in networks.items():
        first, last = layers[0], layers[-1]
        sizes = [first.gradient, last.gradient]
        sizes += [first.cotangent / last.cotangent, first.bound / last.cotangent]
        rows.append([text(name), len(layers), *(f"{size:.3g}" for size in sizes)])
    gradients = ["gradient, first layer", "gradient, last layer"]
    headers = ["case", "dense layers", *gradients, "cotangent, first / last", "bound"]
    shown = [figure] if figure else []
    return ["## Gradient size by layer", DEPTH_LEGEND, table(rows, headers), *shown]
