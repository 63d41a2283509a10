"""A recorded loop as the run of a case: its numbers by the case's names, in the case's shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backproof.backends.torch_autograd.arrays import to_array
from backproof.backends.torch_autograd.optimizers import STATE
from backproof.backends.torch_recording.finals import finals
from backproof.backends.torch_recording.matching import (
    Names,
    NotTheCase,
    Place,
    labels_of,
    matched,
    places_of,
)
from backproof.backends.torch_recording.refusals import all_judged, as_drawn, rate_of
from backproof.backends.torch_recording.steps import Call, Loop, Step
from backproof.backends.trajectory import Arrays, Recorder, Trajectory, of_arrays
from backproof.backends.trajectory_files import save_run
from backproof.cases.format.schema import Case, Published
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load


def save(run: Loop, path: str | Path, case: str | Path, names: Names) -> None:
    """Write a recorded loop as a run of the case, as `Recording.save` has it."""
    read = load(case)
    problem = problem_of(run, read)
    if len(problem.recorded) < len(materialise(read, problem.dtype.name).recorded):
        why = "a file holds the steps that the case records, the last one among them"
        raise NotTheCase(f"the loop was recorded at every {run.every}th update; {why}")
    if run.behind:
        raise NotTheCase(run.behind)
    if drawn := [*_drawn(read)]:
        why = "a file is judged with the masks of the case: give those that the loop drew"
        raise NotTheCase(f"{drawn[0]} is drawn anew by the case; {why} (certify_training does)")
    save_run(trajectory_of(run, problem, names), Path(path), problem)


def problem_of(run: Loop, case: Case, names: Names | None = None) -> Problem:
    """Return the problem of a case at the dtype of the model, with the steps that are recorded.

    Masks that the case has drawn are those that the loop has drawn, where it did.

    Raises:
        NotTheCase: if the case does not list that dtype.
    """
    dtypes = {str(w.dtype).removeprefix("torch.") for w in run.model.parameters()}
    if len(dtypes) != 1 or not dtypes <= {*case.dtypes}:
        found = " and ".join(sorted(dtypes)) or "nothing"
        expected = f"{case.name} is a case in {', '.join(case.dtypes)}"
        raise NotTheCase(f"{expected}; the model's parameters are of {found}")
    problem = _at_the_recorded_steps(run, materialise(case, dtypes.pop()))
    if names is None or not (drawn := [*_drawn(case)]):
        return problem
    masks = {path: _masks_of(run, problem, names, path) for path in drawn}
    return replace(problem, masks=problem.masks | masks)


def _at_the_recorded_steps(run: Loop, problem: Problem) -> Problem:
    """Leave out of a problem the steps that the loop has not recorded."""
    recorded = problem.recorded[problem.recorded % run.every == 0]
    if len(recorded) == len(problem.recorded):
        return problem
    published = (one for one in problem.published if np.isin(_steps_of(one), recorded).all())
    return replace(problem, recorded=recorded, published=tuple(published))


def _steps_of(entry: Published) -> np.ndarray:
    return np.arange(entry.step, entry.step + entry.steps)


def _drawn(case: Case) -> Iterator[str]:
    """Yield the paths of the masks that a case draws."""
    for layer in case.network:
        for name, mask in layer.given_masks().items():
            if mask is None:
                yield f"{layer.name}.{name}"


def masks_of(run: Loop, place: int) -> list[np.ndarray | None]:
    """Return the masks, (samples, *shape), that one call has drawn at each step; None without."""
    found = []
    for step in run.steps:
        masks = [one.calls[place].mask for one in step.passes]
        whole = all(mask is not None for mask in masks) and masks
        found.append(_array(torch.cat(masks) != 0) if whole else None)
    return found


def _masks_of(run: Loop, problem: Problem, names: Names, path: str) -> np.ndarray:
    """Return the masks of all steps, those of the problem where the loop has drawn none."""
    masks = np.array(problem.masks[path])
    name = path.rpartition(".")[0]
    place = matched(calls_of(run), problem, names).get(name)
    if place is not None:
        steps = [[one.calls[place].mask for one in step.passes] for step in run.steps]
        drawn = [torch.cat(all_) for all_ in steps if all_ and all(m is not None for m in all_)]
        layer = next(one for one in problem.layers if one.name == name)
        if drawn:
            as_drawn(name, layer.dropped, drawn)
            run.note(f"the masks of {name} are those that the loop drew", None)
    for step, mask in enumerate(masks_of(run, place)[: len(masks)] if place is not None else ()):
        if mask is not None and len(mask) <= masks.shape[1]:
            masks[step, : len(mask)] = mask
    return masks


# ---------------------------------------------------------------- the whole run


def trajectory_of(run: Loop, problem: Problem, names: Names) -> Trajectory:
    """Return a recorded loop as the run of a problem.

    Args:
        run: what was recorded.
        problem: that it should be a run of.
        names: layers by the path of a module, parameters by the path of a parameter.

    Raises:
        NotTheCase: if it can't be: steps, samples, modules or parameters are others.
    """
    if run.why_not:
        raise NotTheCase(run.why_not[0])
    if len(run.steps) != problem.steps:
        raise NotTheCase(f"the case has {problem.steps} steps, the loop made {len(run.steps)}")
    if run.scheduler is not None and not problem.schedule:
        name = type(run.scheduler).__name__
        raise NotTheCase(f"the loop has a {name}, and the case no `schedule`")
    calls = calls_of(run)
    layers = matched(calls, problem, names)
    _all_known(run, names, calls, problem)
    places = places_of(run.model, calls, layers, problem, names)
    all_judged(run, places)
    states = _known_states(run, problem, places)
    record, losses, rates, held = Recorder(problem), [], [], Counter[tuple[str, str]]()
    for number in problem.recorded.tolist():
        step = run.steps[number]
        _same_samples(step, number, problem)
        found = _of_step(step, problem, layers, places, states)
        held.update((field, name) for field, arrays in found.items() for name in arrays)
        record.add(None, None, **found)
        losses.append(np.sum([_array(loss).astype(np.float64) for loss in step.losses]))
        rates.append(rate_of(step, number, problem))
    arrays: dict[str, Any] = {
        field: {name: one for name, one in found.items() if held[field, name] == len(rates)}
        for field, found in record.groups.items()
    }
    if all(run.steps[number].losses for number in problem.recorded):
        arrays["loss"] = np.array(losses).astype(problem.dtype)
    if problem.schedule:
        arrays["learning_rates"] = np.array(rates, np.float64)
    values, loss = finals(run, problem, layers, calls)
    arrays["final_values"] = {
        name: _of_samples([value], problem.shapes[name]) for name, value in values.items()
    }
    if loss is not None:
        arrays["final_loss"] = _array(loss)
    return of_arrays(arrays, problem, run.seconds)


def calls_of(run: Loop) -> list[Call]:
    """Return the calls of a forward pass, which are the same in each.

    Raises:
        NotTheCase: if they are not, or a step has none.
    """
    first: list[str] | None = None
    for number, step in list(enumerate(run.steps))[:: run.every]:
        if not step.passes:
            why = "nobody went back through a forward pass of the model before the update"
            raise NotTheCase(f"step {number}: {why}")
        for one in step.passes:
            labels = labels_of(one.calls)
            if labels != (first := first or labels):
                found = f"step {number} took the modules {', '.join(labels)}"
                raise NotTheCase(f"{found}; step 0 took {', '.join(first)}")
    if first is None:
        raise NotTheCase("no step was recorded: the optimizer's step() was never called")
    return run.steps[0].passes[0].calls


def _all_known(run: Loop, names: Names, calls: list[Call], problem: Problem) -> None:
    """Raise NotTheCase where `names` speaks of what is not there."""
    there = {*labels_of(calls), *(path for path, _ in run.model.named_parameters())}
    meant = {*(layer.name for layer in problem.layers), *problem.parameters}
    for path, name in names.items():
        if path not in there:
            raise NotTheCase(f"names: the model has no module or parameter {path!r}")
        if name not in meant:
            raise NotTheCase(f"names: the case has no layer or parameter {name!r}")


def _same_samples(step: Step, number: int, problem: Problem) -> None:
    """Raise NotTheCase where a step has not as many samples as its batch."""
    found = sum(len(one.calls[0].value) for one in step.passes)
    expected = int((problem.batches[number] >= 0).sum())
    if found != expected:
        many = f" in {len(step.passes)} forward passes" if len(step.passes) > 1 else ""
        raise NotTheCase(
            f"step {number}: its batch has {expected} samples; the loop saw {found}{many}"
        )


# ---------------------------------------------------------------- one step


def _of_step(
    step: Step,
    problem: Problem,
    layers: Mapping[str, int],
    places: Mapping[str, Place],
    states: Mapping[str, float],
) -> dict[str, Arrays]:
    """Return the numbers of one step by field and name."""
    values, cotangents = {}, {}
    seen = [one.seen for one in step.passes]
    for name, calls in {
        "input": seen,
        **{name: [one.calls[at] for one in step.passes] for name, at in layers.items()},
    }.items():
        if all(calls):
            values[name] = _of_samples([call.value for call in calls], problem.shapes[name])
        if all(calls) and all(call.is_watched for call in calls):
            found = [_or_zeros(call.cotangent, call.value) for call in calls]
            cotangents[name] = _of_samples(found, problem.shapes[name])
    gradients = {**step.used, **(step.raw if problem.clip else {})}
    of = partial(_of_parameters, places)
    return {
        "values": values,
        "cotangents": cotangents,
        "gradients": of(
            lambda path: _or_zeros(gradients.get(path), step.before[path]), problem.trained
        ),
        "before": of(step.before.__getitem__, problem.parameters),
        "after": of(step.after.__getitem__, problem.parameters),
        "state_before": _states(step.state_before, step, problem, places, states),
        "state_after": _states(step.state_after, step, problem, places, states),
    }


def _or_zeros(tensor: Tensor | None, like: Tensor) -> Tensor:
    """Return a derivative, which is 0 where none came back."""
    return torch.zeros_like(like) if tensor is None else tensor


def _array(tensor: Tensor) -> np.ndarray:
    return to_array(tensor.detach().cpu())


def _of_samples(tensors: list[Tensor], shape: tuple[int, ...]) -> np.ndarray:
    """Join the values of all forward passes, (samples, *shape), flat ones in the case's shape."""
    array = _array(torch.cat(tensors))
    is_flat = array.shape[1:] != shape and len(shape) == 1 and array[0].size == shape[0]
    return array.reshape(len(array), *shape) if is_flat else array


def _of_parameters(places: Mapping[str, Place], tensor_of: Callable, paths) -> Arrays:
    """Return tensors of parameters by the case's paths, in the case's shapes."""
    found = {path: _array(tensor_of(places[path].path)) for path in paths}
    return {path: found[path].T if places[path].turned else found[path] for path in found}


def _known_states(run: Loop, problem: Problem, places: Mapping[str, Place]) -> Mapping[str, float]:
    """Return what the optimizer remembers and its start; nothing where it is to be followed.

    It is where the optimizer has other names, or keeps more digits than its parameter has.
    """
    starts = problem.optimizer.starts if problem.optimizer else {}
    steps = [run.steps[number] for number in problem.recorded.tolist()]
    for name in starts:
        kept = STATE.get(name, name)
        found = [
            (state.get(f"{kept}/{path}"), path in step.remembered[when], step.before[path].dtype)
            for step in steps
            for when, state in enumerate((step.state_before, step.state_after))
            for path in (places[one].path for one in problem.trained)
        ]
        there = [(one, dtype) for one, _, dtype in found if one is not None]
        if not there or any(one is None and is_begun for one, is_begun, _ in found):
            why = f"the optimizer keeps no {kept!r} of its parameters"
        elif any(torch.promote_types(one.dtype, dtype) != dtype for one, dtype in there):
            why = f"the optimizer keeps {kept!r} in {there[0][0].dtype}".replace("torch.", "")
        else:
            continue
        run.note(f"{why}: what it remembers is followed", None)
        return {}
    return starts


def _states(
    state: Mapping[str, Tensor],
    step: Step,
    problem: Problem,
    places: Mapping[str, Place],
    starts: Mapping[str, float],
) -> Arrays:
    """Return what the optimizer remembers by `NAME/PARAMETER`; torch makes it at the first step."""
    found = {}
    for name, start in starts.items():

        def one(path: str, name: str = name, start: float = start) -> Tensor:
            w = step.before[path]
            there = state.get(f"{STATE.get(name, name)}/{path}", torch.tensor(start))
            return there.to(w).expand_as(w)

        arrays = _of_parameters(places, one, problem.trained)
        found |= {f"{name}/{path}": array for path, array in arrays.items()}
    return found
