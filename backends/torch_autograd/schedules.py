"""Clipping gradients and scheduling learning rates in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from backproof.cases.format.optimizers import AnySchedule, Clip, CosineDecay, OneCycle, WarmUp


def clip_gradients(clip: Clip | None, parameters: list[Tensor]) -> None:
    """Clip gradients in place by torch.nn.utils, whose clip_grad_norm_ has an epsilon of 1e-6."""
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


def _warm_up(schedule: WarmUp, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    """Return a LinearLR, or where it would start from 0 a LambdaLR; and what follows it."""
    if schedule.start:
        up = lr_scheduler.LinearLR(optimizer, schedule.start, 1.0, schedule.steps)
    else:
        up = lr_scheduler.LambdaLR(optimizer, lambda k: min(k / schedule.steps, 1.0))
    if schedule.then is None:
        return up
    then = scheduler_of(schedule.then, optimizer)
    return lr_scheduler.SequentialLR(optimizer, [up, then], [schedule.steps])


def _one_cycle(schedule: OneCycle, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    """Return a OneCycleLR: its end is a share of its start, its phases are shares of all steps."""
    steps = schedule.rise + schedule.fall + 1
    shares = {"div_factor": 1 / schedule.start, "final_div_factor": schedule.start / schedule.end}
    rate, rise = optimizer.param_groups[0]["lr"], (schedule.rise + 1) / steps
    own = {"pct_start": rise, "cycle_momentum": False, **shares}
    return lr_scheduler.OneCycleLR(optimizer, rate, steps, **own)


def _cosine_decay(schedule: CosineDecay, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    """Return a CosineAnnealingLR, whose end is a learning rate rather than a share of it."""
    end = schedule.end * optimizer.defaults["lr"]
    return lr_scheduler.CosineAnnealingLR(optimizer, schedule.steps, end)


SCHEDULERS: dict[str, Callable] = {
    "step_decay": lambda of, optimizer: lr_scheduler.StepLR(optimizer, of.every, of.factor),
    "exponential_decay": lambda of, optimizer: lr_scheduler.ExponentialLR(optimizer, of.factor),
    "linear_decay": lambda of, optimizer: lr_scheduler.LinearLR(optimizer, 1.0, of.end, of.steps),
    "cosine_decay": _cosine_decay,
    "one_cycle": _one_cycle,
    "warm_up": _warm_up,
}


def scheduler_of(schedule: AnySchedule, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    """Return a scheduler of torch.optim that sets the learning rate of the optimizer."""
    return SCHEDULERS[schedule.kind](schedule, optimizer)


def last_change(schedule: AnySchedule | None) -> float:
    """Return the step from which on the learning rate stays, and its scheduler is left alone.

    Behind it CosineAnnealingLR would rise again, and OneCycleLR complain.
    """
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
