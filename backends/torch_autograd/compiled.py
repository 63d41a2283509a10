"""PyTorch compiled: torch.compile with inductor turns forward, loss and backward into C++."""

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
from backproof.backends.torch_autograd.network import Tensors, resolve
from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem

__all__ = ["PACKAGES", "run", "settings"]

# Without what inductor does and no formula allows for: docs/frameworks.md, "What compilers change".
OPTIONS = {
    "cpp.simdlen": 1,
    "cpp.vec_isa_ok": False,  # it need not try, for seconds, which vectors there are
    "emulate_precision_casts": True,
}


def gradients_of(
    compiled: Callable,
    shapes: dict[str, tuple[int, ...]],
    parameters: Tensors,
    others: Tensors,
    inputs: Tensor,
    targets: Tensor,
) -> tuple[Tensor, Tensors, Tensors]:
    """Look at a batch and go back; each value takes over the gradient of the tap added to it.

    A value that a compiled program returns has no gradient of its own: it is computed from inside.

    Args:
        compiled: `look` of a problem, compiled.
        shapes: of the value of `input` and of each node, of one sample.
        parameters: by path.
        others: the masks and the buffers before the step, by path.
        inputs: (samples, *positions, features).
        targets: (samples, *positions, outputs).

    Returns:
        The loss; the values by name, with their gradients; the buffers behind the step by path.
    """
    for parameter in parameters.values():
        parameter.grad = None
    taps = zero_taps(shapes, inputs)
    loss, values, buffers = compiled(parameters, others, inputs, targets, taps)
    loss.backward()
    values = {name: value.detach() for name, value in values.items()}
    for name, value in values.items():
        value.grad = taps[name].grad
    return loss, values, buffers


def zero_taps(shapes: dict[str, tuple[int, ...]], inputs: Tensor) -> Tensors:
    """Make negative zeros: added to a number they leave every bit of it, the sign of a zero too."""
    zeros = partial(torch.full, fill_value=-0.0, dtype=inputs.dtype, requires_grad=True)
    return {name: zeros((len(inputs), *shape)) for name, shape in shapes.items()}


def run(problem: Problem) -> Trajectory:
    """Train by compiled gradients; a short batch has its own program, the optimizer has none."""
    _compiler()
    torch.compiler.reset()  # torch compiles a function for eight problems at most
    looked = partial(training.look, problem, resolve(problem.network))
    compiled = torch.compile(looked, fullgraph=True, dynamic=False, options=OPTIONS)
    try:
        return training.run(problem, partial(gradients_of, compiled, problem.shapes))
    except BackendCompilerFailed as error:
        # The C++ compiler's words stand behind a long command.
        said = getattr(error.inner_exception, "output", error)
        raise RuntimeError(f"inductor failed: {said}") from error


def _compiler() -> str:
    """Return the name of the C++ compiler; raise Missing if there is none."""
    try:
        return get_cpp_compiler()
    except InvalidCxxCompiler:
        needed = "a C++ compiler: install g++, or name one in CXX"
        raise Missing(f"the backend torch-compile needs {needed}") from None


def settings() -> dict[str, str]:
    """Return how the backend computes, and with which compiler."""
    compiler = _compiler()
    told = subprocess.check_output([compiler, "--version"], text=True)  # noqa: S603, torch found it
    version = re.search(r"\d+\.[\d.]+", told)
    named = f"{compiler} {version.group()}" if version else compiler
    return torch_autograd.settings() | {"compiler": named}
