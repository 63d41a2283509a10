"""The formulas of a layer as a mistake changes them: at another x, with other settings, of another kind."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from backproof.cases.format.layers.table import KINDS
from backproof.cases.network import Node
from backproof.reference.formulas import layers
from backproof.reference.formulas.activations import ACTIVATIONS

Backward = Callable[[Node, Mapping, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, dict]]


def _alone(kind: str) -> Node:
    """An activation with the settings that it has unless a case says otherwise."""
    settings = KINDS[kind](name=kind).settings
    return Node(kind, kind, ("x",), (), settings, (), {}, {}, kind)


OTHERS = {kind: _alone(kind) for kind in ACTIVATIONS if not KINDS[kind](name=kind).parameters((1,))}


def layer_forward(node: Node, numbers: Mapping, x: np.ndarray) -> np.ndarray:
    """The value of a node, with x for the first value that it takes."""
    return layers.layer_forward(node, ChainMap({node.inputs[0]: x}, numbers))[0]


def layer_backward(
    node: Node, numbers: Mapping, x: np.ndarray, y: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, dict]:
    """The cotangent of x, and by name the derivatives by everything else that the node takes."""
    (_, dx), *others = layers.layer_backward(node, ChainMap({node.inputs[0]: x}, numbers), y, dy)
    return dx, dict(others)


def as_rule(backward: Backward) -> Callable:
    """The formula as the way back asks for it."""

    def rule(node: Node, numbers: Mapping, y: np.ndarray, dy: np.ndarray) -> list:
        dx, others = backward(node, numbers, numbers[node.inputs[0]], y, dy)
        return [(node.inputs[0], dx), *others.items()]

    return rule


def with_settings(node: Node, **changed) -> Node:
    """The node with other settings."""
    return replace(node, settings=node.settings | changed)


def in_place_of(node: Node, other: Node) -> Node:
    """Another kind of layer, that stands where the node does."""
    return replace(other, name=node.name, inputs=node.inputs, shape=node.shape, layer=node.layer)
