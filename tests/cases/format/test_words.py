"""Who writes a framework's word is told this format's, and never one of another meaning."""

import re
from typing import get_args

import pytest

from backproof.cases.format.json_schema import json_schema
from backproof.cases.format.layers.table import Layer
from backproof.cases.format.losses import Loss, Penalty
from backproof.cases.format.optimizers import AnySchedule, Clip, Optimizer
from backproof.cases.format.schema import Dtype
from backproof.cases.format.words import ABSENT, CALLED, ELSEWHERE, nearest
from tests.cases.reading.test_load import GOOD, mistakes  # noqa: F401 (a fixture)
from tests.support.reference_page import PAGE, SECTIONS, entries
from tests.trial.scenarios import members

KINDS = {name: {kind.kind: kind for kind in members(sort)} for name, sort in {
    "layer": Layer, "loss": Loss, "penalty": Penalty, "optimizer": Optimizer, "clip": Clip, "schedule": AnySchedule,
}.items()}  # fmt: skip
ALL = {kind: concept for kinds in KINDS.values() for kind, concept in kinds.items()}


@pytest.mark.parametrize(
    ("sort", "word", "ours"),
    [
        ("layer", "Linear", "dense"), ("layer", "nn.Linear", "dense"), ("layer", "ReLU", "relu"),
        ("layer", "swish", "silu"), ("layer", "LeakyReLU", "leaky_relu"), ("layer", "Hardtanh", "hard_tanh"),
        ("layer", "torch.nn.LogSoftmax", "log_softmax"), ("layer", "sigmod", "sigmoid"),
        ("loss", "mse", "squared_error"), ("loss", "F.mse_loss", "squared_error"), ("loss", "MSELoss", "squared_error"),
        ("loss", "cross_entropy", "softmax_cross_entropy"), ("loss", "CrossEntropyLoss", "softmax_cross_entropy"),
        ("loss", "nll", "negative_log_likelihood"), ("loss", "l1", "absolute_error"), ("loss", "mae", "absolute_error"),
        ("loss", "bce", "binary_cross_entropy sigmoid_binary_cross_entropy"),
        ("loss", "BCEWithLogitsLoss", "sigmoid_binary_cross_entropy"),
        ("optimizer", "SGD", "sgd"), ("optimizer", "AdamW", "adamw"), ("optimizer", "RMSProp", "rmsprop"),
        ("clip", "clip_grad_norm_", "norm"), ("schedule", "StepLR", "step_decay"),
        ("schedule", "CosineAnnealingLR", "cosine_decay"), ("schedule", "warmup", "warm_up"),
    ],
)  # fmt: skip
def test_a_word_of_the_frameworks(sort, word, ours):
    assert nearest(word, KINDS[sort]) == ours.split()


@pytest.mark.parametrize(
    ("kind", "word", "ours"),
    [
        ("adam", "lr", "learning_rate"), ("adam", "betas", "beta1 beta2"), ("adam", "eps", "epsilon"),
        ("adam", "b1", "beta1"), ("adamw", "Weight_Decay", "weight_decay"), ("rmsprop", "alpha", "rho"),
        ("dense", "out_features", "units"), ("dense", "hidden_size", "units"), ("dense", "use_bias", "bias"),
        ("dropout", "p", "rate"), ("leaky_relu", "negative_slope", "slope"), ("norm", "max_norm", "maximum"),
        ("cosine_decay", "T_max", "steps"), ("cosine_decay", "eta_min", "end"), ("step_decay", "gamma", "factor"),
        ("step_decay", "step_size", "every"), ("l2", "lambda", "coefficient"),
    ],
)  # fmt: skip
def test_a_setting_of_the_frameworks(kind, word, ours):
    assert nearest(word, ALL[kind].model_fields) == ours.split()


@pytest.mark.parametrize("word", [*ABSENT.split(), "attention", "Flatten", "constant"])
def test_what_is_not_here_is_called_nothing_else(word):
    """Nothing but `glu` is meant by it, though `gelu` is nearly the same word."""
    assert [nearest(word, kinds) for kinds in KINDS.values()] == [[]] * len(KINDS)


def test_the_table_speaks_of_what_there_is():
    concepts = json_schema()["$defs"].values()
    settings = {name for concept in [*concepts, json_schema()] for name in concept["properties"]}
    assert set(CALLED) <= ALL.keys() | settings | {"uniform", "normal", *get_args(Dtype)}
    for kind, words in ELSEWHERE:
        assert not set(words.split(", ")) & set(getattr(ALL.get(kind), "model_fields", ()))


MADE_OF = {"hard_sigmoid": "relu6", "momentum": "sgd", "step_decay": "exponential_decay"}


def test_functions_that_the_backends_call():
    """Whoever writes the name of the function that a backend calls is led to the kind that it calls it for."""
    called = re.compile(r"(?:partial\()?((?:F|torch\.optim|lr_scheduler|torch\.nn\.utils|jax\.nn|optax)\.\w+)(?:\(.*)?")
    tried = 0
    for section in SECTIONS:
        kinds = [concept.kind for concept in section.concepts]
        for entry in entries(section):
            for spelling in (entry.torch, entry.jax):
                found = called.fullmatch(spelling.code)
                near = nearest(found[1], kinds) if found else []
                tried += bool(near)
                assert not near or {entry.concept.kind, MADE_OF.get(entry.concept.kind)} & {*near}, found[1]
    assert tried > 40


# ---------------------------------------------------------------- in a file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "- sigmoid",
            "- conv2d",
            "there is no layer 'conv2d'; the layers are dense, skip, dropout, sigmoid, tanh, relu,",
        ),
        ("[float64,", "[double,", "unknown 'double'; did you mean 'float64'?"),
        ("float32]", "fp32]", "unknown 'fp32'; did you mean 'float32'?"),
        ("float32]", "float]", "unknown 'float'; did you mean 'float64' or 'float32'?"),
        ("float32]", "half]", "unknown 'half'; did you mean 'float16'?"),
        ("float32]", "fp16]", "unknown 'fp16'; did you mean 'float16'?"),
        ("float32]", "bf16]", "unknown 'bf16'; did you mean 'bfloat16'?"),
        ("- sigmoid", "- conv2d: {}", "log_softmax and identity; see docs/generated/reference.md#layers"),
        (
            "- sigmoid",
            "- BatchNorm1d",
            "there is no layer 'BatchNorm1d'; the layers are dense, skip, dropout, sigmoid,",
        ),
        ("- sigmoid", "- ReLU", "there is no layer 'ReLU'; did you mean 'relu'? see docs/generated/reference.md#relu"),
        (
            "squared_error:",
            "mse:",
            "there is no loss 'mse'; did you mean 'squared_error'? see docs/generated/reference.md#squared_e",
        ),
        (
            "squared_error:",
            "triplet:",
            "the losses are weighted_sum, weighted_squares, squared_error, absolute_error, huber,",
        ),
        ("learning_rate:", "learning_rate: 1, lr:", "unknown key 'lr'; did you mean 'learning_rate'?"),
        (
            "sgd: {",
            "sgd: {momentum: 0.9, ",
            "unknown key 'momentum'; with a velocity it is `momentum: {learning_rate: ..., momentum: ...}`",
        ),
        (
            "sgd: {",
            "SGD: {",
            "there is no optimizer 'SGD'; did you mean 'sgd'? see docs/generated/reference.md#sgd",
        ),
        ("- sigmoid", "- dense: {units: 2, activation: relu}", "an activation is a layer of its own"),
        ("size: 2", "size: 2}\n  clip: {clip_norm: {maximum: 1}", "there is no clip 'clip_norm'; "),
        ("size: 2", "size: 2}\n  schedule: {constant: {}", "the schedules are step_decay, "),
        ("  inputs:", "  x:", "unknown key 'x'; did you mean 'inputs'?"),
        ("training:", "seed: 3\ntraining:", "unknown key 'seed'; it stands in `random: {"),
        ("training:", "optimizer: 3\ntraining:", "unknown key 'optimizer'; it stands in `training`"),
    ],
)
def test_unknown_words_in_a_file(mistakes, old, new, message):  # noqa: F811
    complaints = mistakes(GOOD.replace(old, new))
    assert sum(message in complaint for complaint in complaints) == 1


IN_ONE_WAVE = {
    ("dense: {name: hidden, units: 2}", "Linear: {out_features: 2, in_features: 3}"): [
        "4:5: there is no layer 'Linear'; did you mean 'dense'? see docs/generated/reference.md#dense",
        "4:13: missing key 'units'",
        "4:14: unknown key 'out_features'; did you mean 'units'?",
        "4:31: unknown key 'in_features'; as many inputs as the layer before has units; leave it out",
    ],
    ("- sigmoid", "- Dropout: {p: 0.5}"): [
        "5:5: there is no layer 'Dropout'; did you mean 'dropout'? see docs/generated/reference.md#dropout",
        "5:14: missing key 'rate'",
        "5:15: unknown key 'p'; did you mean 'rate'?",
    ],
    ("squared_error: {factor: 0.5, reduction: sum}", "mse: {reduction: average, scale: 3}"): [
        "15:8: there is no loss 'mse'; did you mean 'squared_error'? see docs/generated/reference.md#squared_error",
        "15:25: unknown 'average'; expected sum, mean or batch_mean",
        "15:34: unknown key 'scale'; did you mean 'factor'?",
    ],
    ("sgd: {", "SGD: {momentum: 0.9, "): [
        "19:15: there is no optimizer 'SGD'; did you mean 'sgd'? see docs/generated/reference.md#sgd",
        "19:21: unknown key 'momentum'; with a velocity it is `momentum: {learning_rate: ..., momentum: ...}`",
    ],
    ("- sigmoid", "- bce: {p: 0.5}"): [
        "5:5: there is no layer 'bce'; the layers are dense, skip, dropout, sigmoid, tanh"
    ],
}


@pytest.mark.parametrize(("change", "expected"), IN_ONE_WAVE.items(), ids=range(len(IN_ONE_WAVE)))
def test_what_is_wrong_in_an_unknown_kind_is_told_with_it(mistakes, change, expected):  # noqa: F811
    """Where it can mean one kind only, whose settings they are."""
    complaints = mistakes(GOOD.replace(*change))
    assert len(complaints) == len(expected)
    for complaint, words in zip(complaints, expected, strict=True):
        assert complaint.startswith(f"case.yaml:{words}")


def test_every_link_leads_somewhere():
    """Of the reference page: every kind and every sort of kinds has a heading of its own."""
    headings = re.findall(r"^#+ `?([^`\n]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    slugs = [heading.lower().replace(" ", "-") for heading in headings]
    wanted = [*ALL, "layers", "losses", "penalties", "optimizers", "gradient-clipping", "schedules", "objectives"]
    assert [slugs.count(slug) for slug in wanted] == [1] * len(wanted)
