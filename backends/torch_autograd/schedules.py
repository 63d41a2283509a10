"""What stands before an update in PyTorch: gradients are clipped, and learning rates follow schedules."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from backproof.cases.format.optimizers import AnySchedule, Clip, CosineDecay, OneCycle, WarmUp


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
    return lr_scheduler.SequentialLR(
        optimizer, [up, scheduler_of(schedule.then, optimizer)], [schedule.steps]
    )


def _one_cycle(schedule: AnySchedule, optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    """OneCycleLR gives its end as a share of its start, and its phases as shares of all steps."""
    steps, (group, *_) = schedule.rise + schedule.fall + 1, optimizer.param_groups
    return lr_scheduler.OneCycleLR(
        optimizer, group["lr"], steps, pct_start=(schedule.rise + 1) / steps, div_factor=1 / schedule.start,
        final_div_factor=schedule.start / schedule.end, cycle_momentum=False,
    )  # fmt: skip


SCHEDULERS = {
    "step_decay": lambda schedule, optimizer: lr_scheduler.StepLR(
        optimizer, schedule.every, schedule.factor
    ),
    "exponential_decay": lambda schedule, optimizer: lr_scheduler.ExponentialLR(
        optimizer, schedule.factor
    ),
    "linear_decay": lambda schedule, optimizer: lr_scheduler.LinearLR(
        optimizer, 1.0, schedule.end, schedule.steps
    ),
    "cosine_decay": lambda schedule, optimizer: lr_scheduler.CosineAnnealingLR(
        optimizer, schedule.steps, schedule.end * optimizer.defaults["lr"]
    ),
    "one_cycle": _one_cycle,
    "warm_up": _warm_up,
}


def scheduler_of(
    schedule: AnySchedule, optimizer: torch.optim.Optimizer
) -> lr_scheduler.LRScheduler:
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
