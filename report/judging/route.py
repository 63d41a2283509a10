"""Where a wrong number leads: the passes between it and what is recorded before it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from backproof.backends.trajectory import Trajectory
from backproof.cases.format.network import Node
from backproof.cases.problem import Problem

LISTED = 6
GIVEN = "what is recorded before it is taken as given"


class Way(NamedTuple):
    """Where to look for what is wrong in a tensor, and whether something before it is followed."""

    look: str
    is_followed: bool


class Route:
    """The ways through the network of a problem from what a run has on record.

    Where everything is recorded, each of them is one operation.
    """

    def __init__(self, problem: Problem, run: Trajectory):
        self.problem, self.run = problem, run

    def to_value(self, node: Node) -> Way:
        """Return where to look for a wrong value of a node."""
        before = self._followed(node.inputs)
        taken = GIVEN if before else "its input is taken as recorded"
        look = f"{taken}: look at the forward pass of {self._named([*before, node.name])}"
        return Way(look, bool(before))

    def to_loss(self) -> Way:
        """Return where to look for a wrong loss."""
        problem = self.problem
        before = self._followed([problem.output])
        kinds = " and ".join(term.kind for term in (problem.loss, *problem.penalties))
        passes = f" and the forward pass of {self._named(before)}" if before else ""
        taken = GIVEN if before else "the output is taken as recorded"
        return Way(f"{taken}: look at the {kinds} loss{passes}", bool(before))

    def to_cotangent(self, name: str) -> Way:
        """Return where to look for a wrong cotangent of a value."""
        return self._back(*self._ways_back[name])

    def to_gradient(self, node: Node) -> Way:
        """Return where to look for a wrong gradient that is whole behind a node."""
        behind, of_loss = self._from(node.name)
        return self._back([*behind, node.name], of_loss)

    # ------------------------------------------------------------ what is followed

    def _followed(self, names: Iterable[str]) -> list[str]:
        """Return the nodes, in order, on whose forward passes these values depend."""
        found = {one for name in names for one in self._ways_forward[name]}
        return [node.name for node in self.problem.network if node.name in found]

    @cached_property
    def _ways_forward(self) -> dict[str, tuple[str, ...]]:
        """By value the nodes that are followed up to it; none where it is recorded."""
        ways: dict[str, tuple[str, ...]] = {"input": ()}
        for node in self.problem.network:
            before = (one for name in node.inputs for one in ways[name])
            is_recorded = node.name in self.run.values
            ways[node.name] = () if is_recorded else (*dict.fromkeys(before), node.name)
        return ways

    @cached_property
    def _ways_back(self) -> dict[str, tuple[list[str], bool]]:
        """By value the nodes that pass something back to it, and whether that is the loss too."""
        ways: dict[str, tuple[list[str], bool]] = {self.problem.output: ([], True)}
        for node in reversed(self.problem.network):
            is_recorded = node.name in self.run.cotangents
            behind, of_loss = ([], False) if is_recorded else ways[node.name]
            for name in node.inputs:
                others, others_of_loss = ways.get(name, ([], False))
                names = dict.fromkeys([*others, *behind, node.name])
                ways[name] = [*names], others_of_loss or of_loss
        return ways

    def _from(self, name: str) -> tuple[list[str], bool]:
        """Return what lies between a value's cotangent, where it is not recorded, and the loss."""
        return ([], False) if name in self.run.cotangents else self._ways_back[name]

    # ------------------------------------------------------------ words

    def _back(self, names: list[str], of_loss: bool) -> Way:  # noqa: FBT001
        """Name the derivative of the loss and backward passes, and forward passes before them."""
        nodes, cotangents = {node.name: node for node in self.problem.network}, self.run.cotangents
        passed = [name for one in names for name in nodes[one].inputs]
        before = self._followed([*passed, *([self.problem.output] if of_loss else [])])
        parts = [f"the derivative of the {self.problem.loss.kind} loss"] if of_loss else []
        parts += [f"the backward pass of {self._named(names)}"] if names else []
        parts += [f"the forward pass of {self._named(before)}"] if before else []
        if before or not all(name in cotangents for name in names):
            taken = GIVEN
        elif of_loss:
            taken = "the output is taken as recorded"
        else:
            several = "the cotangents behind it are" if names[1:] else "its cotangent is"
            taken = f"{several} taken as recorded"
        look = f"{', '.join(parts[:-1])}{' and ' * (len(parts) > 1)}{parts[-1]}"
        return Way(f"{taken}: look at {look}", taken is GIVEN)

    def _named(self, names: list[str]) -> str:
        """Name one node with its kind, or several."""
        if len(names) == 1:
            kind = next(node.kind for node in self.problem.network if node.name == names[0])
            return f"the {kind} layer {names[0]}"
        shown = names if len(names) <= LISTED else [*names[: LISTED - 2], "…", names[-1]]
        return f"the layers {', '.join(shown[:-1])} and {shown[-1]}"
