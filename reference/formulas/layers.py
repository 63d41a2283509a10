"""The formulas of all layers, by hand: one row a kind, every row called alike.

`forward(*xs, *parameters, **settings) -> y` and `backward(*xs, y, dy, *parameters, **settings) -> (*dxs, *dparameters)`,
where xs are the values that the layer takes, and a single derivative may come without a tuple. Masks and buffers are
settings. A layer with buffers takes `training` as well, and its forward then returns y and a dictionary of the buffers
after the step; after the last step y alone.

Shapes: a value is (*steps, samples, *positions, features); leading axes, such as one for many steps at once, are
allowed everywhere. Nothing here asks what its numbers are: floats of any precision, values with error bounds or balls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backproof.cases.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.reference.formulas.combining import dropout_backward, dropout_forward, skip_backward, skip_forward
from backproof.reference.formulas.dense import dense_backward, dense_forward

LAYERS: dict[str, tuple[Callable, Callable]] = {
    "dense": (dense_forward, dense_backward),
    "dropout": (dropout_forward, dropout_backward),
    "skip": (skip_forward, skip_backward),
} | ACTIVATIONS


def layer_forward(node: Node, numbers: Mapping[str, Any], *, training: bool = True) -> tuple[Any, dict[str, Any]]:
    """Compute the value of a node, and by path its buffers after the step.

    Args:
        node: of the network.
        numbers: values, parameters, masks and buffers by name.
        training: False after the last step.
    """
    keywords = node.keywords(numbers, training=training)
    formula, _ = LAYERS[node.kind]
    y = formula(*node.operands(numbers), **keywords)
    if not (node.buffers and training):
        return y, {}
    y, after = y
    return y, {node.buffers[keyword]: buffer for keyword, buffer in after.items()}


def layer_backward(node: Node, numbers: Mapping[str, Any], y, dy, *, training: bool = True) -> list[tuple[str, Any]]:
    """Compute the derivatives by what a node takes, each with the name of a value or the path of a parameter.

    Args:
        node: of the network.
        numbers: values, parameters, masks and buffers by name.
        y: the node's value.
        dy: the derivative of the loss by it.
        training: False after the last step.
    """
    xs, parameters = ([numbers[name] for name in names] for names in (node.inputs, node.parameters))
    _, formula = LAYERS[node.kind]
    found = formula(*xs, y, dy, *parameters, **node.keywords(numbers, training=training))
    derivatives = found if isinstance(found, tuple) else (found,)
    return list(zip((*node.inputs, *node.parameters), derivatives, strict=True))
