"""The hand-written derivatives, proved from forward passes alone.

This oracle shares no derivative rule with `reference/`. It writes each forward pass down a second time, as a textbook
does, and feeds it with power series x + t whose coefficients are balls: the coefficient of t in the result *is* the
derivative, f(x + t) = f(x) + f'(x) t + ..., enclosed rigorously (`arb_series`; F. Johansson, *Arb*, IEEE Transactions
on Computers, 2017). A layer or a loss that has no such line here is proved by the difference quotient of the
reference's own forward pass, (f(x + h) - f(x - h)) / 2h with h = 1e-60.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, product
from typing import Any, Literal, NamedTuple, get_args, get_origin

import flint
import numpy as np
from flint import arb, arb_series

from backproof.cases.format.concept import Concept
from backproof.cases.format.layers import Activation, Dense, Dropout, Layer, Skip
from backproof.cases.format.losses import Loss
from backproof.cases.problem import Problem
from backproof.reference.formulas.layers import layer_backward, layer_forward
from backproof.reference.formulas.losses import loss_backward, loss_forward
from backproof.reference.numbers.balls import balls, working_precision
from backproof.reference.training import backward, forward, operands, total_loss, trained
from backproof.report.telling.cells import table
from tests.trial.examples import problem_of
from tests.trial.scenarios import members

BITS, DIGITS, SHOWN_DIGITS = 700, 20, 100
STEP = "1e-60"
SERIES, QUOTIENT = "series", "difference quotient"

# ---------------------------------------------------------------- forward passes, as a textbook has them

exp = np.frompyfunc(lambda x: x.exp(), 1, 1)
log = np.frompyfunc(lambda x: x.log(), 1, 1)
sqrt = np.frompyfunc(lambda x: x.sqrt(), 1, 1)
Phi = np.frompyfunc(lambda x: (1 + (x * arb(0.5).sqrt()).erf()) / 2, 1, 1)
positive_part = np.frompyfunc(lambda x: x if x[0] > 0 else 0 * x, 1, 1)


def tanh(x):
    """(e²ˣ - 1) / (e²ˣ + 1)."""
    return (exp(2 * x) - 1) / (exp(2 * x) + 1)


def clip(x, low, high):
    """low below low, high above high."""
    return low + positive_part(x - low) - positive_part(x - high)


def elu(x, alpha):
    """x, or alpha (eˣ - 1)."""
    return positive_part(x) + ball(alpha) * (exp(-positive_part(-x)) - 1)


def gelu(x, approximate):
    """x Φ(x), or with a tanh."""
    if approximate == "none":
        return x * Phi(x)
    return x * (1 + tanh((2 / arb.pi()).sqrt() * (x + ball(0.044715) * x * x * x))) / 2


TEXTBOOK_LAYERS = {
    "sigmoid": lambda x: 1 / (1 + exp(-x)),
    "tanh": tanh,
    "softsign": lambda x: x / (1 + positive_part(x) + positive_part(-x)),
    "softplus": lambda x, beta: log(1 + exp(ball(beta) * x)) / ball(beta),
    "log_sigmoid": lambda x: log(1 / (1 + exp(-x))),
    "relu": positive_part,
    "leaky_relu": lambda x, slope: positive_part(x) - slope * positive_part(-x),
    "prelu": lambda x, slope: positive_part(x) - slope * positive_part(-x),
    "relu6": lambda x: clip(x, 0, 6),
    "hard_tanh": lambda x: clip(x, -1, 1),
    "hard_sigmoid": lambda x: clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * clip(x + 3, 0, 6) / 6,
    "elu": elu,
    "celu": lambda x, alpha: positive_part(x) + ball(alpha) * (exp(-positive_part(-x) / ball(alpha)) - 1),
    "selu": lambda x: ball(1.0507009873554805) * elu(x, 1.6732632423543772),
    "silu": lambda x: x / (1 + exp(-x)),
    "mish": lambda x: x * tanh(log(1 + exp(x))),
    "gelu": gelu,
    "softmax": lambda x: exp(x) / exp(x).sum(axis=-1, keepdims=True),
    "log_softmax": lambda x: x - log(exp(x).sum(axis=-1, keepdims=True)),
    "identity": lambda x: x,
    "skip": lambda x, other: x + other,
    "dropout": lambda x, mask, rate: x * plain(mask) / (1 - ball(rate)),
}


def absolute(x):
    """|x|."""
    return positive_part(x) + positive_part(-x)


def huber(d, delta):
    """d² / 2, less (|d| - delta)² / 2 beyond delta."""
    return (d * d - positive_part(absolute(d) - delta) ** 2) / 2


TEXTBOOK_PENALTIES = {"l1": absolute, "l2": lambda w: w * w}


def weighted(loss: Loss, t):
    """Targets times the weight of their class."""
    return t if loss.class_weights is None else t * np.array([ball(weight) for weight in loss.class_weights])


def smoothed(loss: Loss, t):
    """(1 - e) t + e / C, times the weight of the class."""
    return weighted(loss, (1 - ball(loss.label_smoothing)) * t + ball(loss.label_smoothing) / t.shape[-1])


def gaussian(_, y, t):
    """(s + (m - t)² / exp(s)) / 2."""
    m, s = np.split(y, 2, axis=-1)
    return (s + (m - t) * (m - t) * exp(-s)) / 2


def length(x):
    """The Euclidean norm of a row."""
    return sqrt((x * x).sum(axis=-1))


TEXTBOOK_TERMS = {
    "weighted_sum": lambda _, y, t: t * y,
    "weighted_squares": lambda _, y, t: t * y * y,
    "squared_error": lambda _, y, t: (y - t) * (y - t),
    "absolute_error": lambda _, y, t: absolute(y - t),
    "huber": lambda loss, y, t: huber(y - t, ball(loss.delta)),
    "smooth_l1": lambda loss, y, t: huber(y - t, ball(loss.beta)) / ball(loss.beta),
    "log_cosh": lambda _, y, t: log((exp(y - t) + exp(t - y)) / 2),
    "binary_cross_entropy": lambda _, y, t: -(t * log(y) + (1 - t) * log(1 - y)),
    "sigmoid_binary_cross_entropy": lambda _, y, t: t * log(1 + exp(-y)) + (1 - t) * log(1 + exp(y)),
    "softmax_cross_entropy": lambda loss, y, t: (
        -(smoothed(loss, t) * log(exp(y) / exp(y).sum(axis=-1, keepdims=True))).sum(axis=-1)
    ),
    "negative_log_likelihood": lambda loss, y, t: -(weighted(loss, t) * y).sum(axis=-1),
    "kl_divergence": lambda _, y, t: t * (log(t) - y),
    "poisson": lambda _, y, t: exp(y) - t * y,
    "hinge": lambda _, y, t: positive_part(1 - t * y),
    "squared_hinge": lambda _, y, t: positive_part(1 - t * y) ** 2,
    "gaussian_nll": gaussian,
    "cosine": lambda _, y, t: 1 - (y * t).sum(axis=-1) / (length(y) * length(t)),
}


def textbook_loss(loss: Loss, y, t):
    """The factor times the sum of the terms, divided by what the schema says."""
    terms = TEXTBOOK_TERMS[loss.kind](loss, y, t)
    numbers = {"sum": 1, "mean": terms.size, "batch_mean": len(y)}
    number = numbers[loss.reduction]
    if loss.reduction == "mean" and loss.by_class and loss.class_weights:
        number = weighted(loss, t).sum()
    return ball(loss.factor) * terms.sum() / number


def plain(numbers: np.ndarray) -> np.ndarray:
    """An ordinary object array."""
    return numbers.view(np.ndarray)


def textbook_layer(layer: Layer, numbers: dict, x):
    """The value of a layer; x is (samples, units) of any kind of number."""
    if not isinstance(layer, Dense):
        return TEXTBOOK_LAYERS[layer.kind](x, *layer.arguments(numbers))
    y = x @ numbers[f"{layer.name}.weight"]
    return y + numbers[f"{layer.name}.bias"] if layer.bias else y


# ---------------------------------------------------------------- what is proved


class Subject(NamedTuple):
    """A scalar function of some arrays by name: by the textbook if it is there, and by the reference.

    `backward` gives the reference's derivative by each of the arrays.
    """

    what: str
    arrays: dict[str, np.ndarray]
    textbook: Callable[[dict], Any] | None
    forward: Callable[[dict], Any]
    backward: Callable[[dict], dict]


def subjects() -> Iterator[Subject]:
    """Every layer and every loss with all its settings, networks of every activation, and what layers may share."""
    for layer in (*every_setting(Dense), *activations()):
        yield _layer(layer)
    yield _layer(Skip(name="skip", source="other"), other=_draw(3, 2, seed=9))
    yield _layer(Dropout(name="dropout", rate=0.3), given={"dropout.mask": np.array([[1.0, 0], [0, 1], [1, 1]])})
    for loss in criteria():
        yield _loss(loss)
    yield from _networks()
    yield _whole_problem(problem_of("shared", "float64"))


def every_setting(kind: type[Concept]) -> Iterator[Concept]:
    """A concept with each choice of its settings, and some number for a number."""
    fields = [
        [(name, value) for value in _values(field)] for name, field in kind.model_fields.items() if name != "name"
    ]
    for settings in product(*fields):
        named = {"name": kind.kind} if "name" in kind.model_fields else {}
        yield kind(**dict(settings), **named)


def activations() -> list[Layer]:
    """Every activation, with each choice of its settings."""
    return [layer for kind in members(Layer) if issubclass(kind, Activation) for layer in every_setting(kind)]


def rules_of(layer: Layer) -> tuple[Callable, Callable]:
    """The value of a layer as a function of x and its own parameters; and its derivatives by them, of dy as well."""

    def parameters(own: tuple) -> dict:
        return {f"{layer.name}.{name}": array for name, array in zip(layer.parameter_shapes(1), own, strict=True)}

    def value(x, *own):
        return layer_forward(layer, parameters(own), x)

    def derivatives(x, *own_and_dy):
        *own, dy = own_and_dy
        dx, gradients = layer_backward(layer, parameters(own), x, value(x, *own), dy)
        return dx, *gradients.values()

    return value, derivatives


def name_of(layer: Layer | Loss) -> str:
    """Its kind and its settings."""
    settings = ", ".join(f"{name} {value}" for name, value in layer if name != "name")
    return f"{layer.kind}{f' ({settings})' if settings else ''}"


def _values(field) -> tuple:
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    if field.default is None:
        return (None, (0.3, 1.7))  # a number for each of two classes
    known = {bool: (False, True), float: (0.3,), int: (2,)}
    if field.annotation not in known:
        raise TypeError(f"no value for a setting of type {field.annotation}: tests/trial/oracle.py needs one")
    return known[field.annotation]


def _draw(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _layer(layer: Layer, given: dict | None = None, **others: np.ndarray) -> Subject:
    """Σ dy · layer(x), for some cotangent dy; of `others` by name too, and with what is `given` as a constant."""
    arrays = {"input": _draw(3, 2, seed=1)} | others | _parameters(layer, 2, seed=2)
    constants = {name: balls(array) for name, array in (given or {}).items()}
    units = layer.units if isinstance(layer, Dense) else 2
    dy = balls(_draw(3, units, seed=3))

    def back(numbers: dict) -> dict:
        x, numbers = numbers["input"], numbers | constants
        dx, gradients = layer_backward(layer, numbers, x, layer_forward(layer, numbers, x), dy)
        return {"input": dx} | gradients

    known = layer.kind in TEXTBOOK_LAYERS or isinstance(layer, Dense)
    return Subject(
        name_of(layer).replace(layer.kind, f"{layer.kind} layer", 1),
        arrays,
        (lambda numbers: (textbook_layer(layer, numbers | constants, numbers["input"]) * plain(dy)).sum())
        if known
        else None,
        lambda numbers: (layer_forward(layer, numbers | constants, numbers["input"]) * dy).sum(),
        back,
    )


def criteria() -> list[Loss]:
    """Every loss with each choice of its settings."""
    return [loss for kind in members(Loss) for loss in every_setting(kind)]


def targets_for(loss: Loss, numbers: np.ndarray) -> np.ndarray:
    """Numbers as the loss takes them for targets."""
    match loss.kind:
        case "hinge" | "squared_hinge":
            return np.where(numbers < 0, -1.0, 1.0).astype(numbers.dtype)
        case "binary_cross_entropy" | "sigmoid_binary_cross_entropy":
            return np.abs(np.sin(numbers))
        case "kl_divergence" | "softmax_cross_entropy" | "negative_log_likelihood":
            return np.abs(numbers)
        case "gaussian_nll":
            return numbers[..., : numbers.shape[-1] // 2]
    return numbers


def outputs_for(loss: Loss, numbers: np.ndarray) -> np.ndarray:
    """Numbers as the loss takes them for outputs: probabilities, or any."""
    return 0.5 + 0.49 * np.sin(numbers) if loss.kind == "binary_cross_entropy" else numbers


def _loss(loss: Loss) -> Subject:
    t = balls(targets_for(loss, _draw(3, 2, seed=4)))
    known = loss.kind in TEXTBOOK_TERMS
    return Subject(
        name_of(loss),
        {"output": outputs_for(loss, _draw(3, 2, seed=5))},
        (lambda numbers: textbook_loss(loss, numbers["output"], plain(t))) if known else None,
        lambda numbers: loss_forward(loss, numbers["output"], t),
        lambda numbers: {"output": loss_backward(loss, numbers["output"], t)},
    )


# ---------------------------------------------------------------- networks

OF_ANY_OUTPUTS = {
    "squared_error",
    "huber",
    "log_cosh",
    "sigmoid_binary_cross_entropy",
    "softmax_cross_entropy",
    "poisson",
}
WIDTHS = [  # features and units: a neuron, a square weight, a bottleneck, depth
    (1, 1), (2, 3), (3, 3), (3, 3, 3), (2, 3, 1), (3, 1, 2), (2, 2, 2, 2), (2, 3, 2, 3, 1),
]  # fmt: skip


def _networks() -> Iterator[Subject]:
    """Networks of one activation at every width, and of all in turn; batches of one and of three, with bias or not."""
    losses = cycle(
        [loss for loss in criteria() if loss.kind in OF_ANY_OUTPUTS and not getattr(loss, "class_weights", None)]
    )
    others = [kind for kind in members(Layer) if issubclass(kind, Activation)]
    for kinds in (*([kind] for kind in others), others):
        what = f"networks of {kinds[0].kind if len(kinds) == 1 else 'every activation in turn'}"
        for (features, *units), samples, bias in zip(WIDTHS, cycle([1, 3]), cycle([True, True, False]), strict=False):
            network = [
                layer for i, (n, kind) in enumerate(zip(units, cycle(kinds), strict=False))
                for layer in (Dense(name=f"dense{i}", units=n, bias=bias), next(every_setting(kind)))
            ]  # fmt: skip
            named = tuple(layer.model_copy(update={"name": f"layer{i}"}) for i, layer in enumerate(network))
            yield _network(what, named, features, samples, next(losses))


def _network(what: str, network: tuple[Layer, ...], features: int, samples: int, loss: Loss) -> Subject:
    arrays, width = {"input": _draw(samples, features, seed=6)}, features
    for layer in network:
        arrays |= _parameters(layer, width, seed=len(arrays))
        width = layer.units if isinstance(layer, Dense) else width
    t, last = balls(targets_for(loss, _draw(samples, width, seed=7))), network[-1].name

    def textbook(numbers: dict):
        y = numbers["input"]
        for layer in network:
            y = textbook_layer(layer, numbers, y)
        return textbook_loss(loss, y, plain(t))

    def back(numbers: dict) -> dict:
        values = forward(network, numbers, numbers["input"])
        cotangents, gradients = backward(network, numbers, values, loss_backward(loss, values[last], t))
        return {"input": cotangents["input"]} | gradients

    return Subject(
        what,
        arrays,
        textbook if _is_known(network, loss) else None,
        lambda numbers: loss_forward(loss, forward(network, numbers, numbers["input"])[last], t),
        back,
    )


def _whole_problem(problem: Problem) -> Subject:
    """The whole loss of step 0: skips, masks, tied and frozen parameters, penalties."""
    rows, last = problem.batches[0][problem.batches[0] >= 0], problem.network[-1].name
    t, frozen = balls(problem.targets[rows]), set(problem.parameters) - {*problem.trained}
    masks = {name: balls(mask[: len(rows)]) for name, mask in problem.masks_at(0).items()}
    constants = {path: balls(problem.parameters[path]) for path in frozen}

    def textbook(numbers: dict):
        known = {name: plain(array) for name, array in (numbers | masks).items()}
        known |= {name: _series(array) for name, array in constants.items()}
        for path, tie in problem.tied.items():
            known[path] = known[tie.parameter].T if tie.transposed else known[tie.parameter]
        y = known["input"]
        for layer in problem.network:
            y = known[layer.name] = textbook_layer(layer, known, y)
        penalty = sum(
            ball(penalty.coefficient) * TEXTBOOK_PENALTIES[penalty.kind](known[path]).sum()
            for penalty in problem.penalties
            for path in penalty.parameters
        )
        return textbook_loss(problem.loss, y, plain(t)) + penalty

    def by_reference(numbers: dict) -> tuple:
        parameters = numbers | constants
        given = operands(problem, parameters, masks)
        return parameters, given, forward(problem.network, given, numbers["input"])

    def value(numbers: dict):
        parameters, _, values = by_reference(numbers)
        return total_loss(problem, parameters, values[last], t)

    def back(numbers: dict) -> dict:
        parameters, given, values = by_reference(numbers)
        cotangents, gradients = backward(problem.network, given, values, loss_backward(problem.loss, values[last], t))
        return {"input": cotangents["input"]} | trained(problem, parameters, gradients, problem.trained)

    arrays = {"input": problem.inputs[rows]} | {path: problem.parameters[path] for path in problem.trained}
    known = textbook if _is_known(problem.network, problem.loss) else None
    return Subject("skips, masks, tied and frozen parameters, penalties", arrays, known, value, back)


def _is_known(network: tuple[Layer, ...], loss: Loss) -> bool:
    """The textbook has a line for each of its kinds."""
    return {layer.kind for layer in network} <= {*TEXTBOOK_LAYERS, Dense.kind} and loss.kind in TEXTBOOK_TERMS


def _parameters(layer: Layer, width: int, seed: int) -> dict[str, np.ndarray]:
    shapes = enumerate(layer.parameter_shapes(width).items())
    return {f"{layer.name}.{name}": _draw(*shape, seed=seed + 100 * i) for i, (name, shape) in shapes}


# ---------------------------------------------------------------- the definition of the derivative


class Proof(NamedTuple):
    """One derivative: where it is, and whether the reference's agrees with the definition's, to how many digits."""

    where: str
    agrees: bool
    digits: float


def ball(number: float) -> arb:
    """The number as it is, without error."""
    return arb(number)


def prove(subject: Subject, method: str = "") -> list[Proof]:
    """Compare the reference's value and every derivative with the definition's; `method` is the best one by default."""
    method = method or method_of(subject)
    with working_precision(BITS), _two_coefficients():
        numbers = {name: balls(array) for name, array in subject.arrays.items()}
        derivatives = subject.backward(numbers)
        if derivatives.keys() != numbers.keys():
            raise LookupError(f"{subject.what}: expected derivatives by {[*numbers]}, found {[*derivatives]}")
        proofs = [
            _agreement(
                f"{name}{[*at]}", derivatives[name][at], _derivative(subject, method, numbers, name, at),
                enclosed=method == SERIES,
            )
            for name, array in subject.arrays.items() for at in np.ndindex(array.shape)
        ]  # fmt: skip
        if method == SERIES:
            value = subject.textbook({name: _series(array) for name, array in numbers.items()})
            proofs.append(_agreement("value", subject.forward(numbers), value[0], enclosed=True))
    return proofs


def method_of(subject: Subject) -> str:
    """Series where the textbook's forward pass is written down, else difference quotients."""
    return SERIES if subject.textbook else QUOTIENT


@contextmanager
def _two_coefficients() -> Iterator[None]:
    before, flint.ctx.cap = flint.ctx.cap, 2
    try:
        yield
    finally:
        flint.ctx.cap = before


def _derivative(subject: Subject, method: str, numbers: dict, name: str, at: tuple[int, ...]) -> arb:
    """The derivative by one element."""
    if method == SERIES:
        moved = {other: _series(array, at if other == name else None) for other, array in numbers.items()}
        return subject.textbook(moved)[1]
    h = np.full(numbers[name].shape, arb(0), dtype=object)
    h[at] = arb(STEP)
    above, below = (subject.forward(numbers | {name: numbers[name] + step}) for step in (balls(h), balls(-h)))
    return (_ball_of(above) - _ball_of(below)) / (2 * arb(STEP))


def _series(array: np.ndarray, at: tuple | None = None) -> np.ndarray:
    """The numbers as power series in t: constants, but x + t at one place."""
    series = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        series[index] = arb_series([array[index], 1 if index == at else 0])
    return series


def _ball_of(scalar) -> arb:
    return np.asarray(scalar, dtype=object).item()


def _agreement(where: str, by_reference, by_definition: arb, *, enclosed: bool) -> Proof:
    """Two enclosures must overlap; the digits count the distance and both radii."""
    by_reference = _ball_of(by_reference)
    error = float(abs(by_reference - by_definition).upper() / (1 + abs(by_definition).lower()))
    digits = -np.log10(error) if error > 0 else np.inf
    agrees = digits >= DIGITS and (not enclosed or by_reference.overlaps(by_definition))
    return Proof(where, bool(agrees), digits)


# ---------------------------------------------------------------- what is told


def section() -> str:
    """The counts in a sentence, and a table of what was proved how."""
    proofs: dict[tuple[str, str], list[list[Proof]]] = {}
    for subject in subjects():
        proofs.setdefault((subject.what, method_of(subject)), []).append(prove(subject))
    every = [proof for group in proofs.values() for one in group for proof in one]
    agreeing = sum(proof.agrees for proof in every)
    headline = (
        f"**{agreeing:,} of {len(every):,} hand-written values and derivatives agree with the definition of the "
        f"derivative, from forward passes alone, to {_shown(every)} digits or more.**"
    )
    rows = [
        [what, len(group), method, sum(map(len, group)), _shown([proof for one in group for proof in one])]
        for (what, method), group in proofs.items()
    ]
    about = (
        f"By series: the balls of both overlap. Digits are counted up to {SHOWN_DIGITS}, radii and all; {DIGITS} would "
        f"do. A relu is proved on both sides of its kink; at the kink its derivative is 0 by convention."
    )
    headers = ["what", "how many", "method", "values and derivatives", "digits"]
    return f"{headline}\n\n{about}\n\n{table(rows, headers)}\n"


def _shown(proofs: list[Proof]) -> int:
    return int(min(SHOWN_DIGITS, *(proof.digits for proof in proofs)))
