"""`python -m backends`: what is installed, and how it is set up; and a file to begin one's own."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tabulate import tabulate

from backproof.backends import registry
from backproof.cases.console.command import as_called, run_command, say
from backproof.cases.console.terminal import cut, plain, printable, wrapped

USAGE, MISSING = 2, 3
KINDS = {
    "torch": "with --new: a whole training loop in PyTorch, which records everything",
    "jax": "with --new: the same in JAX, by value_and_grad",
    "optimizer": "with --new: the update of the case's optimizer",
}


def main(argv: list[str] | None = None) -> int:
    """Print one row a backend, or write a file for one's own; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=as_called("backends"),
        description="List the backends: versions, threads, and whether float64 stays float64. "
        "With --new, write a file for gradients of your own; for a case with an objective, "
        "for an optimizer.",
        epilog="exit code: 0; 2 usage, or nothing could be written; 3 a backend is missing that "
        "runs by default; 130 interrupted; 141 the reader of the list has left",
    )
    names, what = ("FILE.py", "CASE"), "write a file to fill in, for this case"
    parser.add_argument("--new", nargs=2, type=Path, metavar=names, help=what)
    kinds = parser.add_mutually_exclusive_group()
    for kind, about in KINDS.items():
        kinds.add_argument(
            f"--{kind}", dest="kind", action="store_const", const=kind, default="", help=about
        )
    arguments = parser.parse_args(argv)
    if arguments.kind and not arguments.new:
        parser.error(f"--{arguments.kind} is of --new FILE.py CASE")
    if not arguments.new:
        return run_command(_list)
    file, case_file = arguments.new
    return run_command(partial(_new, file, case_file, arguments.kind))


def _list() -> int:
    """Print a table of the backends; return MISSING where one is that runs by default."""
    rows = [registry.describe(name) for name in registry.known()]
    shown = [{key: plain(value) for key, value in row.items()} for row in rows]
    print(tabulate(shown, headers="keys", disable_numparse=True))
    by_default = [row for row in rows if row["backend"] in registry.DEFAULT]
    return 0 if all("threads" in row for row in by_default) else MISSING


def _new(file: Path, case_file: Path, kind: str) -> int:
    """Write a file to fill in for a case, and print the command that judges it."""
    from backproof.backends.users_template import command, template
    from backproof.cases.reading.load import InvalidCase, load

    try:
        case = load(case_file)
        content = template(case, case_file, file, kind).encode()  # before a file is made
        with file.open("xb") as new:
            new.write(content)
    except InvalidCase as error:
        for mistake in error.mistakes:
            say(cut(plain(mistake)), error=True)
        return USAGE
    except ValueError as error:
        return _refused(str(error))
    except FileExistsError:
        return _refused(f"{file} is there already, and stays as it is")
    except OSError as error:
        return _refused(f"cannot write {file}: {error.strerror}")
    is_whole = kind in ("torch", "jax") and b"TODO" not in content
    next_ = "It trains the case: change it" if is_whole else "Fill it in"
    print(f"{plain(file)} is written. {next_}, and judge it:")
    print(printable(command(case, case_file, file, kind)))
    return 0


def _refused(why: str) -> int:
    """Print why nothing was written; return USAGE."""
    say(wrapped(why), error=True)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
