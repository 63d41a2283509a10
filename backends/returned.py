"""What somebody's own function returned, as plain arrays, of tensors, JAX arrays, lists, numbers.

No framework is imported for that; a thing is known by the methods it has. An array keeps its dtype,
so that a wrong one is told. Lists and Python numbers have none, and are rounded once to that of the
problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from backproof.backends.trajectory import Incomplete, WrongReturn
from backproof.cases.problem import Problem, rounded

NAMES_SHOWN = 8
BY_SAMPLE = ("values/", "cotangents/")  # where a short batch has fewer rows


def as_array(found: Any, dtype: np.dtype) -> Any:
    """Return what was found as an array, or the thing itself where it is none."""
    with suppress(TypeError, ValueError, RuntimeError):  # no numbers, or not on this machine
        if hasattr(found, "detach"):
            return _of_tensor(found)
        if hasattr(found, "__array__"):
            return np.asarray(found)
        if isinstance(found, list | tuple) and not _is_of_numbers(found):
            arrays = [as_array(each, dtype) for each in found]
            are_arrays = all(isinstance(array, np.ndarray) for array in arrays)
            return np.stack(arrays) if are_arrays else found
        numbers = found.tolist() if hasattr(found, "tolist") else found
        if isinstance(numbers, int | float | list | tuple):
            return rounded(np.asarray(numbers, np.float64), dtype.name)
    return found


def _is_of_numbers(found: Any) -> bool:
    """Tell whether nested lists hold Python's own numbers, which have no dtype, or nothing."""
    if isinstance(found, list | tuple):
        return not found or _is_of_numbers(found[0])
    return isinstance(found, int | float)


def _of_tensor(tensor: Any) -> np.ndarray:
    """Return a torch tensor, on whatever device, as an array; NumPy does not know bfloat16."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(bfloat16)
    return tensor.numpy()


def as_arrays(run: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    """Return the arrays of a run, by name or by group and name; its texts and its time as they are.

    Raises:
        Incomplete: if a list is ragged. Values and cotangents may be, where they have as many rows
            as a short batch has samples.
    """
    dtypes = {"steps": np.dtype(np.int64), "learning_rates": np.dtype(np.float64)}

    def converted(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: converted(f"{name}/{key}", inner) for key, inner in value.items()}
        dtype = dtypes.get(name, problem.dtype)
        if name.startswith(BY_SAMPLE) and isinstance(value, list | tuple):
            value = _padded(value, dtype, problem)
        array = as_array(value, dtype)
        if _is_ragged(array):
            raise Incomplete(f"{name}: expected an array, found {no_array(value)}")
        return array

    own = {name: value for name, value in run.items() if name in ("scope", "seconds")}
    return {name: converted(str(name), run[name]) for name in run if name not in own} | own


def _padded(steps: list | tuple, dtype: np.dtype, problem: Problem) -> list:
    """Return the arrays of the steps, (B, *shape), with zeros behind a short batch's samples."""
    size, samples = problem.batches.shape[1], (problem.batches[problem.recorded] >= 0).sum(axis=1)
    if len(steps) != len(samples):
        return [*steps]
    arrays = [as_array(step, dtype) for step in steps]
    for k, (array, rows) in enumerate(zip(arrays, samples, strict=True)):
        if np.ndim(array) > 1 and len(array) == rows:
            arrays[k] = np.pad(array, ((0, size - rows), *[(0, 0)] * (np.ndim(array) - 1)))
    return arrays


# ---------------------------------------------------------------- the loss and the gradients


def checked(result: Any, problem: Problem) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Return the loss, if there is one, and the gradients by parameter that a function returned.

    Raises:
        WrongReturn: if it returned something else.
    """
    loss, gradients = result if _is_pair(result) else (None, result)
    if not isinstance(gradients, Mapping):
        expected = "expected (loss, gradients), the gradients in a dictionary by parameter"
        trained, found = _listed(problem.trained), _what(gradients)
        raise WrongReturn(f"{expected}: {trained}; found {found} in their place")
    _check_names("gradient", gradients, problem)
    arrays = {path: as_array(gradients[path], problem.dtype) for path in problem.trained}
    loss_array = as_array(loss, problem.dtype)
    if isinstance(loss_array, np.ndarray) and loss_array.size == 1:
        loss_array = loss_array.reshape(())
    of_loss = [("the loss", mistake) for mistake in _odd_loss(loss, loss_array, problem)]
    _refuse([*of_loss, *_odd_tensors("gradient of", arrays, gradients, problem)])
    return loss_array, arrays


def _is_pair(result: Any) -> bool:
    """Tell whether it is a tuple or a list of two."""
    return isinstance(result, tuple | list) and len(result) == 2


def _odd_loss(found: Any, array: Any, problem: Problem) -> Iterator[str]:
    """Yield what is wrong with a loss, if there is one: nothing, or one sentence."""
    if found is not None and isinstance(array, np.ndarray) and array.ndim:
        expected = f"expected one number for the batch (reduction: {problem.loss.reduction})"
        yield f"{expected}, found {array.size} of shape {array.shape}"
    elif found is not None:
        yield from _odd(array, found, (), problem)


# ---------------------------------------------------------------- the parameters and the state


def checked_update(
    result: Any, memory: Any, names: Iterable[str], problem: Problem
) -> tuple[dict[str, np.ndarray], Any, dict[str, np.ndarray]]:
    """Return what a function `update` returned.

    Args:
        result: the parameters and the memory, or the parameters alone.
        memory: what it was given, which it keeps if it returns the parameters alone.
        names: `NAME/PARAMETER` of the optimizer's state.
        problem: has the shapes and the dtype.

    Returns:
        The new parameters by path; the memory; and the state by name, empty where the memory does
        not hold it under these names.

    Raises:
        WrongReturn: if it returned something else.
    """
    parameters, memory = result if _is_pair(result) else (result, memory)
    if not isinstance(parameters, Mapping):
        expected = "expected (parameters, state), both in dictionaries"
        raise WrongReturn(f"{expected}; found {_what(parameters)} in place of parameters")
    _check_names("update", parameters, problem)
    found = {path: as_array(parameters[path], problem.dtype) for path in problem.trained}
    given = _flat(memory) if isinstance(memory, Mapping) else {}
    is_whole = all(name in given for name in names)
    state = {name: as_array(given[name], problem.dtype) for name in names} if is_whole else {}
    mistakes = [*_odd_tensors("update of", found, parameters, problem)]
    _refuse([*mistakes, *_odd_tensors("state", state, given, problem)])
    return found, memory, state


def _flat(memory: Mapping) -> dict[str, Any]:
    """Return `{"mean/hidden.weight": ...}` of `{"mean": {"hidden.weight": ...}}`."""
    flat = {}
    for name, value in memory.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{path}": inner for path, inner in value.items()}
        else:
            flat[name] = value
    return flat


# ---------------------------------------------------------------- what is wrong


def _check_names(what: str, found: Mapping, problem: Problem) -> None:
    """Raise WrongReturn unless all trained parameters are there, and nothing else."""
    missing = [path for path in problem.trained if path not in found]
    extra = [path for path in found if path not in problem.trained]
    trained = _listed(problem.trained)
    if missing and (extra or not found):
        there = _listed(found) or "none"
        raise WrongReturn(f"expected the {what}s of {trained}; found {there}")
    if missing:
        raise WrongReturn(f"{what} of {_listed(missing)}: missing")
    if frozen := [path for path in extra if path in problem.parameters]:
        raise WrongReturn(f"{what} of {_listed(frozen)}: frozen in this case; leave it out")
    if extra:
        why = f"nothing of that name is trained; the trained parameters are {trained}"
        raise WrongReturn(f"{what} of {_listed(extra)}: {why}")


def _listed(names: Iterable) -> str:
    """Return the names on one short line."""
    names = [*map(str, names)]
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:NAMES_SHOWN])} and {rest} more"


def _refuse(mistakes: list[tuple[str, str]]) -> None:
    """Raise WrongReturn if there are mistakes, with one sentence for what is alike."""
    alike: dict[str, list[str]] = {}
    for name, mistake in mistakes:
        alike.setdefault(mistake, []).append(name)
    if alike:
        told = [f"{_listed(names)}: {mistake}" for mistake, names in alike.items()]
        raise WrongReturn("; ".join(told))


def _odd_tensors(
    what: str, arrays: Mapping[str, Any], found: Mapping[str, Any], problem: Problem
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with tensors of the shapes of parameters, each with its name."""
    for name, array in arrays.items():
        shape = problem.parameters[name.rpartition("/")[2]].shape
        for mistake in _odd(array, found[name], shape, problem):
            yield f"{what} {name}", mistake


def _odd(array: Any, found: Any, shape: Sequence[int], problem: Problem) -> Iterator[str]:
    """Yield what is wrong with a tensor: nothing, or one sentence."""
    if not isinstance(array, np.ndarray):
        yield f"expected numbers of shape {shape}, found {no_array(found)}"
    elif array.shape != shape and array.shape == shape[::-1]:
        yield f"transposed? expected {shape}, found {array.shape}"
    elif array.ndim > len(shape) and array.size == math.prod(shape):
        yield f"an axis too many (keepdims?): expected {shape}, found {array.shape}"
    elif array.shape != shape:
        yield f"expected shape {shape}, found {array.shape}"
    elif array.dtype != problem.dtype:
        yield f"expected {problem.dtype}, found {array.dtype}; {_advice(found, array, problem)}"


def _advice(found: Any, array: np.ndarray, problem: Problem) -> str:
    """Say how to come to the right dtype."""
    if type(found).__module__.startswith("jax") and problem.dtype == np.float64:
        return 'JAX has float64 only after jax.config.update("jax_enable_x64", True)'
    if array.dtype.itemsize > problem.dtype.itemsize:
        return "some number on the way is wider than the inputs: compute in their dtype"
    return "compute in the dtype of the inputs"


def no_array(found: Any) -> str:
    """Say what was found where an array was expected."""
    if _is_ragged(found):
        return f"a {type(found).__name__} whose rows differ in length"
    return _what(found)


def _is_ragged(found: Any) -> bool:
    """Tell whether a list is no array because of the lengths of what is in it."""
    if not isinstance(found, list | tuple):
        return False
    rows = [as_array(row, np.dtype(np.float64)) for row in found]
    shapes = {row.shape for row in rows if isinstance(row, np.ndarray)}
    return len(shapes) > 1 or any(map(_is_ragged, rows))


def _what(found: Any) -> str:
    """Say what was found."""
    kind = type(found).__name__
    if isinstance(found, list | tuple):
        return f"a {kind} of {len(found)}"
    array = as_array(found, np.dtype(np.float64))
    if isinstance(array, np.ndarray) and not isinstance(found, int | float):
        return f"{array.dtype} of shape {array.shape}"
    if found is None:
        return "None"
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
