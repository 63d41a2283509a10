"""A run as a file: a trajectory in safetensors, which a program in any language can write (`docs/runs.md`)."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from backproof.backends.trajectory import (
    PHASES,
    Incomplete,
    Trajectory,
    dtype_name,
    flat,
    of_arrays,
    seconds_of,
)
from backproof.cases.problem import Problem

FORMAT, SUFFIX = "1", ".safetensors"
DTYPES = re.compile(
    r"b?float(16|32|64)|u?int(8|16|32|64)|bool"
)  # that a file can hold and NumPy can read
IN_THE_HEADER = ("scope", "seconds", "borrowed")


class NotARun(Exception):  # noqa: N818, it names what was found
    """The file holds no run; the message says where and why."""


class Header(NamedTuple):
    """What stands in the metadata of a file, beside the arrays.

    Attributes:
        case: the name of the case that was run, `xor/two_four_one`.
        dtype: of its numbers.
        scope: `layers`, or `gradients` of a run without values and cotangents.
        seconds: wall time of the run; 0 if it was not taken.
        problem: the fingerprint of what was run; empty where a program does not know it.
        borrowed: the phases that the reference has computed for the code, which are not counted as its own.
    """

    case: str
    dtype: str
    scope: str = "layers"
    seconds: float = 0.0
    problem: str = ""
    borrowed: frozenset[str] = frozenset()


def save_run(run: Trajectory, path: Path, problem: Problem) -> None:
    """Write a run of this problem; a file is there whole, or not at all.

    Raises:
        Incomplete: if the run holds something that a file can't; the message names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: _plain(name, array) for name, array in flat(run).items()}
    header = {
        "backproof": FORMAT,
        "case": problem.name,
        "problem": problem.fingerprint,
        "dtype": problem.dtype.name,
    }
    header |= {"scope": f"{run.scope}", "seconds": repr(seconds_of(run.seconds))}
    header |= {"borrowed": ", ".join(sorted(run.borrowed))} if run.borrowed else {}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(arrays, unfinished, header)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _plain(name: str, found: Any) -> np.ndarray:
    """The array as it stands in a file, in C order; nothing of it is changed on the way, not even the byte order."""
    try:
        array = np.require(np.asarray(found), requirements="C")
    except ValueError:
        raise Incomplete(f"{name}: expected an array, found a {type(found).__name__}") from None
    if not (array.dtype.isnative and DTYPES.fullmatch(array.dtype.name)):
        raise Incomplete(
            f"{name}: expected numbers that a file can hold, found {dtype_name(array.dtype)}"
        )
    return array


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
    if header.problem and header.problem != problem.fingerprint:
        raise NotARun(f"{path}: {changed(header)}")
    arrays = {name: _array(path, file, name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
    try:
        run = of_arrays({"scope": header.scope} | arrays, problem.recorded, header.seconds)
    except ValueError as error:
        raise NotARun(f"{path}: {_reason(error)}") from None
    return replace(run, borrowed=header.borrowed)


def changed(header: Header) -> str:
    """What is said of a run whose problem is not that of the case with its name."""
    return f"the case {header.case} has changed since this run was made, or it is a run of another one: make it again"


def _array(path: Path, file: Any, name: str) -> np.ndarray:
    if name in IN_THE_HEADER:
        raise NotARun(f"{path}: {name!r} is a text of the metadata, not an array")
    try:
        return file.get_tensor(name)
    except Exception as error:  # noqa: BLE001, a dtype that NumPy lacks fails in many ways
        dtype = file.get_slice(name).get_dtype()
        raise NotARun(
            f"{path}: {name!r} is of dtype {dtype}, which NumPy can't read: {_reason(error)}"
        ) from None


def _opened(path: Path):
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise NotARun(f"{path}: no safetensors file: {_reason(error)}") from None


def _header(path: Path, metadata: dict[str, str]) -> Header:
    if metadata.get("backproof") != FORMAT:
        found = (
            f"found {metadata['backproof']!r}"
            if "backproof" in metadata
            else "there is no such key"
        )
        raise NotARun(
            f"{path}: expected the metadata 'backproof': '{FORMAT}' in its header; {found}"
        )
    for key in ("case", "dtype"):
        if not metadata.get(key):
            raise NotARun(f"{path}: the metadata has no {key!r}, which says what was run")
    if (scope := metadata.get("scope", "layers")) not in ("layers", "gradients"):
        raise NotARun(f"{path}: the metadata 'scope' is layers or gradients, not {scope!r}")
    borrowed = frozenset(filter(None, metadata.get("borrowed", "").split(", ")))
    if unknown := borrowed.difference(PHASES):
        raise NotARun(
            f"{path}: the metadata 'borrowed' names phases, {', '.join(PHASES)}, not {min(unknown)!r}"
        )
    seconds = seconds_of(metadata.get("seconds", 0))
    return Header(
        metadata["case"], metadata["dtype"], scope, seconds, metadata.get("problem", ""), borrowed
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
