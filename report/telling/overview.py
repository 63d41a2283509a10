"""The report as one page of Markdown: what came of all cases, with a link to the page of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from backproof.backends.trajectory import PHASES
from backproof.cases.console.terminal import WIDTH, wrapped
from backproof.cases.reading.load import Mistake
from backproof.report.judging.bias import NOTED
from backproof.report.judging.outcome import Comparison
from backproof.report.judging.published import Published
from backproof.report.telling.cells import cell, linked, some, table
from backproof.report.telling.depth import LayerGradient
from backproof.report.telling.escape import parts, text
from backproof.report.telling.not_certified import not_certified
from backproof.report.telling.pairs import drift_in_short
from backproof.report.telling.rows import filled
from backproof.report.telling.sentence import backend_names, counted, counts_of, total, where

DEEP = 4
ABREAST = 3
EVERY_RUN = "Every run"
DEPTH_LEGEND = (
    "Step 0, Euclidean sizes, in the case's first dtype. Behind every layer the cotangent of the "
    "preactivation is at most the activation's steepest slope times ‖W‖ times as large: 0.25·|w| "
    "for a sigmoid chain, 1·|w| for relu and tanh. The page of a case has the table by layer."
)
LEGEND = (
    "*Certified*: every recorded value, loss, cotangent (the derivative of the loss by a layer's "
    "output), gradient and update is right for the backend's own recorded inputs, and every "
    "published number is met. *The rounding allowed* is how far a correct program may stray from "
    "the proved truth: derived for each number from its inputs, chosen by nobody. An error of 0.99 "
    "of the rounding allowed is as right as one of 0.1: 1 is all of it, and more is wrong."
)
STARRED = (
    "* judged {}; in brackets the largest error of a gradient that "
    "may have passed, relative to the largest element of its tensor, or absolute (±) where the "
    "truth is no larger than it"
)
STARS = {
    "gradients": "end to end, from gradients alone",
    "some": "from what is recorded, the rest being followed from it",
}


Page = dict[str, str]  # what stands under each heading


def whole_report(sentence: str, page: Page) -> str:
    """Write the page."""
    return f"# backproof report\n\n**{text(sentence)}**\n\n{body(page)}\n"


def body(page: Page, without: str = "") -> str:
    """Write what the page has under all headings, or all but one."""
    headings = [heading for heading in page if heading and heading != without]
    return "\n\n".join([page[""], *(f"## {heading}\n\n{page[heading]}" for heading in headings)])


def overview(
    comparisons: list[Comparison],
    mistakes: list[Mistake],
    depth: Mapping[str, Sequence[LayerGradient]],
    environment: dict[str, str],
    depth_figure: str = "",
) -> Page:
    """Write what the page has under each heading, and under none what stands before them.

    Args:
        comparisons: of all cases.
        mistakes: in case files.
        depth: the gradients by layer of each deep network.
        environment: facts by name.
        depth_figure: the line that shows the figure.
    """
    facts = [[text(key), text(value)] for key, value in environment.items()]
    page = {
        "": LEGEND,
        "Not certified": parts("what is not certified", not_certified, comparisons, mistakes),
        "By folder": parts("the table by folder", _by_folder, comparisons),
        EVERY_RUN: parts("the table of every run", _every_run, comparisons),
        "What was compared": parts("the table of what was compared", _ledger, comparisons),
        "Free-running differences": parts("the section on pairs", drift_in_short, comparisons),
        "Published numbers that are wrong": parts(
            "the section on wrong published numbers", _wrong_prints, comparisons
        ),
        "Gradient size by layer": parts(
            "the section on gradient size by layer", _depth, depth, depth_figure
        ),
        "Environment": [table(facts, ["", ""])],
    }
    written = {heading: "\n\n".join(told) for heading, told in page.items() if heading}
    return {"": LEGEND} | {heading: words for heading, words in written.items() if words}


# ---------------------------------------------------------------- all runs


def _by_folder(comparisons: list[Comparison]) -> str:
    """Count what came of the cases in each folder."""
    folders: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        folders.setdefault(comparison.case.name.rpartition("/")[0] or ".", []).append(comparison)
    rows = []
    for folder, ones in folders.items():
        results = [result for one in ones for result in one.results]
        cases = len({one.case.name for one in ones})
        rows.append([text(folder), f"{cases}", counts_of(results), f"{total(ones).elements:,}"])
    return table(rows, ["folder", "cases", "runs", "numbers compared"])


def _every_run(comparisons: list[Comparison]) -> Iterator[str]:
    yield matrix_by_case(comparisons)
    yield from map(text, _remarks(comparisons))


def matrix_by_case(comparisons: list[Comparison]) -> str:
    """Write a row for each case: what came of it on every backend, of all its dtypes."""
    names, cases = backend_names(comparisons), {}
    for comparison in comparisons:
        cases.setdefault(comparison.case.name, []).append(comparison)
    rows = [
        [
            linked(ones[0].case),
            " ".join(one.dtype for one in ones),
            *(_all_dtypes(ones, name) for name in names),
        ]
        for ones in cases.values()
    ]
    return table(rows, ["case", "dtypes", *map(text, names)])


def _all_dtypes(comparisons: list[Comparison], name: str) -> str:
    """Write what came of a case on a backend: once, where it is the same at every dtype."""
    cells: dict[str, list[str]] = {}
    for comparison in comparisons:
        for result in comparison.results:
            if result.backend == name:
                cells.setdefault(text(cell(result)), []).append(comparison.dtype)
    if [*cells.values()] == [[comparison.dtype for comparison in comparisons]]:
        (told,) = cells
        return told if told.startswith("certified") else f"**{told}**"
    each = ((told, f"{' '.join(dtypes)} {told}") for told, dtypes in cells.items())
    return "; ".join(
        words if told.startswith("certified") else f"**{words}**" for told, words in each
    )


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
    runs = [result for one in comparisons for result in one.finished if cell(result).endswith("*")]
    scopes = {result.judgement.scope for result in runs}
    if scopes:
        yield STARRED.format(", or ".join(STARS[scope] for scope in STARS if scope in scopes))
    yield from _borrowed(comparisons)
    yield from _not_recorded(comparisons)
    yield from _leaning(comparisons)


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
                words = result.message.split("; ")
                missing = dict.fromkeys(one for one in words if not one.startswith(NOTED))
                told.setdefault(result.backend, {}).update(missing)
    return [f"{name}: {'; '.join(missing)}" for name, missing in told.items() if missing]


def _leaning(comparisons: list[Comparison]) -> Iterator[str]:
    """Say of each backend which errors lean farther than by chance, of the first run with some."""
    found: dict[str, list[str]] = {}
    for comparison in comparisons:
        for result in comparison.finished:
            leans = [f"{where(comparison, result)}: {one}" for one in result.judgement.biased]
            found.setdefault(result.backend, []).extend(leans)
    for first, *others in filter(None, found.values()):
        more = f" (and of {counted(len(others), 'tensor')} more, in report.json)" if others else ""
        yield f"{first}{more}"


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
    cases = {one.case.name: linked(one.case) for one in comparisons}
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
            rows.append([cases[name], text(entry.source), place, some(entry.value, str), why])
    words = "Their cases say that they are wrong, and why; no run has met one of them."
    headers = ["case", "source", "tensor and step", "printed", "why it is wrong"]
    return [words, table(rows, headers)] if rows else []


def _depth(networks: Mapping[str, Sequence[LayerGradient]], figure: str) -> list[str]:
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
    return [DEPTH_LEGEND, table(rows, headers), *shown]
