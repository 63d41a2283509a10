"""What somebody's own function returned, as plain arrays: torch tensors, JAX arrays, lists and numbers are taken.

No framework is imported for that; a thing is known by the methods it has. An array keeps its dtype, so that a wrong one
is told. Lists and Python numbers have none, and are rounded once to that of the problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from backproof.backends.trajectory import Incomplete, WrongReturn
from backproof.cases.problem import Problem, rounded

NAMES_SHOWN = 8
BY_SAMPLE = ("values/", "cotangents/")  # where a short batch has fewer rows


def as_array(found: Any, dtype: np.dtype) -> Any:
    """An array of what was found, or the thing itself where it is none."""
    if isinstance(found, np.ndarray | np.generic):
        return np.asarray(found)
    try:
        if hasattr(found, "detach"):
            return _of_tensor(found)
        if hasattr(found, "__array__"):
            return np.asarray(found)
        if isinstance(found, list | tuple) and not _is_of_numbers(found):
            arrays = [as_array(each, dtype) for each in found]
            return (
                np.stack(arrays)
                if all(isinstance(array, np.ndarray) for array in arrays)
                else found
            )
        if isinstance(found, int | float | list | tuple) or hasattr(found, "tolist"):
            return rounded(np.asarray(getattr(found, "tolist", lambda: found)(), np.float64), dtype)
    except (TypeError, ValueError, RuntimeError):  # no numbers, or not on this machine
        return found
    return found


def _is_of_numbers(found: list | tuple) -> bool:
    """Nested lists of Python's own numbers, which have no dtype; what is empty is one too."""
    first: Any = found
    while isinstance(first, list | tuple) and len(first):
        first = first[0]
    return isinstance(first, int | float | list | tuple)


def _of_tensor(tensor: Any) -> np.ndarray:
    """The array of a torch tensor, on whatever device, of which NumPy does not know bfloat16."""
    tensor = tensor.detach().cpu()
    return (
        tensor.float().numpy().astype(bfloat16)
        if str(tensor.dtype) == "torch.bfloat16"
        else tensor.numpy()
    )


def as_arrays(run: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    """The arrays of a run, by name or by group and name; its texts and its time as they are.

    Raises:
        Incomplete: if a list is ragged, but for values and cotangents with as many rows as a short batch has samples.
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
            raise Incomplete(f"{name}: expected an array, found {_no_array(value)}")
        return array

    return {
        name: value if name in ("scope", "seconds") else converted(str(name), value)
        for name, value in run.items()
    }


def _padded(steps: list | tuple, dtype: np.dtype, problem: Problem) -> list:
    """The arrays of the steps, (B, units), with zeros behind the samples of a short batch."""
    size, samples = problem.batches.shape[1], (problem.batches[problem.recorded] >= 0).sum(axis=1)
    if len(steps) != len(samples):
        return [*steps]
    arrays = [as_array(step, dtype) for step in steps]
    return [
        np.pad(array, ((0, size - rows), (0, 0)))
        if np.ndim(array) == 2 and len(array) == rows
        else array
        for array, rows in zip(arrays, samples, strict=True)
    ]


# ---------------------------------------------------------------- the loss and the gradients


def checked(result: Any, problem: Problem) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """The loss, if there is one, and the gradients by parameter that a function returned.

    Raises:
        WrongReturn: if it returned something else.
    """
    loss, gradients = (None, result) if isinstance(result, Mapping) else _pair(result)
    if not isinstance(gradients, Mapping):
        expected = "expected (loss, gradients), the gradients in a dictionary by parameter"
        what = gradients if _is_pair(result) else result
        raise WrongReturn(
            f"{expected}: {_listed(problem.trained)}; found {_what(what)} in their place"
        )
    _check_names("gradient", gradients, problem)
    arrays = {path: as_array(gradients[path], problem.dtype) for path in problem.trained}
    loss_array = as_array(loss, problem.dtype)
    if isinstance(loss_array, np.ndarray) and loss_array.size == 1:
        loss_array = loss_array.reshape(())
    _refuse(
        [
            *(("the loss", mistake) for mistake in _odd_loss(loss, loss_array, problem)),
            *_odd_tensors("gradient of", arrays, gradients, problem),
        ]
    )
    return loss_array, arrays


def _is_pair(result: Any) -> bool:
    return isinstance(result, tuple | list) and len(result) == 2


def _pair(result: Any) -> tuple[Any, Any]:
    return tuple(result) if _is_pair(result) else (None, None)


def _odd_loss(found: Any, array: Any, problem: Problem) -> Iterator[str]:
    if found is not None and isinstance(array, np.ndarray) and array.ndim:
        expected = f"expected one number for the batch (reduction: {problem.loss.reduction})"
        yield f"{expected}, found {array.size} of shape {array.shape}"
    elif found is not None:
        yield from _odd(array, found, (), problem)


# ---------------------------------------------------------------- the parameters and the state


def checked_update(
    result: Any, memory: Any, names: Iterable[str], problem: Problem
) -> tuple[dict[str, np.ndarray], Any, dict[str, np.ndarray]]:
    """What a function `update` returned: the new parameters, its memory, and that as a state by `NAME/PARAMETER`.

    The state is empty where the memory does not hold it under these names. A function that returns the parameters alone
    keeps the memory that it was given.

    Raises:
        WrongReturn: if it returned something else.
    """
    parameters, memory = (result, memory) if isinstance(result, Mapping) else _pair(result)
    if not isinstance(parameters, Mapping):
        found = _what(result[0]) if _is_pair(result) else _what(result)
        raise WrongReturn(
            f"expected (parameters, state), both in dictionaries; found {found} in place of parameters"
        )
    _check_names("update", parameters, problem)
    found = {path: as_array(parameters[path], problem.dtype) for path in problem.trained}
    given = _flat(memory) if isinstance(memory, Mapping) else {}
    is_whole = all(name in given for name in names)
    state = {name: as_array(given[name], problem.dtype) for name in names} if is_whole else {}
    _refuse(
        [
            *_odd_tensors("update of", found, parameters, problem),
            *_odd_tensors("state", state, given, problem),
        ]
    )
    return found, memory, state


def _flat(memory: Mapping) -> dict[str, Any]:
    """`{"mean": {"hidden.weight": ...}}` as `{"mean/hidden.weight": ...}`."""
    flat = {}
    for name, value in memory.items():
        flat |= (
            {f"{name}/{path}": inner for path, inner in value.items()}
            if isinstance(value, Mapping)
            else {name: value}
        )
    return flat


# ---------------------------------------------------------------- what is wrong


def _check_names(what: str, found: Mapping, problem: Problem) -> None:
    """All trained parameters are there, and nothing else."""
    missing = [path for path in problem.trained if path not in found]
    extra = [path for path in found if path not in problem.trained]
    if missing and (extra or not found):
        raise WrongReturn(
            f"expected the {what}s of {_listed(problem.trained)}; found {_listed(found) or 'none'}"
        )
    if missing:
        raise WrongReturn(f"{what} of {_listed(missing)}: missing")
    if frozen := [path for path in extra if path in problem.parameters]:
        raise WrongReturn(f"{what} of {_listed(frozen)}: frozen in this case; leave it out")
    if extra:
        names = f"the trained parameters are {_listed(problem.trained)}"
        raise WrongReturn(f"{what} of {_listed(extra)}: nothing of that name is trained; {names}")


def _listed(names: Iterable) -> str:
    """The names on one short line."""
    names = [*map(str, names)]
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:NAMES_SHOWN])} and {rest} more"


def _refuse(mistakes: list[tuple[str, str]]) -> None:
    """Tell the mistakes, if there are any: what is alike of many things in one sentence."""
    alike: dict[str, list[str]] = {}
    for name, mistake in mistakes:
        alike.setdefault(mistake, []).append(name)
    if alike:
        raise WrongReturn(
            "; ".join(f"{_listed(names)}: {mistake}" for mistake, names in alike.items())
        )


def _odd_tensors(
    what: str, arrays: Mapping[str, Any], found: Mapping[str, Any], problem: Problem
) -> Iterator[tuple[str, str]]:
    for name, array in arrays.items():
        shape = problem.parameters[name.rpartition("/")[2]].shape
        for mistake in _odd(array, found[name], shape, problem):
            yield f"{what} {name}", mistake


def _odd(array: Any, found: Any, shape: Sequence[int], problem: Problem) -> Iterator[str]:
    """What is wrong with a tensor; nothing, or one sentence."""
    if not isinstance(array, np.ndarray):
        yield f"expected numbers of shape {shape}, found {_no_array(found)}"
    elif array.shape != shape and array.shape == shape[::-1]:
        yield f"transposed? expected {shape}, found {array.shape}"
    elif array.ndim > len(shape) and array.size == math.prod(shape):
        yield f"an axis too many (keepdims?): expected {shape}, found {array.shape}"
    elif array.shape != shape:
        yield f"expected shape {shape}, found {array.shape}"
    elif array.dtype != problem.dtype:
        yield f"expected {problem.dtype}, found {array.dtype}; {_advice(found, array, problem)}"


def _advice(found: Any, array: np.ndarray, problem: Problem) -> str:
    """How to come to the right dtype."""
    if type(found).__module__.startswith("jax") and problem.dtype == np.float64:
        return 'JAX has float64 only after jax.config.update("jax_enable_x64", True)'
    if array.dtype.itemsize > problem.dtype.itemsize:
        return "some number on the way is wider than the inputs: compute in their dtype"
    return "compute in the dtype of the inputs"


def _no_array(found: Any) -> str:
    """What was found where an array was expected, in words."""
    return (
        f"a {type(found).__name__} whose rows differ in length"
        if _is_ragged(found)
        else _what(found)
    )


def _is_ragged(found: Any) -> bool:
    """A list that is no array because of the lengths of what is in it."""
    if not isinstance(found, list | tuple):
        return False
    rows = [as_array(row, np.dtype(np.float64)) for row in found]
    shapes = {row.shape for row in rows if isinstance(row, np.ndarray)}
    return len(shapes) > 1 or any(map(_is_ragged, rows))


def _what(found: Any) -> str:
    """What was found, in words."""
    array = as_array(found, np.dtype(np.float64))
    if isinstance(array, np.ndarray) and not isinstance(found, list | tuple | int | float):
        return f"{array.dtype} of shape {array.shape}"
    if isinstance(found, list | tuple):
        return f"a {type(found).__name__} of {len(found)}"
    return (
        "None"
        if found is None
        else f"{'an' if type(found).__name__[0] in 'aeiou' else 'a'} {type(found).__name__}"
    )
