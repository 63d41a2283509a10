"""Tables, and how verdicts and numbers are written in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import numpy as np
from tabulate import tabulate

from backproof.cases.format.schema import Case
from backproof.report.judging.judge import Resolution
from backproof.report.judging.outcome import Result
from backproof.report.telling.escape import label, plain
from backproof.report.telling.places import page_of

SHOWN_ELEMENTS = 4
BARE_BAR = re.compile(r"(?<!\\)\|")


def table(rows: list[list], headers: list[str], form: str = "pipe") -> str:
    """Return a table whose cells stand as they are, each on one line; Markdown escapes `|`."""
    bar = r"\|" if form == "pipe" else "|"
    *lines, first = [[BARE_BAR.sub(bar, plain(cell)) for cell in row] for row in (*rows, headers)]
    return tabulate(lines, first, tablefmt=form, disable_numparse=True)


def cell(result: Result) -> str:
    """Write a verdict and the step that it is about, and a star if not everything is recorded."""
    if (judgement := result.judgement) is None or result.verdict in ("incomplete", "undecided"):
        return result.verdict
    if judgement.only_print_missed:
        return f"{result.verdict} (print)"
    if result.verdict == "out of range":
        return f"out of range at {judgement.where.step:,}"
    at = f" at step {judgement.where.step:,}" if result.verdict == "differs" else ""
    followed = f" ({may_pass(judgement.resolution)})*" if judgement.scope != "layers" else ""
    return f"{result.verdict}{at}{followed}"


def linked(case: Case) -> str:
    """Write the name of a case as a link to its page, seen from the report."""
    return f"[{label(case.name)}]({quote(page_of(case))})"


def may_pass(resolution: Resolution) -> str:
    """Write the largest error that may pass, with ± where it is an absolute one."""
    if resolution.absolute > resolution.relative:
        return f"±{resolution.absolute:.0e}"
    return f"{resolution.relative:.0e}" if resolution.relative else "0"


def some(values: np.ndarray, write: Callable[..., str] = "{:.6g}".format) -> str:
    """Write the first few numbers of an array, each as `write` does."""
    few = np.ravel(values)[:SHOWN_ELEMENTS]
    return ", ".join(map(write, few)) + (", …" if np.size(values) > SHOWN_ELEMENTS else "")
