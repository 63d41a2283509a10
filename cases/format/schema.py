"""The contents page of the case format: one class a concept, its docstring the normative meaning.

Reading is strict: unknown keys, texts in place of numbers, infinities and NaN are refused.
`cases/reading/load.py` turns a file into a `Case`; `cases/reading/consistency.py` holds the checks
that need more than one key (shapes, names). A key that holds one concept is called what the concept
is called (`batch` holds a `Batch`).
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from backproof.cases.format.basics import CASES, Dtype, as_text
from backproof.cases.format.concept import Concept, Count, Line, Positive
from backproof.cases.format.fields import Array, OneOf, Part, Printed, again
from backproof.cases.format.layers.table import Layer
from backproof.cases.format.losses import Loss, Penalty
from backproof.cases.format.network import Network
from backproof.cases.format.objectives import Objective, lowered
from backproof.cases.format.optimizers import AnySchedule, Clip, Optimizer

# ---------------------------------------------------------------- parameters and data


class Uniform(Concept):
    """Independent draws from [low, high)."""

    low: float
    high: float


class Normal(Concept):
    """Independent draws with this mean and standard deviation."""

    mean: float
    std: Positive


Draw = Annotated[Uniform | Normal, OneOf("draw", "draws", "draws")]


def _literal_or_draw(value: Any) -> str:
    return "draw" if isinstance(value, dict) and "file" not in value else "literal"


Parameter = Annotated[
    Annotated[Array, Tag("literal")] | Annotated[Draw, Tag("draw")], Discriminator(_literal_or_draw)
]


class Random(Concept):
    """The one stream of random numbers, drawn in float64 and rounded once to the dtype.

    First come the drawn parameters in the order written, then the drawn masks, layer by layer, each
    as `uniform(size=(steps, batch, *positions, units)) >= rate`, then one permutation an epoch.
    `mt19937` is `numpy.random.RandomState(seed)` (what `numpy.random.seed` + `rand` use), `pcg64`
    is `numpy.random.default_rng(seed)`.
    """

    generator: Literal["mt19937", "pcg64"]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]


class Data(Concept):
    """All samples, a row each.

    They are inputs (samples, *positions, features) and targets (samples, *positions, outputs).
    """

    inputs: Array
    targets: Array


# ---------------------------------------------------------------- training


class Batch(Concept):
    """`size` samples a step, `sequential` or `shuffled` anew every epoch.

    `last` tells whether a short rest of the samples is a batch too.
    """

    size: Count
    order: Literal["sequential", "shuffled"] = "sequential"
    last: Literal["keep", "drop"] = "keep"


class Training(Concept):
    """`steps` updates, or `epochs` passes over the data.

    Without `batch` every step sees all samples. `clip` changes the gradients before the optimizer
    sees them, `schedule` its learning rate over the steps.
    """

    steps: Count | None = None
    epochs: Count | None = None
    batch: Batch | None = None
    optimizer: Optimizer
    clip: Clip | None = None
    schedule: AnySchedule | None = None


class Tie(Concept):
    """A parameter that is another one, or its transpose; their gradients add up."""

    parameter: str
    transposed: bool = False

    def of(self, parameters: dict[str, Any]) -> Any:
        """Return the parameter's value, out of the values by path."""
        value = parameters[self.parameter]
        return value.mT if self.transposed else value


# ---------------------------------------------------------------- what is expected


class Within(Concept):
    """How far beside half a unit of its last place a number may be, in every dtype, and why."""

    value: Positive
    reason: Line


class Wrong(Concept):
    """Why a number is wrong at its source.

    Where only some of an entry's numbers are, `elements` are their indices.
    """

    reason: Line
    elements: Annotated[list[list[Annotated[int, Field(ge=0)]]], Field(min_length=1)] | None = None


def _reason_alone(value: Any) -> Any:
    return {"reason": value} if isinstance(value, str) else value


ReasonOrWrong = Annotated[
    Wrong, BeforeValidator(_reason_alone, json_schema_input_type=Line | Wrong)
]


class Published(Concept):
    """A number printed elsewhere, which a right run meets.

    It is met within half a unit of its last place and what rounding moves a right run by. `tensor`
    is `loss`, `output`, `value/LAYER`, `cotangent/LAYER`, `gradient/PARAM`, `parameter/PARAM`,
    `update/PARAM` or `state/NAME/PARAM`. Quantities of step k are taken before its update, of its
    batch; `parameter` and `state` at k mean after k updates, and so do, of all samples, all others
    but `update` after the last step. `transpose` turns the last two axes round, `index` picks an
    element, a row or a part (`"1:3"`), and the printed number is `scale` times the tensor. A batch
    has as many rows as it has samples, without padding; axes of length 1 may be left out of
    `value`. Beside these there are `accuracy`, the share of samples whose largest output is at
    their class, or whose output has the sign of its target -1 or 1, and `absolute_error`, the mean
    of |output - target|, wherever there is an `output`. `steps` asks for the sum over so many steps
    from `step` on.

    What was `computed_in` a lesser dtype at its source may be off by its rounding too; `within`
    stands in place of what is derived. `wrong` says why a number is wrong at its source, `noise`
    why its digits are: it is neither met nor missed.
    """

    tensor: Line
    step: Annotated[int, Field(ge=0)]
    value: Printed
    transpose: bool = False
    index: list[Part] | None = None
    steps: Count = 1
    scale: float = 1.0
    computed_in: Dtype | None = None
    within: Within | None = None
    source: Line
    wrong: ReasonOrWrong | None = None
    noise: Line | None = None


class Tolerance(Concept):
    """|actual - desired| <= atol + rtol * |desired| between two free runs.

    atol is rtol * max|desired| unless given.
    """

    rtol: Annotated[float, Field(ge=0)]
    atol: Annotated[float, Field(ge=0)] | None = None


class Record(Concept):
    """Which steps a run leaves on record, where all are too many; the others are not judged.

    Every so many, from step 0, the last, and those that `published` names.
    """

    every: Count


# ---------------------------------------------------------------- the case


def _named(network: list[Layer]) -> list[Layer]:
    """Give the n-th layer of a kind the name KINDn, unless it has one."""
    seen: Counter[str] = Counter()
    named = []
    for layer in network:
        seen[layer.kind] += 1
        name = f"{layer.kind}{seen[layer.kind]}"
        named.append(layer if layer.name else layer.model_copy(update={"name": name}))
    return named


class Case(Concept):
    """One training scenario; without `training` it asks for gradients at the initial parameters.

    `frozen` parameters have neither gradient nor update. `penalties` are part of the loss and of
    the gradients.
    """

    title: Line
    source: Line | None = None
    note: str | None = None
    dtypes: Annotated[list[Dtype], Field(min_length=1)]
    network: Annotated[list[Layer], Field(min_length=1), AfterValidator(_named)]
    parameters: dict[str, Parameter] = {}
    tied: dict[str, Tie] = {}
    frozen: Annotated[tuple[str, ...], Field(strict=False)] = ()
    random: Random | None = None
    data: Data
    loss: Loss
    penalties: Annotated[tuple[Penalty, ...], Field(strict=False)] = ()
    objective: Objective | None = None
    training: Training | None = None
    record: Record | None = None
    published: list[Published] = []
    tolerance: dict[Dtype, Tolerance] = {}

    _path: Path = PrivateAttr(default=CASES / "unnamed.yaml")
    _name: str = PrivateAttr(default="")

    @model_validator(mode="wrap")
    @classmethod
    def _lower(cls, case: Any, handler: ModelWrapValidatorHandler[Case]) -> Case:
        """Turn an objective into a network; all mistakes are raised together."""
        if not isinstance(case, dict) or "objective" not in case:
            return handler(case)
        network, mistakes = lowered(case)
        errors = [InitErrorDetails(type=mistake, input=None) for mistake in mistakes]
        try:
            made = handler(network)
        except ValidationError as invalid:
            errors += map(again, invalid.errors())
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return made

    @property
    def name(self) -> str:
        r"""Of a file below `cases/` its path there, without `.yaml`, else what `load_all` calls it.

        Bytes in it that are no text are written as `\xff`.
        """
        return as_text(self._name or self._path.stem)

    @property
    def file(self) -> Path:
        """The file that it was read from."""
        return self._path

    @property
    def is_shipped(self) -> bool:
        """Its file stands below `cases/`, so that no other case has its name."""
        return Path(os.path.realpath(self._path)).is_relative_to(CASES)

    @cached_property
    def graph(self) -> Network:
        """The network with the shapes of its values."""
        return Network(self.network, np.shape(self.data.inputs)[1:])

    @cached_property
    def problems(self) -> dict[str, Any]:
        """What `materialise` has made of it, by dtype."""
        return {}

    def __copy__(self) -> Case:
        """Copy what was written, without what was derived from it."""
        copied = super().__copy__()
        copied.__dict__ = self._written()
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Hand to another process what was written, without what was derived from it."""
        return super().__getstate__() | {"__dict__": self._written()}

    def _written(self) -> dict[str, Any]:
        fields = type(self).model_fields
        return {name: value for name, value in self.__dict__.items() if name in fields}

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the last layer's value, of one sample."""
        return self.graph.shapes[self.graph.output]

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter of its own, in the order of the layers."""
        shapes = self.graph.parameters.items()
        return {path: shape for path, shape in shapes if path not in self.tied}

    def trained_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter that has a gradient."""
        shapes = self.parameter_shapes().items()
        return {path: shape for path, shape in shapes if path not in self.frozen}

    @property
    def batch(self) -> Batch:
        """How the samples are split; all of them at once unless the case says otherwise."""
        if self.training and self.training.batch:
            return self.training.batch
        return Batch(size=len(np.atleast_1d(self.data.inputs)))

    @property
    def steps_per_epoch(self) -> int:
        """How many batches one pass over the samples yields."""
        samples, size = len(self.data.inputs), self.batch.size
        return samples // size if self.batch.last == "drop" else -(-samples // size)

    @property
    def steps(self) -> int:
        """How many steps the run takes; without `training` one, which changes nothing."""
        if self.training is None:
            return 1
        return self.training.steps or self.training.epochs * self.steps_per_epoch
