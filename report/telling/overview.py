"""The report as Markdown: the verdict and the tables over all cases; `case_section.py` has a case's own section."""

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
from backproof.report.telling.cells import cell, printed, table
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.escape import code, parts, text
from backproof.report.telling.gaps import not_judged

DEEP = 4
ABREAST, REASONS = 3, 3
DEPTH_LEGEND = (
    "Step 0, Euclidean sizes, in the case's first dtype. Behind every layer the cotangent of the preactivation is at "
    "most the activation's steepest slope times ‖W‖ times as large: 0.25·|w| for a sigmoid chain, 1·|w| for relu and "
    "tanh. The case's own section has the table by layer."
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
    """The report, from all comparisons and the sections of the cases; `unfinished` says what is not in it."""
    whole = [
        "# backproof report", f"**{text(verdict_sentence(comparisons, mistakes, unfinished))}**",
        "## Verdicts", _legend(), matrix(comparisons, backend_names(comparisons), link=True),
        *map(text, [*_end_to_end(comparisons), *_not_recorded(comparisons)]), *_invalid(mistakes),
        "## What was compared", *parts("the table of what was compared", _ledger, comparisons),
        *parts("the section on wrong published numbers", _wrong_prints, comparisons),
        "## Free-running differences", *parts("the section on pairs", _pairs, comparisons),
        *parts("the section on gradient size by layer", _depth, depth, depth_figure),
        "## Cases", _cases_legend(), *sections,
        "## Environment", table([[text(key), text(value)] for key, value in environment.items()], ["", ""]),
    ]  # fmt: skip
    return "\n\n".join(whole) + "\n"


# ---------------------------------------------------------------- all cases


def verdict_sentence(
    comparisons: list[Comparison], mistakes: list[Mistake], unfinished: str = ""
) -> str:
    """The result in one sentence, the first failure in another, and what the result does not say in a third.

    A report that is not finished says so before anything else.
    """
    results = [(comparison, result) for comparison in comparisons for result in comparison.results]
    outside = [
        (comparison, pair)
        for comparison in comparisons
        for pair in comparison.pairs
        if pair.status == "outside"
    ]
    counts = Counter(result.verdict for _, result in results)
    certified = counts.pop("certified", 0)
    parts = [f"{certified} of {_counted(len(results), 'run')} certified"]
    parts += [
        f"{count} {'differ' if verdict == 'differs' and count > 1 else verdict}"
        for verdict, count in counts.items()
    ]
    parts += [f"{_counted(len(outside), 'pair')} outside the tolerance"] if outside else []
    parts += [f"{_counted(len(mistakes), 'mistake')} in case files"] if mistakes else []
    all_well = results and len(parts) == 1 and not unfinished
    sentence = _all_certified(comparisons, len(results)) if all_well else ", ".join(parts)
    failure = _first_failure(results) or _first_outside(outside)
    return f"{unfinished}{sentence}{_gaps(comparisons)}.{failure}{_unsupported(results)}{_caveat(comparisons)}"


def _gaps(comparisons: list[Comparison]) -> str:
    """The steps that were not judged, of the first case and dtype that has some."""
    thinned = [comparison for comparison in comparisons if not_judged(comparison.problem)]
    if not thinned:
        return ""
    (first, *others) = thinned
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
            return (
                f" First: {where}: {result.message}{'' if result.message.endswith('?') else '.'}"
                + (f" {who[0].upper()}{who[1:]}." if who else "")
            )
    return ""


def _unsupported(results: list[tuple[Comparison, Result]]) -> str:
    """Why backends can't express cases, each reason once."""
    reasons = Counter(
        f"{result.backend}: {result.message}"
        for _, result in results
        if result.verdict == "unsupported"
    )
    shown = [
        f"{reason} ({_counted(number, 'run')})" for reason, number in reasons.most_common(REASONS)
    ]
    more = (
        [f"{len(reasons) - REASONS} more reasons are in the report"]
        if len(reasons) > REASONS
        else []
    )
    return f" Unsupported by {'; '.join([*shown, *more])}." if reasons else ""


def _first_outside(outside: list[tuple[Comparison, Pair]]) -> str:
    if not outside:
        return ""
    (comparison, pair), *_ = outside
    where = f"{comparison.case.name} {comparison.dtype} {'-'.join(pair.names)}"
    gaps = len(comparison.problem.recorded) < comparison.problem.steps
    why = "; steps that are not recorded are not judged, and may be the cause" if gaps else ""
    return f" First pair outside: {where}: {pair.drift}{why}."


def _caveat(comparisons: list[Comparison]) -> str:
    if backend_names(comparisons) != ["numpy"] or not any(
        comparison.finished for comparison in comparisons
    ):
        return ""
    return " Only the reference ran, and it is judged by its own formulas: run another backend beside it."


def summary(comparisons: list[Comparison]) -> str:
    """The matrix in plain text, with as many backends abreast as a terminal takes, and the others below."""
    tables = next(
        tables
        for abreast in range(ABREAST, 0, -1)
        if _fit(tables := _summary_tables(comparisons, abreast)) or abreast == 1
    )
    remarks = [*_end_to_end(comparisons), *_not_recorded(comparisons)]
    return "\n\n".join([*tables, *map(wrapped, remarks)])


def _summary_tables(comparisons: list[Comparison], abreast: int) -> list[str]:
    names = backend_names(comparisons)
    parts = [names[first : first + abreast] for first in range(0, len(names), abreast)] or [names]
    return [matrix(comparisons, part, "simple") for part in parts]


def _fit(tables: list[str]) -> bool:
    return all(len(line) <= WIDTH for lines in tables for line in lines.splitlines())


def _end_to_end(comparisons: list[Comparison]) -> list[str]:
    """What a star means, if there is one; and whose numbers are not counted."""
    starred = any(
        cell(result).endswith("*") for comparison in comparisons for result in comparison.finished
    )
    words = (
        "* judged end to end, from gradients alone; in brackets the largest error of a gradient that may have passed, "
        "relative to the largest element of its tensor, or absolute (±) where the truth is no larger than it"
    )
    return [*([words] if starred else []), *_borrowed(comparisons)]


def _borrowed(comparisons: list[Comparison]) -> Iterator[str]:
    """What the reference computed for the code of each backend, none of it a number of its own."""
    found: dict[str, set[str]] = {}
    for comparison in comparisons:
        for result in comparison.finished:
            found.setdefault(result.backend, set()).update(result.judgement.borrowed)
    for name, phases in found.items():
        if phases:
            what = ", ".join(phase for phase in PHASES if phase in phases)
            yield f"{name}: what the reference computed for it ({what}) is judged, but not counted"


def _not_recorded(comparisons: list[Comparison]) -> list[str]:
    """What is not said of a backend's certified runs, because it is not recorded: a line a backend, each part once."""
    parts: dict[str, dict[str, None]] = {}
    for comparison in comparisons:
        for result in comparison.results:
            if result.verdict == "certified" and result.message:
                parts.setdefault(result.backend, {}).update(
                    dict.fromkeys(result.message.split("; "))
                )
    return [f"{name}: {'; '.join(told)}" for name, told in parts.items()]


def matrix(
    comparisons: list[Comparison], names: list[str], form: str = "pipe", *, link: bool = False
) -> str:
    """One row a case and dtype: the verdict and the largest budget of each of these backends."""
    rows = []
    for comparison in comparisons:
        cells = {result.backend: cell(result) for result in comparison.results}
        name = comparison.case.name
        case = f"[{text(name)}](#{anchor(name)})" if link else name
        rows.append([case, comparison.dtype, *(cells.get(backend, "") for backend in names)])
    return table(rows, ["case", "dtype", *names], form)


def backend_names(comparisons: list[Comparison]) -> list[str]:
    """The backends that were asked for, in their order."""
    return list(
        dict.fromkeys(result.backend for comparison in comparisons for result in comparison.results)
    )


def anchor(name: str) -> str:
    """The link target that Markdown viewers make of a heading."""
    return re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-")


def _legend() -> str:
    return (
        "Each cell: the verdict, and the largest share of its derived rounding allowance that any number of the run "
        "used (1 is all of it; of a run that differs, the share of the first failure). *Certified* means that every "
        "recorded value, loss, cotangent, gradient and update is right for the backend's own recorded inputs."
    )


def _invalid(mistakes: list[Mistake]) -> list[str]:
    return (
        [
            "### Case files with mistakes",
            "\n".join(f"- {code(cut(str(mistake)))}" for mistake in mistakes),
        ]
        if mistakes
        else []
    )


def total(comparisons: list[Comparison]) -> Ledger:
    """All ledgers added up."""
    ledgers = [
        result.judgement.ledger for comparison in comparisons for result in comparison.finished
    ]
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
        [
            "runs (case × dtype × backend)",
            f"{sum(len(comparison.results) for comparison in comparisons):,}",
        ],
        ["recorded steps", f"{ledger.steps:,}"],
        ["tensors", f"{ledger.tensors:,}"],
        ["elements", f"{ledger.elements:,}"],
        ["resolved elements (allowance < abs(truth))", f"{ledger.resolved:,} ({share:.1%})"],
        ["undecided elements, behind kinks whose side is not certain", f"{ledger.undecided:,}"],
        [
            "published numbers met",
            f"{statuses.count('met'):,} of {statuses.count('met') + statuses.count('missed'):,}",
        ],
    ]
    if neither := statuses.count("noise") + statuses.count("not resolved"):
        rows.append(
            [
                "neither met nor missed: noise at their source, or finer than the run's rounding",
                f"{neither:,}",
            ]
        )
    return table(rows, ["", "number"])


def _wrong_prints(comparisons: list[Comparison]) -> list[str]:
    """The published numbers that are wrong at their source, each once, if there are any."""
    found: dict[tuple[str, int], list[Published]] = {}
    for comparison in comparisons:
        for result in comparison.finished:
            for i, number in enumerate(result.judgement.published):
                found.setdefault((comparison.case.name, i), []).append(number)
    rows = [
        [
            f"[{text(name)}](#{anchor(name)})",
            text(entry.source),
            text(f"{entry.tensor} at {entry.step}"),
            printed(entry.value),
            text(entry.wrong.reason),
        ]
        for (name, _), numbers in found.items()
        for entry in [numbers[0].entry]
        if {number.status for number in numbers} - {"not recorded", "not resolved"}
        == {"wrong at its source"}
    ]
    words = "Their cases say that they are wrong, and why; no run has met one of them."
    headers = ["case", "source", "tensor and step", "printed", "why it is wrong"]
    return ["## Published numbers that are wrong", words, table(rows, headers)] if rows else []


def _pairs(comparisons: list[Comparison]) -> Iterator[str]:
    """How far free runs drift apart: the counts, what stands out, and the whole table folded."""
    pairs = [(comparison, pair) for comparison in comparisons for pair in comparison.pairs]
    counts = Counter(pair.status for _, pair in pairs)
    yield (
        "The same run on two backends, each left to itself. *Within*: never outside rtol and atol (1e-9 in float64, "
        "1e-4 in float32, 0.02 in float16, 0.06 in bfloat16, unless the case sets them). "
        "*Explained*: outside, while all steps of both runs are recorded and certified: rounding, amplified by the "
        "training itself. "
        f"Of {len(pairs)} pairs {counts['within']} are within, {counts['explained']} explained, "
        f"{counts['outside']} outside."
    )
    if notable := [(comparison, pair) for comparison, pair in pairs if pair.status != "within"]:
        yield _pairs_table(notable)
    yield from ("<details><summary>all pairs</summary>", _pairs_table(pairs), "</details>")


def _pairs_table(pairs: list[tuple[Comparison, Pair]]) -> str:
    rows = [
        [
            text(comparison.case.name), comparison.dtype, "-".join(pair.names), _power(pair.drift.gradient),
            _power(pair.drift.parameter), f"{pair.drift.step:,}", pair.status,
        ]
        for comparison, pair in pairs
    ]  # fmt: skip
    return table(
        rows,
        [
            "case",
            "dtype",
            "pair",
            "max abs Δgradient",
            "max abs Δparameter",
            "at step",
            "rtol and atol",
        ],
    )


def _power(number: float) -> str:
    return f"{number:.1e}" if number else "0"


def _depth(networks: dict[str, list[LayerGradient]], figure: str) -> list[str]:
    """The size of gradients by layer, for all networks with several dense layers."""
    if not networks:
        return []
    rows = [
        [
            text(name), len(layers), f"{layers[0].gradient:.3g}", f"{layers[-1].gradient:.3g}",
            f"{layers[0].cotangent / layers[-1].cotangent:.3g}", f"{layers[0].bound / layers[-1].cotangent:.3g}",
        ]
        for name, layers in networks.items()
    ]  # fmt: skip
    headers = [
        "case",
        "dense layers",
        "gradient, first layer",
        "gradient, last layer",
        "cotangent, first / last",
    ]
    shown = [figure] if figure else []
    return ["## Gradient size by layer", DEPTH_LEGEND, table(rows, [*headers, "bound"]), *shown]


def _cases_legend() -> str:
    return (
        "*Resolution*: the largest error of a gradient that may have passed, of the worst tensor at the worst judged "
        "step, relative to the tensor's largest element; absolute, with ±, where the truth is no larger than it; and "
        "the relative one at the median step. *Resolved*: elements whose allowance is smaller than they are. In the "
        "tables of step 0 the truth is what the reference's formula gives for the first backend's own inputs, and a "
        "backend's column is its difference from its truth in units of the allowance."
    )
