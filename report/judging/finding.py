"""Something that is not as it should be, and where."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backproof.cases.console.terminal import cut


@dataclass(frozen=True, order=True)
class Finding:
    """Something that is not as it should be; findings are ordered as what they tell of is computed.

    Attributes:
        step, order: when it is computed: the step, and the how-manieth tensor of it.
        phase, tensor, index: what it is, an element of the `gradient` of `hidden.weight`.
        message: what is wrong, in words.
        verdict: what a run gets for it.
        budget: the share of the allowance that is used.
        look: where a wrong number leads; part of the message once it is explained.
        hint: the known mistake that the message names, if any.
        suspects: phase and tensor of every operation in one of which the fault lies, if known.
    """

    step: int
    order: int
    phase: str = field(compare=False)
    tensor: str = field(compare=False)
    index: tuple[int, ...] = field(compare=False)
    message: str = field(compare=False)
    verdict: str = field(compare=False, default="differs")
    budget: float = field(compare=False, default=np.inf)
    look: str = field(compare=False, default="")
    hint: str = field(compare=False, default="")
    suspects: tuple[tuple[str, str], ...] = field(compare=False, default=())

    @property
    def place(self) -> str:
        """Step, phase, tensor and element, in words."""
        tensor = f" of {self.tensor}" if self.tensor not in ("", self.phase) else ""
        at = f" at [{', '.join(map(str, self.index))}]" if self.index else ""
        return f"step {self.step}, {self.phase}{tensor}{at}"

    def __str__(self) -> str:
        return cut(f"{self.place}: {self.message}" if self.tensor else self.message)
