"""The layers of a network: one class a layer, its docstring the normative meaning, at kinks too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from backproof.cases.format.concept import Concept, Count, Name, Positive, Share
from backproof.cases.format.fields import Array, OneOf


class LayerConcept(Concept):
    """A layer: y of the value x before it."""

    name: Name | None = None

    def parameter_shapes(self, _: int) -> dict[str, tuple[int, ...]]:
        """The shapes of its own parameters for inputs of a width; mostly there are none."""
        return {}

    @property
    def operands(self) -> tuple[str, ...]:
        """The arguments that it is differentiated by as well: parameters by path, or layers."""
        return ()

    def arguments(self, _: Mapping[str, Any]) -> tuple:
        """What its function takes behind x, out of all numbers by name: mostly its settings, in order."""
        return tuple(value for name, value in self if name != "name")


class Dense(LayerConcept):
    """y = x W + b, with W `NAME.weight` (in, units) and b `NAME.bias` (units,)."""

    units: Count
    bias: bool = True

    def parameter_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The shapes of its own parameters for inputs of that width."""
        return {"weight": (width, self.units)} | ({"bias": (self.units,)} if self.bias else {})


class Skip(LayerConcept):
    """y = x + s, s the value of `source`, a layer before or `input`, of the same width: a residual connection."""

    source: Name

    @property
    def operands(self) -> tuple[str, ...]:
        """The other layer."""
        return (self.source,)

    def arguments(self, numbers: Mapping[str, Any]) -> tuple:
        """The value of the other layer."""
        return (numbers[self.source],)


class Dropout(LayerConcept):
    """y = m x / (1 - rate), of masks m of 0 and 1; y = x where the output of all samples is taken after the last step.

    `mask` is one for every step, (samples of a batch, units), or one for each step in turn, (steps, samples of a batch,
    units). Without it the masks are drawn, anew for each step, 1 with the probability 1 - rate.
    """

    rate: Share
    mask: Array | None = None

    def arguments(self, numbers: Mapping[str, Any]) -> tuple:
        """The mask of the step, None after the last one; and the rate."""
        return numbers.get(f"{self.name}.mask"), self.rate


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
    """y = x where x > 0, else s x, with the derivative s at x = 0; s is trained, `NAME.slope` (1,), or (units,).

    `shared` tells whether all units have one slope or each its own.
    """

    shared: bool = True

    def parameter_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The shapes of its own parameters for inputs of that width."""
        return {"slope": (1 if self.shared else width,)}

    @property
    def operands(self) -> tuple[str, ...]:
        """The slope."""
        return (f"{self.name}.slope",)

    def arguments(self, numbers: Mapping[str, Any]) -> tuple:
        """The slope."""
        return (numbers[f"{self.name}.slope"],)


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


# ---------------------------------------------------------------- any layer

Layer = Annotated[Union[Dense, Skip, Dropout, *Activation.__subclasses__()], OneOf("layer", "layers", "layers")]
