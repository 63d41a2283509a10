"""Scenarios about an optimizer alone: an objective of a vector x, not network, data and loss."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic_core import PydanticCustomError

from backproof.cases.format.concept import Concept
from backproof.cases.format.fields import KEY, OneOf, mistake
from backproof.cases.format.losses import WeightedSquares, WeightedSum

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


SORT = OneOf("objective", "objectives", "objectives")
Objective = Annotated[Linear | Quadratic | Gradients, SORT]
OBJECTIVES = {objective.kind: objective for objective in (Linear, Quadratic, Gradients)}


def lowered(case: dict) -> tuple[dict, list[PydanticCustomError]]:
    """Return the data of a case with its objective as a network.

    The network is a dense layer `x` of the input 1, whose `x.weight` is x.

    Returns:
        The data, and what is wrong with the objective, told beside the mistakes against the schema.
    """
    kind, rows, mistakes = _rows(case["objective"])
    network = {
        "network": [{"dense": {"name": "x", "units": len(rows[0]), "bias": False}}],
        "data": {"inputs": [[1.0]] * len(rows), "targets": rows},
        "loss": {OBJECTIVES[kind].loss: {"factor": 1.0, "reduction": "sum"}},
    }
    for name in (name for name in network if name in case):
        instead = "an objective stands in place of network, data and loss"
        mistakes.append(mistake(f"{instead}; found {name} as well", name, KEY))
    training, parameters = case.get("training"), case.get("parameters")
    if isinstance(training, dict):
        if "batch" in training:
            message = "an objective has no samples, so there are no batches"
            mistakes.append(mistake(message, "training", "batch", KEY))
        network["training"] = training | {"batch": {"size": 1}}
    elif kind == Gradients.kind:
        mistakes.append(mistake("one gradient a step needs `training`", "objective", kind))
    if isinstance(parameters, dict) and _is_vector(start := parameters.get("x.weight")):
        network["parameters"] = parameters | {"x.weight": [start]}
    return case | network, mistakes


def _rows(objective: Any) -> tuple[str, list, list[PydanticCustomError]]:
    """Return the kind, the rows of numbers, and mistakes; where the schema tells them, some row."""
    match objective:
        case {"linear": {"coefficients": row}} | {"quadratic": {"coefficients": row}}:
            if _is_vector(row):
                return next(iter(objective)), [row], []
        case {"gradients": {"values": [first, *others]}} if all(map(_is_vector, (first, *others))):
            ragged = [(i, row) for i, row in enumerate(others, start=1) if len(row) != len(first)]
            place = "objective", Gradients.kind, "values"
            zeroth = f"row 0 has {len(first)}"
            wrong = [
                mistake(f"row {i} has length {len(row)}, {zeroth}", *place, i) for i, row in ragged
            ]
            return Gradients.kind, [first] if ragged else [first, *others], wrong
    return Linear.kind, [[0.0]], []


def _is_vector(numbers: Any) -> bool:
    if not (isinstance(numbers, list) and numbers):
        return False
    return all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
