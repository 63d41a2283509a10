"""A training as it stands in Python, as a case: read off its modules, run, and written as YAML."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ruamel.yaml import YAML
from torch import Tensor, nn

from backproof.backends.torch_recording.network import Reading, ties_of
from backproof.backends.torch_recording.recorder import Recording
from backproof.backends.torch_recording.runs import masks_of
from backproof.backends.torch_recording.settings import (
    BY_CLASS,
    NotRead,
    clip_of,
    loss_of,
    optimizer_of,
    schedule_of,
)

INLINE, AT_MOST = 64, 2048  # numbers of an array, and of all, that stand in the YAML itself
Batches = list[tuple[Tensor, Tensor]]


class Training(NamedTuple):
    """What takes part in a training, as the user has it."""

    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches
    steps: int
    scheduler: Any = None
    clip: Any = None


def training_of(
    model, loss, optimizer, batches: Iterable, steps: int | None, scheduler, clip
) -> Training:
    """Return a training with its batches in a list, each as (inputs, targets).

    Raises:
        NotRead: if a batch is something else, or there is none, or another argument is none.
    """
    for what, one, kind in (
        ("model", model, nn.Module),
        ("loss", loss, nn.Module),
        ("optimizer", optimizer, torch.optim.Optimizer),
    ):
        if not isinstance(one, kind):
            found = getattr(one, "__name__", repr(one))
            raise NotRead(f"the {what}: expected a torch {kind.__name__}, found {found}")
    if steps is not None and (not isinstance(steps, int) or steps < 1):
        raise NotRead(f"steps: expected a number of updates, 1 or more, found {steps!r}")
    pairs = [tuple(batch) if isinstance(batch, list | tuple) else () for batch in batches]
    for number, pair in enumerate(pairs):
        if len(pair) != 2 or not all(isinstance(one, Tensor) for one in pair):
            raise NotRead(f"batch {number}: expected (inputs, targets), two tensors")
    if not pairs:
        raise NotRead("there is no batch")
    steps = len(pairs) if steps is None else steps
    return Training(model, loss, optimizer, pairs[:steps], steps, scheduler, clip)


# ---------------------------------------------------------------- the run


def recorded(training: Training) -> Recording:
    """Train with an ordinary loop, and put everything back to where it was."""
    model, loss, optimizer, batches, steps, scheduler, clip = training
    limit = clip_of(clip) if clip is not None else {}
    run = Recording(model, optimizer, scheduler, loss=loss)
    with _put_back(training):
        model.train()
        with run.hooked():
            for step in range(steps):
                inputs, targets = batches[step % len(batches)]
                optimizer.zero_grad()
                loss(model(inputs), targets).backward()
                _clip(limit, [*model.parameters()])
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
    return run


def _clip(limit: dict[str, dict[str, float]], parameters: list[nn.Parameter]) -> None:
    for kind, settings in limit.items():
        clip = {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}[kind]
        clip(parameters, settings["maximum"])


@contextmanager
def _put_back(training: Training) -> Iterator[None]:
    """Let a training run, and put its parameters, states, modes and random numbers back."""
    parts = (training.model, training.optimizer, training.scheduler)
    kept = [(one, deepcopy(one.state_dict())) for one in parts if one is not None]
    modes = [(module, module.training) for module in training.model.modules()]
    gradients = [(w, w.grad) for w in training.model.parameters()]
    with torch.random.fork_rng():
        try:
            yield
        finally:
            for one, state in kept:
                one.load_state_dict(state)
            for module, mode in modes:
                module.training = mode
            for w, gradient in gradients:
                w.grad = gradient


# ---------------------------------------------------------------- the case


class Arrays:
    """The arrays of a case: small ones stand in the YAML, larger ones in a .npz beside it."""

    def __init__(self, path: Path):
        self.file = path.with_suffix(".npz")
        self.beside: dict[str, np.ndarray] = {}
        self.inline = 0

    def __call__(self, name: str, array: np.ndarray) -> Any:
        """Return what stands in the YAML for an array."""
        if array.size <= INLINE and self.inline + array.size <= AT_MOST:
            self.inline += array.size
            return np.asarray(array).tolist()
        self.beside[name] = array
        return {"file": self.file.name, "array": name}

    def write(self) -> None:
        """Write those that stand beside."""
        if self.beside:
            np.savez_compressed(self.file, **self.beside)  # type: ignore[arg-type]  # by name


def case_of(training: Training, reading: Reading, arrays: Arrays) -> dict[str, Any]:
    """Return a training as a case, but for the masks that it will draw.

    Raises:
        NotRead: if something of it has no place in the format.
    """
    parameters = {
        path: _numbers(w.T if turned else w) for path, (w, turned) in reading.parameters.items()
    }
    tied = {
        path: {"parameter": owner, **({"transposed": True} if turned else {})}
        for path, owner, turned in ties_of(reading.parameters)
    }
    own = {path: w for path, (w, _) in reading.parameters.items() if path not in tied}
    inputs, targets, size = _data(training, reading)
    name = type(training.model).__name__
    case: dict[str, Any] = {
        "title": f"The training of a {name} in PyTorch",
        "dtypes": [_dtype(training.model)],
        "network": reading.layers,
        "parameters": {path: arrays(path, parameters[path]) for path in own},
    }
    if tied:
        case["tied"] = tied
    if frozen := _frozen(own, training.optimizer):
        case["frozen"] = frozen
    case["data"] = {"inputs": arrays("inputs", inputs), "targets": arrays("targets", targets)}
    case["loss"] = loss_of(training.loss)
    return case | {"training": _training(training, size)}


def _training(training: Training, size: int) -> dict[str, Any]:
    """Return the part `training` of a case."""
    remembered = training.optimizer.state.values()
    if any(float(one.get("step", 1)) > 0 for one in remembered if one):
        raise NotRead("the optimizer has made steps already: a case begins with a new one")
    optimizer = optimizer_of(training.optimizer)
    found: dict[str, Any] = {
        "steps": training.steps,
        "batch": {"size": size},
        "optimizer": optimizer,
    }
    if training.clip is not None:
        found["clip"] = clip_of(training.clip)
    if training.scheduler is not None:
        found["schedule"], changes = schedule_of(training.scheduler, training.steps)
        next(iter(optimizer.values())).update(changes)
    return found


def _dtype(model: nn.Module) -> str:
    dtypes = {path: str(w.dtype).removeprefix("torch.") for path, w in model.named_parameters()}
    (first, dtype), *others = dtypes.items() or [("", "")]
    for path, other in others:
        if other != dtype:
            raise NotRead(f"{path} is of {other}, {first} of {dtype}: a case has one dtype")
    if dtype not in ("float64", "float32", "float16", "bfloat16"):
        raise NotRead(f"the model's parameters are of {dtype or 'no dtype: it has none'}")
    return dtype


def _numbers(tensor: Tensor) -> np.ndarray:
    """Return a tensor in float64, which has every number of the smaller dtypes."""
    return tensor.detach().to("cpu", torch.float64).numpy()


def _frozen(own: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> list[str]:
    """Return the frozen parameters.

    Raises:
        NotRead: if the optimizer lacks one that has a gradient, or has one that is not read.
    """
    updated = [w for group in optimizer.param_groups for w in group["params"]]
    has = {id(w) for w in updated}
    if extra := has - {id(w) for w in own.values()}:
        shape = next(tuple(w.shape) for w in updated if id(w) in extra)
        raise NotRead(
            f"the optimizer has a parameter of shape {shape} that no layer of the model takes"
        )
    for path, w in own.items():
        if w.requires_grad and id(w) not in has:
            raise NotRead(
                f"{path} requires a gradient, but the optimizer does not have it: freeze it"
            )
    return [path for path, w in own.items() if not w.requires_grad]


def _data(training: Training, reading: Reading) -> tuple[np.ndarray, np.ndarray, int]:
    """Return all samples and targets in the order of the batches, and the size of a batch."""
    batches = _one_epoch(training.batches)
    sizes = [len(inputs) for inputs, _ in batches]
    size = sizes[0]
    for number, found in enumerate(sizes):
        if found != size and not (found < size and number == len(sizes) - 1):
            told = f"batch {number} has {found} samples, batch 0 has {size}"
            raise NotRead(f"{told}: only the last one may be shorter")
    inputs, targets = (_numbers(torch.cat(tensors)) for tensors in zip(*batches, strict=True))
    if reading.is_flattened:
        inputs = inputs.reshape(len(inputs), -1)
    if isinstance(training.loss, BY_CLASS) and targets.ndim == 1:
        return inputs, targets.astype(int), size
    if targets.ndim == 1:
        raise NotRead(
            "the targets are (samples,), where the outputs have an axis more: broadcasting"
        )
    return inputs, targets, size


def _one_epoch(batches: Sequence[tuple[Tensor, Tensor]]) -> Sequence[tuple[Tensor, Tensor]]:
    """Return the batches up to where they begin anew, as the same tensors."""
    first = [(id(inputs), id(targets)) for inputs, targets in batches]
    for length in range(1, len(first)):
        if all(one == first[at % length] for at, one in enumerate(first)):
            return batches[:length]
    return batches


# ---------------------------------------------------------------- as a file


def with_masks(case: dict[str, Any], run: Recording, arrays: Arrays) -> dict[str, Any]:
    """Return the case with the masks that a run has drawn, a row for each step."""
    size, masks = case["training"]["batch"]["size"], {}
    for place, call in enumerate(run.steps[0].passes[0].calls):
        if call.mask is not None:
            steps = [np.zeros((size, *mask.shape[1:])) for mask in masks_of(run, place)]
            for whole, mask in zip(steps, masks_of(run, place), strict=True):
                whole[: len(mask)] = mask
            masks[place] = np.stack(steps).astype(np.int8)
    modules = [layer for layer in case["network"] if "dropout" in layer]
    for layer, mask in zip(modules, masks.values(), strict=True):
        settings = layer["dropout"]
        settings["mask"] = arrays(f"{settings['name']}.mask", mask)
    return case


def write(case: dict[str, Any], path: Path, arrays: Arrays) -> None:
    """Write a case as YAML, and beside it the arrays that are too large for that."""
    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style, yaml.width = None, 110
    yaml.dump(case, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays.write()
    path.write_text(text.getvalue(), encoding="utf-8")
