"""What installed packages add to the tables of a framework, and what is said where a table lacks a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backproof.backends.registry import Unsupported
from backproof.cases.format import losses, optimizers
from backproof.cases.format.layers import table


def added_layers(framework: str) -> dict[str, Callable]:
    """Collect the functions of a framework (`torch`, `jax`) for added layers, or for their parts, by kind."""
    found = {}
    for layer, module in table.ADDED.items():
        functions = getattr(module, f"{framework}_forward", {})
        parts = functions if isinstance(functions, dict) else {"": functions}
        found |= {
            f"{layer.kind}.{part}" if part else layer.kind: function
            for part, function in parts.items()
        }
    return found


def added_losses(framework: str) -> dict[str, Callable]:
    """Collect the terms of added losses, functions of a loss, y and t, by kind."""
    return _functions(losses.ADDED, f"{framework}_forward")


def added_optimizers(framework: str) -> dict[str, Callable]:
    """Collect the steps of added optimizers, functions of an optimizer, w, g, t and its memory, by kind."""
    return _functions(optimizers.ADDED, f"{framework}_step")


def _functions(added: Mapping, name: str) -> dict[str, Callable]:
    return {
        concept.kind: getattr(module, name)
        for concept, module in added.items()
        if hasattr(module, name)
    }


def row(rows: Mapping[str, Callable], what: str, kind: str) -> Callable:
    """Return the row of a table of layers, losses or optimizers.

    Raises:
        Unsupported: if there is none.
    """
    if kind not in rows:
        raise Unsupported(f"this backend has no {what} {kind}")
    return rows[kind]
