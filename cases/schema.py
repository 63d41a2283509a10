"""The contents page of the case format: one class a concept, its docstring the normative meaning.

Reading is strict: unknown keys, texts in place of numbers, infinities and NaN are refused. `cases/load.py`
turns a file into a `Case`; `cases/checks.py` holds the checks that need more than one key (shapes, names).
A key that holds one concept is called what the concept is called (`batch` holds a `Batch`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, PrivateAttr, StringConstraints, Tag

from cases.fields import Array, OneOf, Printed

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
CASES = Path(__file__).resolve().parent

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
Dtype = Literal["float64", "float32", "float16", "bfloat16"]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]


class Concept(BaseModel):
    """One concept of the format; `kind` is the word for it in a file."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)
    kind: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


# ---------------------------------------------------------------- layers


class Activation(Concept):
    """A layer whose units are those of the layer before it; elementwise but for the softmaxes."""

    name: Name | None = None

    def parameter_shapes(self, _: int) -> dict[str, tuple[int, ...]]:
        """The shapes of its own parameters for inputs of a width; mostly there are none."""
        return {}

    def arguments(self, _: dict[str, Any]) -> tuple:
        """What its function takes behind x, of the parameters by path: its settings, in order."""
        return tuple(value for name, value in self if name != "name")


class Dense(Concept):
    """y = x W + b, with W `NAME.weight` (in, units) and b `NAME.bias` (units,)."""

    name: Name | None = None
    units: Count
    bias: bool = True

    def parameter_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The shapes of its own parameters for inputs of that width."""
        return {"weight": (width, self.units)} | ({"bias": (self.units,)} if self.bias else {})


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x))."""


class Tanh(Activation):
    """y = tanh(x)."""


class Relu(Activation):
    """y = max(x, 0), with the derivative 0 at x = 0."""


class LeakyRelu(Activation):
    """y = x where x > 0, else slope x, with the derivative slope at x = 0."""

    slope: Positive = 0.01


class Prelu(Activation):
    """y = x where x > 0, else s x, with the derivative s at x = 0; s is trained, `NAME.slope` (1,), or (units,).

    `shared` tells whether all units have one slope or each its own.
    """

    shared: bool = True

    def parameter_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The shapes of its own parameters for inputs of that width."""
        return {"slope": (1 if self.shared else width,)}

    def arguments(self, parameters: dict[str, Any]) -> tuple:
        """What its function takes behind x: the slope."""
        return (parameters[f"{self.name}.slope"],)


class Elu(Activation):
    """y = x where x > 0, else alpha (exp(x) - 1), with the derivative alpha at x = 0."""

    alpha: Positive = 1.0


class Selu(Activation):
    """y = 1.0507009873554805 elu(x), whose alpha is 1.6732632423543772; at x = 0 the derivative is their product."""


class Celu(Activation):
    """y = max(x, 0) + min(alpha (exp(x / alpha) - 1), 0); its derivative has no jump."""

    alpha: Positive = 1.0


class Gelu(Activation):
    """y = x Phi(x), Phi the normal distribution's; `tanh`: y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""

    approximate: Literal["none", "tanh"] = "none"


class Silu(Activation):
    """y = x sigmoid(x), also called swish."""


class Mish(Activation):
    """y = x tanh(softplus(x))."""


class Softplus(Activation):
    """y = log(1 + exp(beta x)) / beta, at every x."""

    beta: Positive = 1.0


class Softsign(Activation):
    """y = x / (1 + |x|)."""


class HardTanh(Activation):
    """y = max(-1, min(x, 1)), with the derivative 0 at x = -1 and x = 1."""


class HardSigmoid(Activation):
    """y = relu6(x + 3) / 6, with the derivative 0 at x = -3 and x = 3."""


class HardSwish(Activation):
    """y = x hard_sigmoid(x), with the derivative of hard_sigmoid 0 at x = -3 and x = 3."""


class Relu6(Activation):
    """y = min(max(x, 0), 6), with the derivative 0 at x = 0 and x = 6."""


class LogSigmoid(Activation):
    """y = log(sigmoid(x)) = -softplus(-x)."""


class Softmax(Activation):
    """y_i = exp(x_i) / sum_j exp(x_j), over the units of a sample."""


class LogSoftmax(Activation):
    """y_i = x_i - log(sum_j exp(x_j)), over the units of a sample."""


class Identity(Activation):
    """y = x."""


Layer = Annotated[
    Dense
    | Sigmoid
    | Tanh
    | Relu
    | LeakyRelu
    | Prelu
    | Elu
    | Selu
    | Celu
    | Gelu
    | Silu
    | Mish
    | Softplus
    | Softsign
    | HardTanh
    | HardSigmoid
    | HardSwish
    | Relu6
    | LogSigmoid
    | Softmax
    | LogSoftmax
    | Identity,
    OneOf(),
]


# ---------------------------------------------------------------- parameters and data


class Uniform(Concept):
    """Independent draws from [low, high)."""

    low: float
    high: float


class Normal(Concept):
    """Independent draws with this mean and standard deviation."""

    mean: float
    std: Positive


Draw = Annotated[Uniform | Normal, OneOf()]


def _literal_or_draw(value: Any) -> str:
    return "draw" if isinstance(value, dict) and "file" not in value else "literal"


Parameter = Annotated[Annotated[Array, Tag("literal")] | Annotated[Draw, Tag("draw")], Discriminator(_literal_or_draw)]


class Random(Concept):
    """The one stream of random numbers: the drawn parameters in the order written, then one permutation an epoch.

    `mt19937` is `numpy.random.RandomState(seed)` (what `numpy.random.seed` + `rand` use), `pcg64` is
    `numpy.random.default_rng(seed)`. Numbers are drawn in float64 and rounded once to the dtype.
    """

    generator: Literal["mt19937", "pcg64"]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]


class Data(Concept):
    """All samples: inputs (samples, features) and targets (samples, outputs)."""

    inputs: Array
    targets: Array


# ---------------------------------------------------------------- loss and training


class Criterion(Concept):
    """L = factor * sum of terms over a batch, one for each output and sample unless it says `a sample`.

    `mean` divides the sum by the number of terms, `batch_mean` by the number of samples.
    """

    by_sample: ClassVar[bool] = False
    by_class: ClassVar[bool] = False  # targets may be class indices
    factor: Positive
    reduction: Literal["sum", "mean", "batch_mean"]


class SquaredError(Criterion):
    """Terms (y - t)^2."""


class AbsoluteError(Criterion):
    """Terms |y - t|, with the derivative 0 at y = t."""


class Huber(Criterion):
    """Terms d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), of d = y - t."""

    delta: Positive = 1.0


class SmoothL1(Criterion):
    """Terms d^2 / (2 beta) where |d| <= beta, else |d| - beta / 2, of d = y - t: Huber's divided by beta."""

    beta: Positive = 1.0


class LogCosh(Criterion):
    """Terms log(cosh(y - t))."""


class BinaryCrossEntropy(Criterion):
    """Terms -(t log(y) + (1 - t) log(1 - y)), of probabilities y strictly between 0 and 1; nothing is clamped."""


class SigmoidBinaryCrossEntropy(Criterion):
    """Terms -(t log(sigmoid(y)) + (1 - t) log(1 - sigmoid(y))), of logits y."""


class ByClass(Criterion):
    """A term a sample, of a class index or a distribution t over the classes; `class_weights` has a number a class."""

    by_sample: ClassVar[bool] = True
    by_class: ClassVar[bool] = True
    class_weights: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] | None = None


class SoftmaxCrossEntropy(ByClass):
    """A term -sum_c w_c s_c log(softmax(y)_c) a sample, of logits y and s = (1 - e) t + e / C, e the `label_smoothing`.

    C is the number of classes, w are the `class_weights`; with them `mean` divides by the sum of w t over the batch.
    """

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class NegativeLogLikelihood(ByClass):
    """A term -sum_c w_c t_c y_c a sample, of log probabilities y; `class_weights` w as in softmax_cross_entropy."""


class KlDivergence(Criterion):
    """Terms t (log(t) - y), 0 where t = 0, of logarithms y of probabilities and probabilities t."""


class Poisson(Criterion):
    """Terms exp(y) - t y, of the logarithm y of a rate."""


class Hinge(Criterion):
    """Terms max(0, 1 - t y), of t = -1 or 1, with the derivative 0 at t y = 1."""


class SquaredHinge(Criterion):
    """Terms max(0, 1 - t y)^2, of t = -1 or 1."""


class GaussianNll(Criterion):
    """Terms (s + (m - t)^2 exp(-s)) / 2; of the outputs the first half are means m, the others log variances s."""


class Cosine(Criterion):
    """A term 1 - y.t / (|y| |t|) a sample, of vectors that are not 0."""

    by_sample: ClassVar[bool] = True


Loss = Annotated[
    SquaredError
    | AbsoluteError
    | Huber
    | SmoothL1
    | LogCosh
    | BinaryCrossEntropy
    | SigmoidBinaryCrossEntropy
    | SoftmaxCrossEntropy
    | NegativeLogLikelihood
    | KlDivergence
    | Poisson
    | Hinge
    | SquaredHinge
    | GaussianNll
    | Cosine,
    OneOf(),
]


Share = Annotated[float, Field(ge=0, lt=1)]
Small = Annotated[float, Field(ge=0)]


class Updating(Concept):
    """An optimizer, of every parameter w with gradient g at update t = 1, 2, ...; all state begins at 0."""

    learning_rate: Positive

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ()


class Sgd(Updating):
    """w <- w - learning_rate g."""


class Momentum(Updating):
    """v <- momentum v + (1 - dampening) g, but v <- g at t = 1; w <- w - learning_rate v.

    With `nesterov` w <- w - learning_rate (g + momentum v). State: `velocity` v.
    """

    momentum: Share
    dampening: Share = 0.0
    nesterov: bool = False

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ("velocity",)


class Lion(Updating):
    """w <- w - learning_rate sign(beta1 m + (1 - beta1) g), sign(0) = 0; m <- beta2 m + (1 - beta2) g.

    State: `first_moment` m.
    """

    beta1: Share = 0.9
    beta2: Share = 0.99

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ("first_moment",)


class Adagrad(Updating):
    """s <- s + g^2, from initial_accumulator; w <- w - learning_rate g / (sqrt(s) + epsilon).

    State: `accumulator` s.
    """

    initial_accumulator: Small = 0.0
    epsilon: Small = 1e-10

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ("accumulator",)


class Adadelta(Updating):
    """s <- rho s + (1 - rho) g^2; d = g sqrt(u + epsilon) / sqrt(s + epsilon); u <- rho u + (1 - rho) d^2.

    w <- w - learning_rate d. State: `mean_square` s, `mean_square_update` u.
    """

    rho: Share = 0.9
    epsilon: Positive = 1e-6

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ("mean_square", "mean_square_update")


class Rmsprop(Updating):
    """s <- rho s + (1 - rho) g^2; v <- momentum v + g / (sqrt(s) + epsilon); w <- w - learning_rate v.

    `centered` takes s - a^2 for s under the root, a <- rho a + (1 - rho) g. State: `mean_square` s, and where they are
    `mean_gradient` a, `velocity` v.
    """

    rho: Share = 0.99
    epsilon: Small = 1e-8
    centered: bool = False
    momentum: Share = 0.0

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ("mean_square", *["mean_gradient"] * self.centered, *["velocity"] * (self.momentum > 0))


class Adam(Updating):
    """m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2.

    w <- w - learning_rate M / (sqrt(V) + epsilon) with M = m / (1 - beta1^t), V = v / (1 - beta2^t). `amsgrad` takes
    the largest v so far for v. State: `first_moment` m, `second_moment` v, `largest_second_moment` if there is one.
    """

    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Small = 1e-8
    amsgrad: bool = False

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ("first_moment", "second_moment", *["largest_second_moment"] * self.amsgrad)


class Adamw(Adam):
    """Adam from w - learning_rate weight_decay w in the place of w."""

    weight_decay: Small = 0.01


class Adamax(Updating):
    """m <- beta1 m + (1 - beta1) g; u <- max(beta2 u, |g| + epsilon); w <- w - learning_rate m / ((1 - beta1^t) u).

    State: `first_moment` m, `infinity_norm` u.
    """

    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Positive = 1e-8

    @property
    def state(self) -> tuple[str, ...]:
        """What it remembers of each parameter."""
        return ("first_moment", "infinity_norm")


Optimizer = Annotated[Sgd | Momentum | Lion | Adagrad | Adadelta | Rmsprop | Adam | Adamw | Adamax, OneOf()]


class Batch(Concept):
    """`size` samples a step, `sequential` or `shuffled` anew every epoch; `last` tells what becomes of a short rest."""

    size: Count
    order: Literal["sequential", "shuffled"] = "sequential"
    last: Literal["keep", "drop"] = "keep"


class Training(Concept):
    """`steps` updates, or `epochs` passes over the data; without `batch` every step sees all samples."""

    steps: Count | None = None
    epochs: Count | None = None
    batch: Batch | None = None
    optimizer: Optimizer


# ---------------------------------------------------------------- what is expected


class Published(Concept):
    """A number printed elsewhere. It is met within half a unit of its last printed place (and the pairwise tolerance).

    `tensor` is `loss`, `output`, `value/LAYER`, `cotangent/LAYER`, `gradient/PARAM`, `parameter/PARAM`, `update/PARAM`
    or `state/NAME/PARAM`. Quantities of step k are taken before its update; `parameter` and `state`, and `output` and
    `loss` after the last step, at k mean after k updates. `index` picks an element or a row, the printed number is
    `scale` times the tensor, and `wrong` says why a number is wrong at its source. A batch has as many rows as it has
    samples, without padding; axes of length 1 may be left out of `value`.
    """

    tensor: Line
    step: Annotated[int, Field(ge=0)]
    value: Printed
    index: list[int] | None = None
    scale: float = 1.0
    source: Line
    wrong: Line | None = None


class Tolerance(Concept):
    """|actual - desired| <= atol + rtol * |desired| between two free runs; atol is rtol * max|desired| unless given."""

    rtol: Annotated[float, Field(ge=0)]
    atol: Annotated[float, Field(ge=0)] | None = None


class Record(Concept):
    """Which steps a run leaves on record: every so many, from step 0, the last, and those that `published` names."""

    every: Count


# ---------------------------------------------------------------- the case


def _named(network: list[Layer]) -> list[Layer]:
    """Give the n-th layer of a kind the name KINDn, unless it has one."""
    seen: Counter[str] = Counter()
    seen_before = (seen.update([layer.kind]) or seen[layer.kind] for layer in network)
    return [
        layer if layer.name else layer.model_copy(update={"name": f"{layer.kind}{n}"})
        for layer, n in zip(network, seen_before, strict=True)
    ]


class Case(Concept):
    """One training scenario. Without `training` it asks for the gradients at the initial parameters."""

    title: Line
    source: Line | None = None
    note: str | None = None
    dtypes: Annotated[list[Dtype], Field(min_length=1)]
    network: Annotated[list[Layer], Field(min_length=1), AfterValidator(_named)]
    parameters: dict[str, Parameter] = {}
    random: Random | None = None
    data: Data
    loss: Loss
    training: Training | None = None
    record: Record | None = None
    published: list[Published] = []
    tolerance: dict[Dtype, Tolerance] = {}

    _path: Path = PrivateAttr(default=CASES / "unnamed.yaml")

    @property
    def name(self) -> str:
        """The file's path without `cases/` and `.yaml`."""
        path = self._path.resolve()
        inside = path.is_relative_to(CASES)
        return (path.relative_to(CASES) if inside else self._path).with_suffix("").as_posix()

    @property
    def widths(self) -> dict[str, int]:
        """The number of units of `input` and of every layer, in order."""
        return layer_widths(self.network, np.shape(self.data.inputs)[1])

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, in the order of the layers."""
        shapes, before = {}, self.widths.values()
        for layer, width in zip(self.network, before, strict=False):
            shapes |= {f"{layer.name}.{name}": shape for name, shape in layer.parameter_shapes(width).items()}
        return shapes

    @property
    def batch(self) -> Batch:
        """How the samples are split; all of them at once unless the case says otherwise."""
        return (self.training and self.training.batch) or Batch(size=len(self.data.inputs))

    @property
    def steps_per_epoch(self) -> int:
        """How many batches one pass over the samples yields."""
        samples, size = len(self.data.inputs), self.batch.size
        return samples // size if self.batch.last == "drop" else -(-samples // size)

    @property
    def steps(self) -> int:
        """How many steps the run takes; one, which changes nothing, without `training`."""
        if self.training is None:
            return 1
        return self.training.steps or self.training.epochs * self.steps_per_epoch


def layer_widths(network: Iterable[Layer], features: int) -> dict[str, int]:
    """The number of units of `input` and of every layer, in order."""
    widths = {"input": features}
    for layer in network:
        features = getattr(layer, "units", features)
        widths[layer.name] = features
    return widths
