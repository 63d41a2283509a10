"""What is compared with what: every tensor of a trajectory beside its truth.

The truth of each operation is the reference's formula, fed with the backend's own recorded inputs. A trajectory that
holds gradients only is followed end to end, from its parameters, and the allowance grows on the way.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Arrays, Trajectory
from backproof.cases.problem import Problem
from backproof.reference.formulas.layers import layer_forward
from backproof.reference.formulas.optimizers import at_rate, clipped, update
from backproof.reference.numbers.balls import floats, sizes
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.kinks import Kinks
from backproof.reference.numbers.precision import Precision, precision_of
from backproof.reference.training import (
    backward,
    forward,
    loss_cotangent,
    operands,
    total_loss,
    trained,
    way_back,
)
from backproof.report.judging.following import rates

AVERAGE = "average"  # of the parameters after the update; all other state is there before it


class Check(NamedTuple):
    """One tensor of some steps: what the backend recorded, and the truth with its allowance.

    Attributes:
        phase, tensor: what it is, `cotangent` of `hidden`.
        actual: (steps, *shape), as recorded.
        truth: of the same shape.
        look: where a wrong number leads.
        undecided: (steps, *shape), true behind kinks of which not every side could be tried; None if nothing is.
        moved: (steps, *shape), how far an update moves its parameter, where the state is followed; else None.
    """

    phase: str
    tensor: str
    actual: np.ndarray
    truth: Bounded
    look: str
    undecided: np.ndarray | None = None
    moved: np.ndarray | None = None

    def budget(self) -> np.ndarray:
        """Share of the allowance that is used, elementwise; within iff at most 1, so NaN is not within.

        A copy (the value of an identity layer) has no allowance: it uses nothing of it if it is equal.
        """
        with np.errstate(all="ignore"):
            distance = sizes(self.truth.precision.wider(self.actual) - self.truth.value)
            used = (distance + self.truth.truth_bound) / self.truth.allowance
            return np.where((distance == 0) & (self.truth.allowance == 0), 0.0, used)

    def describe(self, row: int, index: tuple[int, ...], budget: float) -> tuple[str, str]:
        """The verdict and the words for one element of this budget that may have failed."""
        at = (row, *index)
        truth, allowance, dtype = (
            self.truth.value[at],
            self.truth.allowance[at],
            self.truth.precision.dtype,
        )
        if not np.isfinite(allowance) and self.moved is not None:
            return (
                "undecided",
                "what is followed of the state is too uncertain to judge it by: record the state",
            )
        if not np.isfinite(allowance):
            return "out of range", f"it, or what it is computed from, leaves the range of {dtype}"
        found = f"found {self.actual[at]!s}, expected"
        if self.undecided is not None and self.undecided[at]:
            between = f"{float(truth) - allowance:.6g} to {float(truth) + allowance:.6g}"
            why = (
                "it is behind kinks whose side is not certain, and there are too many sides to try"
            )
            return (
                "undecided",
                f"{found} something from {between}; {why}: record the layers, or train with other numbers",
            )
        return (
            "differs",
            f"{found} {digits(truth, allowance)} ± {allowance:.2g} (budget {budget:.3g})",
        )


def checks_of_steps(
    problem: Problem, run: Trajectory, kinks: Kinks | None = None
) -> Iterator[Check]:
    """All tensors of some steps with the same number of real samples, in the order in which they are computed.

    Behind a kink whose side is not certain the truth is an interval, unless `kinks` says which side to take.
    """
    batches = problem.batches[run.steps]
    batches = batches[:, : (batches[0] >= 0).sum()]
    precision = replace(precision_of(problem.dtype), kinks=kinks)
    before = _given(
        {path: run.before[path] for path in problem.parameters}, precision
    )  # a run may sort its names
    masks = {
        path: mask[:, : batches.shape[1]] for path, mask in problem.masks_at(run.steps).items()
    }
    numbers = operands(
        problem, before, _given(masks, precision), _given(run.buffers_before, precision)
    )
    targets = exact(problem.targets[batches], precision)
    if run.has_layers:
        values = _given(run.values, precision)
        truths = yield from _forward_checks(problem, numbers, values, run, targets)
        cotangents = _given(run.cotangents, precision)
        yield from _backward_checks(problem, numbers, values, truths, cotangents, run, targets)
    else:
        yield from _end_to_end_checks(
            problem, numbers, exact(problem.inputs[batches], precision), run, targets
        )
    if problem.optimizer:
        yield from _update_checks(problem, before, run, precision)


def final_checks(problem: Problem, run: Trajectory) -> Iterator[Check]:
    """The values and the loss of all samples at the final parameters, as a stack of one step."""
    last, precision = problem.output, precision_of(problem.dtype)
    buffers = _given({path: array[-1:] for path, array in run.buffers_after.items()}, precision)
    after = _given({path: run.after[path][-1:] for path in problem.parameters}, precision)
    numbers, targets = operands(problem, after, buffers), exact(problem.targets[None], precision)
    final = replace(
        run,
        values={name: value[None] for name, value in run.final_values.items()},
        loss=None if run.final_loss is None else run.final_loss[None],
    )
    values = _given(final.values, precision)
    if run.has_layers:
        yield from _forward_checks(problem, numbers, values, final, targets, training=False)
    else:
        computed, _ = forward(
            problem.network, numbers, exact(problem.inputs[None], precision), training=False
        )
        truth = computed[last]
        if last in values:
            yield Check("value", last, final.values[last], truth, "look at the forward pass")
        if final.loss is not None:
            loss = total_loss(problem, numbers, values.get(last, truth), targets)
            yield Check("loss", "loss", final.loss, loss, "look at the loss")


def _given(arrays: Arrays, precision: Precision) -> dict[str, Bounded]:
    return {name: _as_bounded(array, precision) for name, array in arrays.items()}


def _as_bounded(array: np.ndarray | Bounded, precision: Precision) -> Bounded:
    """What is recorded is exact; what is followed has its bound."""
    if not isinstance(array, Bounded):
        return exact(array, precision)
    followed = array[...]
    followed.precision = precision
    return followed


# ---------------------------------------------------------------- locally


def _forward_checks(
    problem: Problem,
    numbers: dict,
    values: dict,
    run: Trajectory,
    targets: Bounded,
    *,
    training: bool = True,
):
    """Each node's value from the recorded values before it, and the loss; returns the truths of the values."""
    truths, given = {}, ChainMap(values, numbers)
    for node in problem.network:
        truths[node.name], buffers = layer_forward(node, given, training=training)
        look = f"its input is taken as recorded: look at the forward pass of the {node.kind} layer {node.name}"
        yield Check("value", node.name, run.values[node.name], truths[node.name], look)
        for path, truth in buffers.items():
            yield Check("buffer", path, run.buffers_after[path], truth, look)
    loss, terms = (
        total_loss(problem, numbers, values[problem.output], targets),
        [problem.loss, *problem.penalties],
    )
    kinds = " and ".join(term.kind for term in terms)
    yield Check(
        "loss", "loss", run.loss, loss, f"the output is taken as recorded: look at the {kinds} loss"
    )
    return truths


def _backward_checks(
    problem: Problem,
    numbers: dict,
    values: dict,
    truths: dict,
    cotangents: dict,
    run: Trajectory,
    targets: Bounded,
) -> Iterator[Check]:
    """Each cotangent and gradient from the recorded cotangents behind it, the last node first.

    What several nodes use has the sum of what comes back from each, and is judged with the first of them.
    """
    dy = loss_cotangent(problem, values[problem.output], targets)
    slope = (
        f"the output is taken as recorded: look at the derivative of the {problem.loss.kind} loss"
    )
    first_user, own = _first_users(problem), problem.graph.parameters
    looks, given = {problem.output: slope}, numbers | values
    for node, sums in way_back(problem.network, given, dy, recorded=cotangents, outputs=truths):
        yield Check(
            "cotangent", node.name, run.cotangents[node.name], sums[node.name], looks[node.name]
        )
        look = f"its cotangent is taken as recorded: look at the backward pass of the {node.kind} layer {node.name}"
        looks |= dict.fromkeys(node.inputs, look)
        gradients = {path: sums[path] for path in own if path in sums}
        for path in first_user[node.name]:
            gradient = trained(problem, numbers, gradients, (path,))[path]
            yield Check("gradient", path, run.gradients[path], gradient, look)
    yield Check("cotangent", "input", run.cotangents["input"], sums["input"], looks["input"])


def _first_users(problem: Problem) -> dict[str, list[str]]:
    """By node, the trained parameters whose gradient is complete once that node's backward pass is done."""
    users: dict[str, str] = {}
    for node in reversed(problem.network):
        for path in node.parameters:
            tie = problem.tied.get(path)
            users[tie.parameter if tie else path] = node.name
    return {
        node.name: [path for path in problem.trained if users[path] == node.name]
        for node in problem.network
    }


def _update_checks(
    problem: Problem, before: dict, run: Trajectory, precision: Precision
) -> Iterator[Check]:
    """The learning rate, and the parameters and the state after each step, from what was before it.

    Of a rate and a state that are followed there is nothing to compare.
    """
    gradients, state = _given(run.gradients, precision), _given(run.state_before, precision)
    gradients = clipped(
        problem.clip, {path: gradients[path] for path in problem.trained}, problem.axes
    )
    rate_is_followed = isinstance(run.learning_rates, Bounded)
    if problem.schedule and not rate_is_followed:
        yield rate_check(problem, run)
    optimizer = at_rate(problem.optimizer, run.learning_rates)
    after, state_after = update(optimizer, before, gradients, state, run.steps)
    rate = (
        "gradient and the learning rate are"
        if problem.schedule and not rate_is_followed
        else "gradient is"
    )
    clip = f" and the clipping by {problem.clip.kind}" if problem.clip else ""
    schedule = f" and the {problem.schedule.kind} schedule" if rate_is_followed else ""
    look = f"the {rate} taken as recorded: look at the {problem.optimizer.kind} optimizer{clip}{schedule}"
    states = {
        name: Check("state", name, run.state_after[name], truth, look)
        for name, truth in state_after.items()
        if name in run.state_after
    }
    of_new_parameters = [name for name in states if name.partition("/")[0] == AVERAGE]
    yield from (check for name, check in states.items() if name not in of_new_parameters)
    is_followed = any(isinstance(array, Bounded) for array in run.state_before.values())
    for path in problem.trained:
        moved = np.abs(floats(after[path].value - before[path].value)) if is_followed else None
        yield Check("update", path, run.after[path], after[path], look, moved=moved)
    yield from (states[name] for name in of_new_parameters)


def rate_check(problem: Problem, run: Trajectory) -> Check:
    """The learning rates of a schedule."""
    look = f"look at the {problem.schedule.kind} schedule"
    return Check(
        "learning rate", "learning rate", run.learning_rates, rates(problem, run.steps), look
    )


# ---------------------------------------------------------------- end to end


def _end_to_end_checks(
    problem: Problem, numbers: dict, inputs: Bounded, run: Trajectory, targets: Bounded
) -> Iterator[Check]:
    """The loss and the gradients from the recorded parameters alone; the allowance grows with every layer.

    The gradients come in the order of the backward pass, those of the last layer first.
    """
    values, _ = forward(problem.network, numbers, inputs)
    y = values[problem.output]
    look = "only gradients are recorded: look at every layer's forward and backward pass"
    if run.loss is not None:
        yield Check("loss", "loss", run.loss, total_loss(problem, numbers, y, targets), look)
    _, gradients = backward(problem.network, numbers, values, loss_cotangent(problem, y, targets))
    truths = trained(problem, numbers, gradients, problem.trained)
    for path in backward_order(problem):
        yield Check("gradient", path, run.gradients[path], truths[path], look)


def backward_order(problem: Problem) -> list[str]:
    """The trained parameters in the order in which the backward pass finishes their gradients."""
    first_users = _first_users(problem)
    return [path for node in reversed(problem.network) for path in first_users[node.name]]


def digits(truth, allowance: float) -> str:
    """As many digits of the truth as its allowance leaves."""
    if not np.isfinite(float(truth)) or allowance <= 0 or float(truth) == 0:
        return f"{float(truth)}"
    known = int(np.clip(np.log10(abs(float(truth))) - np.log10(allowance) + 2, 1, 17))
    return f"{float(truth):.{known}g}"
