"""A run as a file: a trajectory in safetensors, which a program in any language can write (`docs/runs.md`)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from backends.trajectory import Trajectory, flat, of_arrays
from cases.problem import Problem

FORMAT, SUFFIX = "1", ".safetensors"


class NotARun(Exception):  # noqa: N818, it names what was found
    """The file holds no run; the message says where and why."""


class Header(NamedTuple):
    """What stands in the metadata of a file, beside the arrays.

    Attributes:
        case: the name of the case that was run, `xor/two_four_one`.
        dtype: of its numbers.
        scope: `layers`, or `gradients` of a run without values and cotangents.
        seconds: wall time of the run; 0 if it was not taken.
    """

    case: str
    dtype: str
    scope: str = "layers"
    seconds: float = 0.0


def save_run(run: Trajectory, path: Path, problem: Problem) -> None:
    """Write a run of this problem; a file is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.require(np.asarray(array), requirements="C") for name, array in flat(run).items()}
    header = {"backproof": FORMAT, "case": problem.name, "dtype": problem.dtype.name}
    header |= {"scope": run.scope, "seconds": repr(run.seconds)}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(arrays, unfinished, header)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def read_header(path: Path) -> Header:
    """What a file says of itself.

    Raises:
        NotARun: if it can't be read, or does not say what it must.
    """
    return _header(path, _opened(path).metadata() or {})


def load_run(path: Path, problem: Problem) -> Trajectory:
    """The run in a file; where it does not say which steps it holds, they are those that the problem asks for.

    Raises:
        NotARun: if there is none in it.
    """
    file = _opened(path)
    header = _header(path, file.metadata() or {})
    try:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
        return of_arrays({"scope": header.scope} | arrays, problem.recorded, header.seconds)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise NotARun(f"{path}: {_reason(error)}") from None


def _opened(path: Path):
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise NotARun(f"{path}: no safetensors file: {_reason(error)}") from None


def _header(path: Path, metadata: dict[str, str]) -> Header:
    if metadata.get("backproof") != FORMAT:
        found = f"found {metadata['backproof']!r}" if "backproof" in metadata else "there is no such key"
        raise NotARun(f"{path}: expected the metadata 'backproof': '{FORMAT}' in its header; {found}")
    for key in ("case", "dtype"):
        if not metadata.get(key):
            raise NotARun(f"{path}: the metadata has no {key!r}, which says what was run")
    if (scope := metadata.get("scope", "layers")) not in ("layers", "gradients"):
        raise NotARun(f"{path}: the metadata 'scope' is layers or gradients, not {scope!r}")
    seconds = 0.0
    with suppress(ValueError):
        seconds = float(metadata.get("seconds", 0))
    return Header(metadata["case"], metadata["dtype"], scope, seconds)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
