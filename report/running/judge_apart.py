"""The judge in its own process, beside one that runs backends: what they change is not there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from backproof.backends.trajectory import Trajectory
from backproof.backends.trajectory_files import save_run
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem
from backproof.report.judging.outcome import Result
from backproof.report.running.isolation import JUDGE, Workers, limits
from backproof.report.running.job import Unit, judge_unit, new_file


class JudgeApart:
    """Judges runs in a process that is started for the first of them, and ends with `close`."""

    @cached_property
    def workers(self) -> Workers:
        """The one process."""
        return Workers(limits(1))

    def of(self, case: Case) -> Callable[[Problem, str, Trajectory], Result]:
        """Return what judges runs of this case as `outcome.judged` does.

        A run reaches the judge as a file, and the problem is made anew there.
        """

        def judged(problem: Problem, name: str, trajectory: Trajectory) -> Result:
            unit = Unit(case, problem.dtype.name, name)
            with tempfile.TemporaryDirectory(prefix="backproof-") as folder:
                file = new_file(Path(folder))
                save_run(trajectory, file, problem)
                result = self.workers.call(JUDGE, judge_unit, unit, file)
            return replace(result, trajectory=trajectory)

        return judged

    def close(self) -> None:
        """End the process, if there is one."""
        with suppress(KeyError):
            self.__dict__.pop("workers").stop()
