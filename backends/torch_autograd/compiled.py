"""PyTorch compiled: torch.compile with inductor, which turns forward, loss and backward into C++."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from backproof.backends import torch_autograd
from backproof.backends.registry import Missing
from backproof.backends.torch_autograd import PACKAGES, training
from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem

__all__ = ["PACKAGES", "run", "settings"]

# What inductor does by default and no formula allows for is in docs/frameworks.md, "What compilers change".
OPTIONS = {
    "cpp.simdlen": 1,
    "cpp.vec_isa_ok": False,  # it need not try, for seconds, which vectors there are
    "emulate_precision_casts": True,
}


Tensors = dict[str, Tensor]


def look(
    problem: Problem,
    parameters: Tensors,
    inputs: Tensor,
    targets: Tensor,
    masks: Tensors,
    taps: Tensors,
) -> tuple[Tensor, Tensors]:
    """The loss and the values of a batch: what is compiled, and its backward pass with it."""
    values = training.forward(problem, training.with_tied(problem, parameters) | masks, inputs, taps)
    return training.loss_of(problem, parameters, values, targets), values


def gradients_of(
    compiled: Callable,
    problem: Problem,
    parameters: Tensors,
    inputs: Tensor,
    targets: Tensor,
    masks: Tensors,
) -> tuple[Tensor, Tensors]:
    """The loss and the values of a batch, each with its gradient in `.grad`: what a tap added to it has there.

    A value that a compiled program returns has no gradient of its own: it is computed from inside.
    """
    for parameter in parameters.values():
        parameter.grad = None
    taps = _zero_taps(problem, inputs)
    loss, values = compiled(parameters, inputs, targets, masks, taps)
    loss.backward()
    values = {name: value.detach() for name, value in values.items()}
    for name, value in values.items():
        value.grad = taps[name].grad
    return loss, values


def _zero_taps(problem: Problem, inputs: Tensor) -> Tensors:
    """Negative zeros: added to a number they leave every bit of it, the sign of a zero too."""
    options = {"dtype": inputs.dtype, "requires_grad": True}
    return {name: torch.full((len(inputs), width), -0.0, **options) for name, width in problem.widths.items()}


def run(problem: Problem) -> Trajectory:
    """Train by compiled gradients, with a program of its own for a short batch; the optimizer is not compiled."""
    _compiler()
    torch.compiler.reset()  # torch compiles a function for eight problems at most
    compiled = torch.compile(partial(look, problem), fullgraph=True, dynamic=False, options=OPTIONS)
    try:
        return training.run(problem, partial(gradients_of, compiled))
    except BackendCompilerFailed as error:
        said = getattr(error.inner_exception, "output", error)  # by the C++ compiler, behind a long command
        raise RuntimeError(f"inductor failed: {said}") from error


def _compiler() -> str:
    try:
        return get_cpp_compiler()
    except InvalidCxxCompiler:
        raise Missing("the backend torch-compile needs a C++ compiler: install g++, or name one in CXX") from None


def settings() -> dict[str, str]:
    """How the backend computes."""
    compiler = _compiler()
    told = subprocess.check_output([compiler, "--version"], text=True)  # noqa: S603, torch found it
    version = re.search(r"\d+\.[\d.]+", told)
    return {
        **torch_autograd.settings(),
        "compiler": " ".join(filter(None, [compiler, version and version.group()])),
    }
