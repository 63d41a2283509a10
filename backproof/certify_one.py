"""One operation alone is certified: a layer, a loss, a step of an optimizer, by anybody's function.

Nothing is asked of the function but to be called. It takes the inputs in the order in which they
are given here, and its settings are its own: `lambda x, w: mine(x, w, eps=1e-6)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backproof.backends.function_calls import Callee
from backproof.backends.returned import as_array
from backproof.backends.trajectory import Arrays
from backproof.cases.format.layers.table import KINDS as LAYERS
from backproof.cases.format.losses import KINDS as LOSSES
from backproof.cases.format.optimizers import KINDS as OPTIMIZERS
from backproof.certify import NotCertified
from backproof.report.judging.alone import called
from backproof.report.judging.alone.asked import Asked, Unfit, checked_kind
from backproof.report.judging.alone.called import Asking, Certified, Options, Refused
from backproof.report.judging.alone.layers import of_layer
from backproof.report.judging.alone.losses_and_updates import of_loss, of_update


def certify_layer(
    kind: str,
    function: Any,
    inputs: Mapping[str, Any],
    cotangent: Any = None,
    *,
    accumulate: str | None = "float32",
    hostile: bool = False,
    framework: str | None = None,
    seed: int = 0,
    **settings: Any,
) -> Certified:
    """Certify a layer: its value, and the derivatives by all its inputs and parameters.

    Args:
        kind: of layer, as in a case file: `gelu`, `dense`, one that a package of yours adds.
        function: of torch tensors, a `torch.autograd.Function` or its `apply`; of JAX arrays, with
            a `custom_vjp` or without; or a pair (forward, backward) of NumPy functions. It takes
            the inputs in the order of `inputs`.
        inputs: tensors by name: `x` (samples, *positions, features), or the values that the layer's
            formula names, its parameters (`weight` is (in, out)), a dropout's `mask`.
        cotangent: of the value; drawn where it is not given, and never of ones.
        accumulate: `float32` or `float64`: everything inside the operation is carried in it, if it
            is wider than the dtype, and rounded once at the end. None: every operation may round to
            the dtype, as in a function of many calls of a framework; in 16 bits sums are carried in
            float32 all the same.
        hostile: try inputs too that show what others hide: one sample, odd numbers of them, ties,
            zeros, extremes.
        framework: `torch` or `jax`, for inputs that are NumPy arrays.
        seed: of the drawn cotangent.
        **settings: of the kind, as in a case file.

    Raises:
        NotCertified: with the first wrong element, and what is known of it.
        ValueError: if this is no such operation.
        Exception: what the function raises.
    """
    return _certified(
        lambda arrays, inner: of_layer(kind, arrays, settings, inner),
        Callee(function, inputs, framework),
        cotangent,
        Options(accumulate, hostile, seed),
    )


def certify_loss(
    kind: str,
    function: Any,
    inputs: Mapping[str, Any],
    cotangent: Any = None,
    *,
    accumulate: str | None = "float32",
    hostile: bool = False,
    framework: str | None = None,
    seed: int = 0,
    **settings: Any,
) -> Certified:
    """Certify a loss: its value, and the derivative by the outputs.

    Args:
        kind: of loss, as in a case file.
        function: as of `certify_layer`; it returns one number, or with `reduction="none"` a term
            for each sample and position, or each output.
        inputs: the outputs `y` (samples, *positions, outputs) and the targets `t`; of classes also
            their indices.
        cotangent: of the loss, one number; drawn where it is not given, so that a backward pass
            that takes it for 1 is refused.
        accumulate: as of `certify_layer`, and so are the next three.
        hostile: see there.
        framework: see there.
        seed: see there.
        **settings: of the kind, and its `reduction`: `sum`, `mean`, `batch_mean` or `none`.

    Raises:
        NotCertified: with the first wrong element, and what is known of it.
        ValueError: if this is no such operation.
    """
    return _certified(
        lambda arrays, inner: of_loss(kind, arrays, settings, inner),
        Callee(function, inputs, framework),
        cotangent,
        Options(accumulate, hostile, seed),
    )


def certify_update(
    kind: str,
    function: Callable,
    inputs: Mapping[str, Any],
    *,
    step: int = 0,
    accumulate: str | None = "float32",
    hostile: bool = False,
    framework: str | None = None,
    **settings: Any,
) -> Certified:
    """Certify one step of an optimizer: the parameter and the state that it leaves.

    Args:
        kind: of optimizer, as in a case file.
        function: of arrays or tensors. It returns the parameter and the state after the step, in
            this order or by name; or None, and has written them into its inputs.
        inputs: `parameter`, `gradient`, and what the optimizer remembers by name
            (`first_moment`), all of one shape.
        step: the number of the step, from 0: the first one has t = 1.
        accumulate: as of `certify_layer`, and so are the next two.
        hostile: see there.
        framework: see there.
        **settings: of the kind: `learning_rate`, ...

    Raises:
        NotCertified: with the first wrong element, and what is known of it.
        ValueError: if this is no such operation.
    """
    return _certified(
        lambda arrays, inner: of_update(kind, arrays, settings, step, inner),
        Callee(function, inputs, framework),
        None,
        Options(accumulate, hostile),
    )


def certify_numbers(
    kind: str,
    inputs: Mapping[str, Any] | None = None,
    cotangent: Any = None,
    found: Mapping[str, Any] | str | Path | None = None,
    *,
    accumulate: str | None = "float32",
    step: int = 0,
    **settings: Any,
) -> Certified:
    """Certify numbers that were computed anywhere: on a GPU, by a program in another language.

    Args:
        kind: of layer, loss or optimizer.
        inputs: by name, as of the functions above.
        cotangent: with which the derivatives were computed. Without it only the value is judged.
        found: by name, `y` (of a loss `loss`, of an optimizer `parameter` and its state) and the
            derivatives by the names of the inputs. Or a file in safetensors, which holds them as
            `found/y`; where `inputs` are not given it holds `inputs/x` and `cotangent` too.
        accumulate: as of `certify_layer`.
        step: of an optimizer.
        **settings: of the kind.

    Raises:
        NotCertified: with the first wrong element, and what is known of it.
        ValueError: if this is no such operation.
    """
    if isinstance(found, str | Path):
        inputs, cotangent, found = _from_file(Path(found), inputs, cotangent)
    if not isinstance(inputs, Mapping) or not isinstance(found, Mapping):
        raise Unfit("expected inputs and found, each with arrays by name, or a file of them")
    arrays = {n: as_array(one, np.dtype(np.float64)) for n, one in inputs.items()}
    try:
        return called.certified_numbers(
            lambda arrays, inner: _asked(kind, arrays, settings, step, inner),
            arrays,
            cotangent,
            found,
            accumulate,
        )
    except Refused as refused:
        raise NotCertified(str(refused)) from None


def _certified(asking: Asking, callee: Callee, cotangent: Any, options: Options) -> Certified:
    """Certify a function, or raise NotCertified."""
    try:
        return called.certified(asking, callee, cotangent, options)
    except Refused as refused:
        raise NotCertified(str(refused)) from None


def _asked(
    kind: str, arrays: Arrays, settings: Mapping[str, Any], step: int, accumulate: str | None
) -> Asked:
    """Return a layer, a loss or an optimizer's step, whichever this kind is."""
    checked_kind("layer, loss or optimizer", kind, [*LAYERS, *LOSSES, *OPTIMIZERS])
    if kind in LOSSES:
        return of_loss(kind, arrays, settings, accumulate)
    if kind in OPTIMIZERS:
        return of_update(kind, arrays, settings, step, accumulate)
    return of_layer(kind, arrays, settings, accumulate)


def _from_file(
    path: Path, inputs: Mapping[str, Any] | None, cotangent: Any
) -> tuple[Mapping[str, Any], Any, Mapping[str, Any]]:
    """Return inputs, cotangent and what was found, as far as a file holds them."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise Unfit(f"{path}: no safetensors file: {error}") from None
    groups: dict[str, dict[str, np.ndarray]] = {"inputs": {}, "found": {}}
    for name, array in arrays.items():
        group, slash, rest = name.partition("/")
        if slash and group in groups:
            groups[group][rest] = array
        elif name != "cotangent":
            groups["found"][name] = array
    given = groups["inputs"] if inputs is None else inputs
    return given, arrays.get("cotangent") if cotangent is None else cotangent, groups["found"]
