"""`python -m backends`: what is installed, and how it is set up."""

from __future__ import annotations

import argparse
import sys

from tabulate import tabulate

import backends
from cases.command import run_command


def main(argv: list[str] | None = None) -> int:
    """Print one row a backend; exit 3 if one is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m backends",
        description="List the backends: versions, threads, and whether float64 stays float64.",
    )
    parser.parse_args(argv)
    return run_command(_list)


def _list() -> int:
    rows = [describe(name) for name in backends.BACKENDS]
    print(tabulate(rows, headers="keys", disable_numparse=True))
    return 0 if all("threads" in row for row in rows) else 3


def describe(name: str) -> dict[str, str]:
    """The versions and settings of one backend, or why it is missing."""
    try:
        module = backends.backend(name)
        packages = ", ".join(f"{package} {version}" for package, version in backends.versions(*module.PACKAGES).items())
        return {"backend": name, "packages": packages, **module.settings()}
    except backends.Missing as error:
        return {"backend": name, "packages": str(error)}
    except Exception as error:  # noqa: BLE001, a broken installation may raise anything
        return {"backend": name, "packages": f"{type(error).__name__}: {' '.join(str(error).split())}"}


if __name__ == "__main__":
    sys.exit(main())
