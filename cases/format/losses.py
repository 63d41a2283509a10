"""The losses and penalties: one class each, its docstring the normative meaning, at kinks too."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from backproof.cases.format.added import added
from backproof.cases.format.concept import Concept, Positive
from backproof.cases.format.fields import OneOf

OF_SIGNS = ("hinge", "squared_hinge")  # losses whose targets are -1 or 1


class Criterion(Concept):
    """L = factor * sum of terms over a batch, one an output and sample unless it says `a sample`.

    `mean` divides the sum by the number of terms, `batch_mean` by the number of samples. An output
    with positions has the terms of a sample at each of them.
    """

    by_sample: ClassVar[bool] = False
    by_class: ClassVar[bool] = False  # targets may be class indices
    factor: Positive = 1.0
    reduction: Literal["sum", "mean", "batch_mean"]


class WeightedSum(Criterion):
    """Terms t y: the targets are the cotangent of the output."""


class WeightedSquares(Criterion):
    """Terms t y^2."""


class SquaredError(Criterion):
    """Terms (y - t)^2."""


class AbsoluteError(Criterion):
    """Terms |y - t|, with the derivative 0 at y = t."""


class Huber(Criterion):
    """Terms d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), of d = y - t."""

    delta: Positive = 1.0


class SmoothL1(Criterion):
    """Terms d^2 / (2 beta) where |d| <= beta, else |d| - beta / 2, of d = y - t: Huber's / beta."""

    beta: Positive = 1.0


class LogCosh(Criterion):
    """Terms log(cosh(y - t))."""


class BinaryCrossEntropy(Criterion):
    """Terms -(t log(y) + (1 - t) log(1 - y)), of probabilities y, unclamped; 0 log 0 = 0."""


class SigmoidBinaryCrossEntropy(Criterion):
    """Terms -(t log(sigmoid(y)) + (1 - t) log(1 - sigmoid(y))), of logits y."""


class ByClass(Criterion):
    """A term a sample, of a class index or a distribution t over the classes.

    `class_weights` has a number a class.
    """

    by_sample: ClassVar[bool] = True
    by_class: ClassVar[bool] = True
    class_weights: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] | None = None


class SoftmaxCrossEntropy(ByClass):
    """A term -sum_c w_c s_c log(softmax(y)_c) a sample, of logits y and s = (1 - e) t + e / C.

    e is the `label_smoothing`, C the number of classes, w are the `class_weights`; with them `mean`
    divides by the sum of w t over the batch.
    """

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class NegativeLogLikelihood(ByClass):
    """A term -sum_c w_c t_c y_c a sample, of log probabilities y and `class_weights` w.

    With them `mean` divides as in softmax_cross_entropy.
    """


class KlDivergence(Criterion):
    """Terms t (log(t) - y), 0 where t = 0, of logarithms y of probabilities and probabilities t."""


class Poisson(Criterion):
    """Terms exp(y) - t y, of the logarithm y of a rate."""


class Hinge(Criterion):
    """Terms max(0, 1 - t y), of t = -1 or 1, with the derivative 0 at t y = 1."""


class SquaredHinge(Criterion):
    """Terms max(0, 1 - t y)^2, of t = -1 or 1."""


class GaussianNll(Criterion):
    """Terms (s + (m - t)^2 exp(-s)) / 2, of means m and log variances s.

    The first half of the outputs are m, the others s.
    """


class Cosine(Criterion):
    """A term 1 - y.t / (|y| |t|) a sample, of vectors that are not 0."""

    by_sample: ClassVar[bool] = True


OURS: tuple[type[Criterion], ...] = (
    WeightedSum, WeightedSquares, SquaredError, AbsoluteError, Huber, SmoothL1, LogCosh,
    BinaryCrossEntropy, SigmoidBinaryCrossEntropy, SoftmaxCrossEntropy, NegativeLogLikelihood,
    KlDivergence, Poisson, Hinge, SquaredHinge, GaussianNll, Cosine,
)  # fmt: skip
ADDED = added("backproof.losses", Criterion, OURS)
KINDS: dict[str, type[Criterion]] = {loss.kind: loss for loss in (*OURS, *ADDED)}
Loss = Annotated[Criterion, OneOf("loss", "losses", "losses", (*KINDS.values(),))]


# ---------------------------------------------------------------- penalties


class Parametric(Concept):
    """A term of the loss that depends on some parameters alone."""

    coefficient: Positive
    parameters: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class L1(Parametric):
    """coefficient * sum of |w| over these parameters, with the derivative 0 at w = 0."""


class L2(Parametric):
    """coefficient * sum of w^2 over these parameters."""


Penalty = Annotated[L1 | L2, OneOf("penalty", "penalties", "penalties")]
