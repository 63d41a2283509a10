"""PyTorch: nn.functional forward, autograd backward, torch.optim updates. Independent of `reference/`."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import Tensor

from backends.trajectory import Recorder, Trajectory
from cases.problem import Problem
from cases.schema import Dense, Loss, Optimizer

PACKAGES = ("torch",)

torch.set_num_threads(1)

# ---------------------------------------------------------------- the tables


def softplus(x: Tensor, beta: float) -> Tensor:
    """F.softplus returns x itself from beta x = 20 on, which is 2e-9 beside the truth."""
    return torch.logaddexp(beta * x, torch.zeros_like(x)) / beta


def hard_sigmoid(x: Tensor) -> Tensor:
    """The derivative of F.hardsigmoid is a float32 1/6 in float64 too."""
    return F.relu6(x + 3) / 6


def celu(x: Tensor, alpha: float) -> Tensor:
    """F.celu divides by a float32 alpha in float64 too."""
    return alpha * F.elu(x / alpha)


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


def squared_error(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """torch.nn.functional.mse_loss, times the factor."""
    return loss.factor * F.mse_loss(output, targets, reduction=loss.reduction)


LOSSES = {"squared_error": squared_error}


def sgd(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.SGD without momentum."""
    return torch.optim.SGD(parameters, lr=optimizer.learning_rate)


OPTIMIZERS = {"sgd": sgd}

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
    inputs, targets = torch.tensor(problem.inputs), torch.tensor(problem.targets)
    parameters = {path: torch.tensor(values, requires_grad=True) for path, values in problem.parameters.items()}
    optimizer = problem.optimizer and OPTIMIZERS[problem.optimizer.kind](problem.optimizer, [*parameters.values()])
    for number, rows in enumerate(problem.batches):
        batch = torch.from_numpy(rows[rows >= 0])
        loss, values = gradients_of(problem, parameters, inputs[batch], targets[batch])
        before = _arrays(parameters)
        if optimizer:
            optimizer.step()
        if number in record.wanted:
            record.add(
                loss=loss.detach().numpy(), values=_arrays(values), cotangents=_gradients(values),
                gradients=_gradients(parameters), before=before, after=_arrays(parameters),
            )  # fmt: skip
    with torch.no_grad():
        values = forward(problem, parameters, inputs)
        final_loss = loss_of(problem, values, targets).numpy()
    return record.trajectory(problem, _arrays(values), final_loss, time.perf_counter() - start)


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def _gradients(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return _arrays({name: tensor.grad for name, tensor in tensors.items()})


def settings() -> dict[str, str]:
    """How the backend computes."""
    blas = "MKL" if torch.backends.mkl.is_available() else "torch's own"
    return {"threads": str(torch.get_num_threads()), "x64": "yes", "matrix products": blas}
