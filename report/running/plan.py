"""What there is to do: the cases' units, on which backends and from which runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from backproof.backends.registry import label
from backproof.cases.format.schema import Case
from backproof.report.running.job import Unit
from backproof.report.running.saved_runs import Given, Saved


class Plan(NamedTuple):
    """What to do with every case.

    Attributes:
        dtypes: those of the case that are among these.
        backends: what to run.
        exact: make the exact runs in ball arithmetic too.
        runs: runs that somebody else made.
        saved: the runs of an earlier report, which are judged in place of new ones.
    """

    dtypes: tuple[str, ...]
    backends: tuple[str, ...]
    exact: bool = True
    runs: tuple[Given, ...] = ()
    saved: Saved | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What the backends and the runs are called."""
        return *map(label, self.backends), *dict.fromkeys(run.name for run in self.runs)

    def units(self, case: Case) -> Iterator[Unit]:
        """Yield the units of a case, in the order of the report."""
        for dtype in (dtype for dtype in case.dtypes if dtype in self.dtypes):
            for name in self.backends:
                file = self.saved.of(case, dtype, name) if self.saved else None
                yield Unit(case, dtype, name, file)
            for run in self.runs:
                if (run.header.case, run.header.dtype) == (case.name, dtype):
                    yield Unit(case, dtype, run.name, run.file)
