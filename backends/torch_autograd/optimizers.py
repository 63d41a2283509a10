"""The optimizers in PyTorch, by kind, and what they remember."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer as Made

from backproof.backends.added import added_optimizers
from backproof.backends.registry import Unsupported
from backproof.cases.format.optimizers import Optimizer

MOMENTS = {"betas": "beta1 beta2", "eps": "epsilon"}


def of_class(kind: type[Made], **names: str) -> Callable[[Optimizer, list[Tensor]], Made]:
    """Return a function that makes an optimizer of torch's class.

    Args:
        kind: a class of torch.optim, or one like them.
        names: for each of its arguments the setting of the format, or the settings of a tuple.
            The learning rate and the weight decay have the same place everywhere.
    """

    def make(optimizer: Optimizer, parameters: list[Tensor]) -> Made:
        options = {name: attrgetter(*of.split())(optimizer) for name, of in names.items()}
        if hasattr(optimizer, "weight_decay"):
            options["weight_decay"] = optimizer.weight_decay
        return kind(parameters, lr=optimizer.learning_rate, **options)

    return make


sgd = of_class(torch.optim.SGD)


def momentum(optimizer: Optimizer, parameters: list[Tensor]) -> Made:
    """Make a torch.optim.SGD; Nesterov's form only without dampening, as it insists."""
    if optimizer.nesterov and optimizer.dampening:
        raise Unsupported("torch.optim.SGD has no Nesterov momentum with dampening")
    return of_class(
        torch.optim.SGD, momentum="momentum", dampening="dampening", nesterov="nesterov"
    )(optimizer, parameters)


class Lion(Made):
    """Lion, which torch.optim lacks."""

    def __init__(self, parameters: list[Tensor], **settings: Any):
        super().__init__(parameters, settings)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter once."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for w in group["params"]:
                m = self.state[w].setdefault("exp_avg", torch.zeros_like(w))
                w.mul_(1 - group["lr"] * group["weight_decay"])
                w.sub_(group["lr"] * torch.sign(beta1 * m + (1 - beta1) * w.grad))
                m.mul_(beta2).add_(w.grad, alpha=1 - beta2)


def adagrad(optimizer: Optimizer, parameters: list[Tensor]) -> Made:
    """Make a torch.optim.Adagrad."""
    if optimizer.epsilon_inside:
        raise Unsupported("torch.optim.Adagrad adds epsilon outside the root")
    return of_class(
        torch.optim.Adagrad, eps="epsilon", initial_accumulator_value="initial_accumulator"
    )(optimizer, parameters)


def rmsprop(optimizer: Optimizer, parameters: list[Tensor]) -> Made:
    """Make a torch.optim.RMSprop, whose mean square begins at 0."""
    if optimizer.epsilon_inside:
        raise Unsupported("torch.optim.RMSprop adds epsilon outside the root")
    if optimizer.initial_mean_square:
        raise Unsupported("the mean square of torch.optim.RMSprop begins at 0")
    return of_class(
        torch.optim.RMSprop, alpha="rho", eps="epsilon", centered="centered", momentum="momentum"
    )(optimizer, parameters)


class AdamOfEpsilonHat(torch.optim.Adam):
    """Adam with epsilon added before the bias is corrected: epsilon / sqrt(1 - beta2^t) behind."""

    updates = 0

    def step(self) -> None:
        """Update every parameter once."""
        self.updates += 1
        for group in self.param_groups:
            epsilon = group.setdefault("epsilon_hat", group["eps"])
            group["eps"] = epsilon / math.sqrt(1 - group["betas"][1] ** self.updates)
        super().step()


def adam(optimizer: Optimizer, parameters: list[Tensor]) -> Made:
    """Make a torch.optim.Adam, which is AdamW as well."""
    if optimizer.beta1_decay != 1:
        raise Unsupported(
            "torch.optim.Adam corrects the bias with the beta1 of the average, "
            "so it has no beta1_decay"
        )
    kind = AdamOfEpsilonHat if optimizer.epsilon_hat else torch.optim.Adam
    return of_class(kind, amsgrad="amsgrad", decoupled_weight_decay="is_decoupled", **MOMENTS)(
        optimizer, parameters
    )


class OfStep(Made):
    """An optimizer that a package adds, by its `torch_step(settings, w, g, t, *memory)`.

    It returns what is subtracted from w, and the memory for the next step.
    """

    def __init__(self, step: Callable, settings: Optimizer, parameters: list[Tensor]):
        super().__init__(parameters, {"lr": settings.learning_rate})
        self.function, self.settings, self.updates = step, settings, 0

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter once."""
        self.updates += 1
        for group in self.param_groups:
            settings = self.settings.model_copy(update={"learning_rate": group["lr"]})
            for w in group["params"]:
                self._advance(settings, w)

    def _advance(self, settings: Optimizer, w: Tensor) -> None:
        """Update one parameter, and what is remembered of it."""
        state, starts = self.state[w], settings.starts
        names = [STATE.get(name, name) for name in starts]
        starting = zip(names, starts.values(), strict=True)
        memory = [state.get(name, torch.full_like(w, start)) for name, start in starting]
        decay, g = getattr(settings, "weight_decay", 0), w.grad
        if decay and not settings.is_decoupled:
            g = g + decay * w
        down, memory = self.function(settings, w, g, self.updates, *memory)
        if decay and settings.is_decoupled:
            w.mul_(1 - settings.learning_rate * decay)
        w.sub_(down)
        state.update(zip(names, memory, strict=True))


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "asgd": of_class(torch.optim.ASGD, lambd="lambd", alpha="alpha", t0="t0"),
    "lion": of_class(Lion, betas="beta1 beta2"),
    "rprop": of_class(
        torch.optim.Rprop, etas="decrease increase", step_sizes="smallest_step largest_step"
    ),
    "adagrad": adagrad,
    "adadelta": of_class(torch.optim.Adadelta, rho="rho", eps="epsilon"),
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "adamax": of_class(torch.optim.Adamax, **MOMENTS),
    "nadam": of_class(
        torch.optim.NAdam,
        momentum_decay="momentum_decay",
        decoupled_weight_decay="decoupled",
        **MOMENTS,
    ),
    "radam": of_class(torch.optim.RAdam, decoupled_weight_decay="decoupled", **MOMENTS),
} | {kind: partial(OfStep, step) for kind, step in added_optimizers("torch").items()}
STATE = {  # torch's names for what an optimizer remembers, where they are others
    "velocity": "momentum_buffer",
    "first_moment": "exp_avg",
    "second_moment": "exp_avg_sq",
    "largest_second_moment": "max_exp_avg_sq",
    "infinity_norm": "exp_inf",
    "accumulator": "sum",
    "mean_square": "square_avg",
    "mean_square_update": "acc_delta",
    "mean_gradient": "grad_avg",
    "average": "ax",
    "previous_gradient": "prev",
    "momentum_product": "mu_product",
}


def state_of(
    settings: Optimizer | None, optimizer: Made | None, parameters: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the state by `NAME/PARAM`; torch makes most of it at the first step."""
    if settings is None:
        return {}
    found = {}
    for name, start in settings.starts.items():
        for path, w in parameters.items():
            value = optimizer.state[w].get(STATE.get(name, name), start)
            found[f"{name}/{path}"] = torch.as_tensor(value, dtype=w.dtype).expand_as(w)
    return found
