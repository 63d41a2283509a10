"""PyTorch: nn.functional forward, autograd backward, torch.optim updates. Independent of `reference/`."""

from __future__ import annotations

import math
import time
from collections import ChainMap
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from ml_dtypes import bfloat16
from torch import Tensor
from torch.optim import lr_scheduler

from backproof.backends.registry import Unsupported
from backproof.backends.trajectory import Recorder, Trajectory
from backproof.cases.format.layers import Dense
from backproof.cases.format.losses import Loss
from backproof.cases.format.optimizers import AnySchedule, Clip, CosineDecay, OneCycle, Optimizer, WarmUp
from backproof.cases.problem import Problem

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


def dropout(x: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    """F.dropout draws a mask of its own, and scales it like this."""
    return x if mask is None else x * (mask / (1 - rate))


LAYERS = ACTIVATIONS | {"dropout": dropout, "skip": torch.add}
PENALTIES = {"l1": torch.abs, "l2": torch.square}


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
    """F.binary_cross_entropy clamps the logarithms, and its derivative from 1e-12 on; 0 log 0 is NaN."""
    of_class, of_others = torch.where(targets == 0, 1, output), torch.where(targets == 1, 0, output)
    return -(targets * torch.log(of_class) + (1 - targets) * torch.log1p(-of_others))


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
    """F.nll_loss takes the number of the class; of a distribution over the classes it is the sum of products.

    So it is in a compiled program too, which can't ask what the targets are.
    """
    compiling = torch.compiler.is_compiling()
    if not compiling and bool(((targets == 0) | (targets == 1)).all() and (targets.sum(dim=1) == 1).all()):
        return F.nll_loss(output, targets.argmax(dim=1), weight=weight, reduction=reduction)
    return -(output * (targets if weight is None else targets * weight)).sum()


def gaussian_nll(output: Tensor, targets: Tensor) -> Tensor:
    """F.gaussian_nll_loss takes variances and clamps them."""
    mean, log_variance = output.chunk(2, dim=1)
    return (log_variance + (mean - targets).square() * torch.exp(-log_variance)) / 2


LOSSES = {
    "weighted_sum": of_terms(torch.mul),
    "weighted_squares": of_terms(lambda output, targets: targets * output.square()),
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


# ---------------------------------------------------------------- optimizers


def sgd(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.SGD without momentum."""
    return torch.optim.SGD(parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay)


def momentum(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.SGD; Nesterov's form only without dampening, as it insists."""
    if optimizer.nesterov and optimizer.dampening:
        raise Unsupported("torch.optim.SGD has no Nesterov momentum with dampening")
    return torch.optim.SGD(
        parameters, lr=optimizer.learning_rate, momentum=optimizer.momentum, dampening=optimizer.dampening,
        nesterov=optimizer.nesterov, weight_decay=optimizer.weight_decay,
    )  # fmt: skip


class Lion(torch.optim.Optimizer):
    """torch.optim has none."""

    def __init__(self, parameters: list[Tensor], lr: float, betas: tuple[float, float], weight_decay: float):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for w in group["params"]:
                m = self.state[w].setdefault("exp_avg", torch.zeros_like(w))
                w.mul_(1 - group["lr"] * group["weight_decay"])
                w.sub_(group["lr"] * torch.sign(beta1 * m + (1 - beta1) * w.grad))
                m.mul_(beta2).add_(w.grad, alpha=1 - beta2)


def adagrad(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.Adagrad."""
    if optimizer.epsilon_inside:
        raise Unsupported("torch.optim.Adagrad adds epsilon outside the root")
    return torch.optim.Adagrad(
        parameters, lr=optimizer.learning_rate, eps=optimizer.epsilon, weight_decay=optimizer.weight_decay,
        initial_accumulator_value=optimizer.initial_accumulator,
    )  # fmt: skip


def rmsprop(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.RMSprop, whose mean square begins at 0."""
    if optimizer.epsilon_inside:
        raise Unsupported("torch.optim.RMSprop adds epsilon outside the root")
    if optimizer.initial_mean_square:
        raise Unsupported("the mean square of torch.optim.RMSprop begins at 0")
    return torch.optim.RMSprop(
        parameters, lr=optimizer.learning_rate, alpha=optimizer.rho, eps=optimizer.epsilon,
        centered=optimizer.centered, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay,
    )  # fmt: skip


class AdamOfEpsilonHat(torch.optim.Adam):
    """epsilon / sqrt(1 - beta2^t) in place of epsilon is one that was added before the correction."""

    updates = 0

    def step(self) -> None:
        """One update of every parameter."""
        self.updates += 1
        for group in self.param_groups:
            epsilon = group.setdefault("epsilon_hat", group["eps"])
            group["eps"] = epsilon / math.sqrt(1 - group["betas"][1] ** self.updates)
        super().step()


def adam(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.Adam, which is AdamW as well."""
    if optimizer.beta1_decay != 1:
        raise Unsupported("torch.optim.Adam corrects the bias with the beta1 of the average, so it has no beta1_decay")
    kind = AdamOfEpsilonHat if optimizer.epsilon_hat else torch.optim.Adam
    options = {"amsgrad": optimizer.amsgrad, "decoupled_weight_decay": optimizer.is_decoupled}
    return of_moments(kind)(optimizer, parameters, **options)


def of_moments(kind: type) -> Callable:
    """An optimizer of Adam's family."""

    def make(optimizer: Optimizer, parameters: list[Tensor], **options: float) -> torch.optim.Optimizer:
        return kind(
            parameters, lr=optimizer.learning_rate, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon,
            weight_decay=optimizer.weight_decay, **options,
        )  # fmt: skip

    return make


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "asgd": lambda optimizer, parameters: torch.optim.ASGD(
        parameters, lr=optimizer.learning_rate, lambd=optimizer.lambd, alpha=optimizer.alpha, t0=optimizer.t0,
        weight_decay=optimizer.weight_decay,
    ),
    "lion": lambda optimizer, parameters: Lion(
        parameters, lr=optimizer.learning_rate, betas=(optimizer.beta1, optimizer.beta2),
        weight_decay=optimizer.weight_decay,
    ),
    "rprop": lambda optimizer, parameters: torch.optim.Rprop(
        parameters, lr=optimizer.learning_rate, etas=(optimizer.decrease, optimizer.increase),
        step_sizes=(optimizer.smallest_step, optimizer.largest_step),
    ),
    "adagrad": adagrad,
    "adadelta": lambda optimizer, parameters: torch.optim.Adadelta(
        parameters, lr=optimizer.learning_rate, rho=optimizer.rho, eps=optimizer.epsilon,
        weight_decay=optimizer.weight_decay,
    ),
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "adamax": of_moments(torch.optim.Adamax),
    "nadam": lambda optimizer, parameters: of_moments(torch.optim.NAdam)(
        optimizer, parameters, momentum_decay=optimizer.momentum_decay, decoupled_weight_decay=optimizer.decoupled
    ),
    "radam": lambda optimizer, parameters: of_moments(torch.optim.RAdam)(
        optimizer, parameters, decoupled_weight_decay=optimizer.decoupled
    ),
}  # fmt: skip
STATE = {  # torch's names for what an optimizer remembers
    "velocity": "momentum_buffer", "first_moment": "exp_avg", "second_moment": "exp_avg_sq",
    "largest_second_moment": "max_exp_avg_sq", "infinity_norm": "exp_inf", "accumulator": "sum",
    "mean_square": "square_avg", "mean_square_update": "acc_delta", "mean_gradient": "grad_avg", "average": "ax",
    "previous_gradient": "prev", "step_size": "step_size", "momentum_product": "mu_product",
}  # fmt: skip


def state_of(
    problem: Problem, optimizer: torch.optim.Optimizer | None, parameters: dict[str, Tensor]
) -> dict[str, np.ndarray]:
    """The state by `NAME/PARAM`; torch makes most of it at the first step."""
    starts = problem.optimizer.starts if problem.optimizer else {}
    return _arrays(
        {
            f"{name}/{path}": torch.as_tensor(optimizer.state[w].get(STATE[name], start), dtype=w.dtype).expand_as(w)
            for name, start in starts.items()
            for path, w in parameters.items()
        }
    )


# ---------------------------------------------------------------- clipping and schedules


def clip_gradients(clip: Clip | None, parameters: list[Tensor]) -> None:
    """torch.nn.utils; clip_grad_norm_ has an epsilon of 1e-6."""
    if clip is None:
        return
    if clip.kind == "value":
        torch.nn.utils.clip_grad_value_(parameters, clip.maximum)
    elif clip.epsilon == 1e-6:
        torch.nn.utils.clip_grad_norm_(parameters, clip.maximum)
    else:
        size = torch.nn.utils.get_total_norm([w.grad for w in parameters])
        for w in parameters:
            w.grad.mul_(torch.clamp(clip.maximum / (size + clip.epsilon), max=1.0))


def _warm_up(schedule: AnySchedule, optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    """LinearLR does not start from 0."""
    if schedule.start:
        up = lr_scheduler.LinearLR(optimizer, schedule.start, 1.0, schedule.steps)
    else:
        up = lr_scheduler.LambdaLR(optimizer, lambda k: min(k / schedule.steps, 1.0))
    if schedule.then is None:
        return up
    return lr_scheduler.SequentialLR(optimizer, [up, scheduler_of(schedule.then, optimizer)], [schedule.steps])


def _one_cycle(schedule: AnySchedule, optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    """OneCycleLR gives its end as a share of its start, and its phases as shares of all steps."""
    steps, (group, *_) = schedule.rise + schedule.fall + 1, optimizer.param_groups
    return lr_scheduler.OneCycleLR(
        optimizer, group["lr"], steps, pct_start=(schedule.rise + 1) / steps, div_factor=1 / schedule.start,
        final_div_factor=schedule.start / schedule.end, cycle_momentum=False,
    )  # fmt: skip


SCHEDULERS = {
    "step_decay": lambda schedule, optimizer: lr_scheduler.StepLR(optimizer, schedule.every, schedule.factor),
    "exponential_decay": lambda schedule, optimizer: lr_scheduler.ExponentialLR(optimizer, schedule.factor),
    "linear_decay": lambda schedule, optimizer: lr_scheduler.LinearLR(optimizer, 1.0, schedule.end, schedule.steps),
    "cosine_decay": lambda schedule, optimizer: lr_scheduler.CosineAnnealingLR(
        optimizer, schedule.steps, schedule.end * optimizer.defaults["lr"]
    ),
    "one_cycle": _one_cycle,
    "warm_up": _warm_up,
}


def scheduler_of(schedule: AnySchedule, optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    """The scheduler of torch.optim."""
    return SCHEDULERS[schedule.kind](schedule, optimizer)


def last_change(schedule: AnySchedule | None) -> float:
    """The step from which on the learning rate stays: CosineAnnealingLR would rise again, OneCycleLR complain."""
    match schedule:
        case None:
            return 0
        case CosineDecay():
            return schedule.steps
        case OneCycle():
            return schedule.rise + schedule.fall
        case WarmUp():
            return schedule.steps + last_change(schedule.then)
    return math.inf


# ---------------------------------------------------------------- the run


def forward(
    problem: Problem, numbers: dict[str, Tensor], inputs: Tensor, taps: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The values of `input` and of every layer; where there are taps, each has its own added to it.

    `numbers` holds the parameters and masks.
    """
    x = inputs + taps["input"] if taps else inputs
    values = {"input": x}
    for layer in problem.network:
        if isinstance(layer, Dense):
            x = x @ numbers[f"{layer.name}.weight"]
            x = x + numbers[f"{layer.name}.bias"] if layer.bias else x
        else:
            x = LAYERS[layer.kind](x, *layer.arguments(ChainMap(values, numbers)))
        x = x + taps[layer.name] if taps else x
        values[layer.name] = x
    return values


def with_tied(problem: Problem, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """All parameters, also those that are another one."""
    return parameters | {path: tie.of(parameters) for path, tie in problem.tied.items()}


def loss_of(problem: Problem, parameters: dict[str, Tensor], values: dict[str, Tensor], targets: Tensor) -> Tensor:
    """The loss of the last layer's values, and the penalties."""
    loss = LOSSES[problem.loss.kind](problem.loss, values[problem.network[-1].name], targets)
    for penalty in problem.penalties:
        for path in penalty.parameters:
            loss = loss + penalty.coefficient * PENALTIES[penalty.kind](parameters[path]).sum()
    return loss


def gradients_of(
    problem: Problem, parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor, masks: dict[str, Tensor]
) -> tuple:
    """The loss and the values of a batch, every one of them with its gradient retained in `.grad`."""
    for parameter in parameters.values():
        parameter.grad = None
    values = forward(problem, with_tied(problem, parameters) | masks, inputs.requires_grad_())
    for value in values.values():
        value.retain_grad()
    loss = loss_of(problem, parameters, values, targets)
    loss.backward()
    return loss, values


def run(problem: Problem, take_gradients: Callable | None = None) -> Trajectory:
    """Train by autograd, one step after the other; the gradients may be had in another way."""
    before, dtype = torch.get_default_dtype(), _tensor(problem.inputs).dtype
    torch.set_default_dtype(dtype)  # torch.optim keeps some scalars in it
    try:
        return _train(problem, take_gradients or gradients_of)
    finally:
        torch.set_default_dtype(before)


def _train(problem: Problem, take_gradients: Callable) -> Trajectory:
    start, record = time.perf_counter(), Recorder(problem)
    inputs, targets = _tensor(problem.inputs), _tensor(problem.targets)
    parameters = {
        path: _tensor(values).requires_grad_(path in problem.trained) for path, values in problem.parameters.items()
    }
    trained = {path: parameters[path] for path in problem.trained}
    optimizer = problem.optimizer and OPTIMIZERS[problem.optimizer.kind](problem.optimizer, [*trained.values()])
    scheduler = problem.schedule and scheduler_of(problem.schedule, optimizer)
    for number, rows in enumerate(problem.batches):
        batch = torch.from_numpy(rows[rows >= 0])
        masks = {name: _tensor(mask[: len(batch)]) for name, mask in problem.masks_at(number).items()}
        loss, values = take_gradients(problem, parameters, inputs[batch], targets[batch], masks)
        gradients, rate = _gradients(trained), optimizer and optimizer.param_groups[0]["lr"]
        before, state_before = _arrays(parameters), state_of(problem, optimizer, trained)
        if optimizer:
            clip_gradients(problem.clip, [*trained.values()])
            optimizer.step()
        if number in record.wanted:
            record.add(
                loss=_array(loss), values=_arrays(values), cotangents=_gradients(values),
                gradients=gradients, before=before, after=_arrays(parameters),
                state_before=state_before, state_after=state_of(problem, optimizer, trained),
                learning_rate=rate if scheduler else None,
            )  # fmt: skip
        if scheduler and number < last_change(problem.schedule):
            scheduler.step()
    with torch.no_grad():
        values = forward(problem, with_tied(problem, parameters), inputs)
        final_loss = _array(loss_of(problem, parameters, values, targets))
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
