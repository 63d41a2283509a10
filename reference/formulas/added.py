"""The formulas of what installed packages add; the derivatives may be taken from the forward formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, wraps
from types import ModuleType

from backproof.cases.format import losses, optimizers
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.layers.table import ADDED
from backproof.reference.numbers.tape import derivative


def added_layers() -> dict[str, tuple[Callable, Callable]]:
    """Collect forward and backward of every added layer, or of each of its parts, by kind."""
    return {
        kind: pair for layer, module in ADDED.items() for kind, pair in _of_parts(layer, module)
    }


def _of_parts(
    layer: type[LayerConcept], module: ModuleType
) -> Iterator[tuple[str, tuple[Callable, Callable]]]:
    """`forward` and, if it is there, `backward` of a module are formulas, or formulas by the name of a part."""
    for part, taken in (layer.parts or {"": ()}).items():
        forward, backward = (
            table.get(part) if isinstance(table, dict) else table
            for table in (module.forward, getattr(module, "backward", None))
        )
        values = (
            sum(name in layer.parts or name.startswith("x") for name in taken)
            if part in layer.parts
            else layer.takes
        )
        yield (
            f"{layer.kind}.{part}" if part else layer.kind,
            (forward, backward or taped(forward, values)),
        )


def taped(forward: Callable, takes: int) -> Callable:
    """Make the backward formula of a forward one that takes so many values, in front of its parameters."""
    walk_back = derivative(_value_alone(forward))

    def backward(*operands, **settings) -> tuple:
        xs, (y, dy), parameters = (
            operands[:takes],
            operands[takes : takes + 2],
            operands[takes + 2 :],
        )
        return walk_back(dy, y, *xs, *parameters, **settings)

    return backward


def _value_alone(forward: Callable) -> Callable:
    """Leave out the buffers after the step, which have no part in the derivative."""

    @wraps(forward)
    def value(*operands, **settings):
        y = forward(*operands, **settings)
        return y[0] if isinstance(y, tuple) else y

    return value


def added_losses() -> dict[str, tuple[Callable, Callable]]:
    """Collect the terms of every added loss, and their derivatives by y, by kind."""

    def pair(module: ModuleType) -> tuple[Callable, Callable]:
        return module.forward, getattr(module, "backward", None) or _by_outputs(module.forward)

    return {loss.kind: pair(module) for loss, module in losses.ADDED.items()}


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
