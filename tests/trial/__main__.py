"""`python -m tests.trial`: put the harness on trial, write `docs/generated/trial.md` and its headline in the README."""

from __future__ import annotations

import sys

from backproof.cases.console.command import run_command
from tests.trial import page


def main() -> int:
    """Write both, and say what they say first."""
    page.write()
    print(page.PAGE.read_text(encoding="utf-8").split("## ")[1].split("\n\n")[1])
    print(f"\nThe rest is in {page.PAGE.relative_to(page.ROOT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
