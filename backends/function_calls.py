"""Somebody's function of one operation, called: its value and its derivatives as plain arrays.

The module of a framework (`numpy_function`, `torch_function`, `jax_function`) has

    tensor(array, like) -> tensor         of an array, beside the tensor `like`
    fresh(tensor, differentiated)         a copy of a tensor, to be handed over
    laid_out(tensor, layout)              the same numbers otherwise in memory, None where it can't
    called(function, inputs, wanted, dy) -> (value, cotangent or None, {name: derivative})

and is imported when a function of that framework is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from backproof.backends.returned import as_array
from backproof.backends.trajectory import Arrays, WrongReturn

FRAMEWORKS = ("torch", "jax", "numpy")
PLAIN, TRANSPOSED, STRIDED = "contiguous", "transposed", "every second element"
LAYOUTS, EXPANDED = (PLAIN, TRANSPOSED, STRIDED), "expanded"
WORDS = {
    PLAIN: "",
    EXPANDED: "",
    TRANSPOSED: "with a cotangent that is transposed in memory",
    STRIDED: "with a cotangent that is every second element of a larger buffer",
}


class Found(NamedTuple):
    """What a function left: arrays by name, and the names of what it changed and must not."""

    arrays: dict[str, Any]
    changed: tuple[str, ...]


class Callee:
    """A function of some framework, and tensors like those that it is called with."""

    def __init__(self, function: Any, inputs: Mapping[str, Any], framework: str | None):
        if not isinstance(inputs, Mapping) or not inputs:
            raise WrongReturn("inputs: expected arrays by name, as {'x': x, 'weight': w}")
        self.framework = framework_of(inputs, framework)
        self.module = _module(self.framework)
        self.function = _checked(function, self.framework)
        found = {name: as_array(one, np.dtype(np.float64)) for name, one in inputs.items()}
        if odd := [name for name, array in found.items() if not isinstance(array, np.ndarray)]:
            raise WrongReturn(
                f"{odd[0]}: expected an array, found a {type(inputs[odd[0]]).__name__}"
            )
        self.arrays: Arrays = {name: array.copy() for name, array in found.items()}
        tensors = (one for one in inputs.values() if _framework(one) == self.framework)
        self.like = next(tensors, None)

    def found(
        self, inputs: Arrays, wanted: tuple[str, ...], value: str, dy: np.ndarray, layout: str
    ) -> Found | None:
        """Call the function, and pass a cotangent back through it.

        Args:
            inputs: by name, in the order in which the function takes them.
            wanted: the names of those that are differentiated.
            value: the name of what it returns.
            dy: the cotangent.
            layout: of the cotangent in memory.

        Returns:
            The value and the derivatives; None where the framework has no such layout.
        """
        cotangent = self.module.laid_out(self._tensor(dy), layout)
        if cotangent is None:
            return None
        handed = self._handed(inputs, wanted)
        y, found = self.module.called(self.function, handed, wanted, cotangent)
        arrays = {name: self._array(name, one, dy.dtype) for name, one in found.items()}
        arrays[value] = self._array(value, y, dy.dtype)
        changed = [
            *_changed(inputs, handed),
            *_changed({"the cotangent": dy}, {"the cotangent": cotangent}),
        ]
        return Found(arrays, tuple(changed))

    def updated(self, inputs: Arrays, results: tuple[str, ...]) -> Found:
        """Call a function that returns these results in order or by name, or writes into inputs."""
        handed = self._handed(inputs, ())
        result = self.function(*handed.values())
        arrays: dict[str, Any] = {}
        if result is None:
            arrays = {name: handed[name] for name in results}
        elif isinstance(result, Mapping):
            arrays = {name: result.get(name) for name in results}
        else:
            several = result if isinstance(result, tuple | list) else (result,)
            if len(several) != len(results):
                raise WrongReturn(
                    f"expected {', '.join(results)} in this order, a mapping of them, or None of a "
                    f"function that writes into its inputs; found {len(several)} results"
                )
            arrays = dict(zip(results, several, strict=True))
        dtype = next(iter(inputs.values())).dtype
        plain = {name: self._array(name, one, dtype) for name, one in arrays.items()}
        kept = {
            name: array
            for name, array in inputs.items()
            if result is not None or name not in results
        }
        return Found(plain, tuple(_changed(kept, handed)))

    def _tensor(self, array: np.ndarray) -> Any:
        return self.module.tensor(array, self.like)

    def _handed(self, inputs: Arrays, wanted: tuple[str, ...]) -> dict[str, Any]:
        return {
            name: self.module.fresh(self._tensor(array), name in wanted)
            for name, array in inputs.items()
        }

    def _array(self, name: str, found: Any, dtype: np.dtype) -> Any:
        """Return what was found as an array, or as it is where it is none."""
        if self.framework == "numpy" and _framework(found) in ("torch", "jax"):
            other = _framework(found)
            raise WrongReturn(
                f"{name}: a {other} tensor of a function of NumPy arrays: hand over {other} "
                f"tensors, or say framework={other!r}"
            )
        array = as_array(found, dtype)
        return array.copy() if isinstance(array, np.ndarray) else array


def _changed(before: Arrays, handed: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of tensors that do not hold the same bits any more."""
    for name, array in before.items():
        now = as_array(handed[name], array.dtype)
        if now.dtype == array.dtype and now.tobytes() != np.ascontiguousarray(array).tobytes():
            yield name


def _module(framework: str) -> ModuleType:
    return import_module(f"backproof.backends.{framework}_function")


def _framework(tensor: Any) -> str:
    """Return whose a tensor is: torch, jax or numpy, where a list is NumPy's too."""
    package = type(tensor).__module__.partition(".")[0]
    return {"torch": "torch", "jax": "jax", "jaxlib": "jax"}.get(package, "numpy")


def framework_of(inputs: Mapping[str, Any], asked: str | None) -> str:
    """Return the framework of the inputs, or the one that is asked for.

    Raises:
        WrongReturn: if there are tensors of two, or there is none of this name.
    """
    found = {_framework(tensor) for tensor in inputs.values()} - {"numpy"}
    if asked is not None and asked not in FRAMEWORKS:
        raise WrongReturn(f"framework: expected torch, jax or numpy, found {asked!r}")
    if len(found | ({asked} if asked else set())) > 1:
        raise WrongReturn(f"expected tensors of one framework, found {' and '.join(sorted(found))}")
    return asked or next(iter(found), "numpy")


def _checked(function: Any, framework: str) -> Any:
    """Return the function, or the pair of them; raise WrongReturn where it is something else."""
    is_pair = isinstance(function, tuple | list) and len(function) == 2
    if is_pair and framework == "numpy" and all(map(callable, function)):
        return tuple(function)
    if is_pair:
        raise WrongReturn(
            f"a pair (forward, backward) is of NumPy arrays; the inputs are of {framework}"
        )
    if isinstance(function, type) and (apply := getattr(function, "apply", None)):
        return apply  # of a torch.autograd.Function
    if not callable(function):
        raise WrongReturn(f"expected a function, found a {type(function).__name__}")
    return function
