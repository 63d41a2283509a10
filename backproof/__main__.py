"""`backproof report | cases | backends | export`, which `python -m backproof` is too."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

COMMANDS = {
    "report": "run the cases on every backend, judge them, and write the report",
    "cases": "list the scenarios and validate them, or print the JSON Schema of their format",
    "backends": "list the backends, or write a file to begin one's own with",
    "export": "write a case as a file of arrays, for a program in any language to train",
}
PLACES = {"export": "backproof.cases.export"}


def main(argv: list[str] | None = None) -> int:
    """Hand what follows the command over to it, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="backproof",
        description="Prove hand-written backpropagation, PyTorch and JAX against each other "
        "and the exact result.",
        epilog="backproof COMMAND --help says what a command can do",
    )
    parser.add_argument("--version", action="version", version=f"backproof {version('backproof')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, words in COMMANDS.items():
        commands.add_parser(name, help=words, add_help=False)
    chosen, rest = parser.parse_known_args(argv)
    sys.path.append(str(Path.cwd()))  # `mine=package.module:function` is found, as by `python -m`
    place = PLACES.get(chosen.command, f"backproof.{chosen.command}.__main__")
    return import_module(place).main(rest)


if __name__ == "__main__":
    sys.exit(main())
