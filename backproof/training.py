"""The verbs for a training loop in PyTorch: what it did is judged against a case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backproof.backends.trajectory import Trajectory
from backproof.backends.trajectory_files import NotARun, load_run, read_header
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load
from backproof.certify import NotCertified
from backproof.report.judging.judge import Judgement, judge

MINE = Path("mine.yaml")


def certify_run(
    run: Any, case: str | Path, names: Mapping[str, str | None] | None = None
) -> Judgement:
    """Judge every number of a recorded training loop.

    Args:
        run: what `backproof.record` or `record_jax` gave, or the path of a file that it saved.
        case: the path of the case's YAML file.
        names: the case's layers by module path, `{"encoder.0": "hidden"}`, where neither names nor
            the order of the forward pass tell which is which. Of JAX, by leaf too; None leaves out
            what the case does not have.

    Raises:
        NotCertified: if the loop is not certified; the message is the judge's.
        InvalidCase: if the file is no case.
    """
    read = load(case)
    try:
        problem, trajectory = _read(run, read, names)
    except (ValueError, NotARun) as reason:
        raise NotCertified(f"{read.name}: {reason}") from None
    judgement = judge(problem, trajectory)
    seen = _seen(run, judgement)
    if behind := getattr(run, "behind", ""):
        seen.insert(0, behind)
    if behind or judgement.verdict != "certified":
        verdict = "not certified" if judgement.verdict == "certified" else judgement.verdict
        told = "\n  ".join(filter(None, [verdict, judgement.message, *seen]))
        raise NotCertified(f"{read.name} {problem.dtype}: {told}")
    judgement.message = "; ".join(filter(None, [judgement.message, *seen]))
    return judgement


def _seen(run: Any, judgement: Judgement) -> list[str]:
    """Return what the hooks saw, up to the step that is told where one is wrong."""
    is_wrong = judgement.verdict != "certified" and judgement.where
    last = judgement.where.step if is_wrong else math.inf
    notes = getattr(run, "notes", {}).items()
    return [
        words if step is None else f"step {step}: {words}"
        for words, step in notes
        if step is None or step <= last
    ]


def _read(run: Any, case: Case, names: Any) -> tuple[Problem, Trajectory]:
    """Return the problem and the run of a recording, or of a file.

    Raises:
        ValueError: if it is neither, or the names are not texts by text.
    """
    if isinstance(run, str | Path):
        return _in_file(run, case)
    if not hasattr(run, "of"):
        told = f"what `record` gave, or the path of a file; found {run!r}"
        raise ValueError(f"run: expected {told}")
    are_named = isinstance(names, Mapping) and all(
        isinstance(path, str) and isinstance(name, str | None) for path, name in names.items()
    )
    if names and not are_named:
        raise ValueError(f"names: expected the case's names by module path, found {names!r}")
    return run.of(case, dict(names or {}))


def _in_file(path: str | Path, case: Case) -> tuple[Problem, Trajectory]:
    """Return the problem and the run in a file."""
    dtype = read_header(Path(path)).dtype
    if dtype not in case.dtypes:
        expected = f"expected a run in {', '.join(case.dtypes)}"
        raise NotARun(f"{path}: {expected}, found one in {dtype}")
    problem = materialise(case, dtype)
    return problem, load_run(Path(path), problem)


def certify_training(
    model: Any,
    loss: Any,
    optimizer: Any,
    batches: Iterable,
    steps: int | None = None,
    scheduler: Any = None,
    clip: Any = None,
    path: str | Path | None = None,
) -> Judgement:
    """Read a training off its modules, write it as a case, run it, and judge every number.

    It is run by an ordinary loop (zero_grad, forward, backward, clip, step, scheduler), after which
    everything stands as before. `path` is a case like others: `pytest mine.yaml` runs it on every
    backend, `python -m report mine.yaml` explains it. Larger arrays stand in a .npz beside it.

    Args:
        model: of modules that the format has, in a `forward` that torch.fx can read.
        loss: of torch.nn.
        optimizer: of torch.optim, new, of the model's parameters.
        batches: (inputs, targets) of each step; taken in turn where there are more steps.
        steps: as many as there are batches unless given.
        scheduler: of torch.optim, if there is one.
        clip: the largest norm of all gradients, or `{"value": number}`.
        path: of the case to write, also where one is already; `mine.yaml` unless given, which is
            not written where there is one.

    Raises:
        NotCertified: if the training is not certified; the message is the judge's.
        NotRead: if something of it has no place in the format; the message names it.
        FileExistsError: if there is a `mine.yaml`, and no path was given.
    """
    from backproof.backends.torch_recording import scenario

    if path is None and MINE.exists():
        raise FileExistsError(f"{MINE} is there already, and stays as it is: say path=")
    path = Path(path or MINE)
    training = scenario.training_of(model, loss, optimizer, batches, steps, scheduler, clip)
    reading, arrays = scenario.Reading(model), scenario.Arrays(path)
    case = scenario.case_of(training, reading, arrays)
    run = scenario.recorded(training)
    scenario.write(scenario.with_masks(case, run, arrays), path, arrays)
    return certify_run(run, path, names=reading.names)
