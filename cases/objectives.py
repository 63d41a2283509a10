"""Scenarios about an optimizer alone: an objective of one vector x in place of network, data and loss."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from cases.concept import Concept
from cases.fields import KEY, OneOf, mistake
from cases.losses import WeightedSquares, WeightedSum

Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]


class Linear(Concept):
    """L(x) = sum of coefficients x."""

    loss: ClassVar[str] = WeightedSum.kind
    coefficients: Numbers


class Quadratic(Concept):
    """L(x) = sum of coefficients x^2."""

    loss: ClassVar[str] = WeightedSquares.kind
    coefficients: Numbers


class Gradients(Concept):
    """Given gradients by x: step k takes row k of `values`, and begins anew after the last row."""

    loss: ClassVar[str] = WeightedSum.kind
    values: Annotated[tuple[Numbers, ...], Field(strict=False, min_length=1)]


Objective = Annotated[Linear | Quadratic | Gradients, OneOf()]
OBJECTIVES = {objective.kind: objective for objective in (Linear, Quadratic, Gradients)}


def lowered(case: dict) -> dict:
    """The data of a case with its objective as a network: a dense layer `x` of the input 1, whose `x.weight` is x."""
    kind, rows = _rows(case["objective"])
    network = {
        "network": [{"dense": {"name": "x", "units": len(rows[0]), "bias": False}}],
        "data": {"inputs": [[1.0]] * len(rows), "targets": rows},
        "loss": {OBJECTIVES[kind].loss: {"factor": 1.0, "reduction": "sum"}},
    }
    for name in network:
        if name in case:
            raise mistake(f"an objective stands in place of network, data and loss; found {name} as well", name, KEY)
    training, parameters = case.get("training"), case.get("parameters")
    if isinstance(training, dict):
        network["training"] = {"batch": {"size": 1}, **training}
    if isinstance(parameters, dict) and _is_vector(start := parameters.get("x.weight")):
        network["parameters"] = parameters | {"x.weight": [start]}
    return case | network


def _rows(objective: Any) -> tuple[str, list]:
    """The kind and the rows of numbers; where they are not well formed, which the schema tells, some row."""
    match objective:
        case {"linear": {"coefficients": numbers}} | {"quadratic": {"coefficients": numbers}} if _is_vector(numbers):
            return next(iter(objective)), [numbers]
        case {"gradients": {"values": [first, *others]}} if all(map(_is_vector, (first, *others))):
            if all(len(row) == len(first) for row in others):
                return Gradients.kind, [first, *others]
            raise mistake("expected rows of one length", "objective", Gradients.kind, "values")
    return Linear.kind, [[0.0]]


def _is_vector(numbers: Any) -> bool:
    return isinstance(numbers, list) and bool(numbers) and all(type(number) in (int, float) for number in numbers)
