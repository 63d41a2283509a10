"""Mistakes in what must be equal: the samples of a step, and what a run starts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from backproof.reference.formulas.optimizers import init
from backproof.reference.numbers.balls import floats
from backproof.report.judging.mistakes import digits
from backproof.report.judging.mistakes.layers import mixed_up
from backproof.report.judging.mistakes.scene import Scene

PHASES = ("value", "start", "continuity")


def told(scene: Scene) -> str:
    """Return the end of a message about numbers that should be copies."""
    if scene.phase == "value":
        is_there = "input" in scene.trajectory.values
        return _samples(scene) if scene.tensor == "input" and is_there else ""
    found, right = _pair(scene)
    words = next(_what(scene, found, right), "")
    return f"; this is {words}" if words else digits.between(found, right, scene.precision.u)


def _pair(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return what was found, and what it should be a copy of."""
    run, name = scene.trajectory, scene.tensor
    before = (run.before | run.state_before)[name]
    after = (run.after | run.state_after)[name]
    if scene.phase == "continuity":
        return floats(before[scene.row]), floats(after[scene.row - 1] if scene.row else before[0])
    starts = {path: floats(start) for path, start in scene.problem.parameters.items()}
    if name in run.state_before:
        trained = {path: starts[path] for path in scene.problem.trained}
        starts = init(scene.problem.optimizer, trained)
    return floats(before[0]), starts[name]


def _what(scene: Scene, found: np.ndarray, right: np.ndarray) -> Iterator[str]:
    """Yield what the found numbers are, in words."""
    if not found.any():
        yield "zero in every element"
    if found.ndim == 2 and np.array_equal(found, right.T):
        yield "the transpose"
    if found.size > 1 and np.array_equal(np.sort(found, axis=None), np.sort(right, axis=None)):
        yield "the same numbers in another order"
    run, name = scene.run, scene.tensor
    if np.array_equal(found, floats((run.after | run.state_after)[name][0])):
        yield "what it is after the update of this step"
    start = floats((run.before | run.state_before)[name][0])
    if scene.phase == "continuity" and np.array_equal(found, start):
        return
    for path, other in scene.problem.parameters.items():
        if path != name and np.array_equal(found, floats(other)):
            yield f"what {path} starts from"


# ---------------------------------------------------------------- samples


def _samples(scene: Scene) -> str:
    """Return words for which samples they are, or how they were changed."""
    seen = floats(scene.trajectory.values["input"][scene.row])
    inputs, batch = floats(scene.problem.inputs), scene.batch
    size = max(np.flatnonzero([row.any() for row in seen]), default=-1) + 1  # behind it is padding
    axes = tuple(range(1, inputs.ndim))
    places = [np.flatnonzero((inputs == row).all(axis=axes)) for row in seen[:size]]
    if size and all(map(len, places)):
        which = [int(place[0]) for place in places]
        if which != list(batch):
            there = f"these are the samples {_listed(which)}, where the batch has {_listed(batch)}"
            return f"; {there}{_other_batch(scene, which)}"
    if size != len(batch):
        return ""
    seen, desired = seen[:size], inputs[batch]
    if inputs.ndim > 2:
        for words, other in _positions_elsewhere(inputs).items():
            if np.array_equal(seen, other[batch]):
                return f"; these are {words}"
    return _as_a_line(scene, seen, desired) or digits.between(seen, desired, scene.precision.u)


def _as_a_line(scene: Scene, seen: np.ndarray, desired: np.ndarray) -> str:
    """Say that every element has been scaled and shifted; and whether that is new to the data."""
    factor = (seen * desired).sum() / (np.square(desired).sum() or 1)
    rtol = 64 * scene.precision.u
    words = f"{factor:.6g} times what is right" if factor != 1 else ""
    if not np.allclose(seen, factor * desired, rtol, 0):
        spread = np.square(desired - desired.mean()).sum()
        if not spread:
            return ""
        factor = ((seen - seen.mean()) * (desired - desired.mean())).sum() / spread
        shift = seen.mean() - factor * desired.mean()
        line, atol = factor * desired + shift, rtol * np.abs(desired).max()
        if desired.size < digits.ENOUGH or not np.allclose(seen, line, rtol, atol):
            return ""
        times = "" if np.isclose(factor, 1) else f"{factor:.6g} times "
        words = f"{times}what is right, {shift:+.6g}"
    return f"; every element is {words}{_since(scene)}" if words else ""


def _since(scene: Scene) -> str:
    """Say at which step before the same samples were right: they were changed in place since."""
    values, problem = scene.trajectory.values["input"], scene.problem
    for row in reversed(range(scene.row)):
        step = int(scene.trajectory.steps[row])
        rows = problem.batches[step]
        rows = rows[rows >= 0]
        if np.isin(scene.batch, rows).all() and np.array_equal(
            values[row][: len(rows)], problem.inputs[rows]
        ):
            return f"; step {step} saw them as they should be: were they changed in place since?"
    return ""


def _positions_elsewhere(inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return the samples with their positions in other places, by words."""
    samples, length, *others = inputs.shape
    return {
        "samples and positions mixed up": inputs.reshape(length, samples, *others).swapaxes(0, 1),
        "the samples and positions of a transposed array": mixed_up(inputs),
        "the positions in the order turned around": inputs[:, ::-1],
    }


def _listed(samples: Sequence[int] | np.ndarray) -> str:
    few = [str(int(sample)) for sample in samples[:8]]
    return ", ".join(few) + (", …" if len(samples) > len(few) else "")


def _other_batch(scene: Scene, which: list[int]) -> str:
    """Say that it is the batch of another step, or the same one turned around."""
    if which == list(scene.batch[::-1]):
        return ": they are in the order turned around"
    for step, rows in enumerate(scene.problem.batches):
        if list(rows[rows >= 0]) == which and step != scene.step:
            return f": they are those of step {step}"
    return ""
