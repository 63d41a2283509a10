"""Losses, optimizers and schedulers of torch as the format has them: its tables, backwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import lr_scheduler

Settings = dict[str, Any]
Known = dict[str, Settings]  # {kind: settings}, as a case has it
REDUCTIONS = {"mean": "mean", "sum": "sum", "batchmean": "batch_mean"}


class NotRead(ValueError):  # noqa: N818, it names what has no place in the format
    """Something of a training has no place in the format; the message names it."""


class Loss(NamedTuple):
    """A loss of torch.nn: its kind, settings by attribute, and what attributes must be."""

    kind: str
    settings: dict[str, str] = {}  # noqa: RUF012, nobody changes it
    must_be: dict[str, tuple] = {}  # noqa: RUF012


UNWEIGHTED = {"weight": (None,)}
OF_CLASSES = {"ignore_index": (-100,)}
LOSSES: dict[type[nn.Module], Loss] = {
    nn.MSELoss: Loss("squared_error"),
    nn.L1Loss: Loss("absolute_error"),
    nn.HuberLoss: Loss("huber", {"delta": "delta"}),
    nn.SmoothL1Loss: Loss("smooth_l1", {"beta": "beta"}),
    nn.BCELoss: Loss("binary_cross_entropy", {}, UNWEIGHTED),
    nn.BCEWithLogitsLoss: Loss(
        "sigmoid_binary_cross_entropy", {}, {**UNWEIGHTED, "pos_weight": (None,)}
    ),
    nn.CrossEntropyLoss: Loss(
        "softmax_cross_entropy", {"label_smoothing": "label_smoothing"}, OF_CLASSES
    ),
    nn.NLLLoss: Loss("negative_log_likelihood", {}, OF_CLASSES),
    nn.KLDivLoss: Loss("kl_divergence", {}, {"log_target": (False,)}),
    nn.PoissonNLLLoss: Loss("poisson", {}, {"log_input": (True,), "full": (False,)}),
}
BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)


def loss_of(loss: nn.Module) -> Known:
    """Return a loss as the format has it.

    Raises:
        NotRead: if it has none like it.
    """
    row = LOSSES.get(type(loss))
    name = type(loss).__name__
    if row is None:
        known = ", ".join(one.__name__ for one in LOSSES)
        raise NotRead(f"the loss: {name} is none that is read; those are {known}")
    _insist(f"the loss {name}", vars(loss) | dict(loss.named_buffers()), row.must_be)
    if loss.reduction not in REDUCTIONS:
        raise NotRead(f"the loss {name}: reduction = {loss.reduction!r} leaves no single number")
    settings: Settings = {"reduction": REDUCTIONS[loss.reduction]}
    settings |= {name: getattr(loss, attribute) for name, attribute in row.settings.items()}
    if isinstance(loss, BY_CLASS) and loss.weight is not None:
        settings["class_weights"] = [float(weight) for weight in loss.weight]
    return {row.kind: settings}


def _insist(what: str, found: Mapping[str, Any], must_be: Mapping[str, tuple]) -> None:
    """Raise NotRead where a setting has a value that the format does not know."""
    for name, values in must_be.items():
        value = found.get(name, values[0])
        if isinstance(value, torch.Tensor) or value not in values:
            told = "given" if isinstance(value, torch.Tensor) else repr(value)
            raise NotRead(f"{what}: {name} is {told}; the format knows {values[0]!r} alone")


# ---------------------------------------------------------------- optimizers

HOW = {"lr", "initial_lr", "params", "foreach", "fused", "capturable", "differentiable"}
HOW |= {
    "decoupled_weight_decay",
    "param_names",
    "max_lr",
    "min_lr",
    "max_momentum",
    "base_momentum",
}
BETAS = {"betas": ("beta1", "beta2"), "eps": ("epsilon",), "weight_decay": ("weight_decay",)}
MINIMISES = {"maximize": (False,)}
OPTIMIZERS: dict[type, tuple[str, dict[str, tuple[str, ...]], dict[str, tuple]]] = {
    torch.optim.SGD: (
        "sgd",
        {name: (name,) for name in ("momentum", "dampening", "nesterov", "weight_decay")},
        {},
    ),
    torch.optim.Adam: ("adam", {**BETAS, "amsgrad": ("amsgrad",)}, {}),
    torch.optim.AdamW: ("adamw", {**BETAS, "amsgrad": ("amsgrad",)}, {}),
    torch.optim.Adamax: ("adamax", BETAS, {}),
    torch.optim.NAdam: ("nadam", {**BETAS, "momentum_decay": ("momentum_decay",)}, {}),
    torch.optim.RAdam: ("radam", BETAS, {}),
    torch.optim.Adagrad: (
        "adagrad",
        {
            "eps": ("epsilon",),
            "weight_decay": ("weight_decay",),
            "initial_accumulator_value": ("initial_accumulator",),
        },
        {"lr_decay": (0,)},
    ),
    torch.optim.Adadelta: (
        "adadelta",
        {"rho": ("rho",), "eps": ("epsilon",), "weight_decay": ("weight_decay",)},
        {},
    ),
    torch.optim.RMSprop: (
        "rmsprop",
        {
            "alpha": ("rho",),
            "eps": ("epsilon",),
            **{name: (name,) for name in ("weight_decay", "momentum", "centered")},
        },
        {},
    ),
    torch.optim.ASGD: (
        "asgd",
        {name: (name,) for name in ("lambd", "alpha", "t0", "weight_decay")},
        {},
    ),
    torch.optim.Rprop: (
        "rprop",
        {"etas": ("decrease", "increase"), "step_sizes": ("smallest_step", "largest_step")},
        {},
    ),
}


def optimizer_of(optimizer: torch.optim.Optimizer) -> Known:
    """Return an optimizer as the format has it.

    Raises:
        NotRead: if it has none like it, or groups of parameters with other settings each.
    """
    name = type(optimizer).__name__
    if type(optimizer) not in OPTIMIZERS:
        known = ", ".join(one.__name__ for one in OPTIMIZERS)
        raise NotRead(f"the optimizer: {name} is none that is read; those are {known}")
    kind, fields, must_be = OPTIMIZERS[type(optimizer)]
    group, *others = optimizer.param_groups
    for at, other in enumerate(others, start=1):
        for key in group.keys() - {"params", "param_names"}:
            if other[key] != group[key]:
                found = f"group 0 has {key} = {group[key]!r}, group {at} {other[key]!r}"
                raise NotRead(f"the optimizer {name}: {found}; a case has one for all parameters")
    _insist(f"the optimizer {name}", group, {**must_be, **MINIMISES})
    if unknown := sorted(group.keys() - HOW - fields.keys() - must_be.keys() - {*MINIMISES}):
        raise NotRead(f"the optimizer {name}: the format does not know {unknown[0]}")
    settings = {"learning_rate": float(group.get("initial_lr", group["lr"]))}
    for key, names in fields.items():
        values = group[key] if len(names) > 1 else (group[key],)
        settings |= {one: _plain(value) for one, value in zip(names, values, strict=True)}
    return _as_a_kind(kind, settings, decoupled=group.get("decoupled_weight_decay", False))


def _plain(value: Any) -> bool | float:
    return value if isinstance(value, bool) else float(value)


def _as_a_kind(kind: str, settings: Settings, *, decoupled: bool) -> Known:
    """Return settings under the kind that they make: SGD is momentum where it has some."""
    if kind == "sgd" and not settings["momentum"]:
        settings = {name: settings[name] for name in ("learning_rate", "weight_decay")}
    elif kind == "sgd":
        kind = "momentum"
    if decoupled and kind == "adam":
        kind = "adamw"
    elif decoupled and kind in ("nadam", "radam"):
        settings["decoupled"] = True
    return {kind: settings}


# ---------------------------------------------------------------- schedules


def schedule_of(scheduler: Any, steps: int) -> tuple[Known, Settings]:
    """Return a scheduler as the format has it, and settings of the optimizer that it changes.

    Args:
        scheduler: of torch.optim, as it is before the first step.
        steps: of the training: behind its end CosineAnnealingLR rises again.

    Raises:
        NotRead: if the format has none like it.
    """
    name = type(scheduler).__name__
    if getattr(scheduler, "last_epoch", 0) != 0:
        raise NotRead(f"the scheduler {name} has made {scheduler.last_epoch} steps already")
    match scheduler:
        case lr_scheduler.OneCycleLR():
            return _one_cycle(scheduler, steps)
        case lr_scheduler.SequentialLR():
            return {"warm_up": _warm_up(scheduler, steps)}, {}
    return _decay(scheduler, steps), {}


def _decay(scheduler: Any, steps: int) -> Known:
    """Return a schedule of one curve."""
    match scheduler:
        case lr_scheduler.StepLR():
            return {"step_decay": {"every": scheduler.step_size, "factor": float(scheduler.gamma)}}
        case lr_scheduler.ExponentialLR():
            return {"exponential_decay": {"factor": float(scheduler.gamma)}}
        case lr_scheduler.LinearLR() if scheduler.start_factor == 1:
            end = float(scheduler.end_factor)
            return {"linear_decay": {"steps": scheduler.total_iters, "end": end}}
        case lr_scheduler.LinearLR() if scheduler.end_factor == 1:
            start = float(scheduler.start_factor)
            return {"warm_up": {"steps": scheduler.total_iters, "start": start}}
        case lr_scheduler.CosineAnnealingLR():
            if steps > scheduler.T_max + 1:
                told = f"rises again behind T_max = {scheduler.T_max}, where the format's stays"
                raise NotRead(f"the scheduler CosineAnnealingLR {told}: take fewer steps")
            end = scheduler.eta_min / scheduler.base_lrs[0]
            return {"cosine_decay": {"steps": scheduler.T_max, "end": end}}
    known = "StepLR, ExponentialLR, LinearLR, CosineAnnealingLR, OneCycleLR and SequentialLR of two"
    raise NotRead(
        f"the scheduler: {type(scheduler).__name__} is none that is read; those are {known}"
    )


def _warm_up(scheduler: Any, steps: int) -> Settings:
    """Return a LinearLR up to 1 with another schedule behind it."""
    parts, ends = scheduler._schedulers, scheduler._milestones  # noqa: SLF001, it has no other names
    first = _decay(parts[0], steps).get("warm_up")
    if len(parts) != 2 or first is None or ends != [first["steps"]]:
        told = "is read where a LinearLR up to 1 is followed by one schedule at its end"
        raise NotRead(f"the scheduler SequentialLR {told}")
    return first | {"then": _decay(parts[1], steps - ends[0])}


def _one_cycle(scheduler: Any, steps: int) -> tuple[Known, Settings]:
    """Return a OneCycleLR, whose phases are shares of all steps, and its largest rate."""
    group = scheduler.optimizer.param_groups[0]
    phases = [phase["end_step"] for phase in scheduler._schedule_phases]  # noqa: SLF001, likewise
    if len(phases) != 2 or phases[0] != int(phases[0]) or phases[0] < 1:
        raise NotRead(
            "the scheduler OneCycleLR: its rise is no whole number of steps, in two phases"
        )
    if scheduler._anneal_func_type != "cos":  # noqa: SLF001, likewise
        raise NotRead("the scheduler OneCycleLR: anneal_strategy is linear; the format knows cos")
    if getattr(scheduler, "cycle_momentum", False):
        raise NotRead("the scheduler OneCycleLR: cycle_momentum changes the momentum as well")
    if steps > scheduler.total_steps:
        raise NotRead(f"the scheduler OneCycleLR is over after {scheduler.total_steps} steps")
    top = float(group["max_lr"])
    shares = {"start": group["initial_lr"] / top, "end": group["min_lr"] / top}
    rise, fall = int(phases[0]), int(phases[1] - phases[0])
    return {"one_cycle": {"rise": rise, "fall": fall, **shares}}, {"learning_rate": top}


def clip_of(clip: Any) -> Known:
    """Return a clip as the format has it: a number is the largest norm, by clip_grad_norm_.

    Raises:
        NotRead: if it is something else than a number or `{"value": number}`.
    """
    match clip:
        case bool():
            pass
        case int() | float():
            return {"norm": {"maximum": float(clip), "epsilon": 1e-6}}
        case {"norm": int() | float() as maximum}:
            return {"norm": {"maximum": float(maximum), "epsilon": 1e-6}}
        case {"value": int() | float() as maximum}:
            return {"value": {"maximum": float(maximum)}}
    raise NotRead(
        f"clip: expected a number, {{'norm': number}} or {{'value': number}}, found {clip!r}"
    )
