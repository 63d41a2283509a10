"""What can be read of a case with mistakes, so that the checks of several keys run as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, TypeAdapter, ValidationError

from backproof.cases.format.concept import Concept, Unread
from backproof.cases.format.fields import OneOf
from backproof.cases.format.message import KEY, Place
from backproof.cases.format.objectives import lowered
from backproof.cases.format.schema import Case, Parameter
from backproof.cases.format.words import nearest

if TYPE_CHECKING:
    from pathlib import Path

Made = TypeVar("Made", bound=Concept)


class Unreadable:
    """Stands for a parameter whose value can't be read."""


def readable(data: Any, places: list[Place], folder: Path) -> Case:
    """Return the case without what is wrong at `places`; to ask it for that raises `Unread`."""
    if isinstance(data, dict) and "objective" in data:
        data, _ = lowered(data)
        if any(place[0] == "objective" for place in places if place):
            places = [*places, ("network",), ("data",)]
    return _concept(Case, data, places, {"folder": folder})


def without(concept: Made, place: Place) -> Made:
    """Return a copy in which what stands at the place can't be read: to ask for it raises."""
    name, values = str(place[0]), dict(concept.__dict__)
    if place[1:] and isinstance(values.get(name), Concept):
        values[name] = without(values[name], place[1:])
    else:
        values.pop(name, None)
    return _made(type(concept), values)


def _made(concept: type[Made], values: dict[str, Any]) -> Made:
    made = concept.model_construct()
    made.__dict__.clear()
    made.__dict__.update((name, values[name]) for name in values if name in concept.model_fields)
    return made


def _concept(concept: type[Made], data: Any, places: list[Place], context: dict) -> Made:
    """Return a concept with the keys that can be read.

    One that is left out has its default, unless an unknown key may have meant it.
    """
    given = data if isinstance(data, dict) else {}
    unsure: set[str] = set(_meant(concept, given))
    values: dict[str, Any] = {}
    for name, field in concept.model_fields.items():
        annotation = Annotated[field.annotation, None, *field.metadata]  # type: ignore[name-defined]  # a value
        try:
            if name in given:
                values[name] = _part(annotation, given[name], _below(places, name), context)
            elif not field.is_required() and name not in unsure:
                values[name] = field.get_default(call_default_factory=True)
        except Unread:
            continue
    return _made(concept, values)


def _meant(concept: type[Concept], given: dict[str, Any]) -> Iterator[str]:
    """Yield the keys that somebody may have meant who wrote unknown ones."""
    for key in given.keys() - concept.model_fields.keys():
        yield from nearest(key, concept.model_fields) or concept.model_fields


def _below(places: list[Place], *path: int | str) -> list[Place]:
    """Return the places below a path, as seen from there."""
    return [place[len(path) :] for place in places if place[: len(path)] == path]


def _part(annotation: Any, value: Any, places: list[Place], context: dict) -> Any:
    """Return a value of this type without what is wrong inside, or raise `Unread`."""
    if not places:
        return _whole(annotation, value, context)
    if any(place in ((), (KEY,)) for place in places):
        raise Unread
    metadata, annotation = _unwrapped(annotation)
    made = _inside(annotation, metadata, value, places, context)
    for then in metadata:
        if isinstance(then, AfterValidator):
            made = then.func(made)  # type: ignore[call-arg]  # none of ours asks for more
    return made


def _inside(annotation: Any, metadata: list, value: Any, places: list[Place], context: dict) -> Any:
    """Return a choice, list, mapping or concept without the parts that are wrong."""
    for sort in (one for one in metadata if isinstance(one, OneOf)):
        kind, content = next(iter(value.items())) if isinstance(value, dict) else (value, {})
        return _part(sort.choices(annotation).get(kind), content, _below(places, kind), context)
    origin: Any = get_origin(annotation)
    match origin, get_args(annotation), value:
        case (kind, (of, *_), list()) if kind in (list, tuple):
            parts = [_part(of, item, _below(places, i), context) for i, item in enumerate(value)]
            return parts if kind is list else tuple(parts)
        case kind, (_, of), dict() if kind is dict:
            read: Callable[..., Any] = _parameter if of is Parameter else _part
            items = value.items()
            return {key: read(of, item, _below(places, key), context) for key, item in items}
    if isinstance(annotation, type) and issubclass(annotation, Concept):
        return _concept(annotation, value, places, context)
    raise Unread


def _parameter(annotation: Any, value: Any, places: list[Place], context: dict) -> Any:
    try:
        return _part(annotation, value, places, context)
    except Unread:
        return Unreadable()


def _whole(annotation: Any, value: Any, context: dict) -> Any:
    try:
        return TypeAdapter(annotation).validate_python(value, context=context)
    except ValidationError:
        raise Unread from None


def _unwrapped(annotation: Any) -> tuple[list, Any]:
    """Return what is said of a type, and the type itself without `| None`."""
    metadata: list = []
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *said = get_args(annotation)
            metadata += said
        elif type(None) in get_args(annotation):
            (annotation,) = (one for one in get_args(annotation) if one is not type(None))
        else:
            return metadata, annotation
