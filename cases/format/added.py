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

REFUSED: list[
    str
] = []  # what could not be added and why, for the message about a kind that is not there


class NotAdded(ImportError):  # noqa: N818, it says what became of it
    """What an entry point names can't be added; the message says what was expected there."""


def added(
    group: str, base: type[Concept], ours: Iterable[type[Concept]]
) -> dict[type[Concept], ModuleType]:
    """Import what packages add to a table, by the class of each kind; what can't be added is in `REFUSED`.

    Args:
        group: of entry points, `backproof.layers`.
        base: what a class must be derived from.
        ours: the classes of the table, whose kinds are taken.
    """
    found: dict[type[Concept], ModuleType] = {}
    for entry in sorted(importlib.metadata.entry_points(group=group), key=str):
        try:
            concept, module = _concept(entry, base, {concept.kind for concept in (*ours, *found)})
        except NotAdded as reason:
            REFUSED.append(str(reason))
        else:
            found[concept] = module
    return found


def _concept(
    entry: importlib.metadata.EntryPoint, base: type[Concept], taken: set[str]
) -> tuple[type[Concept], ModuleType]:
    try:
        module = importlib.import_module(entry.value)
    except Exception as error:
        raise NotAdded(
            f"{_named(entry)} can't be imported: {type(error).__name__}: {error}"
        ) from error
    own = [thing for thing in vars(module).values() if _is_own(thing, base, module)]
    if len(own) != 1:
        raise NotAdded(
            f"{_named(entry)}: expected one subclass of {base.__name__} in it, found {len(own)}"
        )
    if own[0].kind in taken:
        raise NotAdded(
            f"{_named(entry)}: there is a {own[0].kind} already; choose another name for its class"
        )
    return own[0], module


def _is_own(thing: object, base: type[Concept], module: ModuleType) -> bool:
    return (
        isinstance(thing, type) and issubclass(thing, base) and thing.__module__ == module.__name__
    )


def _named(entry: importlib.metadata.EntryPoint) -> str:
    return f"the entry point {entry.name!r} of {entry.group}, {entry.value}"
