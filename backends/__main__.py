"""`python -m backends`: what is installed, and how it is set up."""

from __future__ import annotations

import argparse
import sys

from tabulate import tabulate

import backends
from cases.command import run_command


def main(argv: list[str] | None = None) -> int:
    """Print one row a backend; exit 3 if one is missing that runs by default."""
    parser = argparse.ArgumentParser(
        prog="python -m backends",
        description="List the backends: versions, threads, and whether float64 stays float64.",
    )
    parser.parse_args(argv)
    return run_command(_list)


def _list() -> int:
    rows = [backends.describe(name) for name in backends.BACKENDS]
    print(tabulate(rows, headers="keys", disable_numparse=True))
    return 0 if all("threads" in row for row in rows if row["backend"] in backends.DEFAULT) else 3


if __name__ == "__main__":
    sys.exit(main())
