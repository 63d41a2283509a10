"""Tensors of a loop as they were and as they are: what was written into, and what was drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from backproof.backends.torch_recording.steps import Copies


def unequal(before: Mapping[str, Tensor], now: Copies) -> str:
    """Return the first name of what is not as it was; nothing if all is."""
    if now is before:
        return ""
    return next((path for path, w in before.items() if not now[path].equal(w)), "")


def versions(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Tell which tensors these are, and how often each has been written into."""
    return [(id(one), one._version) for one in tensors]  # noqa: SLF001, it has no other name


def mask_of(module: nn.Module, args: tuple, value: Tensor) -> Tensor | None:
    """Return what a dropout has drawn, from what its derivative remembers, or from its value."""
    if not isinstance(module, nn.Dropout) or not module.training:
        return None
    saved = getattr(value.grad_fn, "_saved_other", None)
    saved = getattr(value.grad_fn, "_saved_result1", None) if saved is None else saved
    if isinstance(saved, Tensor) and saved.shape == value.shape:
        return (saved != 0).detach()
    unknown = args[0] == 0
    return torch.where(unknown, 2, (value != 0).to(torch.int8)).detach()


def divided_by(raw: Mapping[str, Tensor], used: Mapping[str, Tensor]) -> float:
    """Return the power of two by which all tensors were divided; 1 if it is none."""
    if raw is used or not raw or raw.keys() != used.keys():
        return 1.0
    largest = max(raw, key=lambda path: float(raw[path].abs().max()))
    factor = float(raw[largest].abs().max() / used[largest].abs().max())
    is_power = math.isfinite(factor) and math.frexp(factor)[0] == 0.5
    return factor if is_power and all(raw[p].equal(used[p] * factor) for p in raw) else 1.0
