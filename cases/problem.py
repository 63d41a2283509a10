"""Case → Problem: parameters and batches as arrays, every random number drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from ml_dtypes import bfloat16
from numpy.random import Generator, RandomState

from backproof.cases.fingerprint import digest_of
from backproof.cases.format.layers.layer import LayerConcept, Shape
from backproof.cases.format.losses import Loss, Penalty
from backproof.cases.format.network import Network, Node
from backproof.cases.format.optimizers import AnySchedule, Clip, Optimizer
from backproof.cases.format.schema import Case, Normal, Published, Tie, Tolerance, Uniform

MEMORY_FOR_RECORDS = 256 * 2**20
Random = RandomState | Generator | None
OF_THE_JUDGE = ("name", "published", "tolerance")  # a run is the same without them


@dataclass(frozen=True)
class Problem:
    """What every backend receives.

    Attributes:
        name: the case's name, `xor/two_four_one`.
        dtype: of every number below and of every number a backend leaves behind.
        layers: the layers in order, all named; `network` has their operations.
        loss, optimizer: their settings; `optimizer` is None where only gradients are asked for, and
            then there is one step, which leaves the parameters as they are.
        parameters: initial values by path, `hidden.weight` (in, units) and `hidden.bias` (units,),
            without tied ones.
        inputs, targets: all samples, (samples, *positions, features) and (samples, *positions,
            outputs); of classes a 1 at the class.
        batches: (steps, size) indices of the samples that each step sees, padded with -1 behind a
            short batch.
        recorded: the steps a trajectory must hold, ascending.
        trained: the paths of the parameters that have a gradient; the others are frozen.
        published: numbers printed elsewhere that the run must meet.
        tolerance: between two free runs, where the case sets it.
        tied: by path, what each parameter is that is not one of its own.
        penalties: the terms of the loss that depend on parameters alone.
        masks: by path, (masks, size, *positions, features) of 0 and 1; step k takes number k modulo
            masks.
        buffers: by path what each layer remembers at first.
        clip, schedule: what is done to the gradients, and to the learning rate, before an update.
    """

    name: str
    dtype: np.dtype
    layers: tuple[LayerConcept, ...]
    loss: Loss
    optimizer: Optimizer | None
    parameters: dict[str, np.ndarray]
    inputs: np.ndarray
    targets: np.ndarray
    batches: np.ndarray
    recorded: np.ndarray
    trained: tuple[str, ...]
    published: tuple[Published, ...] = ()
    tolerance: Tolerance | None = None
    tied: dict[str, Tie] = field(default_factory=dict)
    penalties: tuple[Penalty, ...] = ()
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)
    clip: Clip | None = None
    schedule: AnySchedule | None = None

    @cached_property
    def graph(self) -> Network:
        """The layers with the shapes of their values."""
        return Network(self.layers, self.inputs.shape[1:])

    @cached_property
    def network(self) -> tuple[Node, ...]:
        """The operations in the order in which they are computed."""
        return self.graph.nodes

    @cached_property
    def output(self) -> str:
        """The name of the last layer."""
        return self.graph.output

    @cached_property
    def axes(self) -> dict[str, tuple[int, ...]]:
        """The axes of every parameter, counted from the end."""
        return {path: tuple(range(-values.ndim, 0)) for path, values in self.parameters.items()}

    @cached_property
    def fingerprint(self) -> str:
        """Everything that a run depends on, as one short text that differs wherever that does.

        What only the judge and the report need (the case's name, published numbers, a tolerance)
        has no part in it, nor has what is empty.
        """
        names = {part.name for part in fields(self)} - {*OF_THE_JUDGE}
        parts = {"network" if name == "layers" else name: getattr(self, name) for name in names}
        return digest_of({name: part for name, part in parts.items() if not _is_nothing(part)})

    @cached_property
    def positions(self) -> int:
        """How many positions the output of a sample has."""
        return math.prod(self.output_shape[:-1])

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output, of one sample."""
        return self.graph.shapes[self.output]

    def masks_at(self, steps: int | np.ndarray) -> dict[str, np.ndarray]:
        """Return the masks by path at a step, (size, *shape), or at many, (steps, size, *shape)."""
        return {path: masks[steps % len(masks)] for path, masks in self.masks.items()}

    @property
    def steps(self) -> int:
        """How many steps the run takes."""
        return len(self.batches)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of `input` and of the value of every node, of one sample, in order."""
        return self.graph.shapes


def _is_nothing(part: Any) -> bool:
    return part is None or (isinstance(part, tuple | dict) and not part)


def materialise(case: Case, dtype: str) -> Problem:
    """Draw the case's random numbers and round everything once to `dtype`.

    Asked again, it returns the same problem.
    """
    if dtype not in case.problems:
        case.problems[dtype] = _drawn(case, dtype)
    return case.problems[dtype]


def _drawn(case: Case, dtype: str) -> Problem:
    """Return the problem; the numbers are drawn in the order that `Random` says."""
    random, shapes, training = _generator(case), case.parameter_shapes(), case.training
    parameters = {path: _draw(x, shapes[path], random) for path, x in case.parameters.items()}
    masks = _masks(case, random)
    batches = _batches(case, random)
    buffers = case.graph.buffers.items()
    problem = Problem(
        name=case.name,
        dtype=np.dtype(dtype),
        layers=tuple(map(_without_masks, case.network)),
        loss=case.loss,
        optimizer=training.optimizer if training else None,
        parameters={path: rounded(parameters[path], dtype) for path in shapes},
        inputs=rounded(case.data.inputs, dtype),
        targets=rounded(_targets(case), dtype),
        batches=batches,
        recorded=np.arange(len(batches)),
        trained=tuple(case.trained_shapes()),
        published=tuple(case.published),
        tolerance=case.tolerance.get(dtype),  # type: ignore[call-overload]  # any text
        tied=case.tied,
        penalties=case.penalties,
        masks={path: mask.astype(dtype) for path, mask in masks.items()},
        buffers={path: np.full(shape, start, dtype) for path, (shape, start) in buffers},
        clip=training.clip if training else None,
        schedule=training.schedule if training else None,
    )
    problem = replace(problem, recorded=_recorded(case, problem))
    by_path = problem.parameters | problem.masks | problem.buffers
    arrays = (problem.inputs, problem.targets, problem.batches, problem.recorded)
    for array in (*arrays, *by_path.values()):
        array.flags.writeable = False  # one backend must not change what the next one is given
    return problem


# ---------------------------------------------------------------- random numbers


def _generator(case: Case) -> Random:
    if case.random is None:
        return None
    seed = case.random.seed
    return RandomState(seed) if case.random.generator == "mt19937" else np.random.default_rng(seed)


def _draw(value: np.ndarray | Uniform | Normal, shape: Shape, random: Random) -> np.ndarray:
    """Return a parameter's value in float64, which is drawn unless it is given."""
    if isinstance(value, Uniform):
        return random.uniform(value.low, value.high, shape)
    if isinstance(value, Normal):
        return random.normal(value.mean, value.std, shape)
    return value


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return the nearest numbers of the dtype.

    ml_dtypes takes the nearest float32 first, which may lie on a tie of bfloat16.
    """
    if np.dtype(dtype) != bfloat16:
        return values.astype(dtype)
    single = values.astype(np.float32)
    on_a_tie = (single.view(np.uint32) % 2**16 == 2**15) & (single != values)
    there = np.where(values > single, np.inf, -np.inf).astype(np.float32)
    return np.where(on_a_tie, np.nextafter(single, there), single).astype(dtype)


# ---------------------------------------------------------------- masks


def _masks(case: Case, random: Random) -> dict[str, np.ndarray]:
    """Return the masks by path, (masks, size, *shape), the drawn ones of all steps at once."""
    masks = {}
    for layer in case.network:
        for name, mask in layer.given_masks().items():
            path = f"{layer.name}.{name}"
            each = (case.batch.size, *case.graph.masks[path])
            if mask is None:
                masks[path] = random.uniform(size=(case.steps, *each)) >= layer.dropped
            else:
                masks[path] = mask.reshape(-1, *each)
    return masks


def _without_masks(layer: LayerConcept) -> LayerConcept:
    """Return the layer as a structure, which many problems may share."""
    masks = layer.given_masks()
    return layer.model_copy(update=dict.fromkeys(masks)) if masks else layer


# ---------------------------------------------------------------- targets


def _targets(case: Case) -> np.ndarray:
    """Return the targets as they are, of class indices a 1 at the class and 0 elsewhere."""
    if case.data.targets.ndim > len(case.output_shape):
        return case.data.targets
    return np.eye(case.output_shape[-1])[case.data.targets.astype(int)]


# ---------------------------------------------------------------- batches


def _batches(case: Case, random: Random) -> np.ndarray:
    """Return the indices of the samples that each step sees, (steps, size)."""
    samples = np.arange(len(case.data.inputs))
    epochs = -(-case.steps // case.steps_per_epoch)
    if case.batch.order == "shuffled":
        batches = np.concatenate([_epoch(case, random.permutation(samples)) for _ in range(epochs)])
    else:
        batches = np.tile(_epoch(case, samples), (epochs, 1))
    return batches[: case.steps]


def _epoch(case: Case, order: np.ndarray) -> np.ndarray:
    """Return one pass over the samples in this order, (steps of an epoch, size).

    A short last batch is padded with -1.
    """
    batches = np.full(case.steps_per_epoch * case.batch.size, -1)
    order = order[: batches.size]
    batches[: order.size] = order
    return batches.reshape(-1, case.batch.size)


# ---------------------------------------------------------------- records


def _recorded(case: Case, problem: Problem) -> np.ndarray:
    """Return the steps to record: what the case says, or every one while that fits in memory.

    The last step and the published ones are always among them.
    """
    last = problem.steps - 1
    if case.record:
        steps = np.arange(0, problem.steps, case.record.every)
    elif problem.steps * _bytes_per_step(problem) <= MEMORY_FOR_RECORDS:
        steps = np.arange(problem.steps)
    else:
        steps = np.union1d(np.arange(100), np.geomspace(100, max(last, 100), 200).astype(int))
    published = [np.arange(p.step, p.step + p.steps) for p in case.published]
    recorded = np.unique(np.concatenate([steps, [last], *published]))
    return recorded[recorded <= last]


def _bytes_per_step(problem: Problem) -> int:
    """Return the size of a step's record.

    It has values and cotangents of all layers, parameters and state before and after, gradients.
    """
    units = sum(map(math.prod, problem.shapes.values())) * problem.batches.shape[1]
    parameters = sum(values.size for values in problem.parameters.values())
    states = len(problem.optimizer.state) if problem.optimizer else 0
    return problem.dtype.itemsize * (2 * units + (3 + 2 * states) * parameters)
