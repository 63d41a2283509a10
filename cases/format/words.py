"""The words of the frameworks, and this format's word for each: what another word may mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

CALLED = {
    # layers
    "dense": "Linear, fully_connected, fc, affine, InnerProduct, Gemm",
    "skip": "residual, shortcut, add",
    "sigmoid": "logistic, expit",
    "relu": "rectifier, ramp",
    "leaky_relu": "LReLU",
    "silu": "swish",
    "hard_swish": "hard_silu",
    "softsign": "soft_sign",
    "identity": "none, clone, pass",
    # losses
    "squared_error": "mse, MSELoss, l2_loss, l2, mean_squared_error, sse, quadratic_cost",
    "absolute_error": "l1, L1Loss, mae, mean_absolute_error",
    "smooth_l1": "SmoothL1Loss",
    "log_cosh": "LogCoshLoss",
    "binary_cross_entropy": "bce, BCELoss",
    "sigmoid_binary_cross_entropy": (
        "bce, BCEWithLogitsLoss, binary_cross_entropy_with_logits, logistic_loss"
    ),
    "softmax_cross_entropy": (
        "CrossEntropyLoss, ce, categorical_cross_entropy, "
        "softmax_cross_entropy_with_integer_labels, log_loss"
    ),
    "negative_log_likelihood": "nll, NLLLoss",
    "kl_divergence": "kl, kl_div, KLDivLoss, relative_entropy",
    "poisson": "PoissonNLLLoss",
    "gaussian_nll": "GaussianNLLLoss",
    "hinge": "svm, max_margin",
    "cosine": "cosine_similarity, cosine_distance, CosineEmbeddingLoss",
    "l1": "lasso",
    "l2": "ridge, weight_decay",
    # optimizers, clips, schedules, objectives, draws
    "sgd": "gd, gradient_descent, vanilla, noisy_sgd",
    "momentum": "sgd_momentum, nesterov, heavy_ball",
    "norm": "max_norm, clip_grad_norm_, clip_by_global_norm, global_norm",
    "value": "clip, clip_grad_value_, clip_value, clip_by_value",
    "step_decay": "StepLR, steps, piecewise",
    "exponential_decay": "ExponentialLR, exponential",
    "linear_decay": "LinearLR, linear, linear_schedule, polynomial",
    "cosine_decay": "CosineAnnealingLR, cosine, cosine_annealing, cosine_decay_schedule",
    "one_cycle": "OneCycleLR, cosine_onecycle_schedule",
    "warm_up": "linear_warmup, warmup_cosine_decay_schedule",
    "uniform": "rand, random_uniform",
    "normal": "gaussian, randn",
    # settings
    "units": "out_features, hidden_size, features, width, size, num_units, out_dim",
    "bias": "use_bias, with_bias",
    "rate": "p, prob, drop_prob, dropout_rate",
    "slope": "negative_slope, alpha",
    "shared": "num_parameters, channel_shared",
    "approximate": "approx",
    "reduction": "reduce, size_average",
    "factor": "gamma, scale, weight, decay_rate, lr_decay",
    "class_weights": "weight, weights, pos_weight",
    "label_smoothing": "smoothing",
    "delta": "beta, threshold",
    "beta": "delta",
    "coefficient": "lambda, lam, lambd, alpha, weight, strength, weight_decay",
    "parameters": "params, weights, initial",
    "learning_rate": "lr, eta, step_size, base_lr, init_value",
    "weight_decay": "decay, l2, wd, lambda",
    "rho": "alpha, decay, smoothing, beta2",
    "beta1": "b1, beta_1, betas",
    "beta2": "b2, beta_2, betas",
    "epsilon": "eps",
    "epsilon_inside": "eps_in_sqrt",
    "decrease": "eta_minus, etas",
    "increase": "eta_plus, etas",
    "smallest_step": "min_step_size, step_sizes",
    "largest_step": "max_step_size, step_sizes",
    "initial_accumulator": "initial_accumulator_value, lr_decay",
    "initial_mean_square": "initial_scale",
    "decoupled": "decoupled_weight_decay",
    "maximum": "max_norm, clip_value, max_delta, threshold, max, limit",
    "every": "step_size, period, transition_steps",
    "steps": (
        "T_max, total_iters, decay_steps, transition_steps, num_steps, max_steps, iterations, "
        "warmup_steps"
    ),
    "end": "eta_min, end_value, alpha, end_factor",
    "start": "start_factor, init_value",
    "rise": "warmup_steps, pct_start",
    "coefficients": "weights, a",
    "size": "batch_size",
    "order": "shuffle",
    "last": "drop_last, drop_remainder",
    "std": "sigma, stddev, scale",
    "mean": "mu, loc",
    "low": "a, min, minval",
    "high": "b, max, maxval",
    "generator": "rng",
    "float64": "double, float, fp64, f64",
    "float32": "single, float, fp32, f32",
    "float16": "half, fp16, f16",
    "bfloat16": "bf16",
    # a case
    "network": "model, layers, architecture, net",
    "loss": "criterion, cost, loss_fn",
    "training": "train, fit",
    "data": "dataset",
    "inputs": "from, bottom, predecessors, inbound_nodes",
    "targets": "y, labels, outputs",
    "optimizer": "optim, solver",
    "schedule": "scheduler, lr_scheduler, lr_schedule",
    "clip": "grad_clip, gradient_clip, clip_norm",
    "random": "rng",
    "dtypes": "dtype, precision",
    "title": "name",
    "penalties": "regularization, regularizer, weight_decay",
    "tied": "ties, shared",
    "source": "from, url, reference",
    "published": "expected, expect",
    "tolerance": "rtol, atol",
}
"""This format's word → the words for it elsewhere: in PyTorch, JAX, optax, Keras and others."""

ABSENT = """
GLU SwiGLU GEGLU RReLU CReLU Softmin Softmax2d LogSoftmin Softshrink Hardshrink Tanhshrink
AlphaDropout Dropout1d Dropout2d Dropout3d LSTM GRU RNN Conv1d Conv2d Conv3d BatchNorm1d BatchNorm2d
LayerNorm GroupNorm RMSNorm Embedding MultiheadAttention SparseAdam AdaBelief AdaBound Adafactor
LAMB LARS LBFGS Yogi FTRL MultiStepLR CyclicLR MarginRankingLoss TripletMarginLoss CTCLoss
"""
"""What is not here and is called almost like something else that is."""


ELSEWHERE = {
    ("sgd", "momentum, nesterov, dampening"):
        "with a velocity it is `momentum: {learning_rate: ..., momentum: ...}`",
    ("adam", "decoupled_weight_decay, decoupled"): "with decoupled weight decay it is `adamw`",
    ("dense", "in_features, input_size, in_dim"):
        "as many inputs as the layer before has units; leave it out",
    ("dense", "activation"): "an activation is a layer of its own, behind this one",
    ("dense", "weight, weights, kernel"): "its values stand in `parameters`, as NAME.weight",
    ("training", "learning_rate, lr"):
        "it is a setting of the optimizer, `optimizer: {sgd: {learning_rate: ...}}`",
    ("training", "batch_size, shuffle, order, drop_last"):
        "batches are `batch: {size: ..., order: shuffled, last: drop}`",
    ("training", "seed"): "it stands in `random`, beside `training`",
    ("data", "x, features, images, samples"): "did you mean 'inputs'?",
    ("case", "optimizer, epochs, steps, batch, batch_size, clip, schedule, learning_rate, lr"):
        "it stands in `training`",
    ("case", "inputs, targets, x, y, labels"):
        "all samples stand in `data: {inputs: ..., targets: ...}`",
    ("case", "seed, generator"): "it stands in `random: {generator: mt19937, seed: ...}`",
}  # fmt: skip
"""(The kind of a concept, words that are no keys of it) → where what they mean is said."""

PREFIXES = re.compile(
    r"((torch|nn|utils|optim|functional|f|lr_scheduler|jax|jnp|optax|flax|linen|nnx|keras|losses)\.)+"
)


def _plain(word: str) -> str:
    """Return the word as it is compared: `BCELoss`, `bce_loss` and `nn.BCELoss` are all `bce`."""
    word = re.sub(r"[^a-z0-9/]", "", PREFIXES.sub("", word.lower(), count=1))
    return word.removesuffix("loss") or word


MEANT: dict[str, list[str]] = {}
for _ours, _theirs in CALLED.items():
    for _word in map(_plain, _theirs.split(", ")):
        MEANT.setdefault(_word, []).append(_ours)
SAID_THERE = {
    (kind, _plain(word)): advice
    for (kind, words), advice in ELSEWHERE.items()
    for word in words.split(", ")
}
NOT_HERE = {_plain(word) for word in ABSENT.split()}


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return those of `names` that `name` may mean.

    They are the same word written otherwise, or words for it elsewhere, or the one it is a slip of.
    """
    word, lowered = _plain(name[:100]), {each.lower(): each for each in names}
    same = [each for each in lowered.values() if word.rstrip("s") == _plain(each).rstrip("s")]
    if word and same:
        return same
    if meant := [each for each in lowered.values() if each in MEANT.get(word, ())]:
        return meant
    near = get_close_matches(name[:100].lower(), lowered, n=1, cutoff=0.7)
    return [] if word in NOT_HERE else [lowered[each] for each in near]


def elsewhere(kind: str, word: str) -> str:
    """Return the end of a message about a key of a concept: where what `word` means is said."""
    advice = SAID_THERE.get((kind, _plain(word[:100])))
    return f"; {advice}" if advice else ""
