"""Wrong rules for the activations, on the network of their family or on the one whose samples lie on kinks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf, expit

from backproof.reference.formulas import activations as right
from tests.trial.examples import FAMILIES
from tests.trial.planting import Mutant, instead, times


def value(name: str, rule: Callable, wrong: Callable, **more) -> Mutant:
    """A wrong forward rule."""
    return _mutant(name, rule, wrong, {"noticed": "value {}"} | more)


def slope(name: str, rule: Callable, wrong: Callable, **more) -> Mutant:
    """A wrong backward rule, noticed in the cotangent of the dense layer before."""
    return _mutant(name, rule, wrong, {"noticed": "cotangent of_{}"} | more)


def _mutant(name: str, rule: Callable, wrong: Callable, more: dict) -> Mutant:
    kind = next(kind for kind, rules in right.ACTIVATIONS.items() if rule in rules)
    family = next(family for family, kinds in FAMILIES.items() if kind in kinds)
    more |= {"noticed": more["noticed"].format(kind)}
    return Mutant(f"{kind}: {name}", rule, wrong, **{"on": family} | more)


def softplus(x):
    """log(1 + eˣ)."""
    return np.logaddexp(x, 0)


def over_samples(formula: Callable) -> Callable:
    """A softmax along the wrong axis."""
    return lambda _: lambda x: formula(x.T).T


ON_KINKS = {"on": "kinks"}

ACTIVATION_MUTANTS = [
    value("1 + x for 1 + |x|", right.softsign_forward, instead(lambda x: x / (1 + x))),
    value("squared denominator", right.softsign_forward, instead(lambda x: x / (1 + abs(x)) ** 2)),
    slope("denominator not squared", right.softsign_backward, instead(lambda x, y, dy: dy / (1 + abs(x)))),
    slope("of its output", right.softsign_backward, instead(lambda x, y, dy: dy / (1 + abs(y)) ** 2)),
    value("not divided by beta", right.softplus_forward, instead(lambda x, beta: 2 * softplus(x))),
    value("relu in its place", right.softplus_forward, instead(lambda x, beta: np.maximum(x, 0)),
          noticed="value softplus"),
    slope("sigmoid of its output", right.softplus_backward, instead(lambda x, y, dy, beta: dy * expit(y)),
          noticed="cotangent of_log_sigmoid"),
    slope("derivative of sigmoid in place of sigmoid", right.softplus_backward,
          instead(lambda x, y, dy, beta: dy * expit(x) * expit(-x)), noticed="cotangent of_log_sigmoid"),
    value("sign forgotten", right.log_sigmoid_forward, instead(softplus)),
    value("log of the derivative", right.log_sigmoid_forward, instead(lambda x: -softplus(-x) - softplus(x))),
    slope("sigmoid(x) for sigmoid(-x)", right.log_sigmoid_backward, instead(lambda x, y, dy: dy * expit(x))),
    slope("1 - y", right.log_sigmoid_backward, instead(lambda x, y, dy: dy * (1 - y))),
    value("slope on the wrong side", right.leaky_relu_forward, instead(lambda x, slope: np.where(x > 0, slope * x, x)),
          noticed="value leaky_relu"),
    value("slope times x everywhere", right.leaky_relu_forward, instead(lambda x, slope: np.maximum(x, 0) + slope * x)),
    slope("relu's derivative", right.leaky_relu_backward, instead(lambda x, y, dy, slope: dy * (x > 0)),
          noticed="cotangent of_prelu"),
    slope("derivative 1 at the kink", right.leaky_relu_backward,
          instead(lambda x, y, dy, slope: np.where(x >= 0, dy, slope * dy)), noticed="cotangent clipped", **ON_KINKS),
    value("slope not trained, 0.25", right.prelu_forward,
          lambda rule: lambda x, s: rule(x, 0 * s + 0.25)),
    slope("gradient of the slope without the cotangent", right.prelu_backward,
          lambda rule: lambda x, y, dy, s: (rule(x, y, dy, s)[0], np.minimum(x, 0).sum(keepdims=True)[0]),
          noticed="gradient prelu.slope"),
    slope("gradient of the slope from the positive side", right.prelu_backward,
          lambda rule: lambda x, y, dy, s: (rule(x, y, dy, s)[0], (dy * np.maximum(x, 0)).sum(keepdims=True)[0]),
          noticed="gradient prelu.slope"),
    slope("gradient of the slope averaged over the units", right.prelu_backward,
          lambda rule: lambda x, y, dy, s: (rule(x, y, dy, s)[0], rule(x, y, dy, s)[1] / 3),
          noticed="gradient prelu.slope"),
    value("cut off at 0.3", right.relu6_forward, instead(lambda x: np.clip(x, 0, 0.3))),
    slope("a slope of 2", right.relu6_backward, instead(lambda x, y, dy: dy * (x > 0) * 2 * (x < 6)),
          noticed="cotangent of_hard_swish"),
    value("not cut off below", right.hard_tanh_forward, instead(lambda x: np.minimum(x, 0.1))),
    slope("derivative 1 at the kinks", right.hard_tanh_backward, instead(lambda x, y, dy: dy * (abs(x) <= 1)),
          noticed="cotangent given", **ON_KINKS),
    slope("half a derivative at the kinks", right.hard_tanh_backward,
          instead(lambda x, y, dy: dy * np.where(abs(x) == 1, dy.dtype.type(0.5), abs(x) < 1)), noticed="cotangent given", **ON_KINKS),
    slope("tanh's derivative", right.hard_tanh_backward, instead(lambda x, y, dy: dy * (1 - y * y))),
    value("Keras', x / 5 + 1/2", right.hard_sigmoid_forward, instead(lambda x: np.clip(x / 5 + 0.5, 0, 1)),
          noticed="value hard_sigmoid"),
    slope("derivative 1/5", right.hard_sigmoid_backward, instead(lambda x, y, dy: dy * (abs(x) < 3) / 5),
          noticed="cotangent of_hard_swish"),
    value("sigmoid for hard_sigmoid", right.hard_swish_forward, instead(lambda x: x * expit(x))),
    slope("product rule forgotten", right.hard_swish_backward, instead(lambda x, y, dy: dy * np.clip(x / 6 + 0.5, 0, 1))),
    value("e^x without - 1", right.elu_forward, instead(lambda x, alpha: np.where(x > 0, x, alpha * np.exp(x))),
          noticed="value elu"),
    value("alpha forgotten", right.elu_forward, instead(lambda x, alpha: np.where(x > 0, x, np.expm1(x))),
          noticed="value smooth", **ON_KINKS),
    slope("derivative y of the negative side", right.elu_backward, instead(lambda x, y, dy, alpha: np.where(x > 0, dy, y * dy)),
          noticed="cotangent of_selu"),
    slope("derivative 1 at the kink", right.elu_backward,
          instead(lambda x, y, dy, alpha: np.where(x >= 0, dy, alpha * np.exp(x) * dy)), noticed="cotangent leaky", **ON_KINKS),
    value("exponent not divided by alpha", right.celu_forward,
          instead(lambda x, alpha: np.maximum(x, 0) + 2 * np.expm1(np.minimum(x, 0)))),
    slope("derivative of the positive side everywhere", right.celu_backward, instead(lambda x, y, dy, alpha: dy)),
    value("scale forgotten", right.selu_forward, instead(lambda x: right.elu_forward(x, right.SELU_ALPHA))),
    value("scale and alpha exchanged", right.selu_forward,
          instead(lambda x: right.SELU_ALPHA * right.elu_forward(x, right.SELU_SCALE))),
    slope("derivative of elu", right.selu_backward,
          instead(lambda x, y, dy: right.elu_backward(x, y, dy, right.SELU_ALPHA))),
    value("sigmoid alone", right.silu_forward, instead(expit)),
    value("gelu's 1.702", right.silu_forward, instead(lambda x: x * expit(1.702 * x))),
    slope("product rule forgotten", right.silu_backward, instead(lambda x, y, dy: dy * expit(x))),
    slope("y for sigmoid", right.silu_backward, instead(lambda x, y, dy: dy * (y + expit(x)))),
    slope("1 + x for 1 - y", right.silu_backward, instead(lambda x, y, dy: dy * (y + expit(x) * (1 + y)))),
    value("softplus without tanh", right.mish_forward, instead(lambda x: x * softplus(x))),
    slope("product rule forgotten", right.mish_backward, instead(lambda x, y, dy: dy * np.tanh(softplus(x)))),
    slope("sigmoid forgotten in the chain", right.mish_backward,
          instead(lambda x, y, dy: dy * (np.tanh(softplus(x)) + x * (1 - np.tanh(softplus(x)) ** 2)))),
    value("tanh form in place of erf", right.gelu_forward, lambda rule: lambda x, approximate: rule(x, "tanh")),
    value("erf(x) for erf(x / sqrt 2)", right.gelu_forward, instead(lambda x, approximate: x * (1 + erf(x)) / 2)),
    value("sigmoid(1.702 x)", right.gelu_forward, instead(lambda x, approximate: x * expit(1.702 * x))),
    slope("product rule forgotten", right.gelu_backward, instead(lambda x, y, dy, approximate: dy * (1 + erf(x / 2**0.5)) / 2)),
    slope("derivative of the tanh form", right.gelu_backward, lambda rule: lambda x, y, dy, approximate: rule(x, y, dy, "tanh")),
    value("over the samples", right.softmax_forward,
          over_samples(lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True))),
    value("of base 2", right.softmax_forward, instead(lambda x: 2**x / (2**x).sum(axis=-1, keepdims=True))),
    slope("diagonal of the Jacobian only, y (1 - y)", right.softmax_backward, instead(lambda x, y, dy: dy * y * (1 - y))),
    slope("sum without y", right.softmax_backward,
          instead(lambda x, y, dy: y * (dy - dy.sum(axis=-1, keepdims=True)))),
    slope("as of cross-entropy, y - t", right.softmax_backward, instead(lambda x, y, dy: dy)),
    value("log of a softmax over the samples", right.log_softmax_forward,
          over_samples(lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))),
    slope("sum of the cotangents forgotten", right.log_softmax_backward, instead(lambda x, y, dy: dy - np.exp(y) * dy)),
    slope("y for e^y", right.log_softmax_backward,
          instead(lambda x, y, dy: dy - y * dy.sum(axis=-1, keepdims=True))),
    slope("derivative off by 1e-4", right.log_softmax_backward, times(1 + 1e-4)),
]  # fmt: skip
