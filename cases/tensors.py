"""Every tensor that a run of a problem leaves: what it is called, its axes and its dtype. It is said here, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backproof.cases.problem import Problem


class Tensor(NamedTuple):
    """One tensor of a run.

    Attributes:
        field: of a trajectory: `values`, `gradients`, `loss`, ...
        name: in that field, `hidden.weight`; empty where the field is one tensor.
        shape: R recorded steps first, but for what is taken after the last one.
        dtype: of its numbers.
    """

    field: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


def tensors_of(problem: Problem, *, layers: bool = True) -> Iterator[Tensor]:
    """List every tensor of a run; without `layers` those of a run that holds gradients alone.

    Of such a run `final_values` has the output, which may be left out.
    """
    dtype, (_, batch) = problem.dtype, problem.batches.shape
    for field, name, shape in _by_step(problem, batch, layers=layers):
        yield Tensor(field, name, (len(problem.recorded), *shape), dtype)
    if problem.schedule:
        yield Tensor("learning_rates", "", (len(problem.recorded),), np.dtype(np.float64))
    final = problem.shapes if layers else {problem.output: problem.shapes[problem.output]}
    for name, shape in final.items():
        yield Tensor("final_values", name, (len(problem.inputs), *shape), dtype)
    yield Tensor("final_loss", "", (), dtype)


def _by_step(
    problem: Problem, batch: int, *, layers: bool
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Field, name and shape of what there is at every recorded step."""
    yield "loss", "", ()
    for name, shape in problem.shapes.items() if layers else ():
        yield "values", name, (batch, *shape)
        yield "cotangents", name, (batch, *shape)
    for path, values in problem.parameters.items():
        if path in problem.trained:
            yield "gradients", path, values.shape
        yield "before", path, values.shape
        yield "after", path, values.shape
    for name, shape in state_shapes(problem).items():
        yield "state_before", name, shape
        yield "state_after", name, shape
    for path, values in problem.buffers.items():
        yield "buffers_before", path, values.shape
        yield "buffers_after", path, values.shape


def state_shapes(problem: Problem) -> dict[str, tuple[int, ...]]:
    """The shape of everything that the optimizer remembers, by `NAME/PARAMETER`."""
    names = problem.optimizer.state if problem.optimizer else ()
    return {
        f"{name}/{path}": problem.parameters[path].shape
        for name in names
        for path in problem.trained
    }
