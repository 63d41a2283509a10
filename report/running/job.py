"""The unit of work: one case at one dtype on one backend, run and judged in separate processes."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from backproof.backends.registry import label
from backproof.backends.trajectory import WrongReturn
from backproof.backends.trajectory_files import SUFFIX, NotARun, load_run, save_run
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.report.judging.outcome import INCOMPLETE, Result, failed_in_words, judged
from backproof.report.running.isolation import JUDGE, DiedError, NoWorkers, Workers

FAILURES = (*INCOMPLETE, "unsupported")


class Unit(NamedTuple):
    """What is to be run, on a backend or from a file; where there is a file, nothing is run."""

    case: Case
    dtype: str
    backend: str
    file: Path | None = None

    @property
    def name(self) -> tuple[str, str, str]:
        """Case, dtype and backend, as they are called in the report."""
        return self.case.name, self.dtype, label(self.backend)


class Done(NamedTuple):
    """What came of a unit, without its trajectory, and the file of that, if there is one."""

    result: Result
    file: Path | None = None


def do(workers: Workers | NoWorkers, unit: Unit, folder: Path) -> Done:
    """Run and judge a unit, and leave its trajectory in a file of the folder.

    Whatever goes wrong is the verdict. The judge never shares a process with what it judges.
    """
    name, file = label(unit.backend), unit.file
    try:
        if file is None:
            file = new_file(folder)
            if failure := workers.call(unit.backend, run_unit, unit, file):
                return Done(_failure(name, failure))
        return Done(workers.call(JUDGE, judge_unit, unit, file), file)
    except DiedError as death:
        return Done(Result(name, death.verdict, death.message, output=death.output))
    except WrongReturn as words:
        return Done(Result(name, "error", str(words)))


def new_file(folder: Path) -> Path:
    """Return a name for the file of a run that no other has."""
    return folder / f"{uuid.uuid4().hex}{SUFFIX}"


def _failure(name: str, said: Result) -> Result:
    """Take from a backend's process why there is no run, and nothing else that it may say."""
    verdict = said.verdict if said.verdict in FAILURES else "error"
    return replace(said, backend=name, verdict=verdict, judgement=None, trajectory=None)


def ready() -> bool:
    """Say that a worker has imported what it needs to judge."""
    return True


def run_unit(unit: Unit, file: Path) -> Result | None:
    """Run a unit and save its trajectory; return a result where there is none, and it is known why.

    An exception of the backend's code is raised: a worker puts it into words, and a debugger stops
    there.
    """
    from backproof.backends.registry import backend

    try:
        case = unit.case.model_copy()  # whatever a backend does to it stays with it
        problem = materialise(case, unit.dtype)
        save_run(backend(unit.backend).run(problem), file, problem)
    except WrongReturn:
        raise  # so that a worker adds what was printed
    except (Exception, SystemExit) as error:  # noqa: BLE001, what has no words is raised again
        return failed_in_words(label(unit.backend), error)
    return None


def judge_unit(unit: Unit, file: Path) -> Result:
    """Judge the trajectory in a file."""
    problem = materialise(unit.case, unit.dtype)
    try:
        trajectory = load_run(file, problem)
    except NotARun as reason:
        return Result(label(unit.backend), "error", str(reason))
    return replace(judged(problem, label(unit.backend), trajectory), trajectory=None)
