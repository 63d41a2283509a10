"""The optimizers in PyTorch, by kind, and what they remember."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from backproof.backends.added import added_optimizers
from backproof.backends.registry import Unsupported
from backproof.cases.format.optimizers import Optimizer


def sgd(optimizer: Optimizer, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """torch.optim.SGD without momentum."""
    return torch.optim.SGD(
        parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
    )


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

    def __init__(
        self, parameters: list[Tensor], lr: float, betas: tuple[float, float], weight_decay: float
    ):
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
        raise Unsupported(
            "torch.optim.Adam corrects the bias with the beta1 of the average, so it has no beta1_decay"
        )
    kind = AdamOfEpsilonHat if optimizer.epsilon_hat else torch.optim.Adam
    options = {"amsgrad": optimizer.amsgrad, "decoupled_weight_decay": optimizer.is_decoupled}
    return of_moments(kind)(optimizer, parameters, **options)


def of_moments(kind: type) -> Callable:
    """An optimizer of Adam's family."""

    def make(
        optimizer: Optimizer, parameters: list[Tensor], **options: float
    ) -> torch.optim.Optimizer:
        return kind(
            parameters, lr=optimizer.learning_rate, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon,
            weight_decay=optimizer.weight_decay, **options,
        )  # fmt: skip

    return make


class OfStep(torch.optim.Optimizer):
    """An optimizer that a package adds: what a function of w, g, t and its memory returns is subtracted from w."""

    def __init__(self, step: Callable, settings: Optimizer, parameters: list[Tensor]):
        super().__init__(parameters, {"lr": settings.learning_rate})
        self.function, self.settings, self.updates = step, settings, 0

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter."""
        self.updates += 1
        for group in self.param_groups:
            settings = self.settings.model_copy(update={"learning_rate": group["lr"]})
            for w in group["params"]:
                self._advance(settings, w)

    def _advance(self, settings: Optimizer, w: Tensor) -> None:
        starts = {STATE.get(name, name): start for name, start in settings.starts.items()}
        memory = [
            self.state[w].get(name, torch.full_like(w, start)) for name, start in starts.items()
        ]
        decay, g = getattr(settings, "weight_decay", 0), w.grad
        if decay and not settings.is_decoupled:
            g = g + decay * w
        down, memory = self.function(settings, w, g, self.updates, *memory)
        if decay and settings.is_decoupled:
            w.mul_(1 - settings.learning_rate * decay)
        w.sub_(down)
        self.state[w].update(zip(starts, memory, strict=True))


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
} | {kind: partial(OfStep, step) for kind, step in added_optimizers("torch").items()}  # fmt: skip
STATE = {  # torch's names for what an optimizer remembers
    "velocity": "momentum_buffer", "first_moment": "exp_avg", "second_moment": "exp_avg_sq",
    "largest_second_moment": "max_exp_avg_sq", "infinity_norm": "exp_inf", "accumulator": "sum",
    "mean_square": "square_avg", "mean_square_update": "acc_delta", "mean_gradient": "grad_avg", "average": "ax",
    "previous_gradient": "prev", "step_size": "step_size", "momentum_product": "mu_product",
}  # fmt: skip


def state_of(
    settings: Optimizer | None,
    optimizer: torch.optim.Optimizer | None,
    parameters: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Name the state `NAME/PARAM`; torch makes most of it at the first step."""
    return {
        f"{name}/{path}": torch.as_tensor(
            optimizer.state[w].get(STATE.get(name, name), start), dtype=w.dtype
        ).expand_as(w)
        for name, start in (settings.starts if settings else {}).items()
        for path, w in parameters.items()
    }
