"""The formulas of all layers, by hand: one row a kind, every row called alike.

`forward(*xs, *parameters, **settings) -> y` and `backward(*xs, y, dy, *parameters, **settings) -> (*dxs, *dparameters)`,
where xs are the values that the layer takes, and a single derivative may come without a tuple. Masks and buffers are
settings. A layer with buffers takes `training` as well, and its forward then returns y and a dictionary of the buffers
after the step; after the last step y alone.

Shapes: a value is (*steps, samples, *positions, features); leading axes, such as one for many steps at once, are
allowed everywhere. Nothing here asks what its numbers are: floats of any precision, values with error bounds or balls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from backproof.cases.format.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.formulas.added import added_layers
from backproof.reference.formulas.combining import (
    dropout_backward,
    dropout_forward,
    skip_backward,
    skip_forward,
)
from backproof.reference.formulas.dense import dense_backward, dense_forward

LAYERS: dict[str, tuple[Callable, Callable]] = (
    {
        "dense": (dense_forward, dense_backward),
        "dropout": (dropout_forward, dropout_backward),
        "skip": (skip_forward, skip_backward),
    }
    | ACTIVATIONS
    | added_layers()
)


class Operation(NamedTuple):
    """A node with its formulas at hand, as plain functions of arrays.

    Attributes:
        name, inputs, parameters, taken: those of the node; `taken` are inputs and parameters.
        forward, backward: its formulas, with its settings.
        node: itself.
        same: its formulas take nothing else, so that they are the same at every step.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    taken: tuple[str, ...]
    forward: Callable
    backward: Callable
    node: Node
    same: bool


Nodes = Sequence[Node] | Sequence[Operation]


def resolved(network: Nodes) -> Sequence[Operation]:
    """Look the formulas of all nodes up; what is resolved stays as it is."""
    return network if isinstance(network[0], Operation) else [*map(_resolved, network)]


def _resolved(node: Node) -> Operation:
    formulas = LAYERS[node.kind]
    same = not (node.masks or node.buffers)
    if node.settings:
        formulas = [partial(formula, **node.settings) for formula in formulas]
    return Operation(
        node.name,
        node.inputs,
        node.parameters,
        (*node.inputs, *node.parameters),
        *formulas,
        node,
        same,
    )


def layer_forward(
    node: Node | Operation, numbers: Mapping[str, Any], *, training: bool = True
) -> tuple[Any, dict]:
    """Compute the value of a node, and by path its buffers after the step.

    Args:
        node: of the network.
        numbers: values, parameters, masks and buffers by name.
        training: False after the last step.
    """
    one = node if isinstance(node, Operation) else _resolved(node)
    y = one.forward(
        *[numbers[name] for name in one.taken], **one.node.keywords(numbers, training=training)
    )
    if not (one.node.buffers and training):
        return y, {}
    y, after = y
    return y, {one.node.buffers[keyword]: buffer for keyword, buffer in after.items()}


def layer_backward(
    node: Node | Operation, numbers: Mapping[str, Any], y, dy, *, training: bool = True
) -> Iterable[tuple[str, Any]]:
    """Compute the derivatives by what a node takes, each with the name of a value or the path of a parameter.

    Args:
        node: of the network.
        numbers: values, parameters, masks and buffers by name.
        y: the node's value.
        dy: the derivative of the loss by it.
        training: False after the last step.
    """
    one = node if isinstance(node, Operation) else _resolved(node)
    xs, parameters = (
        [numbers[name] for name in one.inputs],
        [numbers[path] for path in one.parameters],
    )
    found = one.backward(*xs, y, dy, *parameters, **one.node.keywords(numbers, training=training))
    return named(one, found)


def named(one: Operation, found: Any) -> Iterable[tuple[str, Any]]:
    """Give the results of a backward formula the names of what it takes; one alone may come without a tuple."""
    return zip(one.taken, found if isinstance(found, tuple) else (found,), strict=True)
