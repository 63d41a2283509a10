"""How PyTorch and JAX spell what a case is made of, in files to begin one's own with.

These are lines of text, which are read and changed; the backends have tables of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from backproof.backends.framework_texts import JAX, TORCH

# By kind what is computed of x (and x1, the second one), with its parameters p0, p1 and settings.
TORCH_LAYERS = {
    "sigmoid": "torch.sigmoid({x})",
    "tanh": "torch.tanh({x})",
    "relu": "F.relu({x})",
    "leaky_relu": "F.leaky_relu({x}, {slope})",
    "relu6": "F.relu6({x})",
    "hard_tanh": "F.hardtanh({x})",
    "hard_swish": "F.hardswish({x})",
    "elu": "F.elu({x}, {alpha})",
    "selu": "F.selu({x})",
    "silu": "F.silu({x})",
    "mish": "F.mish({x})",
    "softsign": "F.softsign({x})",
    "log_sigmoid": "F.logsigmoid({x})",
    "softmax": "F.softmax({x}, dim=-1)",
    "log_softmax": "F.log_softmax({x}, dim=-1)",
    "softplus": "torch.logaddexp({beta} * {x}, torch.zeros_like({x})) / {beta}",
    "hard_sigmoid": "F.relu6({x} + 3) / 6",
    "celu": "F.relu({x}) + {alpha} * torch.expm1(torch.clamp({x}, max=0) / {alpha})",
    "prelu": "torch.where({x} > 0, {x}, {p0} * {x})",
    "gelu none": "{x} * torch.erfc(-{x} * 0.5**0.5) / 2",
    "gelu tanh": 'F.gelu({x}, approximate="tanh")',
    "identity": "{x}.clone()",
    "skip": "{x} + {x1}",
    "dropout": "{x} * ({mask} / (1 - {rate})) if masks else {x}.clone()",
}
JAX_LAYERS = {
    "sigmoid": "jax.nn.sigmoid({x})",
    "tanh": "jnp.tanh({x})",
    "relu": "jax.nn.relu({x})",
    "leaky_relu": "jnp.where({x} > 0, {x}, {slope} * {x})",
    "relu6": "jax.nn.relu6({x})",
    "hard_swish": "jax.nn.hard_swish({x})",
    "elu": "jax.nn.elu({x}, {alpha})",
    "selu": "jax.nn.selu({x})",
    "silu": "jax.nn.silu({x})",
    "mish": "jax.nn.mish({x})",
    "softsign": "jax.nn.soft_sign({x})",
    "log_sigmoid": "jax.nn.log_sigmoid({x})",
    "softmax": "jax.nn.softmax({x})",
    "log_softmax": "jax.nn.log_softmax({x})",
    "softplus": "jax.nn.softplus({beta} * {x}) / {beta}",
    "hard_sigmoid": "jax.nn.hard_sigmoid({x})",
    "hard_tanh": "jnp.where(jnp.abs({x}) < 1, {x}, jax.lax.stop_gradient(jnp.clip({x}, -1, 1)))",
    "celu": "jax.nn.celu({x}, {alpha})",
    "prelu": "jnp.where({x} > 0, {x}, {p0} * {x})",
    "gelu none": "jax.nn.gelu({x}, approximate=False)",
    "gelu tanh": "jax.nn.gelu({x}, approximate=True)",
    "identity": "{x}",
    "skip": "{x} + {x1}",
    "dropout": "jnp.where({mask} != 0, {x} / (1 - {rate}), 0) if masks else {x}",
}
# By kind the terms of the loss of outputs y and targets t.
TORCH_LOSSES = {
    "squared_error": "(y - t).square()",
    "absolute_error": "(y - t).abs()",
    "huber": 'F.huber_loss(y, t, reduction="none", delta={delta})',
    "smooth_l1": 'F.smooth_l1_loss(y, t, reduction="none", beta={beta})',
    "log_cosh": "torch.logaddexp(y - t, t - y) - math.log(2)",
    "binary_cross_entropy": "-(t * torch.log(torch.where(t == 0, 1, y))"
    " + (1 - t) * torch.log1p(-torch.where(t == 1, 0, y)))",
    "sigmoid_binary_cross_entropy": 'F.binary_cross_entropy_with_logits(y, t, reduction="none")',
    "softmax_cross_entropy": "F.cross_entropy(y.flatten(0, -2), t.flatten(0, -2), "
    'reduction="none", label_smoothing={label_smoothing})',
    "negative_log_likelihood": "-(t * y).sum(dim=-1)",
    "cosine": "1 - F.cosine_similarity(y, t, dim=-1, eps=0.0)",
    "kl_divergence": 'F.kl_div(y, t, reduction="none")',
    "poisson": 'F.poisson_nll_loss(y, t, reduction="none")',
    "hinge": "F.relu(1 - t * y)",
    "squared_hinge": "F.relu(1 - t * y).square()",
    "weighted_sum": "t * y",
    "weighted_squares": "t * y.square()",
}
JAX_LOSSES = {
    "squared_error": "jnp.square(y - t)",
    "absolute_error": "(y - t) * jax.lax.stop_gradient(jnp.sign(y - t))",
    "log_cosh": "optax.log_cosh(y, t)",
    "negative_log_likelihood": "-jnp.sum(t * y, axis=-1)",
    "kl_divergence": "t * (jnp.log(jnp.where(t == 0, 1, t)) - y)",
    "cosine": "optax.cosine_distance(y, t)",
    "binary_cross_entropy": "-(t * jnp.log(jnp.where(t == 0, 1, y))"
    " + (1 - t) * jnp.log(1 - jnp.where(t == 1, 0, y)))",
    "sigmoid_binary_cross_entropy": "optax.sigmoid_binary_cross_entropy(y, t)",
    "softmax_cross_entropy": "optax.softmax_cross_entropy("
    "y, optax.smooth_labels(t, {label_smoothing}))",
    "poisson": "jnp.exp(y) - t * y",
    "hinge": "jax.nn.relu(1 - t * y)",
    "squared_hinge": "jnp.square(jax.nn.relu(1 - t * y))",
    "weighted_sum": "t * y",
    "weighted_squares": "t * jnp.square(y)",
}
# By kind the optimizer, and the framework's names for what it remembers.
DECAY = ", weight_decay={weight_decay}"
BETAS = "lr={learning_rate}, betas=({beta1}, {beta2}), eps={epsilon}" + DECAY
TORCH_OPTIMIZERS = {
    "sgd": "torch.optim.SGD(parameters, lr={learning_rate}" + DECAY + ")",
    "momentum": "torch.optim.SGD(parameters, lr={learning_rate}, momentum={momentum}, "
    "dampening={dampening}, nesterov={nesterov}" + DECAY + ")",
    "adagrad": "torch.optim.Adagrad(parameters, lr={learning_rate}, eps={epsilon}, "
    "initial_accumulator_value={initial_accumulator}" + DECAY + ")",
    "adadelta": "torch.optim.Adadelta(parameters, lr={learning_rate}, rho={rho}, eps={epsilon}"
    + DECAY
    + ")",
    "rmsprop": "torch.optim.RMSprop(parameters, lr={learning_rate}, alpha={rho}, eps={epsilon}, "
    "centered={centered}, momentum={momentum}" + DECAY + ")",
    "adam": f"torch.optim.Adam(parameters, {BETAS}, amsgrad={{amsgrad}})",
    "adamw": f"torch.optim.AdamW(parameters, {BETAS}, amsgrad={{amsgrad}})",
    "adamax": f"torch.optim.Adamax(parameters, {BETAS})",
    "radam": f"torch.optim.RAdam(parameters, {BETAS})",
    "rprop": "torch.optim.Rprop(parameters, lr={learning_rate}, etas=({decrease}, {increase}), "
    "step_sizes=({smallest_step}, {largest_step}))",
}
TORCH_STATE = {
    "velocity": "momentum_buffer",
    "first_moment": "exp_avg",
    "second_moment": "exp_avg_sq",
    "largest_second_moment": "max_exp_avg_sq",
    "infinity_norm": "exp_inf",
    "accumulator": "sum",
    "mean_square": "square_avg",
    "mean_square_update": "acc_delta",
    "mean_gradient": "grad_avg",
    "previous_gradient": "prev",
    "step_size": "step_size",
}
JAX_OPTIMIZERS = {
    "sgd": "optax.sgd(rate)",
    "momentum": "optax.sgd(rate, {momentum}, nesterov={nesterov})",
    "lion": "optax.lion(rate, {beta1}, {beta2}, weight_decay={weight_decay})",
    "adam": "optax.adam(rate, {beta1}, {beta2}, {epsilon})",
    "adamw": "optax.adamw(rate, {beta1}, {beta2}, {epsilon}, weight_decay={weight_decay})",
    "adamax": "optax.adamax(rate, {beta1}, {beta2}, {epsilon})",
}
JAX_STATE = {
    "velocity": "trace",
    "first_moment": "mu",
    "second_moment": "nu",
    "infinity_norm": "nu",
}
LACKS = {  # settings that these classes have not, and what they are instead
    "epsilon_inside": False,
    "initial_mean_square": 0.0,
    "epsilon_hat": False,
    "beta1_decay": 1.0,
}
SCHEDULES = {
    "step_decay": "{factor} ** (k // {every})",
    "exponential_decay": "{factor} ** k",
    "linear_decay": "1 + ({end} - 1) * min(k, {steps}) / {steps}",
    "one_cycle": "({start} + (1 - {start}) * (1 - math.cos(math.pi * k / {rise})) / 2"
    " if k < {rise} else "
    "1 + ({end} - 1) * (1 - math.cos(math.pi * min(k - {rise}, {fall}) / {fall})) / 2)",
    "cosine_decay": "1 + ({end} - 1) * (1 - math.cos(math.pi * min(k, {steps}) / {steps})) / 2",
}


class Framework(NamedTuple):
    """How a framework spells what a case is made of.

    Attributes:
        text: of the file.
        layers, losses, optimizers, state: by kind; the last by the name that the format has.
        lacks: settings that its classes do not have, and what they are there.
        of_model: a parameter where a layer uses it, and `of_loss` where a penalty does.
        tap: what is added to each value.
        indent: of the lines that compute the values.
        number: of the terms of a loss.
        penalties, clips: by kind.
    """

    text: str
    layers: dict[str, str]
    losses: dict[str, str]
    optimizers: dict[str, str]
    state: dict[str, str]
    lacks: dict[str, Any]
    of_model: Callable[[str], str]
    of_loss: Callable[[str], str]
    tap: str
    indent: str
    number: str
    penalties: dict[str, str]
    clips: dict[str, str]


def attribute(path: str) -> str:
    """Return the name of a parameter in a torch module: `hidden_weight` of `hidden.weight`."""
    return (path if path[0].isalpha() else f"_{path}").replace(".", "_")


FRAMEWORKS = {
    "torch": Framework(
        text=TORCH,
        layers=TORCH_LAYERS,
        losses=TORCH_LOSSES,
        optimizers=TORCH_OPTIMIZERS,
        state=TORCH_STATE,
        lacks=LACKS,
        of_model=lambda path: f"self.{attribute(path)}",
        of_loss=lambda path: f"model.{attribute(path)}",
        tap="",
        indent=" " * 8,
        number="terms.numel()",
        penalties={"l1": "{w}.abs().sum()", "l2": "{w}.square().sum()"},
        clips={
            "": "# they are used as they are",
            "value": "torch.nn.utils.clip_grad_value_(parameters, {maximum})",
            "norm": """size = torch.nn.utils.get_total_norm([w.grad for w in parameters])
    for w in parameters:
        w.grad.mul_(torch.clamp({maximum} / (size + {epsilon}), max=1.0))""",
        },
    ),
    "jax": Framework(
        text=JAX,
        layers=JAX_LAYERS,
        losses=JAX_LOSSES,
        optimizers=JAX_OPTIMIZERS,
        state=JAX_STATE,
        lacks=LACKS | {"amsgrad": False, "dampening": 0.0},
        of_model=lambda path: f'p["{path}"]',
        of_loss=lambda path: f'p["{path}"]',
        tap=' + taps["{name}"]',
        indent=" " * 4,
        number="terms.size",
        penalties={
            "l1": "({w} * jax.lax.stop_gradient(jnp.sign({w}))).sum()",
            "l2": "jnp.square({w}).sum()",
        },
        clips={
            "": "return gradients",
            "value": "return jax.tree.map(lambda g: jnp.clip(g, -{maximum}, {maximum}), gradients)",
            "norm": """norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in gradients.values()))
    share = jnp.minimum({maximum} / (norm + {epsilon}), 1)
    return jax.tree.map(lambda g: g * share, gradients)""",
        },
    ),
}
