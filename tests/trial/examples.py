"""The problems that wrong rules are planted in."""

from __future__ import annotations

from functools import cache
from itertools import chain

from backproof.cases.format.layers.activations import Activation
from backproof.cases.format.schema import CASES, Case
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load

RATE = 0.3
DRAWN = {"normal": {"mean": 0, "std": 0.8}}
SGD = {"sgd": {"learning_rate": RATE}}


def _drawn(*names: str) -> dict:
    return dict.fromkeys(names, DRAWN)


FAMILIES = {
    "sigmoids": ["softsign", "softplus", "log_sigmoid", "softmax", "log_softmax"],
    "piecewise": ["leaky_relu", "prelu", "relu6", "hard_tanh", "hard_sigmoid", "hard_swish"],
    "exponentials": ["elu", "celu", "selu", "silu", "mish", "gelu"],
}
FAMILIES |= {
    kind.kind: [kind.kind] for kind in Activation.__subclasses__() if kind.kind not in chain(*FAMILIES.values())
}


def _one_of_each(family: str) -> dict:
    """Every activation of a family behind a dense layer that is named for it, `of_elu`."""
    kinds = FAMILIES[family]
    layers = [({"dense": {"name": f"of_{kind}", "units": 3}}, {kind: {"name": kind}}) for kind in kinds]
    slope = ["prelu.slope"] if "prelu" in kinds else []
    return {
        "title": family,
        "dtypes": ["float64", "float32"],
        "network": [layer for pair in layers for layer in pair],
        "parameters": _drawn(*(f"of_{kind}.{name}" for kind in kinds for name in ("weight", "bias")), *slope),
        "random": {"generator": "pcg64", "seed": 4},
        "data": {
            "inputs": [[0.2, 1, -0.5], [1, 0.3, 1.3], [-0.9, 0.8, 0.1], [0.1, 0.4, -1.2]],
            "targets": [[0.1, 0.8, -0.2], [0.9, 0.3, 0.5], [0.4, 0.6, 0.3], [0.7, 0.2, -0.6]],
        },
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
        "training": {"steps": 2, "optimizer": SGD},
    }


TARGETS = {
    "numbers": [[0.1, 0.8], [0.9, -0.3], [-0.4, 0.6], [0.7, 0.2]],
    "shares": [[0.1, 0.8], [0.9, 0.3], [0.4, 0.6], [0.7, 0.2]],
    "classes": [0, 1, 1, 0],
    "signs": [[1, -1], [-1, 1], [1, 1], [-1, -1]],
    "means": [[0.1], [0.9], [0.4], [0.7]],
}
LOSSES = {  # the targets that it takes, and its settings
    "weighted_sum": ("numbers", {}), "weighted_squares": ("numbers", {}),
    "squared_error": ("numbers", {}), "absolute_error": ("numbers", {}), "huber": ("numbers", {"delta": 0.4}),
    "smooth_l1": ("numbers", {"beta": 0.4}), "log_cosh": ("numbers", {}), "binary_cross_entropy": ("shares", {}),
    "sigmoid_binary_cross_entropy": ("shares", {}), "softmax_cross_entropy": ("classes", {"label_smoothing": 0.1}),
    "negative_log_likelihood": ("classes", {}), "kl_divergence": ("shares", {}), "poisson": ("shares", {}),
    "hinge": ("signs", {}), "squared_hinge": ("signs", {}), "gaussian_nll": ("means", {}), "cosine": ("numbers", {}),
}  # fmt: skip


def _with_loss(loss: str) -> dict:
    """A hidden layer, two outputs, and a mean of this loss; the last sample is zero, and fits its first target."""
    targets, settings = LOSSES[loss]
    last = ["sigmoid"] if loss == "binary_cross_entropy" else []
    return {
        "title": loss,
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "hidden", "units": 3}}, "tanh", {"dense": {"name": "readout", "units": 2}}, *last,
        ],
        "parameters": _drawn("hidden.weight", "readout.weight") | {
            "hidden.bias": [0, 0, 0], "readout.bias": [0.75, -0.25],
        },
        "random": {"generator": "pcg64", "seed": 5},
        "data": {
            "inputs": [[0.2, 1], [1, 0.3], [-0.9, 0.8], [0, 0]],
            "targets": [*TARGETS[targets][:-1], [0.75, 0.5]] if targets == "numbers" else TARGETS[targets],
        },
        "loss": {loss: {"factor": 0.7, "reduction": "mean", **settings}},
        "training": {"steps": 2, "optimizer": SGD},
    }  # fmt: skip


OPTIMIZERS = {
    "sgd": {}, "momentum": {"momentum": 0.9}, "asgd": {"lambd": 0.1, "t0": 1.0}, "lion": {"weight_decay": 0.1},
    "rprop": {}, "adagrad": {"epsilon": 0.01}, "adadelta": {"epsilon": 0.01}, "rmsprop": {"epsilon": 0.01},
    "adam": {"epsilon": 0.01}, "adamw": {"weight_decay": 0.1}, "adamax": {}, "nadam": {"epsilon": 0.01},
    "radam": {"epsilon": 0.01, "beta2": 0.9},
}  # fmt: skip
SCHEDULES = {
    "step_decay": {"every": 2, "factor": 0.5}, "exponential_decay": {"factor": 0.9},
    "linear_decay": {"steps": 3, "end": 0.1}, "cosine_decay": {"steps": 3, "end": 0.1},
    "one_cycle": {"rise": 2, "fall": 2, "start": 0.1, "end": 0.01},
    "warm_up": {"steps": 2, "start": 0.1, "then": {"cosine_decay": {"steps": 2}}},
}  # fmt: skip
CLIPS = {"norm": {"maximum": 0.1}, "value": {"maximum": 0.02}}


def _by(optimizer: str) -> dict:
    """Eight steps of a small network by this optimizer."""
    example = _with_loss("squared_error")
    settings = {"learning_rate": RATE} | OPTIMIZERS[optimizer]
    return example | {"title": optimizer, "training": {"steps": 8, "optimizer": {optimizer: settings}}}


def _with(name: str, **training: dict) -> dict:
    """Five steps of gradient descent with a schedule or a clip."""
    example = _with_loss("squared_error")
    return example | {"title": name, "training": {"steps": 5, "optimizer": SGD, **training}}


EXAMPLES = {
    **{name: _with(name, schedule={name: settings}) for name, settings in SCHEDULES.items()},
    **{f"clipped by {name}": _with(name, clip={name: settings}) for name, settings in CLIPS.items()},
    **{f"by {optimizer}": _by(optimizer) for optimizer in OPTIMIZERS},
    **{f"with {loss}": _with_loss(loss) for loss in LOSSES},
    **{family: _one_of_each(family) for family in FAMILIES},
    # Every kind of layer, square weights among them; a mean over several outputs; seven samples in batches of three,
    # reshuffled every epoch, so that the last batch of an epoch has one sample.
    "mixed": {
        "title": "mixed",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "hidden", "units": 3}}, "tanh", {"dense": {"name": "middle", "units": 3}}, "sigmoid",
            {"dense": {"name": "gate", "units": 3}}, "relu", {"dense": {"name": "readout", "units": 2}}, "identity",
        ],
        "parameters": _drawn(
            *(f"{layer}.{kind}" for layer in ("hidden", "middle", "gate", "readout") for kind in ("weight", "bias"))
        ),
        "random": {"generator": "pcg64", "seed": 2139},
        "data": {
            "inputs": [
                [0.7, -0.2, 0.5], [0.1, 0.9, -1.3], [-0.4, 0.3, 0.8], [1.1, -0.6, 0.2], [0.3, 0.4, -0.9],
                [-1.2, 0.8, 0.6], [0.5, 1.4, -0.1],
            ],
            "targets": [[0.6, 0.1], [0.2, 0.9], [-0.3, 0.5], [0.8, -0.7], [0.4, 0.3], [-0.9, 0.2], [0.1, -0.5]],
        },
        "loss": {"squared_error": {"factor": 0.75, "reduction": "mean"}},
        "training": {"epochs": 3, "batch": {"size": 3, "order": "shuffled"}, "optimizer": SGD},
    },
    # Skips, also from the input and of what is skipped to; drawn masks; a weight that is another one's transpose;
    # a frozen bias; both penalties; weight decay.
    "shared": {
        "title": "shared",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "encoder", "units": 3}}, "tanh", {"dropout": {"name": "dropout", "rate": 0.4}},
            {"dense": {"name": "middle", "units": 3}}, {"skip": {"name": "around", "source": "tanh1"}}, "sigmoid",
            {"dense": {"name": "decoder", "units": 2}}, {"skip": {"name": "across", "source": "input"}},
        ],
        "parameters": _drawn("encoder.weight", "encoder.bias", "middle.weight", "middle.bias", "decoder.bias"),
        "tied": {"decoder.weight": {"parameter": "encoder.weight", "transposed": True}},
        "frozen": ["middle.bias"],
        "penalties": [
            {"l1": {"coefficient": 0.02, "parameters": ["encoder.weight", "middle.bias"]}},
            {"l2": {"coefficient": 0.03, "parameters": ["encoder.weight", "middle.weight"]}},
        ],
        "random": {"generator": "pcg64", "seed": 6},
        "data": {
            "inputs": [[0.2, 1], [1, 0.3], [-0.9, 0.8], [0.5, -0.7], [1.2, 0.1]],
            "targets": [[0.1, 0.8], [0.9, -0.3], [-0.4, 0.6], [0.7, 0.2], [0.3, 0.3]],
        },
        "loss": {"squared_error": {"factor": 0.7, "reduction": "mean"}},
        "training": {
            "steps": 6, "batch": {"size": 2}, "optimizer": {"sgd": {"learning_rate": RATE, "weight_decay": 0.1}},
        },
    },
    # Three positions a sample, and no axis as long as another one; a mean over the samples of a batch.
    "positions": {
        "title": "positions",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "hidden", "units": 4}}, {"softmax": {"name": "shares"}},
            {"dropout": {"name": "dropout", "rate": 0.4}}, {"dense": {"name": "middle", "units": 4}},
            {"skip": {"name": "around", "source": "shares"}}, {"prelu": {"name": "slopes", "shared": False}},
            {"dense": {"name": "readout", "units": 1}}, {"tanh": {"name": "squashed"}},
        ],
        "parameters": _drawn(
            *(f"{layer}.{kind}" for layer in ("hidden", "middle", "readout") for kind in ("weight", "bias")),
            "slopes.slope",
        ),
        "random": {"generator": "pcg64", "seed": 7},
        "data": {
            "inputs": [
                [[0.7, -0.2], [0.5, 0.1], [0.9, -1.3]], [[-0.4, 0.3], [0.8, 1.1], [-0.6, 0.2]],
                [[0.3, 0.4], [-0.9, 1.2], [0.8, 0.6]], [[0.5, 1.4], [-0.1, 0.2], [1.3, -0.7]],
                [[-1.1, 0.9], [0.4, -0.8], [0.2, 0.6]],
            ],
            "targets": [
                [[0.6], [0.1], [0.2]], [[0.9], [-0.3], [0.5]], [[0.8], [-0.7], [0.4]], [[0.3], [-0.9], [0.2]],
                [[0.1], [0.7], [-0.5]],
            ],
        },
        "loss": {"squared_error": {"factor": 0.7, "reduction": "batch_mean"}},
        "training": {"steps": 6, "batch": {"size": 2}, "optimizer": SGD},
    },
    # The tutorials' loss, half a sum of squares, on all samples.
    "sum": {
        "title": "sum",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "hidden", "units": 3}}, "sigmoid", {"dense": {"name": "readout", "units": 2}}, "sigmoid",
        ],
        "parameters": _drawn("hidden.weight", "hidden.bias", "readout.weight", "readout.bias"),
        "random": {"generator": "pcg64", "seed": 1},
        "data": {
            "inputs": [[0.2, 1], [1, 0.3], [0.9, 0.8], [0.1, 0.4]],
            "targets": [[0.1, 0.8], [0.9, 0.3], [0.4, 0.6], [0.7, 0.2]],
        },
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
        "training": {"steps": 4, "optimizer": SGD},
    },
    # Samples on the kinks of activations.
    "kinks": {
        "title": "kinks",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "given", "units": 1, "bias": False}}, {"hard_tanh": {"name": "clipped"}},
            {"leaky_relu": {"name": "leaky", "slope": 0.2}}, {"elu": {"name": "smooth", "alpha": 0.7}},
            {"dense": {"name": "readout", "units": 1}},
        ],
        "parameters": {"given.weight": [[1.0]]} | _drawn("readout.weight", "readout.bias"),
        "random": {"generator": "pcg64", "seed": 1},
        "data": {"inputs": [[-1], [0], [1], [0.3], [-0.4]], "targets": [[1], [0.5], [0.2], [0.7], [0.9]]},
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
        "training": {"steps": 1, "optimizer": SGD},
    },
    # A sample of zeros lies on the kink of every relu.
    "kink": {
        "title": "kink",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "gate", "units": 2, "bias": False}}, "relu", {"dense": {"name": "readout", "units": 1}},
        ],
        "parameters": _drawn("gate.weight", "readout.weight", "readout.bias"),
        "random": {"generator": "pcg64", "seed": 1},
        "data": {"inputs": [[0, 0], [1, 0.5]], "targets": [[1], [0.5]]},
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
        "training": {"steps": 2, "optimizer": SGD},
    },
    # A run that is long enough for something to go wrong late.
    "long": {
        "title": "long",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "hidden", "units": 2}}, "sigmoid", {"dense": {"name": "readout", "units": 1}}, "sigmoid",
        ],
        "parameters": _drawn("hidden.weight", "hidden.bias", "readout.weight", "readout.bias"),
        "random": {"generator": "pcg64", "seed": 2},
        "data": {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]},
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
        "training": {"steps": 7100, "optimizer": SGD},
    },
}  # fmt: skip


@cache
def problem_of(example: str, dtype: str) -> Problem:
    """One of the examples as a problem, or a shipped case by its name."""
    case = load(CASES / f"{example}.yaml") if "/" in example else Case.model_validate(EXAMPLES[example])
    return materialise(case, dtype)
