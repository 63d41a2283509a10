"""PyTorch: nn.functional forward, autograd backward, torch.optim updates. Independent of `reference/`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from ml_dtypes import bfloat16
from torch import Tensor

from backends import Unsupported
from backends.trajectory import Recorder, Trajectory
from cases.problem import Problem
from cases.schema import Dense, Loss, Optimizer

PACKAGES = ("torch",)

torch.set_num_threads(1)

# ---------------------------------------------------------------- the tables


def softplus(x: Tensor, beta: float) -> Tensor:
    """F.softplus returns x itself from beta x = 20 on, which is 2e-9 beside the truth: as good as it for 16 bits."""
    if x.dtype.itemsize == 2:
        return F.softplus(x, beta)
    return torch.logaddexp(beta * x, torch.zeros_like(x)) / beta


def hard_sigmoid(x: Tensor) -> Tensor:
    """The derivative of F.hardsigmoid is a float32 1/6 in float64 too."""
    return F.relu6(x + 3) / 6


def celu(x: Tensor, alpha: float) -> Tensor:
    """F.celu divides by a float32 alpha in float64 too; for 16 bits, whose parts may underflow, that is enough."""
    if x.dtype.itemsize == 2:
        return F.celu(x, alpha)
    return F.relu(x) + alpha * torch.expm1(torch.clamp(x, max=0) / alpha)


def gelu(x: Tensor, approximate: str) -> Tensor:
    """F.gelu has no correct digit on the far negative side, where 1 + erf cancels; erfc doesn't."""
    return F.gelu(x, approximate="tanh") if approximate == "tanh" else x * torch.erfc(-x * 0.5**0.5) / 2


ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "softplus": softplus,
    "log_sigmoid": F.logsigmoid,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "prelu": F.prelu,
    "relu6": F.relu6,
    "hard_tanh": F.hardtanh,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": F.hardswish,
    "elu": F.elu,
    "celu": celu,
    "selu": F.selu,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": gelu,
    "softmax": partial(F.softmax, dim=-1),
    "log_softmax": partial(F.log_softmax, dim=-1),
    "identity": torch.clone,
}


def of_torch(function: Callable, *settings: str) -> Callable:
    """A loss of nn.functional, times the factor; it has a mean of its own, and a batch's is its sum by the samples."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        options = {name: getattr(loss, name) for name in settings}
        total = loss.factor * function(
            output, targets, reduction="mean" if loss.reduction == "mean" else "sum", **options
        )
        return total / len(output) if loss.reduction == "batch_mean" else total

    return loss_of_batch


def of_terms(terms: Callable) -> Callable:
    """A loss that nn.functional lacks, from its terms."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        each = terms(output, targets)
        total = loss.factor * each.sum()
        return total if loss.reduction == "sum" else total / (each.numel() if loss.reduction == "mean" else len(output))

    return loss_of_batch


def log_cosh(output: Tensor, targets: Tensor) -> Tensor:
    """logaddexp(d, -d) - log 2 does not overflow."""
    return torch.logaddexp(output - targets, targets - output) - math.log(2)


def binary_cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """F.binary_cross_entropy clamps the logarithms, and its derivative from 1e-12 on."""
    return -(targets * torch.log(output) + (1 - targets) * torch.log1p(-output))


def by_class(function: Callable, *settings: str) -> Callable:
    """A loss of classes, whose weights, where there are some, are also what a mean divides by."""

    def loss_of_batch(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
        options = {name: getattr(loss, name) for name in settings}
        weight = None if loss.class_weights is None else torch.tensor(loss.class_weights, dtype=output.dtype)
        total = loss.factor * function(output, targets, weight=weight, reduction="sum", **options)
        weighted = loss.reduction == "mean" and weight is not None
        return total if loss.reduction == "sum" else total / ((targets * weight).sum() if weighted else len(output))

    return loss_of_batch


def negative_log_likelihood(output: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """F.nll_loss takes the number of the class; of a distribution over the classes it is the sum of products."""
    if bool(((targets == 0) | (targets == 1)).all() and (targets.sum(dim=1) == 1).all()):
        return F.nll_loss(output, targets.argmax(dim=1), weight=weight, reduction=reduction)
    return -(output * (targets if weight is None else targets * weight)).sum()


def gaussian_nll(output: Tensor, targets: Tensor) -> Tensor:
    """F.gaussian_nll_loss takes variances and clamps them."""
    mean, log_variance = output.chunk(2, dim=1)
    return (log_variance + (mean - targets).square() * torch.exp(-log_variance)) / 2


LOSSES = {
    "squared_error": of_torch(F.mse_loss),
    "absolute_error": of_torch(F.l1_loss),
    "huber": of_torch(F.huber_loss, "delta"),
    "smooth_l1": of_torch(F.smooth_l1_loss, "beta"),
    "log_cosh": of_terms(log_cosh),
    "binary_cross_entropy": of_terms(binary_cross_entropy),
    "sigmoid_binary_cross_entropy": of_torch(F.binary_cross_entropy_with_logits),
    "softmax_cross_entropy": by_class(F.cross_entropy, "label_smoothing"),
    "negative_log_likelihood": by_class(negative_log_likelihood),
    "kl_divergence": of_terms(partial(F.kl_div, reduction="none")),
    "poisson": of_torch(F.poisson_nll_loss),
    "hinge": of_terms(lambda output, targets: F.relu(1 - targets * output)),
    "squared_hinge": of_terms(lambda output, targets: F.relu(1 - targets * output).square()),
    "gaussian_nll": of_terms(gaussian_nll),
    "cosine": of_terms(lambda output, targets: 1 - F.cosine_similarity(output, targets, eps=0.0)),
}


def sgd(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.SGD without momentum."""
    return torch.optim.SGD(parameters, lr=optimizer.learning_rate)


def momentum(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.SGD; Nesterov's form only without dampening, as it insists."""
    if optimizer.nesterov and optimizer.dampening:
        raise Unsupported("torch.optim.SGD has no Nesterov momentum with dampening")
    if not optimizer.momentum:
        raise Unsupported("torch.optim.SGD remembers no velocity where the momentum is 0")
    return torch.optim.SGD(
        parameters, lr=optimizer.learning_rate, momentum=optimizer.momentum, dampening=optimizer.dampening,
        nesterov=optimizer.nesterov,
    )  # fmt: skip


class Lion(torch.optim.Optimizer):
    """torch.optim has none."""

    def __init__(self, parameters: list[Tensor], lr: float, betas: tuple[float, float]):
        super().__init__(parameters, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for w in group["params"]:
                m = self.state[w].setdefault("exp_avg", torch.zeros_like(w))
                w.sub_(group["lr"] * torch.sign(beta1 * m + (1 - beta1) * w.grad))
                m.mul_(beta2).add_(w.grad, alpha=1 - beta2)


def rmsprop(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.RMSprop."""
    return torch.optim.RMSprop(
        parameters, lr=optimizer.learning_rate, alpha=optimizer.rho, eps=optimizer.epsilon,
        centered=optimizer.centered, momentum=optimizer.momentum,
    )  # fmt: skip


def of_moments(kind: type, *settings: str) -> Callable:
    """An optimizer of Adam's family, with its betas and epsilon."""

    def make(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
        options = {name: getattr(optimizer, name) for name in settings}
        betas = optimizer.beta1, optimizer.beta2
        return kind(parameters, lr=optimizer.learning_rate, betas=betas, eps=optimizer.epsilon, **options)

    return make


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "lion": lambda optimizer, parameters: Lion(
        parameters, lr=optimizer.learning_rate, betas=(optimizer.beta1, optimizer.beta2)
    ),
    "adagrad": lambda optimizer, parameters: torch.optim.Adagrad(
        parameters, lr=optimizer.learning_rate, eps=optimizer.epsilon,
        initial_accumulator_value=optimizer.initial_accumulator,
    ),
    "adadelta": lambda optimizer, parameters: torch.optim.Adadelta(
        parameters, lr=optimizer.learning_rate, rho=optimizer.rho, eps=optimizer.epsilon
    ),
    "rmsprop": rmsprop,
    "adam": of_moments(torch.optim.Adam, "amsgrad"),
    "adamw": of_moments(torch.optim.AdamW, "amsgrad", "weight_decay"),
    "adamax": of_moments(torch.optim.Adamax),
}  # fmt: skip
STATE = {  # torch's names for what an optimizer remembers
    "velocity": "momentum_buffer", "first_moment": "exp_avg", "second_moment": "exp_avg_sq",
    "largest_second_moment": "max_exp_avg_sq", "infinity_norm": "exp_inf", "accumulator": "sum",
    "mean_square": "square_avg", "mean_square_update": "acc_delta", "mean_gradient": "grad_avg",
}  # fmt: skip


def state_of(
    problem: Problem, optimizer: torch.optim.Optimizer | None, parameters: dict[str, Tensor]
) -> dict[str, np.ndarray]:
    """The state by `NAME/PARAM`; torch makes most of it at the first step, from zeros."""
    names = problem.optimizer.state if problem.optimizer else ()
    found = {(name, path): optimizer.state[w].get(STATE[name]) for name in names for path, w in parameters.items()}
    missing = {path: torch.zeros_like(w) for path, w in parameters.items()}
    return _arrays({f"{name}/{path}": missing[path] if s is None else s for (name, path), s in found.items()})


# ---------------------------------------------------------------- the run


def forward(problem: Problem, parameters: dict[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """The values of `input` and of every layer."""
    x, values = inputs, {"input": inputs}
    for layer in problem.network:
        if isinstance(layer, Dense):
            x = x @ parameters[f"{layer.name}.weight"]
            x = x + parameters[f"{layer.name}.bias"] if layer.bias else x
        else:
            x = ACTIVATIONS[layer.kind](x, *layer.arguments(parameters))
        values[layer.name] = x
    return values


def loss_of(problem: Problem, values: dict[str, Tensor], targets: Tensor) -> Tensor:
    """The loss of the last layer's values."""
    return LOSSES[problem.loss.kind](problem.loss, values[problem.network[-1].name], targets)


def gradients_of(problem: Problem, parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> tuple:
    """The loss and the values of a batch, every one of them with its gradient retained in `.grad`."""
    for parameter in parameters.values():
        parameter.grad = None
    values = forward(problem, parameters, inputs.requires_grad_())
    for value in values.values():
        value.retain_grad()
    loss = loss_of(problem, values, targets)
    loss.backward()
    return loss, values


def run(problem: Problem) -> Trajectory:
    """Train by autograd, one step after the other."""
    start, record = time.perf_counter(), Recorder(problem)
    inputs, targets = _tensor(problem.inputs), _tensor(problem.targets)
    parameters = {path: _tensor(values).requires_grad_() for path, values in problem.parameters.items()}
    optimizer = problem.optimizer and OPTIMIZERS[problem.optimizer.kind](problem.optimizer, [*parameters.values()])
    for number, rows in enumerate(problem.batches):
        batch = torch.from_numpy(rows[rows >= 0])
        loss, values = gradients_of(problem, parameters, inputs[batch], targets[batch])
        before, state_before = _arrays(parameters), state_of(problem, optimizer, parameters)
        if optimizer:
            optimizer.step()
        if number in record.wanted:
            record.add(
                loss=_array(loss), values=_arrays(values), cotangents=_gradients(values),
                gradients=_gradients(parameters), before=before, after=_arrays(parameters),
                state_before=state_before, state_after=state_of(problem, optimizer, parameters),
            )  # fmt: skip
    with torch.no_grad():
        values = forward(problem, parameters, inputs)
        final_loss = _array(loss_of(problem, values, targets))
    return record.trajectory(problem, _arrays(values), final_loss, time.perf_counter() - start)


def _tensor(array: np.ndarray) -> Tensor:
    """A copy; torch takes no bfloat16 from NumPy, but the same bits as integers."""
    return torch.tensor(array.view(np.int16)).view(torch.bfloat16) if array.dtype == bfloat16 else torch.tensor(array)


def _array(tensor: Tensor) -> np.ndarray:
    """A copy."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(bfloat16).copy()
    return tensor.numpy().copy()


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: _array(tensor) for name, tensor in tensors.items()}


def _gradients(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return _arrays({name: tensor.grad for name, tensor in tensors.items()})


def settings() -> dict[str, str]:
    """How the backend computes."""
    blas = "MKL" if torch.backends.mkl.is_available() else "torch's own"
    return {"threads": str(torch.get_num_threads()), "x64": "yes", "matrix products": blas}
