"""Known mistakes of one step of an optimizer that was called alone: those of steps in a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.reference.formulas.optimizers import at_rate, update
from backproof.reference.numbers.balls import floats
from backproof.report.judging.asked import Asked
from backproof.report.judging.mistakes import optimizing
from backproof.report.judging.mistakes.of_one import OneScene
from backproof.report.judging.mistakes.scene import Tensors
from backproof.report.judging.operations import Check

PATH = "parameter"


class UpdateScene(OneScene):
    """One step of an optimizer, of a run whose only parameter has the path `parameter`."""

    earlier = None  # no step before it is known

    def __init__(self, asked: Asked, check: Check, found: Mapping[str, np.ndarray]):
        if check.phase == "state":
            check = check._replace(tensor=f"{check.tensor}/{PATH}")
        super().__init__(asked, check, None)
        optimizer = asked.settings
        problem = SimpleNamespace(optimizer=optimizer, clip=None, schedule=None, trained=(PATH,))
        problem.axes = {PATH: tuple(range(-asked.inputs[PATH].ndim, 0))}
        left = {f"{name}/{PATH}": found[name][None] for name in optimizer.state}
        run = SimpleNamespace(state_after=left, has_layers=True)
        vars(self).update(problem=problem, run=run, after={PATH: floats(found[PATH])})

    @property
    def step(self) -> int:
        """The number of the step."""
        return self.asked.step

    @property
    def parameters(self) -> Arrays:
        """The parameter before the step."""
        return {PATH: self.numbers[PATH]}

    @property
    def gradients(self) -> Arrays:
        """Its gradient."""
        return {PATH: self.numbers["gradient"]}

    @property
    def state(self) -> Arrays:
        """What the optimizer remembers before the step."""
        return {f"{name}/{PATH}": self.numbers[name] for name in self.asked.settings.state}

    def truths_of(self, cotangent: np.ndarray | None, **others: np.ndarray) -> Tensors:
        """Compute the step with other inputs by name."""
        found = super().truths_of(cotangent, **others).items()
        return {(phase, f"{n}/{PATH}" if phase == "state" else n): a for (phase, n), a in found}

    def updated(
        self,
        gradients: Arrays | None = None,
        parameters: Arrays | None = None,
        state: Arrays | None = None,
        step: int | None = None,
        rate: float | None = None,
        **changes: Any,
    ) -> Tensors:
        """Compute the change of the parameter, or the state, by an update from other numbers."""
        optimizer = at_rate(changes.get("optimizer", self.asked.settings), rate)
        step, state = self.step if step is None else step, self.state if state is None else state
        before = parameters or self.parameters
        after, left = update(optimizer, before, gradients or self.gradients, state, step)
        if self.phase == "update":
            return {self.key: after[PATH] - self.parameters[PATH]}
        return {self.key: left[self.tensor]} if self.tensor in left else {}


FAMILIES: list[Callable] = [optimizing.settings, optimizing.formulas, optimizing.other_kinds]
