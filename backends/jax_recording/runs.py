"""A recorded loop as the run of a case: its numbers by the case's names, in the case's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backproof.backends.jax_recording.matching import places_of
from backproof.backends.jax_recording.records import Call, Named, Record, Step
from backproof.backends.jax_recording.states import names_of
from backproof.backends.recorded import NotTheCase, Place
from backproof.backends.trajectory import Arrays, Recorder, Trajectory, of_arrays
from backproof.backends.trajectory_files import save_run
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load

LOSS = "loss"
Names = Mapping[str, str | None]


def save(run: Record, path: str | Path, case: str | Path, names: Names) -> None:
    """Write a recorded loop as a run of the case, as `Recording.save` has it."""
    problem = problem_of(run, load(case))
    save_run(trajectory_of(run, problem, names), Path(path), problem)


def problem_of(run: Record, case: Case) -> Problem:
    """Return the problem of a case at the dtype of the parameters.

    Raises:
        NotTheCase: if nothing was recorded, or the case does not list that dtype.
    """
    if not run.steps:
        why = "call the optimizer of run.optimizer(...), or run.step(...), inside of record_jax()"
        raise NotTheCase(f"no step was recorded: {why}")
    dtypes = sorted({leaf.dtype.name for leaf in run.steps[0].before.values()})
    if len(dtypes) != 1 or dtypes[0] not in case.dtypes:
        found = " and ".join(dtypes) or "nothing"
        advice = ""
        if dtypes == ["float32"]:
            advice = '; JAX has float64 only after jax.config.update("jax_enable_x64", True)'
        expected = f"{case.name} is a case in {', '.join(case.dtypes)}"
        raise NotTheCase(f"{expected}; the model's parameters are of {found}{advice}")
    return materialise(case, dtypes[0])


def trajectory_of(run: Record, problem: Problem, names: Names) -> Trajectory:
    """Return a recorded loop as the run of a problem.

    Args:
        run: what was recorded.
        problem: that it should be a run of.
        names: the case's layers and parameters by the path in the tree, and by the name of a tap;
            None for what is in the tree and not in the case.

    Raises:
        NotTheCase: if it can't be: steps, samples, taps or parameters are others.
    """
    steps = run.finished()
    if len(steps) != problem.steps:
        raise NotTheCase(f"the case has {problem.steps} steps, the loop made {len(steps)}")
    if steps[-1].after is None:
        raise NotTheCase("the last update is not known: call run.end(params) behind the loop")
    shapes = {path: leaf.shape for path, leaf in steps[0].before.items()}
    _all_known(run, shapes, problem, names)
    none_of_it = {path for path, name in names.items() if name is None}
    names = {path: name for path, name in names.items() if name is not None}
    shapes = {path: shapes[path] for path in shapes if not {path, _layer(path)} & none_of_it}
    places = places_of(shapes, run.turned, problem, names)
    _all_judged(steps, {*shapes} - {place.path for place in places.values()})
    taps = {name: _by_step(name, calls, len(steps)) for name, calls in run.calls.items()}
    taps = {name: found for name, found in taps.items() if any(found)}
    record, losses = Recorder(problem), []
    for number in problem.recorded.tolist():
        calls = {names.get(name, name): found[number] for name, found in taps.items()}
        losses.append(_loss(number, steps[number].loss, calls.pop(LOSS, [])))
        record.add(None, None, **_of_step(number, steps[number], problem, places, calls))
    arrays: dict[str, Any] = dict(record.groups)
    if all(loss is not None for loss in losses):
        arrays["loss"] = np.stack(losses)
    return of_arrays(arrays, problem, run.seconds)


def _all_known(run: Record, shapes: Mapping, problem: Problem, names: Names) -> None:
    """Raise NotTheCase where a tap, or `names`, speaks of what is not there."""
    tree = {*shapes, *map(_layer, shapes)}
    meant = {*problem.shapes, *problem.parameters, LOSS}
    for path, name in names.items():
        if name is None and path in tree:
            continue
        if path not in {*tree, *run.calls}:
            raise NotTheCase(f"names: the model has no layer, parameter or tap {path!r}")
        if name not in meant:
            raise NotTheCase(f"names: the case has no layer or parameter {name!r}")
    for name in run.calls:
        if (names.get(name) or name) not in {*problem.shapes, LOSS}:
            there = ", ".join((*problem.shapes, LOSS))
            raise NotTheCase(f"tap({name!r}): the case has no such layer; there are {there}")


def _layer(path: str) -> str:
    """Return the layer of the tree that a parameter is of, without linen's `params`."""
    return path.rpartition(".")[0].removeprefix("params.")


def _all_judged(steps: list[Step], others: set[str]) -> None:
    """Raise NotTheCase where the loop trains a parameter that the case does not have."""
    for number, step in enumerate(steps):
        after = step.after or {}
        for path in sorted(others):
            if not np.array_equal(step.before[path], after.get(path)):
                found = f"{path} {step.before[path].shape} is trained, and no parameter of the case"
                why = f"add it to the case, or leave it out by names={{{path!r}: None}}"
                raise NotTheCase(f"step {number}: {found}, so nobody judges it; {why}")


def _by_step(name: str, calls: list[Call], steps: int) -> list[list[Call]]:
    """Return the calls of a tap that something came back to, by step; none of any if none has one.

    `checkpoint` goes through a tap twice, and only the second time back. Where nothing came back in
    a step, the derivative is 0. Those behind the last update are none of the run.
    """
    found: list[list[Call]] = [[] for _ in range(steps)]
    for call in calls:
        if call.step < steps:
            found[call.step].append(call)
    missing = [number for number, of_step in enumerate(found) if not of_step]
    if 0 < len(missing) < steps:
        why = "a loop goes back through each tap in each step"
        raise NotTheCase(f"tap({name!r}), step {missing[0]}: nobody went through it; {why}")
    return [
        [call for call in of_step if call.cotangent is not None]
        or [replace(call, cotangent=np.zeros_like(call.value)) for call in of_step]
        for of_step in found
    ]


def _loss(number: int, given: np.ndarray | None, calls: list[Call]) -> np.ndarray | None:
    """Return the loss of a step: the one given, or what a tap saw, of several passes the sum."""
    if given is not None or not calls:
        return given
    if any(call.value.size != 1 for call in calls):
        found = calls[0].value.shape
        raise NotTheCase(
            f"tap('loss'), step {number}: expected one number for the batch, found {found}"
        )
    values = [call.value.reshape(()) for call in calls]
    return (
        values[0] if len(values) == 1 else np.sum(values, dtype=np.float64).astype(values[0].dtype)
    )


# ---------------------------------------------------------------- one step


def _of_step(
    number: int,
    step: Step,
    problem: Problem,
    places: Mapping[str, Place],
    taps: Mapping[str, list[Call]],
) -> dict[str, Arrays]:
    """Return the numbers of one step by field and name."""
    samples = int((problem.batches[number] >= 0).sum())
    values, cotangents = {}, {}
    for name, calls in taps.items():
        where, shape = f"tap({name!r}), step {number}", (samples, *problem.shapes[name])
        values[name] = _of_samples(where, [call.value for call in calls], shape)
        cotangents[name] = _of_samples(where, [call.cotangent for call in calls], shape)
    zeros = {path: np.zeros_like(w) for path, w in step.before.items()}
    gradients = zeros | step.gradients
    return {
        "values": values,
        "cotangents": cotangents,
        "gradients": {path: _of(gradients, places[path]) for path in problem.trained},
        "before": {path: _of(step.before, place) for path, place in places.items()},
        "after": {path: _of(step.after, place) for path, place in places.items()},
        "state_before": _state(step.state_before, problem, places),
        "state_after": _state(step.state_after, problem, places),
    }


def _of_samples(where: str, arrays: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Join the arrays of all passes of a step in the case's shape, flat ones too."""
    array = np.concatenate([np.atleast_1d(one) for one in arrays])
    if array.shape != shape and (len(array) != shape[0] or array.size != np.prod(shape)):
        found = f"expected {shape}, found {array.shape}"
        if len(arrays) > 1:
            why = "derivatives that are none of the update are taken outside of record_jax()"
            found += f" in {len(arrays)} differentiated passes since the last update; {why}"
        raise NotTheCase(f"{where}: {found}")
    return array.reshape(shape)


def _of(arrays: Named, place: Place) -> np.ndarray:
    """Return the array at a place, as the case has it."""
    return arrays[place.path].T if place.turned else arrays[place.path]


def _state(state: Named, problem: Problem, places: Mapping[str, Place]) -> Arrays:
    """Return what the optimizer remembers by `NAME/PARAMETER`, if all of it is there.

    A state of optax ends in its name and the parameter's path, however deep in a chain it stands.
    """
    found: Arrays = {}
    for name in problem.optimizer.state if problem.optimizer else ():
        endings = {name, names_of(problem.optimizer.kind).get(name, name)}
        for path in problem.trained:
            there = [one for one in state if _is(one, endings, places[path].path)]
            if len(there) > 1:
                raise NotTheCase(f"the optimizer's state has {', '.join(there)}: which is it?")
            found |= {
                f"{name}/{path}": _of({places[path].path: state[one]}, places[path])
                for one in there
            }
    expected = len(problem.trained) * len(problem.optimizer.state) if problem.optimizer else 0
    return found if len(found) == expected else {}


def _is(path: str, names: set[str], parameter: str) -> bool:
    """Tell whether the path of a leaf ends in one of the names and the parameter's path."""
    head = path.removesuffix(f".{parameter}")
    return head != path and head.rpartition(".")[2] in names
