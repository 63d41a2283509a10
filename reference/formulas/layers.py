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
from typing import Any, NamedTuple, cast

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
        name, inputs, parameters: those of the node.
        taken: its inputs and parameters.
        forward, backward: its formulas, with its settings.
        same: its formulas take nothing else, so that they are the same at every step.
    """

    node: Node
    name: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    taken: tuple[str, ...]
    forward: Callable
    backward: Callable
    same: bool


Nodes = Sequence[Node | Operation]


def resolved(network: Nodes) -> Sequence[Operation]:
    """Look the formulas of all nodes up; a network that is resolved stays as it is."""
    is_resolved = isinstance(network[0], Operation)
    return cast("Sequence[Operation]", network if is_resolved else [*map(_resolved, network)])


def _resolved(node: Node | Operation) -> Operation:
    if isinstance(node, Operation):
        return node
    forward, backward = LAYERS[node.kind]
    if node.settings:
        forward, backward = partial(forward, **node.settings), partial(backward, **node.settings)
    taken, same = (*node.inputs, *node.parameters), not (node.masks or node.buffers)
    return Operation(node, node.name, node.inputs, node.parameters, taken, forward, backward, same)


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
    operands = *map(at, one.inputs), y, dy, *map(at, one.parameters)
    return named(one, one.backward(*operands, **one.node.keywords(numbers, training=training)))


def named(one: Operation, found: Any) -> Iterable[tuple[str, Any]]:
    """Name the results of a backward formula; one alone may come without a tuple."""
    if isinstance(found, tuple):
        return zip(one.taken, found, strict=True)
    (name,) = one.taken
    return ((name, found),)
