"""One recorded step as the mistakes see it: its numbers in float64, and the reference's formulas.

The values and cotangents are the recorded ones; those that are not recorded are computed from what
is before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import NamedTuple

import numpy as np

from backproof.backends.trajectory import Arrays, Trajectory, cut
from backproof.cases.format.network import Node
from backproof.cases.problem import Problem
from backproof.reference import training
from backproof.reference.formulas.optimizers import at_rate, clipped, update
from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.precision import Precision, precision_of
from backproof.report.judging.following import values_of
from backproof.report.judging.mistakes.formulas import Backward, as_rule
from backproof.report.judging.operations import Check, checks_of_steps

Key = tuple[str, str]  # phase and tensor
Tensors = dict[Key, np.ndarray]
Words = Iterator[tuple[str, np.ndarray]]  # wrong arrays, and what has gone wrong in each


class Mistake(NamedTuple):
    """What went wrong, and what the tensors would be that it changes.

    Attributes:
        words: they follow "this is what", unless they are a `statement` by themselves.
        tensors: by phase and tensor; the others are right.
        look: where to look for it, if that is known.
        again: something of it was read off this step, so that it must come true at another one.
    """

    words: str
    tensors: Tensors
    look: str = ""
    statement: bool = False
    again: bool = False


Mistakes = Iterator[Mistake]


@dataclass(frozen=True)
class Scene:
    """One recorded step of a run, and the tensor that is wrong there.

    Attributes:
        problem: what is computed.
        trajectory: the whole run; `run` is cut to this step.
        row: the step's place in the trajectory.
        phase: of the wrong tensor.
        tensor: the wrong tensor's name.
        alone: only the wrong tensor is to be explained, not all that is judged with it.
    """

    problem: Problem
    trajectory: Trajectory
    row: int
    phase: str
    tensor: str
    alone: bool = False

    # ------------------------------------------------------------ what is recorded

    @cached_property
    def batch(self) -> np.ndarray:
        """The samples of the step."""
        rows = self.problem.batches[self.step]
        return rows[rows >= 0]

    @property
    def step(self) -> int:
        """The number of the step."""
        return int(self.trajectory.steps[self.row])

    @cached_property
    def run(self) -> Trajectory:
        """This step alone."""
        return cut(self.trajectory, np.array([self.row]), len(self.batch))

    @cached_property
    def earlier(self) -> Scene | None:
        """The step before, if it is recorded."""
        if self.row and self.trajectory.steps[self.row - 1] == self.step - 1:
            return replace(self, row=self.row - 1)
        return None

    @property
    def key(self) -> Key:
        """The tensor that is wrong."""
        return self.phase, self.tensor

    @cached_property
    def checks(self) -> dict[Key, Check]:
        """The wrong tensor's check; end to end those of all gradients and of the loss."""
        checks = checks_of_steps(self.problem, self.run)
        if self.alone or self.run.has_layers or self.phase not in ("loss", "gradient"):
            found = next((check for check in checks if check[:2] == self.key), None)
            return {self.key: found} if found else {}
        return {check[:2]: check for check in checks if check.phase in ("loss", "gradient")}

    def start(self, key: Key) -> np.ndarray | float:
        """Return what is subtracted from a tensor: of a parameter, the change is compared."""
        return floats(self.run.before[key[1]][0]) if key[0] == "update" else 0.0

    @cached_property
    def found(self) -> Tensors:
        """What is recorded."""
        return {
            key: floats(check.actual[0]) - self.start(key) for key, check in self.checks.items()
        }

    @cached_property
    def truths(self) -> Tensors:
        """What is right."""
        checks = self.checks.items()
        return {key: floats(check.truth.value[0]) - self.start(key) for key, check in checks}

    @property
    def truth(self) -> np.ndarray:
        """What is right in the place of the wrong tensor."""
        return self.truths[self.key]

    def is_wrong(self, key: Key) -> bool:
        """Tell whether the tensor is not within rounding of its truth."""
        return not (np.abs(self.found[key] - self.truths[key]) <= self.rounding[key]).all()

    @cached_property
    def factor(self) -> float | None:
        """The number that the truth has been multiplied by, if there is one."""
        found, square = self.found[self.key], np.square(self.truth).sum()
        factor = (found * self.truth).sum() / square if square > 0 else np.nan
        return float(factor) if np.isfinite(factor) and abs(factor) > 1e-12 else None

    @cached_property
    def rounding(self) -> Tensors:
        """How far rounding may take two programs apart, element by element."""
        return {
            key: 2 * check.truth.allowance[0]
            + 4 * check.truth.precision.u * np.abs(floats(check.actual[0]))
            for key, check in self.checks.items()
        }

    # ------------------------------------------------------------ in float64

    @cached_property
    def parameters(self) -> Arrays:
        """The parameters before the update."""
        return {path: floats(self.run.before[path][0]) for path in self.problem.parameters}

    @cached_property
    def after(self) -> Arrays:
        """The parameters after it."""
        return {path: floats(self.run.after[path][0]) for path in self.problem.parameters}

    @cached_property
    def masks(self) -> Arrays:
        """The masks of the step, and the buffers before it."""
        masks = self.problem.masks_at(self.step)
        now = {path: floats(mask[: len(self.batch)]) for path, mask in masks.items()}
        return now | {path: floats(array[0]) for path, array in self.run.buffers_before.items()}

    @cached_property
    def numbers(self) -> Arrays:
        """All that layers take beside the value before them."""
        return training.operands(self.problem, self.parameters, self.masks)

    @cached_property
    def numbers_after(self) -> Arrays:
        """The same, of the parameters after the update."""
        return training.operands(self.problem, self.after, self.masks)

    @property
    def precision(self) -> Precision:
        """The precision of the dtype."""
        return precision_of(self.problem.dtype)

    @cached_property
    def inputs(self) -> np.ndarray:
        """The samples of the step."""
        return floats(self.problem.inputs[self.batch])

    @cached_property
    def targets(self) -> np.ndarray:
        """The targets of the step."""
        return floats(self.problem.targets[self.batch])

    @cached_property
    def values(self) -> Arrays:
        """The value of `input` and of every layer."""
        return self._forward(self.problem.network, self.numbers)

    def _forward(self, network: tuple[Node, ...], operands: Arrays) -> Arrays:
        """Compute every value that is not recorded."""
        recorded = self._recorded(self.run.values)
        if self.run.has_layers:
            return recorded
        return training.forward(network, operands, self.inputs, recorded=recorded)[0]

    def _recorded(self, arrays: Arrays) -> Arrays:
        """Take what is recorded by name of the values, in their order."""
        return {name: floats(arrays[name][0]) for name in self.problem.shapes if name in arrays}

    @cached_property
    def gradients(self) -> Arrays:
        """The gradients, as recorded or computed."""
        found = {path: floats(array[0]) for path, array in self.run.gradients.items()}
        is_whole = all(path in found for path in self.problem.trained)
        found = found if is_whole else self.all_gradients() | found
        return {path: found[path] for path in self.problem.trained}

    @cached_property
    def state(self) -> Arrays:
        """What the optimizer remembers before the update."""
        return {name: values_of(array[0]) for name, array in self.run.state_before.items()}

    # ------------------------------------------------------------ the network

    def users(self, name: str) -> list[Node]:
        """Return the layers that take the value of that name."""
        return [layer for layer in self.problem.network if name in layer.inputs]

    def layer(self, name: str) -> Node | None:
        """Return the node of that name, if there is one."""
        return next((layer for layer in self.problem.network if layer.name == name), None)

    # ------------------------------------------------------------ the formulas

    def computed(
        self,
        problem: Problem | None = None,
        operands: Arrays | None = None,
        values: Arrays | None = None,
        targets: np.ndarray | None = None,
        numbers: Arrays | None = None,
        *,
        network: tuple[Node, ...] | None = None,
        by_the_loss: bool = False,
        **rules,
    ) -> Tensors:
        """Compute what is checked of the loss, the cotangents and the gradients from other numbers.

        Args:
            problem: whose formulas are used, this one unless another one is given.
            operands: parameters and masks of both passes.
            numbers: the same of the backward pass alone.
            values: of every layer; by default those of this step, end to end of these operands.
            targets: of the batch.
            network: end to end, in the place of the problem's.
            by_the_loss: leave out the backward pass where the loss is another one than was found,
                which saves time.
            rules: those of `passed_back`.
        """
        problem = problem or self.problem
        operands = self.numbers if operands is None else operands
        targets = self.targets if targets is None else targets
        numbers = operands if numbers is None else numbers
        if values is None:
            as_here = self.run.has_layers or (network is None and operands is self.numbers)
            network = network or problem.network
            values = self.values if as_here else self._forward(network, operands)
        results: Tensors = {}
        if ("loss", "loss") in self.checks:
            loss = training.total_loss(problem, operands, values[self.problem.output], targets)
            if by_the_loss and not np.isclose(loss, self.found["loss", "loss"], rtol=0.05):
                return {}
            results["loss", "loss"] = np.asarray(loss, np.float64)
        if self.phase == "cotangent" or any(phase == "gradient" for phase, _ in self.checks):
            found = self.passed_back(problem, values, numbers, targets, network, **rules)
            for phase, arrays in zip(("cotangent", "gradient"), found, strict=True):
                results |= {(phase, name): array for name, array in arrays.items()}
        return {key: array for key, array in results.items() if key in self.checks}

    def passed_back(
        self,
        problem: Problem,
        values: Arrays,
        numbers: Arrays,
        targets: np.ndarray,
        network: tuple[Node, ...] | None = None,
        rules: Mapping[str, Backward] | None = None,
        slope: Callable | None = None,
    ) -> tuple[Arrays, Arrays]:
        """Compute the cotangents and gradients, by name.

        Args:
            problem: its formulas.
            values: of every layer.
            numbers: parameters and masks.
            targets: of the batch.
            network: in the place of the problem's.
            rules: other rules, by layer.
            slope: another derivative of the loss.
        """
        dy = training.loss_cotangent(problem, values[self.problem.output], targets, slope)
        recorded = self._recorded(self.run.cotangents)
        changed = {name: as_rule(rule) for name, rule in (rules or {}).items()}
        cotangents, found = training.backward(
            network or problem.network, numbers, values, dy, recorded=recorded, rules=changed
        )
        return cotangents, training.trained(problem, numbers, found, problem.trained)

    def all_gradients(self) -> Arrays:
        """Compute the right gradients of all parameters, from what is recorded before them."""
        return self.passed_back(self.problem, self.values, self.numbers, self.targets)[1]

    @cached_property
    def cotangents(self) -> Arrays:
        """The cotangent of every layer and of `input`."""
        recorded = self._recorded(self.run.cotangents)
        if self.run.has_layers:
            return recorded
        found = self.passed_back(self.problem, self.values, self.numbers, self.targets)[0]
        return found | recorded

    @cached_property
    def rate(self) -> float:
        """The learning rate of the step, as recorded or followed."""
        rates = self.run.learning_rates
        return self.problem.optimizer.learning_rate if rates is None else float(values_of(rates)[0])

    @cached_property
    def used(self) -> Arrays:
        """The gradients as the optimizer sees them."""
        return clipped(self.problem.clip, self.gradients, self.problem.axes)

    def updated(
        self,
        gradients: Arrays | None = None,
        parameters: Arrays | None = None,
        state: Arrays | None = None,
        step: int | None = None,
        rate: float | None = None,
        **changes,
    ) -> Tensors:
        """Compute the wrong parameter's change or the wrong state by an update from other numbers.

        Args:
            gradients: before they are clipped.
            parameters: before the update.
            state: before the update.
            step: the number of the update.
            rate: the learning rate.
            **changes: of the problem: another optimizer, another clip.
        """
        problem = replace(self.problem, **changes)
        optimizer = at_rate(problem.optimizer, self.rate if rate is None else rate)
        gradients = self.gradients if gradients is None else gradients
        used = clipped(problem.clip, gradients, problem.axes)
        step, state = self.step if step is None else step, self.state if state is None else state
        after, state = update(optimizer, parameters or self.parameters, used, state, step)
        if self.phase == "update":
            return {self.key: after[self.tensor] - self.parameters[self.tensor]}
        return {self.key: state[self.tensor]} if self.tensor in state else {}

    # ------------------------------------------------------------ how mistakes are told

    def here(self, words: str, array: np.ndarray | float, **settings) -> Mistake:
        """Return the mistake that gives this array in the place of the wrong tensor."""
        return Mistake(words, {self.key: np.asarray(array)}, **settings)


def only(phase: str, tensors: Tensors) -> Tensors:
    """Return the tensors of one phase."""
    return {key: array for key, array in tensors.items() if key[0] == phase}


def end_to_end(family: Callable[[Scene], Mistakes]) -> Callable[[Scene], Mistakes]:
    """Make a family yield nothing for a step that is judged locally."""

    @wraps(family)
    def of_gradients_alone(scene: Scene) -> Mistakes:
        return iter(()) if scene.run.has_layers else family(scene)

    return of_gradients_alone
