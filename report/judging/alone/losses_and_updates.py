"""A loss alone, and one step of an optimizer alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.cases.format.losses import KINDS, GaussianNll, Loss
from backproof.cases.format.optimizers import KINDS as OPTIMIZERS
from backproof.cases.format.optimizers import Optimizer
from backproof.reference.formulas.losses import LOSSES, loss_backward, loss_forward
from backproof.reference.formulas.optimizers import update
from backproof.reference.numbers.bounded import exact
from backproof.reference.numbers.precision import Precision
from backproof.report.judging.alone.asked import (
    Asked,
    Shape,
    Truths,
    Unfit,
    checked_kind,
    checked_names,
    checked_numbers,
    given,
    inner_precision,
    read,
    whole_number,
)

NONE = "none"  # the reduction that leaves the terms as they are; no run has it


def of_loss(
    kind: str, inputs: Arrays, settings: Mapping[str, Any], accumulate: str | None = None
) -> Asked:
    """Return a loss with its numbers.

    Args:
        kind: of loss, as in a case file.
        inputs: the outputs `y`, (samples, *positions, outputs), and the targets `t`, of that shape;
            of classes also their indices, (samples, *positions).
        settings: of the kind; its `reduction` may also be `none`.
        accumulate: see `inner_precision`.

    Raises:
        Unfit: with what was expected and found.
    """
    checked_kind("loss", kind, KINDS)
    is_none = settings.get("reduction") == NONE
    loss = read(Loss, kind, {**settings, "reduction": "sum"} if is_none else settings)
    checked_names(kind, inputs, {"y": True, "t": True})
    dtype = checked_numbers(kind, inputs, indices="t" if loss.by_class else "")
    y, t = inputs["y"], _targets(loss, inputs["y"], inputs["t"])
    terms = (*y.shape[:-1],) if loss.by_sample else t.shape
    return Asked(
        kind=kind,
        inputs=dict(inputs),
        wanted=("y",),
        results={"loss": terms if is_none else ()},
        by_sample=("y", "t"),
        truths=partial(_of_loss, loss, terms if is_none else None),
        inner=inner_precision(dtype, accumulate),
        settings=loss,
    )


def _targets(loss: Loss, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return targets of the shape of the outputs, classes as a 1 at the class."""
    if y.ndim < 2:
        raise Unfit(f"{loss.kind}: y: expected (samples, *positions, outputs), found {y.shape}")
    halves = isinstance(loss, GaussianNll)
    expected = (*y.shape[:-1], y.shape[-1] // 2) if halves else y.shape
    if loss.by_class and t.dtype.kind in "iu":
        if t.shape != y.shape[:-1]:
            told = f"expected class indices of shape {y.shape[:-1]}, found {t.shape}"
            raise Unfit(f"{loss.kind}: t: {told}")
        if ((t < 0) | (t >= y.shape[-1])).any():
            told = f"expected classes from 0 to {y.shape[-1] - 1}, found {t.min()} to {t.max()}"
            raise Unfit(f"{loss.kind}: t: {told}")
        return np.eye(y.shape[-1], dtype=y.dtype)[t]
    if t.shape != expected:
        classes = f" or class indices of {y.shape[:-1]}" if loss.by_class else ""
        raise Unfit(f"{loss.kind}: t: expected shape {expected}{classes}, found {t.shape}")
    return t


def _of_loss(
    loss: Loss,
    terms: Shape | None,
    inputs: Arrays,
    cotangent: np.ndarray | None,
    precision: Precision,
) -> Truths:
    """Yield the loss, or its terms of this shape, and the derivative by y, times the cotangent."""
    y, t = inputs["y"], _targets(loss, inputs["y"], inputs["t"])
    positions = math.prod(y.shape[1:-1])
    rows = given({"y": _by_row(y), "t": _by_row(t)}, precision)
    if terms is None:
        value = loss_forward(loss, rows["y"], rows["t"], positions)
    else:
        of_terms = LOSSES[loss.kind][0](loss, rows["y"], rows["t"])
        value = np.reshape(loss.factor * of_terms, (1, *terms))
    yield "loss", "loss", value
    if cotangent is None:
        return
    slope = loss_backward(loss, rows["y"], rows["t"], positions)
    by = cotangent.reshape(1, 1, 1) if terms is None else cotangent.reshape(1, len(_by_row(y)), -1)
    if 1 < by.shape[-1] < slope.shape[-1]:  # a term of two outputs, of a mean and a variance
        by = np.concatenate([by, by], axis=-1)
    dy = exact(by, precision) * slope
    by_y: Any = np.reshape(dy, (1, *y.shape))
    yield "cotangent", "y", by_y


def _by_row(array: np.ndarray) -> np.ndarray:
    """Lay samples and positions out in one axis, (rows, outputs)."""
    return array.reshape(-1, array.shape[-1])


# ---------------------------------------------------------------- one step of an optimizer


def of_update(
    kind: str,
    inputs: Arrays,
    settings: Mapping[str, Any],
    step: int,
    accumulate: str | None = None,
) -> Asked:
    """Return one step of an optimizer with its numbers.

    Args:
        kind: of optimizer, as in a case file.
        inputs: `parameter`, `gradient` and what it remembers, by name, all of one shape.
        settings: of the kind.
        step: the number of the step, from 0; the t of the formulas is one more.
        accumulate: see `inner_precision`.

    Raises:
        Unfit: with what was expected and found.
    """
    checked_kind("optimizer", kind, OPTIMIZERS)
    optimizer = read(Optimizer, kind, settings)
    names = ("parameter", "gradient", *optimizer.state)
    checked_names(kind, inputs, dict.fromkeys(names, True))
    dtype = checked_numbers(kind, inputs)
    shape = inputs["parameter"].shape
    if odd := next((name for name in names if inputs[name].shape != shape), None):
        found = inputs[odd].shape
        raise Unfit(f"{kind}: {odd}: expected the shape of the parameter, {shape}, found {found}")
    step = whole_number("step", step)
    return Asked(
        kind=kind,
        inputs=dict(inputs),
        wanted=(),
        results=dict.fromkeys(("parameter", *optimizer.state), shape),
        by_sample=(),
        truths=partial(_of_update, optimizer, step),
        inner=inner_precision(dtype, accumulate),
        settings=optimizer,
        step=step,
    )


def _of_update(
    optimizer: Optimizer, step: int, inputs: Arrays, _: np.ndarray | None, precision: Precision
) -> Truths:
    """Yield the state, then the parameter after the step."""
    numbers = given(inputs, precision)
    state = {f"{name}/": numbers[name] for name in optimizer.state}
    before, gradient = {"": numbers["parameter"]}, {"": numbers["gradient"]}
    after, state = update(optimizer, before, gradient, state, step)
    for name in optimizer.state:
        yield "state", name, state[f"{name}/"]
    yield "update", "parameter", after[""]
