"""`docs/generated/trial.md` and its headline in the README, from the verdicts themselves."""

from __future__ import annotations

from pathlib import Path

from backproof.report.telling.cells import table
from tests.trial import defects, oracle
from tests.trial.mutants import EQUIVALENT, MUTANTS
from tests.trial.planting import DTYPES, Mutant, Outcome, outcome
from tests.trial.readme import README, readme_with

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "generated" / "trial.md"

TITLE = """# The harness on trial: every verdict

This page is written by `make trial`, and a test compares it with what the judge says today;
[docs/trial.md](../trial.md) says how to read it.
"""
MUTANTS_ABOUT = """Each is one wrong rule in a program that is right otherwise, planted into a backend and run; the
entries are in `tests/trial/mutants.py`. *Noticed* is where its first wrong number must be, in the judge's own words:
step, phase and tensor. *End to end* is the same run as a backend leaves it that has gradients and no layer values; then
an operation is blamed, or those between the last gradient that is right and the first that is wrong. The hint is what
the message adds where the whole tensor fits a known mistake; each was read beside the name of its rule, and a test
holds that it is told and that no other one is (`tests/trial/hints.py`)."""
EQUIVALENT_ABOUT = """Not every change of a formula is a mistake. These are the same mathematics in other words, as the
judge shows by certifying them in both dtypes; most have a wrong neighbour above."""


def whole_page() -> str:
    """The text of `docs/generated/trial.md`."""
    return "\n".join(
        [
            TITLE, "## Wrong rules\n", _mutants_headline() + "\n", MUTANTS_ABOUT + "\n", _mutants_table() + "\n",
            "## The same in other words\n", EQUIVALENT_ABOUT + "\n", _equivalents_table() + "\n",
            "## Twelve defects\n", defects.section(), "## The reference proved\n", oracle.section(),
        ]
    ).rstrip() + "\n"  # fmt: skip


def readme_with_headline() -> str:
    """The README with its headline written anew."""
    headlines = [_mutants_headline(), *(_headline(part.section()) for part in (defects, oracle))]
    return readme_with("trial", [headline.replace("**", "") for headline in headlines])


def write() -> None:
    """Write both."""
    PAGE.write_text(whole_page(), encoding="utf-8")
    README.write_text(readme_with_headline(), encoding="utf-8")


def _headline(section: str) -> str:
    return section.partition("\n\n")[0]


# ---------------------------------------------------------------- wrong rules


def resolved(mutant: Mutant, dtype: str) -> bool:
    """The dtype can tell the mutant from the right program."""
    return not (mutant.blind and dtype == "float32")


def _mutants_headline() -> str:
    outcomes = [outcome(mutant, dtype) for dtype in DTYPES for mutant in MUTANTS if resolved(mutant, dtype)]
    refused = sum(one.local.verdict == "differs" for one in outcomes)
    blamed = sum(one.blamed for one in outcomes)
    blind = sum(bool(mutant.blind) for mutant in MUTANTS)
    alone = [one for one in outcomes if one.end_to_end.verdict == "differs"]
    end_to_end = [f"{sum(one.dtype == dtype for one in alone)} in {dtype}" for dtype in DTYPES]
    between = sum(one.blamed_end_to_end for one in alone)
    hinted = sum(bool(one.hint) for one in outcomes if one.dtype == "float64")
    return (
        f"**{len(MUTANTS)} wrong rules, in float64 and in float32: {refused} of {len(outcomes)} runs refused, {blamed} "
        f"blamed at the exact step, phase and tensor ({blind} of the rules are no mistake in float32, or below its "
        f"rounding). {hinted} of the rules are called by their name in float64. Judged end to end, from gradients "
        f"alone: {' and '.join(end_to_end)} refused, {between} of these {len(alone)} blamed at the right "
        f"operation or between two neighbours of it.**"
    )


def _mutants_table() -> str:
    rows = [_row(mutant, *(outcome(mutant, dtype) for dtype in DTYPES)) for mutant in MUTANTS]
    return table(rows, ["wrong rule", "noticed", *DTYPES, "end to end", "blamed end to end", "hint"])


def _row(mutant: Mutant, *outcomes: Outcome) -> list[str]:
    local = [
        "exactly there" if one.blamed else one.place if resolved(mutant, one.dtype) else mutant.blind
        for one in outcomes
    ]
    refused = [one.dtype for one in outcomes if one.end_to_end.verdict == "differs"]
    end_to_end = "refused" if len(refused) == len(DTYPES) else f"refused in {refused[0]}" if refused else "not noticed"
    place = f"step {mutant.step}, {mutant.noticed}"
    return [mutant.name, place, *local, end_to_end, _blamed_end_to_end(outcomes[0]), outcomes[0].hint]


def _blamed_end_to_end(one: Outcome) -> str:
    """Of a refused run, the operations that the message names: how many, and whether the wrong one is among them."""
    if one.end_to_end.verdict != "differs":
        return ""
    if not one.blamed_end_to_end:
        return "elsewhere"
    return "exactly there" if one.suspects == 1 else f"one of {one.suspects}"


def _equivalents_table() -> str:
    rows = [[mutant.name, *(outcome(mutant, dtype).local.verdict for dtype in DTYPES)] for mutant in EQUIVALENT]
    return table(rows, ["in other words", *DTYPES])
