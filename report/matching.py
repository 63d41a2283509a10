"""Which case a run in a file is of: the one with the fingerprint of its problem, or with its name if it has none."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from backends.runs import Header, NotARun, changed
from cases.fingerprint import fingerprint
from cases.problem import materialise
from cases.schema import Case


class Given(NamedTuple):
    """A run that somebody made: what it is called in the report, what its file says of itself, and the file."""

    name: str
    header: Header
    file: Path


def matched(run: Given, cases: list[Case], dtypes: Collection[str]) -> Given:
    """The run with its case's name in the header, whatever the case was called where the run was made.

    Raises:
        NotARun: if it is of no case here, or of a dtype that is not asked for; the message says which.
    """
    what = f"{run.name}={run.file} is a run of {run.header.case} in {run.header.dtype}"
    possible = [case for case in cases if run.header.dtype in case.dtypes]
    possible.sort(key=lambda case: _unlike(case.name, run.header.case))
    case = next((case for case in possible if _is_of(run.header, case)), None)
    if case is None and any(case.name == run.header.case for case in possible):
        raise NotARun(f"{run.name}={run.file}: {changed(run.header)}")
    if case is None:
        raise NotARun(f"{what}, which is no case here")
    if run.header.dtype not in dtypes:
        raise NotARun(f"{what}, but --dtype asks for {' and '.join(dtypes)}: add --dtype {run.header.dtype}")
    return run._replace(header=run.header._replace(case=case.name))


def _unlike(name: str, other: str) -> tuple[bool, bool]:
    """The same name comes first, then one of the same file: cases may share a fingerprint."""
    return name != other, Path(name).name != Path(other).name


def _is_of(header: Header, case: Case) -> bool:
    if not header.problem:
        return header.case == case.name
    return header.problem == fingerprint(materialise(case, header.dtype))
