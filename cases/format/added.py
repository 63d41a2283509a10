"""Layers, losses and optimizers that packages add, each by an entry point and in one module.

An entry point of the group `backproof.layers`, `backproof.losses` or `backproof.optimizers` names a
module with one subclass of `LayerConcept`, `Criterion` or `Updating`, which is the norm, and its
formulas: for the hand-written side, and where a framework is to have it for that one as well
(docs/extending.md).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable
from types import ModuleType
from typing import TypeVar

from backproof.cases.format.concept import Concept

REFUSED: list[str] = []
"""What could not be added and why, for the message about a kind that is not there."""

Kind = TypeVar("Kind", bound=Concept)


class NotAdded(ImportError):  # noqa: N818, it says what became of it
    """What an entry point names can't be added; the message says what was expected there."""


def added(group: str, base: type[Kind], ours: Iterable[type[Kind]]) -> dict[type[Kind], ModuleType]:
    """Import what packages add to a table; what can't be added is told in `REFUSED`.

    Args:
        group: of entry points, `backproof.layers`.
        base: what a class must be derived from.
        ours: the classes of the table, whose kinds are taken.

    Returns:
        By the class of each kind, the module that it stands in.
    """
    found: dict[type[Kind], ModuleType] = {}
    for entry in sorted(importlib.metadata.entry_points(group=group), key=str):
        try:
            concept, module = _concept(entry, base, {concept.kind for concept in (*ours, *found)})
        except NotAdded as reason:
            REFUSED.append(str(reason))
        else:
            found[concept] = module
    return found


def _concept(
    entry: importlib.metadata.EntryPoint, base: type[Kind], taken: set[str]
) -> tuple[type[Kind], ModuleType]:
    """Return the one class of an entry point's module, and the module, or raise `NotAdded`."""
    named = f"the entry point {entry.name!r} of {entry.group}, {entry.value}"
    try:
        module = importlib.import_module(entry.value)
    except Exception as error:
        raise NotAdded(f"{named} can't be imported: {type(error).__name__}: {error}") from error
    classes = [thing for thing in vars(module).values() if isinstance(thing, type)]
    own = [each for each in classes if issubclass(each, base) and each.__module__ == entry.value]
    if len(own) != 1:
        raise NotAdded(f"{named}: expected one subclass of {base.__name__} in it, found {len(own)}")
    kind = own[0].kind
    if kind in taken:
        raise NotAdded(f"{named}: there is a {kind} already; choose another name for its class")
    return own[0], module
