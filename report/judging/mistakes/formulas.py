"""A layer's formulas as a mistake changes them: at another x, with other settings."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np

from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.network import Node
from backproof.reference.formulas import layers
from backproof.reference.formulas.activations import ACTIVATIONS

Numbers = MutableMapping[str, Any]
Backward = Callable[[Node, Numbers, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, dict]]


def _alone(kind: str) -> Node:
    """Return an activation with the settings that it has unless a case says otherwise."""
    settings = KINDS[kind](name=kind).settings
    return Node(kind, kind, ("x",), (), settings, (), {}, {}, kind)


OTHERS = {kind: _alone(kind) for kind in ACTIVATIONS if not KINDS[kind](name=kind).parameters((1,))}


def others(node: Node) -> list[Node]:
    """Return all other activations, none for a node that is no activation."""
    if node.kind not in ACTIVATIONS:
        return []
    return [other for kind, other in OTHERS.items() if kind != node.kind]


def layer_forward(node: Node, numbers: Numbers, x: np.ndarray) -> np.ndarray:
    """Compute the value of a node, with x for the first value that it takes."""
    return layers.layer_forward(node, ChainMap({node.inputs[0]: x}, numbers))[0]


def layer_backward(
    node: Node, numbers: Numbers, x: np.ndarray, y: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, dict]:
    """Pass dy, the cotangent of y, back through a node, with x for the first value that it takes.

    Returns:
        the cotangent of x, and by name the derivatives by everything else that the node takes.
    """
    (_, dx), *others = layers.layer_backward(node, ChainMap({node.inputs[0]: x}, numbers), y, dy)
    return dx, dict(others)


def as_rule(backward: Backward) -> Callable:
    """Return the formula as the way back asks for it."""

    def rule(node: Node, numbers: Numbers, y: np.ndarray, dy: np.ndarray) -> list:
        dx, others = backward(node, numbers, numbers[node.inputs[0]], y, dy)
        return [(node.inputs[0], dx), *others.items()]

    return rule


def times(factor: float, name: str = "") -> Backward:
    """Return a node's rule with a factor in what it passes back.

    That is its share in the value or parameter of this name, of a tied one too; by default in the
    first value that it takes.
    """
    parameter = name.rpartition(".")[2]

    def rule(layer, numbers, x, y, dy):
        dx, others = layer_backward(layer, numbers, x, y, dy)
        path = f"{layer.layer}.{parameter}"
        shared = path if path in layer.parameters else name
        if shared in others:
            return dx, others | {shared: factor * others[shared]}
        return factor * dx, others

    return rule


def with_settings(node: Node, **changed) -> Node:
    """Return the node with other settings."""
    return node._replace(settings=node.settings | changed)


def in_place_of(node: Node, other: Node) -> Node:
    """Return a layer of another kind that stands where the node does."""
    return other._replace(name=node.name, inputs=node.inputs, shape=node.shape, layer=node.layer)
