"""The formulas of all layers, by hand: one row a kind, every row called alike.

    forward(*xs, *parameters, **settings) -> y
    backward(*xs, y, dy, *parameters, **settings) -> (*dxs, *dparameters)

where xs are the values that the layer takes, and a single derivative may come without a tuple.
Masks and buffers are settings. A layer with buffers takes `training` as well, and its forward then
returns y and a dictionary of the buffers after the step; after the last step y alone.

Shapes: a value is (*steps, samples, *positions, features); leading axes, such as one for many steps
at once, are allowed everywhere. Nothing here asks what its numbers are: floats of any precision,
values with error bounds or balls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from backproof.cases.format.network import Node
from backproof.reference.formulas import combining
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.formulas.added import added_layers
from backproof.reference.formulas.dense import dense_backward, dense_forward

LAYERS: dict[str, tuple[Callable, Callable]] = {
    "dense": (dense_forward, dense_backward),
    "dropout": (combining.dropout_forward, combining.dropout_backward),
    "skip": (combining.skip_forward, combining.skip_backward),
    **ACTIVATIONS,
    **added_layers(),
}


class Operation(NamedTuple):
    """A node with its formulas at hand, as plain functions of arrays.

    Attributes:
        node: itself.
        taken: its inputs and parameters.
        forward, backward: its formulas, with its settings.
        same: its formulas take nothing else, so that they are the same at every step.
    """

    node: Node
    taken: tuple[str, ...]
    forward: Callable
    backward: Callable
    same: bool


Nodes = Sequence[Node | Operation]


def resolved(network: Nodes) -> list[Operation]:
    """Look the formulas of all nodes up, unless they are at hand."""
    return [*map(_resolved, network)]


def _resolved(node: Node | Operation) -> Operation:
    if isinstance(node, Operation):
        return node
    forward, backward = LAYERS[node.kind]
    if node.settings:
        forward, backward = partial(forward, **node.settings), partial(backward, **node.settings)
    taken = (*node.inputs, *node.parameters)
    return Operation(node, taken, forward, backward, same=not (node.masks or node.buffers))


def layer_forward(
    node: Node | Operation, numbers: Mapping[str, Any], *, training: bool = True
) -> tuple[Any, dict]:
    """Compute the value of a node, and by path its buffers after the step.

    Args:
        node: of the network.
        numbers: values, parameters, masks and buffers by name.
        training: False after the last step.
    """
    one = _resolved(node)
    keywords = one.node.keywords(numbers, training=training)
    y = one.forward(*map(numbers.__getitem__, one.taken), **keywords)
    if not (one.node.buffers and training):
        return y, {}
    y, after = y
    return y, {one.node.buffers[keyword]: buffer for keyword, buffer in after.items()}


def layer_backward(
    node: Node | Operation, numbers: Mapping[str, Any], y, dy, *, training: bool = True
) -> Iterable[tuple[str, Any]]:
    """Compute the derivatives by what a node takes, each with the name or the path of that.

    Args:
        node: of the network.
        numbers: values, parameters, masks and buffers by name.
        y: the node's value.
        dy: the derivative of the loss by it.
        training: False after the last step.
    """
    one, at = _resolved(node), numbers.__getitem__
    operands = *map(at, one.node.inputs), y, dy, *map(at, one.node.parameters)
    return named(one, one.backward(*operands, **one.node.keywords(numbers, training=training)))


def named(one: Operation, found: Any) -> Iterable[tuple[str, Any]]:
    """Name the results of a backward formula; one alone may come without a tuple."""
    if isinstance(found, tuple):
        return zip(one.taken, found, strict=True)
    (name,) = one.taken
    return ((name, found),)
