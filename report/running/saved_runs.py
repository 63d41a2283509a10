"""Find the case of a run in a file: by the fingerprint of its problem, or by name without one."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from backproof.backends.registry import DEFAULT, label
from backproof.backends.trajectory_files import SUFFIX, Header, NotARun, changed, read_header
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.report.telling.places import saved_run


class Given(NamedTuple):
    """A run that somebody made: its name in the report, what its file says of itself, the file."""

    name: str
    header: Header
    file: Path


def matched(run: Given, cases: list[Case], dtypes: Collection[str]) -> Given:
    """Return the run with its case's name in the header, whatever its name was where it was made.

    Raises:
        NotARun: if it is of no case here, or of a dtype that is not asked for; it says which.
    """
    header, file = run.header, f"{run.name}={run.file}"
    what = f"{file} is a run of {header.case} in {header.dtype}"
    possible = [case for case in cases if header.dtype in case.dtypes]
    possible.sort(key=lambda case: _unlike(case.name, header.case))
    case = next((case for case in possible if _is_of(header, case)), None)
    namesake = next((case for case in cases if case.name == header.case), None)
    if case is None and namesake in possible:
        raise NotARun(f"{file}: {changed(header)}")
    if case is None and namesake:
        here = f"{namesake.name} is a case here, with {' and '.join(namesake.dtypes)}"
        raise NotARun(f"{file}: {here}, but the run is of {header.dtype}")
    if case is None:
        raise NotARun(f"{what}, which is no case here: name its file")
    if header.dtype not in dtypes:
        asked = f"--dtype asks for {' and '.join(dtypes)}: add --dtype {header.dtype}"
        raise NotARun(f"{what}, but {asked}")
    return run._replace(header=header._replace(case=case.name))


class Saved:
    """The runs that reports have left in `runs` of a folder, each with its case's fingerprint."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = sorted((folder / "runs").rglob(f"*-*{SUFFIX}"))
        self.runs: list[Given] = []
        for file in self.files:
            with suppress(NotARun):  # told where it stands in the place of a run
                self.runs.append(Given(_backend(file), read_header(file), file))

    def backends(self) -> list[str]:
        """Return the names of the backends that have left a run, the default ones first."""
        names = {_backend(file) for file in self.files}
        return [*(name for name in DEFAULT if name in names), *sorted(names - {*DEFAULT})]

    def names(self, cases: list[Case]) -> set[str]:
        """Return the names of the cases that have a run: one of their name or fingerprint."""
        names = {case.name for case in cases}
        others = {run.header.problem for run in self.runs if run.header.case not in names}
        found = names.intersection(run.header.case for run in self.runs)
        if others:
            found |= {case.name for case in cases if not others.isdisjoint(_fingerprints(case))}
        return found

    def of(self, case: Case, dtype: str, name: str) -> Path:
        """Return the file of a backend's run, wherever it lies.

        Where none is of the problem it is the one of the name, changed or without a fingerprint;
        where there is none either, the file in which it would be.
        """
        runs = [run for run in self.runs if (run.name, run.header.dtype) == (label(name), dtype)]
        runs.sort(key=lambda run: (run.header.problem, *_unlike(case.name, run.header.case)))
        problem = materialise(case, dtype).fingerprint
        its_own = [run.file for run in runs if run.header.problem == problem]
        of_its_name = [run.file for run in runs if run.header.case == case.name]
        return next(iter([*its_own, *of_its_name]), saved_run(self.folder, case, dtype, name))


def _backend(file: Path) -> str:
    """Return the backend that a report has named in the name of a run's file."""
    return file.stem.partition("-")[2]


def _fingerprints(case: Case) -> list[str]:
    """Return the fingerprints of a case, one a dtype."""
    return [materialise(case, dtype).fingerprint for dtype in case.dtypes]


def _unlike(name: str, other: str) -> tuple[bool, bool]:
    """Return a key to sort by: the same name is first, then one of the same file.

    Cases may share a fingerprint.
    """
    return name != other, Path(name).name != Path(other).name


def _is_of(header: Header, case: Case) -> bool:
    """Return whether a run is of this case."""
    if not header.problem:
        return header.case == case.name
    return header.problem == materialise(case, header.dtype).fingerprint
