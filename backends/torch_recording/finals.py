"""What a recorded model computes at the end, for all samples at the final parameters."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backproof.backends.torch_autograd.arrays import to_tensor
from backproof.backends.torch_recording.matching import NotTheCase, labels_of
from backproof.backends.torch_recording.steps import Call, Loop
from backproof.cases.problem import Problem


def finals(
    run: Loop, problem: Problem, layers: Mapping[str, int], calls: Sequence[Call]
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return the values and the loss of all samples at the final parameters, in eval mode.

    Nothing where the last step is not recorded, or the model itself can't: a note says why.

    Raises:
        NotTheCase: if the loss of `record` raises, or gives something else than one number.
    """
    if not run.steps[-1].after:
        return {}, None
    taken: list[Call] = []
    x = to_tensor(problem.inputs).to(next(run.model.parameters()).device)
    with _left_as_it_was(run.model, taken):
        run.model.eval()
        tensors = {path: one.clone() for path, one in run.model.named_buffers()}
        tensors |= run.steps[-1].after
        try:
            output = torch.func.functional_call(run.model, tensors, (x,))
        except Exception as error:  # noqa: BLE001, the model may be of something else than a tensor
            run.note(f"final values were not taken: {_told(error)}", None)
            return {}, None
        if labels_of(taken) != labels_of(calls):
            why = "in eval mode the model calls other modules"
            run.note(f"final values were not taken: {why}", None)
            return {}, None
        judged = run.loss is not None and not problem.penalties
        loss = _loss(run.loss, output, _targets(problem).to(x.device)) if judged else None
    return {"input": x} | {name: taken[at].value for name, at in layers.items()}, loss


@contextmanager
def _left_as_it_was(model: nn.Module, taken: list[Call]) -> Iterator[None]:
    """Note the values of a call, and leave modes and random numbers as they were."""
    modes = {module: module.training for module in model.modules()}

    def call(path: str, module: nn.Module, _: Any, value: Any) -> None:
        if isinstance(value, Tensor):
            taken.append(Call(path, module, value.clone()))

    with ExitStack() as stack, torch.random.fork_rng(), torch.no_grad():
        for path, module in model.named_modules():
            if not any(True for _ in module.children()):
                handle = module.register_forward_hook(partial(call, path))
                stack.callback(handle.remove)
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def _loss(function: Any, output: Any, targets: Tensor) -> Tensor:
    """Return what the user's loss gives, a tensor of one number."""
    try:
        found = function(output, targets)
    except Exception as error:
        raise NotTheCase(f"loss: {_told(error)}") from error
    if isinstance(found, float):
        return torch.tensor(found, dtype=output.dtype)
    if not isinstance(found, Tensor) or found.numel() != 1:
        what = f"of shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
        raise NotTheCase(f"loss: expected one number, found {type(found).__name__} {what}")
    return found.detach().reshape(())


def _told(error: Exception) -> str:
    """Return an exception in words, with the innermost line of the user's own code, if any."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if "site-packages" not in f.filename and f.filename != __file__]
    last = (theirs or frames)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def _targets(problem: Problem) -> Tensor:
    """Return the targets as a loss of torch.nn takes them: of classes their indices."""
    targets = problem.targets
    are_classes = np.isin(targets, (0, 1)).all() and (targets.sum(axis=-1) == 1).all()
    if problem.loss.by_class and are_classes:
        return torch.from_numpy(targets.argmax(axis=-1))
    return to_tensor(targets)
