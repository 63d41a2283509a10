"""What is kept of a loop in JAX: the calls of each tap, and what each update was made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import numpy as np

Named = dict[str, np.ndarray]
NUMBERS = count(1)


@dataclass
class Call:
    """One pass through a tap: its value, and the cotangent that came back, None until then.

    `step` is how many updates there were before it.
    """

    value: np.ndarray
    step: int
    cotangent: np.ndarray | None = None


@dataclass
class Step:
    """What one update was made of, by path, `Dense_0.kernel`; states by that of their leaves."""

    gradients: Named
    before: Named
    state_before: Named
    after: Named | None = None
    state_after: Named = field(default_factory=dict)
    loss: np.ndarray | None = None


@dataclass(eq=False)
class Record:
    """A loop as it was recorded.

    Attributes:
        calls: by the name of a tap, its calls in their order.
        tapped: by the name of a tap, differentiated or not, the step in which it was traced.
        steps: one for each update.
        turned: the paths of matrices that are (outputs, inputs), as Equinox has them.
        after: the parameters behind the last update, where they were given.
        seconds: wall time of the loop.
        number: which recording of this process it is, from 1.
    """

    calls: dict[str, list[Call]] = field(default_factory=dict)
    tapped: dict[str, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    turned: set[str] = field(default_factory=set)
    after: Named | None = None
    seconds: float = 0.0
    number: int = field(default_factory=lambda: next(NUMBERS))

    @property
    def notes(self) -> dict[str, int]:
        """What a loop rarely means, in words, with the first step that has it."""
        arrived = {
            name
            for name, calls in self.calls.items()
            if any(call.step < len(self.steps) for call in calls)
        }
        why = "no update goes back through it, so nothing is recorded under that name"
        return {
            f"tap({name!r}): {why}": step
            for name, step in self.tapped.items()
            if name not in arrived
        }

    def finished(self) -> list[Step]:
        """Return the steps, where each one's parameters after it are those before the next."""
        for step, later in zip(self.steps, [*self.steps[1:], None], strict=True):
            if step.after is None:
                step.after = self.after if later is None else later.before
        return self.steps
