"""What is compared with what: every tensor of a trajectory beside its truth.

The truth of each operation is the reference's formula, fed with the backend's own recorded inputs.
A trajectory that holds gradients only is followed end to end, from its parameters, and the
allowance grows on the way.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Trajectory
from backproof.cases.format.network import Node
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
from backproof.report.judging.share import of_the_allowed

AVERAGE = "average"  # of the parameters after the update; all other state is there before it
TOO_MANY_SIDES = (
    "it is behind kinks whose side is not certain, and there are too many sides to try: "
    "record the layers, or train with other numbers"
)
Numbers = dict[str, Bounded]


class Check(NamedTuple):
    """One tensor of some steps: what the backend recorded, and the truth with its allowance.

    Attributes:
        phase, tensor: what it is, `cotangent` of `hidden`.
        actual: (steps, *shape), as recorded.
        truth: of the same shape.
        look: where a wrong number leads.
        undecided: (steps, *shape), true behind kinks of which not every side could be tried; None
            if nothing is.
        moved: (steps, *shape), how far an update moves its parameter, where the state is followed;
            else None.
    """

    phase: str
    tensor: str
    actual: np.ndarray
    truth: Bounded
    look: str
    undecided: np.ndarray | None = None
    moved: np.ndarray | None = None

    def budget(self) -> np.ndarray:
        """Return the share of the allowance that is used, (steps, *shape).

        An element is within iff its share is at most 1, so NaN is not within. A copy (the value of
        an identity layer) has no allowance: it uses nothing of it if it is equal.
        """
        return self.compared()[0]

    def compared(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the budget, and the signed error (actual − truth), (steps, *shape) each."""
        truth = self.truth
        with np.errstate(all="ignore"):
            error = truth.precision.wider(self.actual) - truth.value
            distance = sizes(error)
            used = (distance + truth.truth_bound) / truth.allowance
            return np.where((distance == 0) & (truth.allowance == 0), 0.0, used), floats(error)

    def describe(self, row: int, index: tuple[int, ...], budget: float) -> tuple[str, str]:
        """Return the verdict and the words for one element of this budget that may have failed."""
        at = (row, *index)
        truth, allowance = self.truth.value[at], self.truth.allowance[at]
        if not np.isfinite(allowance):
            if self.moved is not None:
                why = "what is followed of the state is too uncertain to judge it by"
                return "undecided", f"{why}: record the state"
            dtype = self.truth.precision.dtype
            return "out of range", f"it, or what it is computed from, leaves the range of {dtype}"
        found = f"found {self.actual[at]!s}, expected"
        if self.undecided is not None and self.undecided[at]:
            low, high = float(truth) - allowance, float(truth) + allowance
            return "undecided", f"{found} something from {low:.6g} to {high:.6g}; {TOO_MANY_SIDES}"
        expected = f"{digits(truth, allowance)} ± {allowance:.2g}"
        return "differs", f"{found} {expected} ({of_the_allowed(budget)})"


def checks_of_steps(
    problem: Problem, run: Trajectory, kinks: Kinks | None = None
) -> Iterator[Check]:
    """Yield all tensors of some steps, in the order in which they are computed.

    Args:
        problem: that is run.
        run: the steps, of the same number of real samples.
        kinks: tells which side to take where it is not certain; behind a kink of which it tells
            none the truth is an interval.
    """
    size = (problem.batches[run.steps[0]] >= 0).sum()
    batches = problem.batches[run.steps, :size]
    precision = replace(precision_of(problem.dtype), kinks=kinks)
    # In the problem's order: a run may sort its names.
    before = _given({path: run.before[path] for path in problem.parameters}, precision)
    masks = {path: mask[:, :size] for path, mask in problem.masks_at(run.steps).items()}
    others = _given(masks, precision), _given(run.buffers_before, precision)
    numbers = operands(problem, before, *others)
    targets = exact(problem.targets[batches], precision)
    if run.has_layers:
        values = _given(run.values, precision)
        truths = yield from _forward_checks(problem, numbers, values, run, targets)
        cotangents = _given(run.cotangents, precision)
        yield from _backward_checks(problem, numbers, values, truths, cotangents, run, targets)
    else:
        inputs = exact(problem.inputs[batches], precision)
        yield from _end_to_end_checks(problem, numbers, inputs, run, targets)
    if problem.optimizer:
        yield from _update_checks(problem, before, run, precision)


def final_checks(problem: Problem, run: Trajectory) -> Iterator[Check]:
    """Yield the values and the loss of all samples at the final parameters, as of one step."""
    last, precision = problem.output, precision_of(problem.dtype)
    after, buffers = (
        _given({path: arrays[path][-1:] for path in paths}, precision)
        for arrays, paths in ((run.after, problem.parameters), (run.buffers_after, problem.buffers))
    )
    numbers, targets = operands(problem, after, buffers), exact(problem.targets[None], precision)
    final = replace(
        run,
        values={name: value[None] for name, value in run.final_values.items()},
        loss=None if run.final_loss is None else run.final_loss[None],
    )
    values = _given(final.values, precision)
    if run.has_layers:
        yield from _forward_checks(problem, numbers, values, final, targets, training=False)
        return
    inputs = exact(problem.inputs[None], precision)
    truth = forward(problem.network, numbers, inputs, training=False)[0][last]
    if last in values:
        yield Check("value", last, final.values[last], truth, "look at the forward pass")
    if final.loss is not None:
        loss = total_loss(problem, numbers, values.get(last, truth), targets)
        yield Check("loss", "loss", final.loss, loss, "look at the loss")


def _given(arrays: Mapping[str, np.ndarray | Bounded], precision: Precision) -> Numbers:
    """Take what is recorded as exact, and what is followed with its bound."""
    return {name: _as_bounded(array, precision) for name, array in arrays.items()}


def _as_bounded(array: np.ndarray | Bounded, precision: Precision) -> Bounded:
    """Return an array as a number of this precision, whose kinks are told by it."""
    if not isinstance(array, Bounded):
        return exact(array, precision)
    followed = array[...]
    followed.precision = precision
    return followed


# ---------------------------------------------------------------- locally


def _forward_checks(
    problem: Problem, numbers, values, run: Trajectory, targets: Bounded, *, training: bool = True
) -> Generator[Check, None, Numbers]:
    """Yield each node's value from the recorded values before it, and the loss.

    Returns:
        The truths of the values, by node.
    """
    truths, given = {}, ChainMap(values, numbers)
    for node in problem.network:
        truths[node.name], buffers = layer_forward(node, given, training=training)
        look = f"its input is taken as recorded: {_look_at('forward', node)}"
        yield Check("value", node.name, run.values[node.name], truths[node.name], look)
        for path, truth in buffers.items():
            yield Check("buffer", path, run.buffers_after[path], truth, look)
    loss = total_loss(problem, numbers, values[problem.output], targets)
    kinds = " and ".join(term.kind for term in (problem.loss, *problem.penalties))
    look = f"the output is taken as recorded: look at the {kinds} loss"
    yield Check("loss", "loss", run.loss, loss, look)
    return truths


def _backward_checks(
    problem: Problem, numbers, values, truths, cotangents, run: Trajectory, targets: Bounded
) -> Iterator[Check]:
    """Yield each cotangent and gradient from the recorded ones behind it, the last node first.

    A value used by several nodes has the sum of what comes back from each, and is judged with the
    first of them.
    """
    dy = loss_cotangent(problem, values[problem.output], targets)
    look = f"look at the derivative of the {problem.loss.kind} loss"
    looks = {problem.output: f"the output is taken as recorded: {look}"}
    users, own, given = first_users(problem), problem.graph.parameters, numbers | values
    for node, sums in way_back(problem.network, given, dy, recorded=cotangents, outputs=truths):
        name = node.name
        yield Check("cotangent", name, run.cotangents[name], sums[name], looks[name])
        look = f"its cotangent is taken as recorded: {_look_at('backward', node)}"
        looks |= dict.fromkeys(node.inputs, look)
        gradients = {path: sums[path] for path in own if path in sums}
        for path in users[name]:
            gradient = trained(problem, numbers, gradients, (path,))[path]
            yield Check("gradient", path, run.gradients[path], gradient, look)
    yield Check("cotangent", "input", run.cotangents["input"], sums["input"], looks["input"])


def _look_at(way: str, node: Node) -> str:
    """Name the forward or the backward pass of a node as the place to look at."""
    return f"look at the {way} pass of the {node.kind} layer {node.name}"


def first_users(problem: Problem) -> dict[str, list[str]]:
    """Return by node the trained parameters whose gradient is complete once it is passed back."""
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
    problem: Problem, before: Numbers, run: Trajectory, precision: Precision
) -> Iterator[Check]:
    """Yield the learning rate, and parameters and state after each step, from what was before it.

    Of a rate and a state that are followed there is nothing to compare.
    """
    gradients, state = _given(run.gradients, precision), _given(run.state_before, precision)
    gradients = {path: gradients[path] for path in problem.trained}
    gradients = clipped(problem.clip, gradients, problem.axes)
    rate_is_followed = isinstance(run.learning_rates, Bounded)
    rate_is_recorded = problem.schedule and not rate_is_followed
    if rate_is_recorded:
        yield rate_check(problem, run)
    optimizer = at_rate(problem.optimizer, run.learning_rates)
    after, state_after = update(optimizer, before, gradients, state, run.steps)
    taken = "gradient and the learning rate are" if rate_is_recorded else "gradient is"
    clip = f" and the clipping by {problem.clip.kind}" if problem.clip else ""
    schedule = f" and the {problem.schedule.kind} schedule" if rate_is_followed else ""
    look = f"look at the {problem.optimizer.kind} optimizer{clip}{schedule}"
    look = f"the {taken} taken as recorded: {look}"
    states = [
        Check("state", name, run.state_after[name], truth, look)
        for name, truth in state_after.items()
        if name in run.state_after
    ]
    yield from (one for one in states if not _is_average(one))
    is_followed = any(isinstance(array, Bounded) for array in run.state_before.values())
    for path in problem.trained:
        moved = np.abs(floats(after[path].value - before[path].value)) if is_followed else None
        yield Check("update", path, run.after[path], after[path], look, moved=moved)
    yield from (one for one in states if _is_average(one))


def _is_average(check: Check) -> bool:
    """Return whether a state is computed from the parameters after the update."""
    return check.tensor.startswith(f"{AVERAGE}/")


def rate_check(problem: Problem, run: Trajectory) -> Check:
    """Return the check of a schedule's learning rates, (R,)."""
    look, truth = f"look at the {problem.schedule.kind} schedule", rates(problem, run.steps)
    return Check("learning rate", "learning rate", run.learning_rates, truth, look)


# ---------------------------------------------------------------- end to end


def _end_to_end_checks(
    problem: Problem, numbers: Numbers, inputs: Bounded, run: Trajectory, targets: Bounded
) -> Iterator[Check]:
    """Yield the loss and the gradients from the recorded parameters alone.

    The allowance grows with every layer. The gradients come in the order in which the backward pass
    finishes them, those of the last layer first.
    """
    values, _ = forward(problem.network, numbers, inputs)
    y = values[problem.output]
    look = "only gradients are recorded: look at every layer's forward and backward pass"
    if run.loss is not None:
        yield Check("loss", "loss", run.loss, total_loss(problem, numbers, y, targets), look)
    _, gradients = backward(problem.network, numbers, values, loss_cotangent(problem, y, targets))
    truths = trained(problem, numbers, gradients, problem.trained)
    users = first_users(problem)
    for node in reversed(problem.network):
        for path in users[node.name]:
            yield Check("gradient", path, run.gradients[path], truths[path], look)


def digits(truth, allowance: float) -> str:
    """Print as many digits of the truth as its allowance leaves."""
    number = float(truth)
    if not np.isfinite(number) or allowance <= 0 or number == 0:
        return f"{number}"
    known = int(np.clip(np.log10(abs(number)) - np.log10(allowance) + 2, 1, 17))
    return f"{number:.{known}g}"
