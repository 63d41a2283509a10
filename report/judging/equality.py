"""What must be equal to the last bit: where a run starts from, what it is given, what it keeps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem
from backproof.reference.formulas.optimizers import init
from backproof.reference.numbers.half import half
from backproof.report.judging.finding import Finding


def unequal(problem: Problem, run: Trajectory) -> Iterator[Finding]:
    """Yield where a run differs from what it was given, or from what it left itself."""
    yield from _starts(problem, run)
    yield from _not_updated(problem, run)
    yield from _inputs(problem, run)
    yield from _padding(problem, run)
    yield from _continuity(run)


def _starts(problem: Problem, run: Trajectory) -> Iterator[Finding]:
    """Compare what there is before the first step with the problem's."""
    trained = {path: half(problem.parameters[path]) for path in problem.trained}
    state = init(problem.optimizer, trained) if run.state_before else {}
    starts = [
        (run.before, problem.parameters, "{}, but the case from {}"),
        (run.state_before, state, "a state of {}, but the optimizer from {}"),
        (run.buffers_before, problem.buffers, "a buffer of {}, but the layer from {}"),
    ]
    for recorded, initial, of in starts:
        for name, values in initial.items():
            message = f"the run starts from {of}"
            yield from _compare(recorded[name][:1], values[None], run.steps, "start", name, message)


def _not_updated(problem: Problem, run: Trajectory) -> Iterator[Finding]:
    """Compare the parameters that are frozen, or not to be updated, before and after each step."""
    frozen = [path for path in problem.parameters if path not in problem.trained]
    for path in frozen:
        before = run.before[path]
        initial = np.broadcast_to(problem.parameters[path], before.shape)
        message = "the parameter is frozen; the step starts from {}, but the case from {}"
        yield from _compare(before, initial, run.steps, "continuity", path, message)
    for path in frozen if problem.optimizer else run.before:
        message = "no update is asked for; found {} after the step, {} before it"
        yield from _compare(run.after[path], run.before[path], run.steps, "update", path, message)


def _inputs(problem: Problem, run: Trajectory) -> Iterator[Finding]:
    """Compare what each step saw with its batch, and what the final value saw with all samples."""
    where = "value", "input", "the step saw the input {}, but its batch holds {}"
    if "input" in run.values:
        batches, seen = problem.batches[run.steps], run.values["input"]
        desired = np.where(_of_samples(batches >= 0, seen), problem.inputs[batches], seen)
        yield from _compare(seen, desired, run.steps, *where)
    if "input" in run.final_values:
        final, last = run.final_values["input"][None], np.array([problem.steps])
        yield from _compare(final, problem.inputs[None], last, *where)


def _padding(problem: Problem, run: Trajectory) -> Iterator[Finding]:
    """Compare what is behind a short batch, in every value and every cotangent, with 0."""
    short = np.flatnonzero((problem.batches[run.steps] < 0).any(axis=1))
    steps = run.steps[short]
    real = problem.batches[steps] >= 0
    message = "the step saw one more sample than its batch has: found {}"
    message += " where {} should pad the record"
    for phase, tensors in (("value", run.values), ("cotangent", run.cotangents)):
        for name, array in tensors.items():
            found = array[short]
            padded = np.where(_of_samples(real, found) | (found == 0), found, found.dtype.type(0))
            yield from _compare(found, padded, steps, phase, name, message)


def _continuity(run: Trajectory) -> Iterator[Finding]:
    """Compare what a step starts from with what the step before it left, if that is recorded."""
    later = np.flatnonzero(np.diff(run.steps) == 1) + 1
    message = "the step starts from {}, but the step before it left {}"
    left = run.after | run.state_after | run.buffers_after
    for name, taken in (run.before | run.state_before | run.buffers_before).items():
        found, kept = taken[later], left[name][later - 1]
        yield from _compare(found, kept, run.steps[later], "continuity", name, message)


def _of_samples(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a mask (steps, samples) with as many axes as the values have."""
    return mask.reshape(*mask.shape, *[1] * (values.ndim - 2))


def _compare(
    actual: np.ndarray,
    desired: np.ndarray,
    steps: np.ndarray,
    phase: str,
    tensor: str,
    message: str,
) -> Iterator[Finding]:
    """Yield the first element, (steps, *shape), that differs in a single bit."""
    bits = f"u{actual.itemsize}"
    other = np.ascontiguousarray(actual).view(bits) != np.ascontiguousarray(desired).view(bits)
    if other.any():
        at = np.unravel_index(other.argmax(), other.shape)
        step, *index = map(int, at)
        words = message.format(actual[at], desired[at])
        yield Finding(int(steps[step]), -1, phase, tensor, tuple(index), words)
