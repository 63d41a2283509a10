"""Layers, losses and optimizers that installed packages add, each by an entry point and in one module.

An entry point of the group `backproof.layers`, `backproof.losses` or `backproof.optimizers` names a module with one
subclass of `LayerConcept`, `Criterion` or `Updating`, which is the norm, and its formulas: for the hand-written side,
and where a framework is to have it for that one as well (docs/extending.md).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable
from types import ModuleType

from backproof.cases.format.concept import Concept


class NotAdded(ImportError):
    """What an entry point names can't be added; the message says what was expected there."""


def added(group: str, base: type[Concept], ours: Iterable[type[Concept]]) -> dict[type[Concept], ModuleType]:
    """Import what packages add to a table, by the class of each kind.

    Args:
        group: of entry points, `backproof.layers`.
        base: what a class must be derived from.
        ours: the classes of the table, whose kinds are taken.

    Raises:
        NotAdded: if a module holds no such class, or more than one, or one whose kind is taken.
    """
    found: dict[type[Concept], ModuleType] = {}
    taken = {concept.kind for concept in ours}
    for entry in sorted(importlib.metadata.entry_points(group=group), key=str):
        concept, module = _concept(entry, base)
        if concept.kind in taken:
            raise NotAdded(f"{_named(entry)}: there is a {concept.kind} already; choose another name for its class")
        taken.add(concept.kind)
        found[concept] = module
    return found


def _concept(entry: importlib.metadata.EntryPoint, base: type[Concept]) -> tuple[type[Concept], ModuleType]:
    try:
        module = importlib.import_module(entry.value)
    except Exception as error:
        raise NotAdded(f"{_named(entry)} can't be imported: {type(error).__name__}: {error}") from error
    own = [thing for thing in vars(module).values() if _is_own(thing, base, module)]
    if len(own) != 1:
        raise NotAdded(f"{_named(entry)}: expected one subclass of {base.__name__} in it, found {len(own)}")
    return own[0], module


def _is_own(thing: object, base: type[Concept], module: ModuleType) -> bool:
    return isinstance(thing, type) and issubclass(thing, base) and thing.__module__ == module.__name__


def _named(entry: importlib.metadata.EntryPoint) -> str:
    return f"the entry point {entry.name!r} of {entry.group}, {entry.value},"
