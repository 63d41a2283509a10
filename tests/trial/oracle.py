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
from itertools import cycle, islice, product
from typing import Any, Literal, NamedTuple, get_args, get_origin

import flint
import numpy as np
from flint import arb, arb_series

from backproof.cases.format.concept import Concept
from backproof.cases.format.layers.activations import Activation, Identity
from backproof.cases.format.layers.dense import Dense
from backproof.cases.format.layers.layer import LayerConcept, Shape
from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.losses import Loss
from backproof.cases.format.network import Network, Node
from backproof.cases.problem import Problem
from backproof.reference.formulas.combining import add
from backproof.reference.formulas.layers import LAYERS, layer_backward, layer_forward
from backproof.reference.numbers.balls import balls, working_precision
from backproof.reference.training import backward, forward, loss_cotangent, operands, total_loss, trained
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


TEXTBOOK_LAYERS = {  # called as the reference's: values, parameters, and settings by keyword; the value alone is theirs
    "dense": lambda x, weight, bias=0: x @ weight + bias,
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


def textbook_values(network: tuple[Node, ...], numbers: dict) -> dict:
    """Add the value of every node to the numbers by name."""
    known = dict(numbers)
    for node in network:
        taken = (known[name] for name in (*node.inputs, *node.parameters))
        known[node.name] = TEXTBOOK_LAYERS[node.kind](*taken, **node.settings, **node.keywords(known))
    return known


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


SHAPES = ((2,), (3, 2), (2, 3, 2))  # of one sample: features alone, or positions before them
SAMPLES = 3


def subjects() -> Iterator[Subject]:
    """Every layer and every loss with all its settings, networks of every activation, and what layers may share."""
    for kind in KINDS.values():
        for layer in every_setting(kind):
            yield from (_layer(layer, shape) for shape in shapes_for(layer))
    for loss in criteria():
        yield from (_loss(loss, shape) for shape in SHAPES[:2])
    yield from _networks()
    yield _whole("skips, masks, tied and frozen parameters, penalties", problem_of("shared", "float64"))
    yield _whole("the same with positions", problem_of("positions", "float64"))


def shapes_for(layer: LayerConcept) -> list[Shape]:
    """The shapes of a sample that the layer is proved with: without positions and with some, where it takes them."""
    fitting = (shape for shape in SHAPES if not network_of(layer, shape).misfits)
    return list(islice(fitting, 2))


def network_of(layer: LayerConcept, shape: Shape) -> Network:
    """A network that ends with the layer, behind a copy of the input for each value that it takes."""
    taken = _taken(layer)
    if len(layer.sources(taken[-1])) < layer.takes:
        layer = layer.model_copy(update={"inputs": tuple(taken[::-1])})
    return Network((*(Identity(name=name, inputs=("input",)) for name in taken), layer), shape)


def _taken(layer: LayerConcept) -> list[str]:
    """Names for the values that a layer takes; it may name the first, the last one is before it."""
    return [*(OTHER if i == 0 else f"{OTHER}{i}" for i in range(layer.takes - 1)), "x"]


OTHER = "other"


def every_setting(kind: type[Concept]) -> Iterator[Concept]:
    """A concept with each choice of its settings, and some number for a number; masks are left to be drawn."""
    fields = [
        [(name, value) for value in _values(field)]
        for name, field in kind.model_fields.items()
        if name not in UNSET and not _is_array(field)
    ]
    for settings in product(*fields):
        named = {"name": kind.kind} if "name" in kind.model_fields else {}
        yield kind(**dict(settings), **named)


UNSET = ("name", "inputs")


def activations() -> list[LayerConcept]:
    """Every activation, with each choice of its settings."""
    return [layer for kind in KINDS.values() if issubclass(kind, Activation) for layer in every_setting(kind)]


def rules_of(layer: LayerConcept) -> tuple[Callable, Callable]:
    """The value of a layer as a function of x and its own parameters; and its derivatives by them, of dy as well."""
    rule, back = LAYERS[layer.kind]

    def value(x, *own):
        return rule(x, *own, **layer.settings)

    def derivatives(x, *own_and_dy):
        *own, dy = own_and_dy
        found = back(x, value(x, *own), dy, *own, **layer.settings)
        return found if isinstance(found, tuple) else (found,)

    return value, derivatives


def name_of(concept: Concept) -> str:
    """Its kind and its settings."""
    fields = type(concept).model_fields.items()
    shown = [name for name, field in fields if name not in UNSET and not _is_array(field)]
    settings = ", ".join(f"{name} {getattr(concept, name)}" for name in shown)
    return f"{concept.kind}{f' ({settings})' if settings else ''}"


def _is_array(field) -> bool:
    choices = (field.annotation, *get_args(field.annotation))
    return any(np.ndarray in (choice, *get_args(choice)[:1]) for choice in choices)


def _values(field) -> tuple:
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    if field.default is None:
        return (None, (0.3, 1.7))  # a number for each of two classes
    known = {bool: (False, True), float: (0.3,), int: (2,), str: (OTHER,)}
    if field.annotation not in known:
        raise TypeError(f"no value for a setting of type {field.annotation}: tests/trial/oracle.py needs one")
    return known[field.annotation]


def _draw(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _layer(layer: LayerConcept, shape: Shape) -> Subject:
    """Σ dy · layer(x, …), for some cotangent dy, of samples of this shape; masks are constants."""
    network, taken = network_of(layer, shape), _taken(layer)
    nodes = network.nodes[len(taken) :]
    values = {name: _draw(SAMPLES, *shape, seed=1 + 8 * i) for i, name in enumerate(reversed(taken))}
    masks = {path: balls(_draw(SAMPLES, *of, seed=4) > 0) for path, of in network.masks.items()}
    buffers = {path: balls(np.abs(_draw(*of, seed=5))) for path, (of, _) in network.buffers.items()}
    constants, dy = masks | buffers, balls(_draw(SAMPLES, *nodes[-1].shape, seed=3))

    def value(numbers: dict):
        return (_computed(nodes, numbers | constants)[layer.name] * dy).sum()

    def textbook(numbers: dict):
        known = textbook_values(nodes, numbers | {name: plain(array) for name, array in constants.items()})
        return (known[layer.name] * plain(dy)).sum()

    def back(numbers: dict) -> dict:
        sums, numbers = {layer.name: dy}, _computed(nodes, numbers | constants)
        for node in reversed(nodes):
            for name, derivative in layer_backward(node, numbers, numbers[node.name], sums.pop(node.name)):
                add(sums, name, derivative)
        return sums

    what = name_of(layer).replace(layer.kind, f"{layer.kind} layer", 1) + with_positions(shape)
    return Subject(what, values | _parameters(network, seed=2), textbook if _is_known(nodes) else None, value, back)


def _computed(nodes: tuple[Node, ...], numbers: dict) -> dict:
    """The numbers with the reference's value of every node."""
    for node in nodes:
        numbers = numbers | {node.name: layer_forward(node, numbers)[0]}
    return numbers


def with_positions(shape: Shape) -> str:
    """What is added to a name where samples of this shape have positions."""
    return ", with positions" if len(shape) > 1 else ""


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


def _loss(loss: Loss, shape: Shape) -> Subject:
    outputs = outputs_for(loss, _draw(SAMPLES, *shape, seed=5))
    targets = targets_for(loss, _draw(SAMPLES, *shape, seed=4))
    what = name_of(loss) + with_positions(shape)
    return _whole(what, _problem((Identity(name="output"),), loss, outputs, targets, {}))


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


POSITIONS = [(), (), (2,)]


def _networks() -> Iterator[Subject]:
    """Networks of one activation at every width, and of all in turn; batches of one and of three, with bias or not."""
    losses = cycle(
        [loss for loss in criteria() if loss.kind in OF_ANY_OUTPUTS and not getattr(loss, "class_weights", None)]
    )
    others = [kind for kind in KINDS.values() if issubclass(kind, Activation)]
    for kinds in (*([kind] for kind in others), others):
        what = f"networks of {kinds[0].kind if len(kinds) == 1 else 'every activation in turn'}"
        sizes = zip(WIDTHS, cycle([1, 3]), cycle([True, True, False]), cycle(POSITIONS), strict=False)
        for (features, *units), samples, bias, positions in sizes:
            layers = [
                layer for i, (n, kind) in enumerate(zip(units, cycle(kinds), strict=False))
                for layer in (Dense(name=f"dense{i}", units=n, bias=bias), next(every_setting(kind)))
            ]  # fmt: skip
            named = tuple(layer.model_copy(update={"name": f"layer{i}"}) for i, layer in enumerate(layers))
            yield _network(what, named, (samples, *positions, features), next(losses))


def _network(what: str, layers: tuple[LayerConcept, ...], shape: Shape, loss: Loss) -> Subject:
    network = Network(layers, shape[1:])
    targets = targets_for(loss, _draw(shape[0], *network.shapes[network.output], seed=7))
    parameters = _parameters(network, seed=1)
    return _whole(what, _problem(layers, loss, _draw(*shape, seed=6), targets, parameters))


def _problem(
    layers: tuple[LayerConcept, ...], loss: Loss, inputs: np.ndarray, targets: np.ndarray, parameters: dict
) -> Problem:
    """One step on all samples."""
    batches = np.arange(len(inputs))[None]
    dtype, recorded = np.dtype(np.float64), np.arange(1)
    return Problem(
        "", dtype, layers, loss, None, parameters, inputs, targets, batches, recorded, trained=tuple(parameters)
    )


def _whole(what: str, problem: Problem) -> Subject:
    """The whole loss of step 0, with skips, masks, tied and frozen parameters, penalties if there are any."""
    rows = problem.batches[0][problem.batches[0] >= 0]
    t, frozen = balls(problem.targets[rows]), set(problem.parameters) - {*problem.trained}
    masks = {name: balls(mask[: len(rows)]) for name, mask in problem.masks_at(0).items()}
    constants = {path: balls(problem.parameters[path]) for path in frozen}

    def textbook(numbers: dict):
        known = {name: plain(array) for name, array in (numbers | masks).items()}
        known |= {name: _series(array) for name, array in constants.items()}
        for path, tie in problem.tied.items():
            known[path] = known[tie.parameter].T if tie.transposed else known[tie.parameter]
        known = textbook_values(problem.network, known)
        penalty = sum(
            ball(penalty.coefficient) * TEXTBOOK_PENALTIES[penalty.kind](known[path]).sum()
            for penalty in problem.penalties
            for path in penalty.parameters
        )
        return textbook_loss(problem.loss, known[problem.output], plain(t)) + penalty

    def by_reference(numbers: dict) -> tuple:
        parameters = numbers | constants
        given = operands(problem, parameters, masks)
        values, _ = forward(problem.network, given, numbers["input"])
        return parameters, given, values

    def value(numbers: dict):
        parameters, _, values = by_reference(numbers)
        return total_loss(problem, parameters, values[problem.output], t)

    def back(numbers: dict) -> dict:
        parameters, given, values = by_reference(numbers)
        dy = loss_cotangent(problem, values[problem.output], t)
        cotangents, gradients = backward(problem.network, given, values, dy)
        return {"input": cotangents["input"]} | trained(problem, parameters, gradients, problem.trained)

    arrays = {"input": problem.inputs[rows]} | {path: problem.parameters[path] for path in problem.trained}
    known = _is_known(problem.network) and problem.loss.kind in TEXTBOOK_TERMS
    return Subject(what, arrays, textbook if known else None, value, back)


def _is_known(nodes: tuple[Node, ...]) -> bool:
    """The textbook has a line for each of their kinds."""
    return {node.kind for node in nodes} <= TEXTBOOK_LAYERS.keys()


def _parameters(network: Network, seed: int) -> dict[str, np.ndarray]:
    return {path: _draw(*shape, seed=seed + 100 * i) for i, (path, shape) in enumerate(network.parameters.items())}


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
