"""`docs/generated/mutation.md` and its headline in the README: how many changes of our own code a test notices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.trial.readme import README, readme_with

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "generated" / "mutation.md"
TITLE = """# Mutation testing, counted

This page is written by `make mutation`; [docs/mutation.md](../mutation.md) says what it counts and how. A change that
no test notices is in [tests/trial/survivors.md](../../tests/trial/survivors.md), with the reason why it makes no wrong
number and no wrong verdict.
"""
ROW = re.compile(r"^\| `(\S+)` \| ([\d,]+) \| ([\d,]+) \| [\d,]+ \|$", re.MULTILINE)


class Score(NamedTuple):
    """Of a file: how many changes of it there are, and how many of these a test notices."""

    path: str
    noticed: int
    changes: int


def scores(every: Iterable, alive: Iterable) -> list[Score]:
    """Return the score of each file, from all its mutants and those that survive."""
    of_file, living = (Counter(mutant.path for mutant in mutants) for mutants in (every, alive))
    return [Score(path, number - living[path], number) for path, number in of_file.items()]


def headline(found: list[Score]) -> str:
    """Return the sum of all files in a sentence."""
    noticed, changes = (sum(column) for column in list(zip(*found, strict=True))[1:])
    return (
        f"{changes:,} changes of the reference and the judge, one at a time: the tests notice {noticed:,}, "
        f"{100 * noticed / changes:.1f} %; each of the other {changes - noticed:,} is explained."
    )


def whole_page(found: list[Score]) -> str:
    """Return the text of `docs/generated/mutation.md`."""
    rows = [f"| `{path}` | {noticed:,} | {changes:,} | {changes - noticed:,} |" for path, noticed, changes in found]
    head = ["| file | noticed | changes | explained |", "|---|---|---|---|"]
    return "\n".join([TITLE, f"**{headline(found)}**\n", *head, *rows, ""])


def read_scores(page: str) -> list[Score]:
    """Return what a page of this kind counts."""
    return [Score(path, *(int(number.replace(",", "")) for number in numbers)) for path, *numbers in ROW.findall(page)]


def write(found: list[Score]) -> None:
    """Write the page, and the headline into the README."""
    PAGE.write_text(whole_page(found), encoding="utf-8")
    README.write_text(readme_with("mutation", [headline(found)]), encoding="utf-8")
