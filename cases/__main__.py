"""`python -m cases`: list and validate the scenarios, or print the JSON Schema of their format."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from backproof.cases.console.command import as_called, run_command, say
from backproof.cases.console.terminal import cut, plain
from backproof.cases.format.basics import as_text
from backproof.cases.reading.files import InvalidCase, named
from backproof.cases.reading.kept import Kept, Row

if TYPE_CHECKING:  # slow to import
    from backproof.cases.format.schema import Case

INVALID, NOTHING = 2, 5
COLUMNS = ("case", "network", "steps", "dtypes", "title")
WIDEST_NETWORK = 16
NARROWEST_TITLE = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    chosen = _parser().parse_args(arguments)
    return run_command(_print_schema if chosen.schema else partial(_validate, chosen.paths))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=as_called("cases"),
        description="List training scenarios and validate them. "
        "Every mistake is printed as file:line:column: message.",
        epilog="exit code: 0 all are valid; 2 a mistake in a case or the usage; "
        "5 no case was found; 130 interrupted; 141 the reader of the list has left",
    )
    about = "case files, or folders with *.yaml in them"
    parser.add_argument("paths", nargs="*", metavar="FILE or FOLDER", help=about)
    about = "print the JSON Schema of a case, for editors, and stop"
    parser.add_argument("--schema", action="store_true", help=about)
    return parser


def _print_schema() -> int:
    from backproof.cases.format.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


# ---------------------------------------------------------------- the list


def _validate(paths: list[str]) -> int:
    """Print a row a valid case, and every mistake; what has not changed is not read again."""
    names, mistakes = named(paths)
    kept, rows = Kept(), []
    for file, name in names.items():
        try:
            rows.append((plain(as_text(name)), *_row(kept, file)))
        except InvalidCase as invalid:
            mistakes += invalid.mistakes
    kept.save()
    if rows:
        print(_table(rows))
    for mistake in mistakes:
        say(cut(plain(mistake)), error=True)
    if not rows and not mistakes:
        say("no case found", error=True)
        return NOTHING
    return INVALID if mistakes else 0


def _row(kept: Kept, file: Path) -> Row:
    """Return what a row says of a case behind its name; raise InvalidCase for a mistake."""
    state = kept.state(file)
    if row := kept.get(state):
        return row
    from backproof.cases.reading.load import load

    case = load(file)
    row = _network(case), str(case.steps), _dtypes(case), case.title
    if kept.state(file) == state:  # it was not written anew meanwhile
        kept.put(state, row)
    return row


def _table(rows: list[Row]) -> str:
    """Return one line a case; the title gets what the other columns leave of the width."""
    rows = [(name, _cut(network, WIDEST_NETWORK), *rest) for name, network, *rest in rows]
    widths = [max(map(len, column)) for column in zip(*rows, COLUMNS, strict=True)]
    room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * len(widths[:-1])
    rows = [(*row, _cut(title, max(room, NARROWEST_TITLE))) for *row, title in rows]
    alignment = ("left", "left", "right", "left", "left")
    return tabulate([COLUMNS, *rows], tablefmt="plain", disable_numparse=True, colalign=alignment)


def _network(case: Case) -> str:
    """Return `2-4-1 sigmoid`: the shapes as they change, and the kinds of the other layers.

    Sixteen equal shapes are `32x16`.
    """
    shaped = [layer for layer in case.network if "units" in type(layer).model_fields]
    shapes = [case.graph.shapes[name] for name in ("input", *(layer.name for layer in shaped))]
    runs = [("×".join(map(str, shape)), len(list(equal))) for shape, equal in groupby(shapes)]
    kinds = dict.fromkeys(layer.kind for layer in case.network if layer not in shaped)
    told = "-".join(f"{shape}x{n}" if n > 2 else "-".join([shape] * n) for shape, n in runs)
    return " ".join([told, *kinds])


def _dtypes(case: Case) -> str:
    """Return `float64/32`."""
    return "/".join([case.dtypes[0], *(dtype.removeprefix("float") for dtype in case.dtypes[1:])])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3].rstrip() + "..."


if __name__ == "__main__":
    sys.exit(main())
