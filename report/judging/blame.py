"""A wrong number in words: how much of its tensor is wrong, where to look, and for which mistake.

Where the layers are recorded, the operation is the one that was judged. From gradients alone it
lies between the last gradient that is right and the first that is wrong, in the order of the
backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from backproof.backends.trajectory import Arrays, Trajectory, cut
from backproof.cases.problem import Problem
from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.precision import precision_of
from backproof.reference.training import forward, operands
from backproof.report.judging.finding import Finding
from backproof.report.judging.hints import ERRORS, hint
from backproof.report.judging.kinks import END_TO_END, decided_checks
from backproof.report.judging.operations import Check

SHOWN = 7
RIGHT_LOSS = "the loss is right, and so is the forward pass"
Operation = tuple[str, str]  # the phase and the tensor that it computes


def explained(problem: Problem, trajectory: Trajectory, first: Finding) -> Finding:
    """Return the first finding of a run with everything that leads from it to the fault."""
    extent, look, suspects = "", first.look, [(first.phase, first.tensor)]
    with suppress(*ERRORS):  # telling changes no verdict
        extent, look, suspects = _evidence(problem, trajectory, first)
    words = "; ".join(part for part in (first.message, extent, look) if part)
    hinted = hint(problem, trajectory, first.step, first.phase, first.tensor)
    return replace(first, message=hinted.added_to(words), suspects=tuple(suspects))


def _evidence(
    problem: Problem, trajectory: Trajectory, first: Finding
) -> tuple[str, str, list[Operation]]:
    """Look at the step of a finding.

    Returns:
        How much of the tensor is wrong, where to look, and the operations in one of which the fault
        lies.
    """
    operation = first.phase, first.tensor
    checks = [] if first.step == problem.steps else _checks_of(problem, trajectory, first.step)
    check = next((check for check in checks if check[:2] == operation), None)
    if check is None or not _wrong(check).any():
        return "", first.look, [operation]
    extent = _extent(problem, trajectory, first.step, check)
    if trajectory.has_layers or first.phase not in END_TO_END:
        return extent, first.look, [operation]
    says, suspects = _between(problem, checks)
    look = f"only gradients are recorded: {says}; look at {_in_words(problem, suspects)}"
    return extent, look, suspects


def _checks_of(problem: Problem, trajectory: Trajectory, step: int) -> list[Check]:
    """Return the checks of one recorded step."""
    row = int(np.searchsorted(trajectory.steps, step))
    samples = int((problem.batches[step] >= 0).sum())
    return decided_checks(problem, cut(trajectory, np.array([row]), samples))


def _wrong(check: Check) -> np.ndarray:
    """Return which elements are wrong of the one step that a check holds, (*shape,)."""
    return ~(check.budget()[0] <= 1)


# ---------------------------------------------------------------- how much of a tensor


def _extent(problem: Problem, trajectory: Trajectory, step: int, check: Check) -> str:
    """Say how many elements are wrong, and what they share."""
    wrong = _wrong(check)
    count, size = int(wrong.sum()), wrong.size
    if size == 1:
        return ""
    many = f"all {count}" if count == size else f"{count} of {size}"
    words = f"{many} elements are wrong" if count > 1 else f"1 of {size} elements is wrong"
    shared = _shared_line(check, wrong) if count > 1 else ""
    return words + (shared or _shared_sample(problem, trajectory, step, check))


def _shared_line(check: Check, wrong: np.ndarray) -> str:
    """Name the row or the column, of several, that all wrong elements are in."""
    for axis, name in enumerate(_axes(check.phase, wrong.ndim)):
        places = np.unique(np.nonzero(wrong)[axis])
        if wrong.ndim > 1 and len(places) == 1 and wrong.shape[axis] > 1:
            return f", all in {name} {places[0]}"
    return ""


def _axes(phase: str, axes: int) -> tuple[str, ...]:
    """Name the axes of a tensor of one step; of a parameter the first two."""
    if phase not in ("value", "cotangent"):
        return ("row", "column")[:axes]
    positions = [f"position (axis {axis})" for axis in range(1, axes - 1)]
    return "sample", *(positions if axes > 3 else ["position"] * (axes - 2)), "unit"


def _shared_sample(problem: Problem, trajectory: Trajectory, step: int, check: Check) -> str:
    """Name the one sample whose share of a weight's gradient would explain every error."""
    layer, _, kind = check.tensor.rpartition(".")
    _, inputs, *units = check.actual.shape
    if check.phase != "gradient" or kind != "weight" or not units or inputs < 2:
        return ""
    seen = _input_of(problem, trajectory, step, layer)
    error, allowance = floats(check.actual[0] - check.truth.value[0]), check.truth.allowance[0]
    fitting = [at for at in np.ndindex(seen.shape[:-1]) if _is_share_of(error, seen[at], allowance)]
    if len(fitting) != 1:
        return ""
    sample, *position = fitting[0]
    where = f" at position {', '.join(map(str, position))}" if position else ""
    return f", each error in proportion to what the layer sees of sample {sample}{where}"


def _is_share_of(error: np.ndarray, x: np.ndarray, allowance: np.ndarray) -> bool:
    """Return whether every column of the error, (inputs, units), is a multiple of x, (inputs,)."""
    size = x @ x
    if not size:
        return False
    return bool((np.abs(error - np.outer(x, x @ error / size)) <= 2 * allowance).all())


def _input_of(problem: Problem, trajectory: Trajectory, step: int, layer: str) -> np.ndarray:
    """Return what a layer saw in a step, (samples, *positions, units).

    It is recorded, or else computed by the reference.
    """
    row, rows = int(np.searchsorted(trajectory.steps, step)), problem.batches[step]
    precision, rows = precision_of(problem.dtype), rows[rows >= 0]
    before = next(node for node in problem.network if node.name == layer).inputs[0]
    if trajectory.has_layers:
        return floats(trajectory.values[before][row, : len(rows)])

    def given(arrays: Arrays, at: int | slice) -> dict[str, Bounded]:
        return {path: exact(array[at], precision) for path, array in arrays.items()}

    masks = given(problem.masks_at(step), slice(len(rows)))
    parameters = {path: trajectory.before[path] for path in problem.parameters}
    buffers = given(trajectory.buffers_before, row)
    numbers = operands(problem, given(parameters, row), masks, buffers)
    values, _ = forward(problem.network, numbers, exact(problem.inputs[rows], precision))
    return floats(values[before].value)


# ---------------------------------------------------------------- between which gradients


def _between(problem: Problem, checks: list[Check]) -> tuple[str, list[Operation]]:
    """Say which of the loss and the gradients are right.

    Returns:
        The words, and the operations that lie between right and wrong.
    """
    is_wrong = {check[:2]: _wrong(check).any() for check in checks if check.phase in END_TO_END}
    loss = is_wrong.pop(("loss", "loss"), None)
    wrong = [path for (_, path), one in is_wrong.items() if one]
    right = [path for (_, path), one in is_wrong.items() if not one]
    says = [
        *([] if loss is None else ["the loss is wrong" if loss else RIGHT_LOSS]),
        *_said(wrong, "wrong", all_of_them=not right),
        *_said(right, "right", all_of_them=not wrong),
    ]
    return "; ".join(says), _suspects(problem, wrong, right, loss_is_wrong=bool(loss))


def _said(paths: list[str], adjective: str, *, all_of_them: bool) -> Iterator[str]:
    """Say which gradients are wrong, or right, in the order of the backward pass.

    Long lists are told by their ends; nothing is yielded of an empty one.
    """
    if paths[1:]:
        shown = paths if len(paths) <= SHOWN else [*paths[: SHOWN - 2], "…", paths[-1]]
        several = f"the gradients of {', '.join(shown)} are {adjective}"
        yield f"every gradient is {adjective}" if all_of_them else several
    elif paths:
        yield f"{'its gradient' if all_of_them else f'that of {paths[0]}'} is {adjective}"


def _suspects(
    problem: Problem, wrong: list[str], right: list[str], *, loss_is_wrong: bool
) -> list[Operation]:
    """Return the operations between the last tensor that is right and the first that is wrong.

    What is right in a layer before tells that its cotangent is right; what is right in the layer
    itself does not, since errors may cancel in a sum over the samples.
    """
    network, own_loss = problem.network, [("loss", "loss")]
    if not wrong:
        return own_loss
    if loss_is_wrong and not right:
        return [("value", "input"), *(("value", layer.name) for layer in network), *own_loss]
    places = {path: _place(problem, path) for path in (*wrong, *right)}
    at, reached = max(places[path] for path in wrong), {places[path] for path in right}
    gradients = [("gradient", path) for path in wrong if places[path] == at]
    if reached & _before(problem, at):
        return gradients
    behind = [place for place in reached if at in _before(problem, place)]
    on_the_way = range(at, min(behind, default=len(network)))
    between = [place for place in on_the_way if place == at or at in _before(problem, place)]
    return [*(("cotangent", network[place].name) for place in reversed(between)), *gradients]


def _before(problem: Problem, place: int) -> set[int]:
    """Return the places of the nodes on whose values that of a node depends."""
    places = {node.name: i for i, node in enumerate(problem.network)}
    found: set[int] = set()
    waiting = [place]
    while waiting:
        inputs = problem.network[waiting.pop()].inputs
        taken = {places[name] for name in inputs if name in places} - found
        found |= taken
        waiting += taken
    return found


def _place(problem: Problem, path: str) -> int:
    """Return the place of the first node that uses a parameter, tied ones too."""
    users = {path, *(own for own, tie in problem.tied.items() if tie.parameter == path)}
    return next(i for i, node in enumerate(problem.network) if users & {*node.parameters})


def _in_words(problem: Problem, suspects: list[Operation]) -> str:
    """Name operations as one looks for them in a program."""
    loss = " and ".join(term.kind for term in (problem.loss, *problem.penalties))
    if suspects == [("loss", "loss")]:
        return f"the value of the {loss} loss"
    if suspects[-1][0] == "loss":
        return f"the forward pass, from the batch to the {loss} loss"
    after = {name: node.name for node in reversed(problem.network) for name in node.inputs}
    back = [after.get(tensor) for phase, tensor in suspects if phase == "cotangent"]
    through = ", ".join(name for name in back if name)
    words = [f"the derivative of the {problem.loss.kind} loss"] if None in back else []
    words += [f"the way back through {through}"] if through else []
    own = " and ".join(tensor for phase, tensor in suspects if phase == "gradient")
    gradient = f"the gradient of {own} from its layer's cotangent"
    if words:
        return f"what lies between: {', '.join(words)} or {gradient}"
    return f"{gradient}: what flows past it is right"
