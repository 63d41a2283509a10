"""Every tensor that a run of a problem leaves, said here once: its name, its axes, its dtype."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backproof.cases.format.layers.layer import Shape
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
    shape: Shape
    dtype: np.dtype


def tensors_of(problem: Problem, *, layers: bool = True) -> Iterator[Tensor]:
    """Yield every tensor of a run; without `layers` those of a run that holds gradients alone.

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


def _by_step(problem: Problem, batch: int, *, layers: bool) -> Iterator[tuple[str, str, Shape]]:
    """Yield field, name and shape of what there is at every recorded step."""
    yield "loss", "", ()
    for name, shape in problem.shapes.items() if layers else ():
        yield "values", name, (batch, *shape)
        yield "cotangents", name, (batch, *shape)
    shapes = {path: values.shape for path, values in problem.parameters.items()}
    buffers = {path: values.shape for path, values in problem.buffers.items()}
    for path in problem.trained:
        yield "gradients", path, shapes[path]
    for prefix, found in (("", shapes), ("state_", state_shapes(problem)), ("buffers_", buffers)):
        for path, shape in found.items():
            yield f"{prefix}before", path, shape
            yield f"{prefix}after", path, shape


def state_shapes(problem: Problem) -> dict[str, Shape]:
    """Return the shape of everything that the optimizer remembers, by `NAME/PARAMETER`."""
    names, shapes = problem.optimizer.state if problem.optimizer else (), problem.parameters
    return {f"{name}/{path}": shapes[path].shape for name in names for path in problem.trained}
