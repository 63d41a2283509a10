"""A run as a file in safetensors, which a program in any language can write (`docs/runs.md`)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from backproof.backends.trajectory import (
    PHASES,
    SCOPES,
    Incomplete,
    Trajectory,
    dtype_name,
    flat,
    of_arrays,
    seconds_of,
)
from backproof.cases.console.terminal import plain
from backproof.cases.export import save_whole
from backproof.cases.problem import Problem

FORMAT, SUFFIX = "1", ".safetensors"
# What a file can hold and NumPy can read.
DTYPES = re.compile(r"b?float(16|32|64)|u?int(8|16|32|64)|bool")
IN_THE_HEADER = ("scope", "seconds", "borrowed")


class NotARun(Exception):  # noqa: N818, it names what was found
    """The file holds no run; the message says where and why."""


class Header(NamedTuple):
    """What stands in the metadata of a file, beside the arrays.

    Attributes:
        case: the name of the case that was run, `xor/two_four_one`.
        dtype: of its numbers.
        scope: what the run promises to hold, as `Trajectory` has it; empty where it does not say.
        seconds: wall time of the run; 0 if it was not taken.
        problem: the fingerprint of what was run; empty where a program does not know it.
        borrowed: the phases that the reference has computed for the code, not counted as its own.
    """

    case: str
    dtype: str
    scope: str = ""
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
    header = {"backproof": FORMAT, "case": problem.name, "problem": problem.fingerprint}
    header |= {"dtype": problem.dtype.name, "scope": f"{run.scope}"}
    header["seconds"] = repr(seconds_of(run.seconds))
    if run.borrowed:
        header["borrowed"] = ", ".join(sorted(run.borrowed))
    save_whole(arrays, path, header)


def _plain(name: str, found: Any) -> np.ndarray:
    """Return the array as it stands in a file, in C order, with not even its byte order changed."""
    try:
        array = np.require(np.asarray(found), requirements="C")
    except ValueError:
        raise Incomplete(f"{name}: expected an array, found a {type(found).__name__}") from None
    if not (array.dtype.isnative and DTYPES.fullmatch(array.dtype.name)):
        expected = "expected numbers that a file can hold"
        raise Incomplete(f"{name}: {expected}, found {dtype_name(array.dtype)}")
    return array


def read_header(path: Path) -> Header:
    """Return what a file says of itself.

    Raises:
        NotARun: if it can't be read, or does not say what it must.
    """
    return _opened(path)[1]


def load_run(path: Path, problem: Problem) -> Trajectory:
    """Return the run in a file; its steps are those of the problem if it does not say.

    Raises:
        NotARun: if there is none in it.
    """
    file, header = _opened(path)
    if header.problem and header.problem != problem.fingerprint:
        raise NotARun(f"{path}: {changed(header)}")
    names = file.keys()
    arrays = {name: _array(path, file, name) for name in names}
    try:
        promised = {"scope": header.scope} if header.scope else {}
        run = of_arrays(promised | arrays, problem, header.seconds)
    except ValueError as error:
        raise NotARun(f"{path}: {plain(error)}") from None
    return replace(run, borrowed=header.borrowed)


def changed(header: Header) -> str:
    """Return what is said of a run whose problem is not that of the case with its name."""
    changed = f"the case {header.case} has changed since this run was made"
    return f"{changed}, or it is a run of another one: make it again"


def _array(path: Path, file: Any, name: str) -> np.ndarray:
    """Read one array; raise NotARun where it is none that NumPy knows."""
    if name in IN_THE_HEADER:
        raise NotARun(f"{path}: {name!r} is a text of the metadata, not an array")
    try:
        return file.get_tensor(name)
    except Exception as error:  # noqa: BLE001, a dtype that NumPy lacks fails in many ways
        what = f"{name!r} is of dtype {file.get_slice(name).get_dtype()}"
        raise NotARun(f"{path}: {what}, which NumPy can't read: {plain(error)}") from None


def _opened(path: Path) -> tuple[Any, Header]:
    """Return a file to read arrays from, and what it says of itself."""
    try:
        file = safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise NotARun(f"{path}: no safetensors file: {plain(error)}") from None
    return file, _header(path, file.metadata() or {})


def _header(path: Path, metadata: dict[str, str]) -> Header:
    """Return the header of these metadata; raise NotARun where something is missing or wrong."""
    if metadata.get("backproof") != FORMAT:
        is_there = "backproof" in metadata
        found = f"found {metadata['backproof']!r}" if is_there else "there is no such key"
        expected = f"expected the metadata 'backproof': '{FORMAT}' in its header"
        raise NotARun(f"{path}: {expected}; {found}")
    for key in ("case", "dtype"):
        if not metadata.get(key):
            raise NotARun(f"{path}: the metadata has no {key!r}, which says what was run")
    scope = metadata.get("scope", "")
    if scope and scope not in SCOPES:
        raise NotARun(f"{path}: the metadata 'scope' is one of {', '.join(SCOPES)}, not {scope!r}")
    borrowed = frozenset(filter(None, metadata.get("borrowed", "").split(", ")))
    if unknown := borrowed.difference(PHASES):
        expected = f"the metadata 'borrowed' names phases, {', '.join(PHASES)}"
        raise NotARun(f"{path}: {expected}, not {min(unknown)!r}")
    seconds, problem = seconds_of(metadata.get("seconds", 0)), metadata.get("problem", "")
    return Header(metadata["case"], metadata["dtype"], scope, seconds, problem, borrowed)
