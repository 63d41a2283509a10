"""`backproof export`: a problem as a file, for a program in any language (docs/problems.md)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backproof.cases.console.command import INSTALLED, run_command, say
from backproof.cases.console.terminal import cut, plain, wrapped
from backproof.cases.format.basics import DTYPES

if TYPE_CHECKING:  # slow to import
    import numpy as np

    from backproof.cases.format.schema import Case
    from backproof.cases.problem import Problem

USAGE, FORMAT, SUFFIX = 2, "1", ".safetensors"
CALLED = "backproof export" if INSTALLED else "python -m backproof export"
WORDS = (
    "Every step k = 0, 1, ... takes the samples of inputs and targets that row k of batches names; "
    "-1 stands behind the samples of a short batch, and is none. Step k takes the mask "
    "k modulo (number of masks), its first rows for a short batch; after the last step there is "
    "no mask. A weight is (inputs, units). The settings say what the network, the loss and the "
    "optimizer are, by the equations of docs/reference.md; a tied parameter is another one, or its "
    "transpose. The run is to hold the tensors of 'run' at the steps of recorded, in a safetensors "
    "file with the metadata of 'run_metadata'."
)


def main(argv: list[str] | None = None) -> int:
    """Write the problem of a case; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=CALLED,
        description="Write a case as a problem of plain arrays: start, samples, batches, masks, "
        "settings, and what a run of it must hold. A program trains it and leaves a run, which "
        "`report --run NAME=FILE` judges.",
        epilog="exit code: 0; 2 usage, an invalid case, or nothing could be written",
    )
    parser.add_argument("case", type=Path, metavar="CASE", help="the YAML file of a case")
    about = "of every number (default: the first of the case)"
    parser.add_argument("--dtype", choices=DTYPES, help=about)
    about = f"the file, NAME{SUFFIX}"
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=about)
    return run_command(partial(_main, parser.parse_args(argv)))


def _main(arguments: argparse.Namespace) -> int:
    """Read the case, write the file, and print what to do with it."""
    from safetensors import SafetensorError

    from backproof.cases.problem import materialise
    from backproof.cases.reading.load import InvalidCase, load

    path = arguments.output
    try:
        case = load(arguments.case)
        dtype = arguments.dtype or case.dtypes[0]
        if why := _misfit(case, dtype, path):
            return _refused(why)
        save_problem(materialise(case, dtype), path)
    except InvalidCase as error:
        for mistake in error.mistakes:
            say(cut(plain(mistake)), error=True)
        return USAGE
    except (SafetensorError, OSError) as error:
        return _refused(f"cannot write {path}: {error}")
    report = "backproof report" if INSTALLED else "python -m report"
    print(f"{plain(path)} is written. Train it, and have the run judged:")
    print(f"{report} {plain(arguments.case)} --dtype {dtype} --run mine=run{SUFFIX}")
    return 0


def _refused(why: str) -> int:
    """Print why nothing was written; return USAGE."""
    say(wrapped(why), error=True)
    return USAGE


def _misfit(case: Case, dtype: str, path: Path) -> str:
    """Say why the case can't be written so; empty if it can."""
    if dtype not in case.dtypes:
        return f"{case.name} is not of {dtype}: its dtypes are {', '.join(case.dtypes)}"
    return "" if path.suffix == SUFFIX else f"expected a name that ends in {SUFFIX}, found {path}"


def save_problem(problem: Problem, path: Path) -> None:
    """Write everything that a run of the problem needs, and says of it in JSON what it is.

    Raises:
        SafetensorError: if the file can't be written.
    """
    arrays = {name: getattr(problem, name) for name in ("inputs", "targets", "batches", "recorded")}
    for group in ("parameters", "masks", "buffers"):
        arrays |= {f"{group}/{name}": one for name, one in getattr(problem, group).items()}
    own = {"case": problem.name, "problem": problem.fingerprint, "dtype": problem.dtype.name}
    run = [(name, shape, dtype.name) for name, shape, dtype in _tensors(problem)]
    texts = {"settings": _settings(problem), "run": run, "run_metadata": {"backproof": "1", **own}}
    metadata = {name: json.dumps(content, default=_plain) for name, content in texts.items()}
    save_whole(arrays, path, {"backproof_problem": FORMAT, **own, "words": WORDS, **metadata})


def save_whole(arrays: dict[str, np.ndarray], path: Path, metadata: dict[str, str]) -> None:
    """Write arrays and texts; a file is there whole, or not at all."""
    from safetensors.numpy import save_file

    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(arrays, unfinished, metadata)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _settings(problem: Problem) -> dict[str, Any]:
    """Return what is trained and how, in the words of a case."""
    names = ("output", "loss", "penalties", "optimizer", "schedule", "clip", "trained", "tied")
    return {
        "network": [node._asdict() for node in problem.network],
        **{name: getattr(problem, name) for name in (*names, "steps")},
        "state": problem.optimizer.starts if problem.optimizer else {},
    }


def _tensors(problem: Problem) -> Iterator[tuple[str, tuple[int, ...], np.dtype]]:
    """Yield name, shape and dtype of everything that a run must hold."""
    from backproof.cases.tensors import tensors_of

    for field, name, shape, dtype in tensors_of(problem):
        yield f"{field}/{name}".removesuffix("/"), shape, dtype


def _plain(thing: Any) -> Any:
    """Return what JSON has no word for: a concept with its kind, an array as lists."""
    return thing.tolist() if hasattr(thing, "tolist") else {"kind": thing.kind, **dict(thing)}


if __name__ == "__main__":
    sys.exit(main())
