"""What is compared with what: every tensor of a trajectory beside its truth.

The truth of each operation is the reference's formula, fed with the backend's own recorded inputs.
Inputs that are not recorded are followed, from what is recorded before them, and the allowance
grows on the way: a trajectory that holds gradients only is judged from end to end.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem
from backproof.reference.formulas.layers import layer_forward
from backproof.reference.formulas.optimizers import at_rate, clipped, update
from backproof.reference.numbers.balls import floats, sizes
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.kinks import Kinks
from backproof.reference.numbers.precision import Precision, precision_of
from backproof.reference.training import (
    loss_cotangent,
    operands,
    total_loss,
    trained,
    way_back,
)
from backproof.report.judging.following import rates
from backproof.report.judging.route import Route, Way
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
        moved: (steps, *shape), how far an update moves its parameter, where something before it is
            followed; else None.
        record: what to record, where something before it is followed: `the layers`; else empty.
    """

    phase: str
    tensor: str
    actual: np.ndarray
    truth: Bounded
    look: str
    undecided: np.ndarray | None = None
    moved: np.ndarray | None = None
    record: str = ""

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
                why = "what is followed before it is too uncertain to judge it by"
                return "undecided", f"{why}: record {self.record}"
            dtype = self.truth.precision.dtype
            return "out of range", f"it, or what it is computed from, leaves the range of {dtype}"
        found = f"found {self.actual[at]!s}, expected"
        if self.undecided is not None and self.undecided[at]:
            low, high = float(truth) - allowance, float(truth) + allowance
            return "undecided", f"{found} something from {low:.6g} to {high:.6g}; {TOO_MANY_SIDES}"
        expected = f"{digits(truth, allowance)} ± {allowance:.2g}"
        return "differs", f"{found} {expected} ({of_the_allowed(budget)})"


def checks_of_steps(
    problem: Problem, run: Trajectory, kinks: Kinks | None = None, scale: float = 1.0
) -> Iterator[Check]:
    """Yield all tensors of some steps, in the order in which they are computed.

    Args:
        problem: that is run.
        run: the steps, of the same number of real samples.
        kinks: tells which side to take where it is not certain; behind a kink of which it tells
            none the truth is an interval.
        scale: of the gradients that are followed, as an update sees them.
    """
    size = (problem.batches[run.steps[0]] >= 0).sum()
    batches = problem.batches[run.steps, :size]
    precision = replace(precision_of(problem.dtype), kinks=kinks)
    # In the problem's order: a run may sort its names.
    before = _given({path: run.before[path] for path in problem.parameters}, precision)
    masks = {path: mask[:, :size] for path, mask in problem.masks_at(run.steps).items()}
    others = _given(masks, precision), _given(run.buffers_before, precision)
    numbers = operands(problem, before, *others)
    walk = Walk(problem, run, numbers, batches, precision)
    yield from walk.forward_checks()
    yield from walk.backward_checks()
    if problem.optimizer:
        gradients = {
            path: gradient if path in run.gradients else gradient * scale
            for path, gradient in walk.gradients.items()
        }
        yield from _update_checks(problem, before, gradients, run, precision)


def final_checks(problem: Problem, run: Trajectory) -> Iterator[Check]:
    """Yield the values and the loss of all samples at the final parameters, as of one step."""
    precision = precision_of(problem.dtype)
    after, buffers = (
        _given({path: arrays[path][-1:] for path in paths}, precision)
        for arrays, paths in ((run.after, problem.parameters), (run.buffers_after, problem.buffers))
    )
    numbers = operands(problem, after, buffers)
    everyone = np.arange(len(problem.inputs))[None]
    final = replace(
        run,
        values={name: value[None] for name, value in run.final_values.items()},
        loss=None if run.final_loss is None else run.final_loss[None],
    )
    walk = Walk(problem, final, numbers, everyone, precision, training=False)
    yield from walk.forward_checks()


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


# ---------------------------------------------------------------- forward and backward


class Walk:
    """Goes through the network of some steps, from what is recorded of them.

    What is recorded is compared, and then taken as given; what is not is followed: it is given as
    computed, with its bound. So where everything is recorded each operation is judged by itself,
    and where nothing is, from end to end.

    Args:
        problem: that is run.
        run: the steps.
        numbers: what layers take beside values (`operands`).
        samples: (steps, samples), their indices.
        precision: of the numbers.
        training: False after the last step.

    Attributes:
        gradients: by path, as recorded or followed, once `backward_checks` has gone back.
    """

    def __init__(
        self,
        problem: Problem,
        run: Trajectory,
        numbers: Numbers,
        samples: np.ndarray,
        precision: Precision,
        *,
        training: bool = True,
    ):
        self.problem, self.run, self.numbers = problem, run, numbers
        self.precision, self.training = precision, training
        self.inputs, self.targets = (
            exact(of[samples], precision) for of in (problem.inputs, problem.targets)
        )
        self.values = _given(run.values, precision)
        self.truths: Numbers = {}
        self.given: Mapping[str, Bounded] = {}
        self.gradients: Numbers = {}
        self.route = Route(problem, run)

    def forward_checks(self) -> Iterator[Check]:
        """Yield the recorded values and buffers, and the loss."""
        run = self.run
        self.truths = {"input": self.inputs}
        self.given = ChainMap(self.values, self.truths, self.numbers)
        for node in self.problem.network:
            y, buffers = layer_forward(node, self.given, training=self.training)
            self.truths[node.name] = y
            way = self.route.to_value(node)
            if node.name in self.values:
                yield _check("value", node.name, run.values[node.name], y, way)
            for path, truth in buffers.items():
                yield _check("buffer", path, run.buffers_after[path], truth, way)
        if run.loss is not None:
            problem = self.problem
            loss = total_loss(problem, self.numbers, self.output, self.targets)
            yield _check("loss", "loss", run.loss, loss, self.route.to_loss())

    @property
    def output(self) -> Bounded:
        """The value of the last node, as recorded or followed."""
        return self.given[self.problem.output]

    def backward_checks(self) -> Iterator[Check]:
        """Yield the recorded cotangents and gradients, the last node's first.

        A value used by several nodes has the sum of what comes back from each, and is judged with
        the first of them.
        """
        problem, run, route = self.problem, self.run, self.route
        recorded = partial(_given, precision=self.precision)
        cotangents, self.gradients = recorded(run.cotangents), recorded(run.gradients)
        dy = loss_cotangent(problem, self.output, self.targets)
        users, own = first_users(problem), problem.graph.parameters
        wanted = {*problem.trained, *cotangents}
        walk = way_back(problem.network, self.given, dy, recorded=cotangents, outputs=self.truths)
        for node, sums in walk:
            yield from self._cotangent_checks(node.name, sums)
            gradients = {path: sums[path] for path in own if path in sums}
            for path in users[node.name]:
                truth = trained(problem, self.numbers, gradients, (path,))[path]
                if path in run.gradients:
                    way = route.to_gradient(node)
                    yield _check("gradient", path, run.gradients[path], truth, way)
                self.gradients.setdefault(path, truth)
            wanted -= {node.name, *users[node.name]}
            if not wanted:
                return
        yield from self._cotangent_checks("input", sums)

    def _cotangent_checks(self, name: str, sums: Numbers) -> Iterator[Check]:
        """Yield the cotangent of a value, if it is recorded."""
        if name in self.run.cotangents:
            found, way = self.run.cotangents[name], self.route.to_cotangent(name)
            yield _check("cotangent", name, found, sums[name], way)


def _check(phase: str, tensor: str, actual: np.ndarray, truth: Bounded, way: Way) -> Check:
    """Return the check of what one operation or several compute."""
    record = "the layers" if way.is_followed else ""
    return Check(phase, tensor, actual, truth, way.look, record=record)


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
    problem: Problem, before: Numbers, gradients: Numbers, run: Trajectory, precision: Precision
) -> Iterator[Check]:
    """Yield the learning rate, and parameters and state after each step, from what was before it.

    Of a rate and a state that are followed there is nothing to compare.
    """
    state = _given(run.state_before, precision)
    gradients = {path: gradients[path] for path in problem.trained}
    gradients = clipped(problem.clip, gradients, problem.axes)
    rate_is_followed = isinstance(run.learning_rates, Bounded)
    rate_is_recorded = problem.schedule and not rate_is_followed
    if rate_is_recorded:
        yield rate_check(problem, run)
    optimizer = at_rate(problem.optimizer, run.learning_rates)
    after, state_after = update(optimizer, before, gradients, state, run.steps)
    gradient_is_followed = any(path not in run.gradients for path in problem.trained)
    taken = "gradient and the learning rate are" if rate_is_recorded else "gradient is"
    clip = f" and the clipping by {problem.clip.kind}" if problem.clip else ""
    schedule = f" and the {problem.schedule.kind} schedule" if rate_is_followed else ""
    look = f"look at the {problem.optimizer.kind} optimizer{clip}{schedule}"
    look = f"the {taken} taken as {'followed' if gradient_is_followed else 'recorded'}: {look}"
    states = [
        Check("state", name, run.state_after[name], truth, look)
        for name, truth in state_after.items()
        if name in run.state_after
    ]
    yield from (one for one in states if not _is_average(one))
    state_is_followed = any(isinstance(array, Bounded) for array in run.state_before.values())
    record = "the gradients" if gradient_is_followed else "the state" if state_is_followed else ""
    for path in problem.trained:
        moved = np.abs(floats(after[path].value - before[path].value)) if record else None
        yield Check("update", path, run.after[path], after[path], look, moved=moved, record=record)
    yield from (one for one in states if _is_average(one))


def _is_average(check: Check) -> bool:
    """Return whether a state is computed from the parameters after the update."""
    return check.tensor.startswith(f"{AVERAGE}/")


def rate_check(problem: Problem, run: Trajectory) -> Check:
    """Return the check of a schedule's learning rates, (R,)."""
    look, truth = f"look at the {problem.schedule.kind} schedule", rates(problem, run.steps)
    return Check("learning rate", "learning rate", run.learning_rates, truth, look)


def digits(truth, allowance: float) -> str:
    """Print as many digits of the truth as its allowance leaves."""
    number = float(truth)
    if not np.isfinite(number) or allowance <= 0 or number == 0:
        return f"{number}"
    known = int(np.clip(np.log10(abs(number)) - np.log10(allowance) + 2, 1, 17))
    return f"{number:.{known}g}"
