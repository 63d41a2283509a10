"""The activations, which keep the shape: a class each, its docstring the norm, at kinks too."""

from __future__ import annotations

from typing import ClassVar, Literal

from backproof.cases.format.concept import Positive
from backproof.cases.format.layers.layer import LayerConcept, Shape


class Activation(LayerConcept):
    """A layer whose units are those of the layer before it; elementwise but for the softmaxes."""


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
    """y = x where x > 0, else s x, with the derivative s at x = 0; s is trained, `NAME.slope`.

    `shared` tells whether all units have one slope, (1,), or each its own, (units,).
    """

    shaping: ClassVar[tuple[str, ...]] = ("shared",)

    shared: bool = True

    def parameters(self, *before: Shape) -> dict[str, Shape]:
        """Return the shape of the slope."""
        return {"slope": (1 if self.shared else before[0][-1],)}


class Elu(Activation):
    """y = x where x > 0, else alpha (exp(x) - 1), with the derivative alpha at x = 0."""

    alpha: Positive = 1.0


class Selu(Activation):
    """y = c elu(x), alpha = 1.6732632423543772, c = 1.0507009873554805; at x = 0 the derivative is c alpha."""  # noqa: E501


class Celu(Activation):
    """y = max(x, 0) + min(alpha (exp(x / alpha) - 1), 0); its derivative has no jump."""

    alpha: Positive = 1.0


class Gelu(Activation):
    """y = x Phi(x), or with `tanh` y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    Phi is the cumulative distribution function of the normal distribution.
    """

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
