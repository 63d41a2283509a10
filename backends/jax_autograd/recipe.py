"""What a program of JAX is compiled for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optax

from backproof.backends.added import row
from backproof.backends.jax_autograd.layers import LAYERS
from backproof.backends.jax_autograd.optimizers import OPTIMIZERS
from backproof.backends.jax_autograd.schedules import clip_gradients, schedule_of
from backproof.cases.format.losses import Loss, Penalty
from backproof.cases.format.network import Node
from backproof.cases.format.optimizers import AnySchedule, Clip, Optimizer
from backproof.cases.format.schema import Tie
from backproof.cases.problem import Problem

AS_IN_THE_PROBLEM = ("loss", "optimizer", "trained", "penalties", "clip", "schedule")


class Recipe(NamedTuple):
    """All of a problem but its arrays; runs that share it and their shapes share the program.

    Attributes:
        network: each node, with pairs in place of dictionaries, and its row of the table of layers.
        sizes: how many samples a batch may have, ascending, if some batch is short; else nothing.
    """

    network: tuple[tuple[Node, Callable], ...]
    loss: Loss
    optimizer: Optimizer | None
    trained: tuple[str, ...]
    tied: tuple[tuple[str, Tie], ...]
    penalties: tuple[Penalty, ...]
    clip: Clip | None
    schedule: AnySchedule | None
    sizes: tuple[int, ...]

    @property
    def rate(self) -> optax.ScalarOrSchedule:
        """The learning rate, or what it is at each step."""
        rate = self.optimizer.learning_rate
        return schedule_of(self.schedule, rate) if self.schedule else rate

    @property
    def transformation(self) -> optax.GradientTransformation:
        """What turns gradients into updates: clipping, weight decay, and the optimizer."""
        if self.optimizer is None:
            return optax.set_to_zero()
        optimizer = self.optimizer.model_copy(update={"learning_rate": self.rate})
        decay = getattr(optimizer, "weight_decay", 0)
        is_coupled = decay and not optimizer.is_decoupled
        coupled = [optax.add_decayed_weights(decay)] if is_coupled else []
        clip = [clip_gradients(self.clip)] if self.clip else []
        return optax.chain(*clip, *coupled, row(OPTIMIZERS, "optimizer", optimizer.kind)(optimizer))


def recipe_of(problem: Problem) -> Recipe:
    """Take from a problem what a program is compiled for.

    Raises:
        Unsupported: if the table of layers lacks the kind of a node.
    """
    samples = (problem.batches >= 0).sum(axis=1)
    is_padded = bool((samples < problem.batches.shape[1]).any())
    return Recipe(
        tuple((hashable(node), row(LAYERS, "layer", node.kind)) for node in problem.network),
        tied=tuple(problem.tied.items()),
        sizes=tuple(np.unique(samples).tolist()) if is_padded else (),
        **{name: getattr(problem, name) for name in AS_IN_THE_PROBLEM},
    )


def hashable(node: Node) -> Node:
    """Give a node pairs in place of dictionaries, as jit asks of what it compiles for."""
    names = ("settings", "masks", "buffers")
    pairs: dict[str, Any] = {name: tuple(getattr(node, name).items()) for name in names}
    return node._replace(**pairs)
