"""What a recorded loop does beside the case, where no number of the case would tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from scipy.stats import binom

from backproof.backends.torch_recording.matching import NotTheCase, Place
from backproof.backends.torch_recording.steps import Loop, Step
from backproof.cases.problem import Problem

UNLIKELY = 1e-9  # of masks that were drawn


def all_judged(run: Loop, places: Mapping[str, Place]) -> None:
    """Raise NotTheCase where a parameter of the model is trained and has no place in the case."""
    judged = {place.path for place in places.values()}
    recorded = [step for step in run.steps if step.before]
    for path, w in run.model.named_parameters():
        first, last = recorded[0].before.get(path), recorded[-1].after.get(path)
        is_kept = first is not None and last is not None and first.equal(last)
        if path not in judged and (w.requires_grad or not is_kept):
            raise NotTheCase(
                f"the model trains {path} {tuple(w.shape)}, which has no place in the case: add "
                f"its layer to the case, record the part of the model that the case has, or "
                f"freeze it, `requires_grad_(False)`"
            )


def rate_of(step: Step, number: int, problem: Problem) -> float:
    """Return the learning rate of a step, the same in all parameter groups.

    Raises:
        NotTheCase: if it is not, or is another than the one of a case without a schedule.
    """
    rates = sorted({*step.rates})
    expected = None if problem.schedule else _rate_of(problem)
    for rate in rates if expected is not None else ():
        if rate not in (expected, float(np.float32(expected))):  # it may be a tensor of float32
            raise NotTheCase(
                f"step {number}: the case's learning rate is {expected!r}, the optimizer's is "
                f"{rate!r}, and the case has no `schedule`"
            )
    if len(rates) > 1 and problem.schedule:
        found = " and ".join(map(repr, rates))
        raise NotTheCase(
            f"step {number}: parameter groups have the learning rates {found}; a case has one"
        )
    return rates[0] if rates else float("nan")


def _rate_of(problem: Problem) -> float | None:
    return None if problem.optimizer is None else float(problem.optimizer.learning_rate)


# ---------------------------------------------------------------- masks


def as_drawn(name: str, rate: float, masks: Iterable[torch.Tensor]) -> None:
    """Raise NotTheCase where masks can't be independent draws that keep 1 - rate of all elements.

    Args:
        name: of the layer.
        rate: of what is dropped.
        masks: (samples, *shape) of each step, 1 what is kept, 2 where that is not known.
    """
    flat = [mask.reshape(len(mask), -1).cpu() for mask in masks]
    keep = 1 - rate
    known = torch.cat([mask[mask != 2].reshape(-1) for mask in flat])
    kept, count = int(known.sum()), known.numel()
    if min(binom.cdf(kept, count, keep), binom.sf(kept - 1, count, keep)) < UNLIKELY:
        raise NotTheCase(
            f"{name}: the loop's masks keep {kept} of {count} elements; by the case's rate "
            f"{rate} it is {count * keep:.0f}, give or take {np.sqrt(count * keep * rate):.0f}"
        )
    size = min(map(len, flat))
    steps = torch.stack([mask[:size] for mask in flat])
    if _chance(steps, rate) < UNLIKELY:
        raise NotTheCase(f"{name}: the loop drew the same mask at every step: is it seeded anew?")
    if np.prod([_chance(mask, rate) for mask in flat]) < UNLIKELY:
        raise NotTheCase(f"{name}: the loop drew one mask for all samples of a batch")


def _chance(masks: torch.Tensor, rate: float) -> float:
    """Return how probable equal masks, (n, *shape), are by chance; 1 where they are not equal."""
    if not bool((masks == masks[0]).all()):
        return 1.0
    return ((1 - rate) ** len(masks) + rate ** len(masks)) ** masks[0].numel()
