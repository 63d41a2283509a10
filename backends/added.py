"""What installed packages add to the tables of a framework, and the rows of those tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backproof.backends.registry import Unsupported
from backproof.cases.format import losses, optimizers
from backproof.cases.format.layers import table


def added_layers(framework: str) -> dict[str, Callable]:
    """Collect the functions of a framework (`torch`, `jax`) for added layers or parts, by kind."""
    found = {}
    for kind, functions in _functions(table.ADDED, f"{framework}_forward").items():
        if isinstance(functions, Mapping):
            parts = functions.items()
            found |= {f"{kind}.{part}".rstrip("."): function for part, function in parts}
        else:
            found[kind] = functions
    return found


def added_losses(framework: str) -> dict[str, Callable]:
    """Collect the terms of added losses, functions of a loss, y and t, by kind."""
    return _functions(losses.ADDED, f"{framework}_forward")


def added_optimizers(framework: str) -> dict[str, Callable]:
    """Collect the steps of added optimizers, functions of optimizer, w, g, t, *memory, by kind."""
    return _functions(optimizers.ADDED, f"{framework}_step")


def _functions(added: Mapping, name: str) -> dict[str, Any]:
    """Collect what the modules of added concepts have by this name, if they have it, by kind."""
    having = {concept.kind: module for concept, module in added.items() if hasattr(module, name)}
    return {kind: getattr(module, name) for kind, module in having.items()}


def row(rows: Mapping[str, Callable], what: str, kind: str) -> Callable:
    """Return the row of a table of layers, losses or optimizers.

    Raises:
        Unsupported: if there is none.
    """
    if kind not in rows:
        raise Unsupported(f"this backend has no {what} {kind}")
    return rows[kind]
