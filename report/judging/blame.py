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

from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem
from backproof.reference.numbers.balls import floats
from backproof.report.judging.extent import extent, wrong_elements
from backproof.report.judging.finding import Finding
from backproof.report.judging.hints import ERRORS, hint
from backproof.report.judging.kinks import decided_checks
from backproof.report.judging.mistakes.scene import Scene
from backproof.report.judging.operations import Check, first_users

SHOWN = 7
END_TO_END = ("loss", "gradient")
RIGHT_LOSS = "the loss is right, and so is the forward pass"
Operation = tuple[str, str]  # the phase and the tensor that it computes


def explained(problem: Problem, trajectory: Trajectory, first: Finding) -> Finding:
    """Return the first finding of a run with everything that leads from it to the fault."""
    extent, look, suspects = "", first.look, [(first.phase, first.tensor)]
    with suppress(*ERRORS):  # telling changes no verdict
        extent, look, suspects = _evidence(problem, trajectory, first)
    words = "; ".join(part for part in (first.message, extent, look) if part)
    hinted = hint(problem, trajectory, first.step, first.phase, first.tensor)
    return replace(
        first,
        message=hinted.added_to(words),
        look=hinted.instead_of(look),
        hint=hinted.words.removeprefix("; "),
        suspects=tuple(suspects),
    )


def _evidence(
    problem: Problem, trajectory: Trajectory, first: Finding
) -> tuple[str, str, list[Operation]]:
    """Look at the step of a finding.

    Returns:
        How much of the tensor is wrong, where to look, and the operations in one of which the fault
        lies.
    """
    operation = first.phase, first.tensor
    if first.step == problem.steps:
        return "", first.look, [operation]
    row = int(np.searchsorted(trajectory.steps, first.step))
    scene = Scene(problem, trajectory, row, *operation)
    checks = decided_checks(problem, scene.run)
    check = next((check for check in checks if check[:2] == operation), None)
    if check is None or not wrong_elements(check).any():
        return "", first.look, [operation]
    extent = _extent(scene, check)
    if trajectory.scope != "gradients" or first.phase not in END_TO_END:
        return extent, first.look, [operation]
    says, suspects = _between(problem, checks)
    look = f"only gradients are recorded: {says}; look at {_in_words(problem, suspects)}"
    return extent, look, suspects


# ---------------------------------------------------------------- how much of a tensor


def _extent(scene: Scene, check: Check) -> str:
    """Say how many elements are wrong, and what they share."""
    words, shared = extent(check)
    return words + (shared or _shared_sample(scene, check)) if words else ""


def _shared_sample(scene: Scene, check: Check) -> str:
    """Name the one sample whose share of a weight's gradient would explain every error."""
    layer, _, kind = check.tensor.rpartition(".")
    _, inputs, *units = check.actual.shape
    if check.phase != "gradient" or kind != "weight" or not units or inputs < 2:
        return ""
    seen = scene.values[scene.layer(layer).inputs[0]]  # (samples, *positions, inputs)
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


# ---------------------------------------------------------------- between which gradients


def _between(problem: Problem, checks: list[Check]) -> tuple[str, list[Operation]]:
    """Say which of the loss and the gradients are right.

    Returns:
        The words, and the operations that lie between right and wrong.
    """
    is_wrong = {
        check[:2]: wrong_elements(check).any() for check in checks if check.phase in END_TO_END
    }
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
    users = first_users(problem)
    places = {path: i for i, node in enumerate(network) for path in users[node.name]}
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
    network, needed = problem.network, {*problem.network[place].inputs}
    for node in reversed(network[:place]):
        if node.name in needed:
            needed |= {*node.inputs}
    return {i for i, node in enumerate(network) if node.name in needed}


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
