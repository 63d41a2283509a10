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
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.losses import Loss, Penalty
from backproof.cases.format.network import Network, Node
from backproof.cases.format.optimizers import AnySchedule, Clip, Optimizer
from backproof.cases.format.schema import Case, Normal, Published, Tie, Tolerance, Uniform

MEMORY_FOR_RECORDS = 256 * 2**20
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
        """Everything that a run depends on, as one short text: it differs wherever one number or setting does.

        What only the judge and the report need (the case's name, published numbers, a tolerance)
        has no part in it, nor has what is empty.
        """
        parts = {
            part.name: getattr(self, part.name)
            for part in fields(self)
            if part.name not in OF_THE_JUDGE
        }
        parts["network"] = parts.pop("layers")
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
        """The masks by path at a step, (size, *shape), or at many, (steps, size, *shape)."""
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
    """Draw the case's random numbers and round everything once to `dtype`; asked again, give the same problem."""
    if dtype not in case.problems:
        case.problems[dtype] = _drawn(case, dtype)
    return case.problems[dtype]


def _drawn(case: Case, dtype: str) -> Problem:
    random, shapes = _generator(case), case.parameter_shapes()
    parameters = {
        path: rounded(_draw(value, shapes[path], random), dtype)
        for path, value in case.parameters.items()
    }
    masks = _masks(case, random)
    batches = _batches(case, random)
    problem = Problem(
        name=case.name,
        dtype=np.dtype(dtype),
        layers=tuple(map(_without_masks, case.network)),
        loss=case.loss,
        optimizer=case.training and case.training.optimizer,
        parameters={path: parameters[path] for path in shapes},
        inputs=rounded(case.data.inputs, dtype),
        targets=rounded(_targets(case), dtype),
        batches=batches,
        recorded=np.arange(len(batches)),
        trained=tuple(case.trained_shapes()),
        published=tuple(case.published),
        tolerance=case.tolerance.get(dtype),
        tied=case.tied,
        penalties=case.penalties,
        masks={path: mask.astype(dtype) for path, mask in masks.items()},
        buffers={
            path: np.full(shape, start, dtype)
            for path, (shape, start) in case.graph.buffers.items()
        },
        clip=case.training and case.training.clip,
        schedule=case.training and case.training.schedule,
    )
    problem = replace(problem, recorded=_recorded(case, problem))
    arrays = (problem.inputs, problem.targets, problem.batches, problem.recorded)
    for array in (
        *arrays,
        *problem.parameters.values(),
        *problem.masks.values(),
        *problem.buffers.values(),
    ):
        array.flags.writeable = False  # one backend must not change what the next one is given
    return problem


# ---------------------------------------------------------------- random numbers


def _generator(case: Case) -> RandomState | Generator | None:
    if case.random is None:
        return None
    make = {"mt19937": RandomState, "pcg64": np.random.default_rng}[case.random.generator]
    return make(case.random.seed)


def _draw(
    value: np.ndarray | Uniform | Normal, shape: tuple[int, ...], random: RandomState | Generator
) -> np.ndarray:
    match value:
        case Uniform():
            return random.uniform(value.low, value.high, shape)
        case Normal():
            return random.normal(value.mean, value.std, shape)
        case _:
            return value


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """The nearest numbers of the dtype. ml_dtypes takes the nearest float32 first, which may lie on a bfloat16 tie."""
    if np.dtype(dtype) != bfloat16:
        return values.astype(dtype)
    single = values.astype(np.float32)
    on_a_tie = (single.view(np.uint32) % 2**16 == 2**15) & (single != values)
    there = np.where(values > single, np.inf, -np.inf).astype(np.float32)
    return np.where(on_a_tie, np.nextafter(single, there), single).astype(dtype)


# ---------------------------------------------------------------- masks


def _masks(case: Case, random: RandomState | Generator | None) -> dict[str, np.ndarray]:
    """The masks by path, (masks, size, *shape), the drawn ones of all steps at once."""
    given = {
        f"{layer.name}.{name}": (mask, layer.dropped)
        for layer in case.network
        for name, mask in layer.given_masks().items()
    }
    return {
        path: _mask(case, *given[path], shape, random) for path, shape in case.graph.masks.items()
    }


def _mask(
    case: Case,
    given: np.ndarray | None,
    dropped: float,
    shape: tuple[int, ...],
    random: RandomState | Generator | None,
) -> np.ndarray:
    if given is None:
        return random.uniform(size=(case.steps, case.batch.size, *shape)) >= dropped
    return given if given.ndim > len(shape) + 1 else given[None]


def _without_masks(layer: LayerConcept) -> LayerConcept:
    """The layer as a structure, which many problems may share."""
    masks = layer.given_masks()
    return layer.model_copy(update=dict.fromkeys(masks)) if masks else layer


# ---------------------------------------------------------------- targets


def _targets(case: Case) -> np.ndarray:
    """The targets as they are; class indices as a 1 at the class and 0 elsewhere."""
    if case.data.targets.ndim > len(case.output_shape):
        return case.data.targets
    return np.eye(case.output_shape[-1])[case.data.targets.astype(int)]


# ---------------------------------------------------------------- batches


def _batches(case: Case, random: RandomState | Generator | None) -> np.ndarray:
    samples = np.arange(len(case.data.inputs))
    epochs = -(-case.steps // case.steps_per_epoch)
    if case.batch.order == "shuffled":
        batches = np.concatenate([_epoch(case, random.permutation(samples)) for _ in range(epochs)])
    else:
        batches = np.tile(_epoch(case, samples), (epochs, 1))
    return batches[: case.steps]


def _epoch(case: Case, order: np.ndarray) -> np.ndarray:
    """One pass over the samples in this order, (steps of an epoch, size), a short last batch padded with -1."""
    batches = np.full(case.steps_per_epoch * case.batch.size, -1)
    order = order[: batches.size]
    batches[: order.size] = order
    return batches.reshape(-1, case.batch.size)


# ---------------------------------------------------------------- records


def _recorded(case: Case, problem: Problem) -> np.ndarray:
    """Every step while that fits in memory, or what the case says; always the last and the published ones."""
    last = problem.steps - 1
    if case.record:
        steps = np.arange(0, problem.steps, case.record.every)
    elif problem.steps * _bytes_per_step(problem) <= MEMORY_FOR_RECORDS:
        steps = np.arange(problem.steps)
    else:
        steps = np.union1d(np.arange(100), np.geomspace(100, max(last, 100), 200).astype(int))
    recorded = np.concatenate(
        [steps, [last], *(np.arange(p.step, p.step + p.steps) for p in case.published)]
    )
    recorded = np.unique(recorded)
    return recorded[recorded <= last]


def _bytes_per_step(problem: Problem) -> int:
    """Values and cotangents of all layers; parameters and state before and after, and the gradients."""
    units = sum(map(math.prod, problem.shapes.values())) * problem.batches.shape[1]
    parameters = sum(values.size for values in problem.parameters.values())
    states = len(problem.optimizer.state) if problem.optimizer else 0
    return problem.dtype.itemsize * (2 * units + (3 + 2 * states) * parameters)
