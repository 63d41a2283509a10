"""The walk over a network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from backproof.backends.added import row
from backproof.backends.torch_autograd.layers import LAYERS
from backproof.cases.format.network import Node

Tensors = dict[str, Tensor]
Network = tuple[tuple[Node, Callable], ...]


def resolve(nodes: tuple[Node, ...]) -> Network:
    """Find the row of each node in the table of layers, once, and give it its settings.

    Raises:
        Unsupported: if there is none.
    """
    rules = [partial(row(LAYERS, "layer", node.kind), **node.settings) for node in nodes]
    return tuple(zip(nodes, rules, strict=True))


def forward(
    network: Network,
    numbers: Tensors,
    inputs: Tensor,
    taps: Tensors | None = None,
    *,
    training: bool,
) -> tuple[Tensors, Tensors]:
    """Compute every value, (samples, *positions, features), from the inputs on.

    Args:
        network: the nodes, each with its rule.
        numbers: parameters, masks and buffers by path.
        inputs: (samples, *positions, features).
        taps: numbers of the shapes of the values, `input` among them, that are added to each.
        training: whether this is a step of training, behind which buffers have changed.

    Returns:
        The values by name, `input` first; and the buffers behind a step of training by path.
    """
    values, buffers = {"input": inputs + taps["input"] if taps else inputs}, {}
    for node, rule in network:
        xs = [values[name] for name in node.inputs]
        named = node.keywords(numbers, training=training)
        y = rule(*xs, *[numbers[path] for path in node.parameters], **named)
        if node.buffers and training:
            y, after = y
            buffers |= {path: after[keyword].detach() for keyword, path in node.buffers.items()}
        values[node.name] = y + taps[node.name] if taps else y
    return values, buffers
