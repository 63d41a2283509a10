"""The formulas of what installed packages add; derivatives may be taken from forward formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import cast

from backproof.cases.format import losses, optimizers
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.layers.table import ADDED
from backproof.reference.numbers.tape import derivative

Pair = tuple[Callable, Callable]  # forward and backward


def added_layers() -> dict[str, Pair]:
    """Collect forward and backward of every added layer, or of each of its parts, by kind."""
    layers = cast("dict[type[LayerConcept], ModuleType]", ADDED)
    return {kind: pair for one in layers.items() for kind, pair in _of_parts(*one)}


def _of_parts(layer: type[LayerConcept], module: ModuleType) -> Iterator[tuple[str, Pair]]:
    """Yield the kind of a layer, or of each of its parts, with forward and backward.

    A module has a formula `forward`, and may have `backward`; with parts, formulas by their names.
    """
    forward, backward = module.forward, getattr(module, "backward", None)
    if not layer.parts:
        yield layer.kind, (forward, backward or taped(forward, layer.takes))
    for part, taken in layer.parts.items():
        values = sum(name in layer.parts or name.startswith("x") for name in taken)
        by_hand = (backward or {}).get(part)
        kind = f"{layer.kind}.{part}" if part else layer.kind
        yield kind, (forward[part], by_hand or taped(forward[part], values))


def taped(forward: Callable, takes: int) -> Callable:
    """Make the backward formula of a forward one, whose first operands are so many values."""
    walk_back = derivative(forward)

    def backward(*operands, **settings) -> tuple:
        xs, (y, dy, *parameters) = operands[:takes], operands[takes:]
        return walk_back(dy, y, *xs, *parameters, **settings)

    return backward


def added_losses() -> dict[str, Pair]:
    """Collect the terms of every added loss, and their derivatives by y, by kind."""
    pairs = {}
    for loss, module in losses.ADDED.items():
        backward = getattr(module, "backward", None) or _by_outputs(module.forward)
        pairs[loss.kind] = module.forward, backward
    return pairs


def _by_outputs(forward: Callable) -> Callable:
    """Make the derivative by y of terms that are a function of a loss, y and t."""

    def backward(loss, y, t):
        terms = forward(loss, y, t)
        (dy,) = derivative(lambda y: forward(loss, y, t))(0 * terms + 1, terms, y)
        return dy

    return backward


def added_optimizers() -> dict[str, Callable]:
    """Collect the rule of every added optimizer, by kind: its `step` is subtracted from w."""
    return {
        optimizer.kind: partial(_subtracted, module.step)
        for optimizer, module in optimizers.ADDED.items()
    }


def _subtracted(step: Callable, optimizer, w, g, t, *memory):
    down, memory = step(optimizer, w, g, t, *memory)
    return w - down, memory
