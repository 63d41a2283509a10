"""Tables, and how verdicts and numbers are written in them."""

from __future__ import annotations

import re

import numpy as np
from tabulate import tabulate

from backproof.report.judging.judge import Resolution
from backproof.report.judging.outcome import Result
from backproof.report.telling.escape import plain

SHOWN_ELEMENTS = 4
BARE_BAR = re.compile(r"(?<!\\)\|")


def table(rows: list[list], headers: list[str], form: str = "pipe") -> str:
    """A table whose cells are taken as they are, each on one line; in Markdown `|` is escaped."""
    rows, (headers,) = (
        [[_line(cell, form) for cell in row] for row in part] for part in (rows, [headers])
    )
    return tabulate(rows, headers, tablefmt=form, disable_numparse=True)


def _line(cell: object, form: str) -> str:
    line = plain(cell)
    return BARE_BAR.sub(r"\|", line) if form == "pipe" else line


def cell(result: Result) -> str:
    """A verdict with its budget; with its resolution and a star where only gradients were there to judge."""
    if (judgement := result.judgement) is None or result.verdict == "incomplete":
        return result.verdict
    if judgement.only_print_missed:
        return f"{result.verdict} (print)"
    if result.verdict == "out of range":
        return f"out of range at {judgement.where.step}"
    if result.verdict == "undecided":
        return result.verdict
    end_to_end = f" ({may_pass(judgement.resolution)})*" if judgement.scope == "gradients" else ""
    return f"{result.verdict} {short(judgement.budget)}{end_to_end}"


def may_pass(resolution: Resolution) -> str:
    """The largest error that may pass, with ± where it is an absolute one."""
    absolute = resolution.absolute > resolution.relative
    return (
        f"±{resolution.absolute:.0e}"
        if absolute
        else f"{resolution.relative:.0e}"
        if resolution.relative
        else "0"
    )


def short(share: float) -> str:
    """Two decimals of a share, never rounded up to 1; powers of ten for what is far off."""
    return f"{np.floor(share * 100) / 100:.2f}" if share < 100 else f"{share:.1e}"


def some(values: np.ndarray) -> str:
    """The first few numbers of an array."""
    values = np.asarray(values).ravel()
    shown = ", ".join(f"{value:.6g}" for value in values[:SHOWN_ELEMENTS])
    return shown + (", …" if values.size > SHOWN_ELEMENTS else "")


def printed(values: np.ndarray) -> str:
    """The first few of some printed numbers, digit by digit."""
    return ", ".join(values.ravel()[:SHOWN_ELEMENTS]) + (
        ", …" if values.size > SHOWN_ELEMENTS else ""
    )
