"""What is recorded of a loop in PyTorch: its steps, the forward passes of each, and their calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn


class Copies(Mapping[str, Tensor]):
    """Copies of named tensors of one dtype, side by side in one: quick to make and to compare."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self.shapes = {name: one.shape for name, one in tensors.items()}
        flat = [one.detach().reshape(-1) for one in tensors.values()]
        if len({one.device for one in flat}) > 1:  # NAdam keeps a product on the CPU
            flat = [one.cpu() for one in flat]
        self.flat = torch.cat(flat) if flat else torch.empty(0)

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        parts = self.flat.split([shape.numel() for shape in self.shapes.values()])
        return {
            name: part.view(self.shapes[name])
            for name, part in zip(self.shapes, parts, strict=True)
        }

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], earlier: Mapping[str, Tensor]) -> Copies:
        """Copy tensors, unless an earlier copy has the same numbers: then return that one."""
        if isinstance(earlier, Copies) and earlier.shapes.keys() == tensors.keys():
            pairs = ((one, earlier[name]) for name, one in tensors.items())
            if all(one.dtype == other.dtype and one.equal(other) for one, other in pairs):
                return earlier
        return cls(tensors)


@dataclass(slots=True)
class Call:
    """One call of a module: its path, itself, its value, and the cotangent that came back.

    `mask` is what a dropout has drawn, 0 and 1; None of other modules, and of one in eval mode.
    In a mask 2 stands for what is kept or not: its input is 0, and nobody can tell. `is_watched`
    tells whether a cotangent that is None is 0: nothing came back.
    """

    path: str
    module: nn.Module
    value: Tensor
    cotangent: Tensor | None = None
    mask: Tensor | None = None
    is_watched: bool = True

    def __str__(self) -> str:
        return f"{self.path or 'the model'} ({type(self.module).__name__})"


@dataclass(slots=True, eq=False)
class Pass:
    """One forward pass: what the model saw, as a call of the path `input`, and its calls."""

    seen: Call | None
    calls: list[Call] = field(default_factory=list)
    is_used: bool = False  # a derivative came back through it
    is_whole: bool = False  # through all of it: autograd was not asked for some of them alone
    hooks: list[Any] = field(default_factory=list)  # weak ones, which die with the graph
    left: dict[int, tuple[Any, int, Call]] = field(default_factory=dict)  # values as they were

    def seen_calls(self) -> list[Call]:
        """Return what the model saw, if it is known, and all calls."""
        return [*filter(None, [self.seen]), *self.calls]


@dataclass(slots=True)
class Step:
    """What was there up to one update, and behind it; tensors by path, states by `NAME/PATH`.

    Attributes:
        passes: the forward passes, in order.
        losses: what backward was called on.
        before, after: the parameters at the first forward pass, and after the update.
        raw: gradients as the last backward pass left them.
        used: gradients as the optimizer saw them, clipped for example.
        state_before, state_after: what the optimizer remembers.
        remembered: the paths of which it remembers anything at all, before and after.
        rates: the learning rate of every parameter group.
    """

    passes: list[Pass] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    before: Mapping[str, Tensor] = field(default_factory=dict)
    raw: Mapping[str, Tensor] = field(default_factory=dict)
    used: Mapping[str, Tensor] = field(default_factory=dict)
    after: Mapping[str, Tensor] = field(default_factory=dict)
    state_before: Mapping[str, Tensor] = field(default_factory=dict)
    state_after: Mapping[str, Tensor] = field(default_factory=dict)
    remembered: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    rates: list[float] = field(default_factory=list)


@dataclass(repr=False)
class Loop:
    """A loop as it was recorded, step by step.

    Attributes:
        model, optimizer, scheduler, scaler: those of the loop.
        loss: a function of outputs and targets, or None: with it the loss of all samples at the
            final parameters is judged too.
        every: of so many updates the first one is recorded.
        steps: one for each update; of those between there is nothing in it.
        notes: what the hooks saw that a loop rarely means, with the first step that has it; None
            with what is of the whole loop.
        why_not: what can't be judged, in words.
        behind: what is not as the last step has left it, in words.
        seconds: wall time of the loop.
    """

    model: nn.Module
    optimizer: Any
    scheduler: Any = None
    scaler: Any = None
    loss: Any = None
    every: int = 1
    steps: list[Step] = field(default_factory=list)
    notes: dict[str, int | None] = field(default_factory=dict)
    why_not: list[str] = field(default_factory=list)
    behind: str = ""
    seconds: float = 0.0

    def note(self, words: str, step: int | None) -> None:
        """Keep what was seen, unless it was before."""
        self.notes.setdefault(words, step)
