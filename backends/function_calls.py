"""Somebody's function of one operation, called: its value and its derivatives as plain arrays.

The module of a framework (`numpy_function`, `torch_function`, `jax_function`) has

    tensor(array, like) -> tensor         of an array, beside the tensor `like`
    fresh(tensor, differentiated)         a tensor as it is handed over
    laid_out(tensor, layout)              the same numbers otherwise in memory, None where it can't
    whole(tensor)                         the buffer that it is a part of
    called(function, inputs, wanted) -> (value, back), where back(dy) -> {name: derivative}

and is imported when a function of that framework is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from backproof.backends.returned import as_array, no_array
from backproof.backends.trajectory import Arrays, WrongReturn

FRAMEWORKS = ("torch", "jax", "numpy")
PLAIN, TRANSPOSED, STRIDED = "as it is", "transposed", "every second element"
EXPANDED, BACKWARD = "expanded", "the backward pass"
LAYOUTS = {
    TRANSPOSED: "transposed in memory",
    STRIDED: "every second element of a larger buffer",
    EXPANDED: "one row expanded, as the backward pass of a sum hands over",
}


class Way(NamedTuple):
    """How a function is called: layouts in memory, and an input that needs no derivative.

    Attributes:
        cotangent, inputs: layouts, of which the inputs' own is PLAIN.
        frozen: the name of an input that is not differentiated, or nothing.
        again: whether it is a call that differs from an earlier one in its cotangent alone.
    """

    cotangent: str = PLAIN
    inputs: str = PLAIN
    frozen: str = ""
    again: bool = False

    @property
    def words(self) -> str:
        """What is special of it."""
        told = [
            f"with a cotangent that is {LAYOUTS[self.cotangent]}"
            if self.cotangent in LAYOUTS
            else "",
            f"with inputs that are {LAYOUTS[self.inputs]}" if self.inputs in LAYOUTS else "",
            f"with {self.frozen} not differentiated" if self.frozen else "",
            "called again" if self.again else "",
        ]
        return ", ".join(filter(None, told))


class Found(NamedTuple):
    """What a function left: arrays by name, and in words what it changed and must not."""

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
            raise WrongReturn(f"{odd[0]}: expected an array, found {no_array(inputs[odd[0]])}")
        self.arrays: Arrays = {name: array.copy(order="K") for name, array in found.items()}
        tensors = (one for one in inputs.values() if _framework(one) == self.framework)
        self.like = next(tensors, None)

    def found(
        self, inputs: Arrays, wanted: tuple[str, ...], value: str, dys: Arrays, way: Way
    ) -> Iterator[tuple[str, Found]]:
        """Call the function, and pass cotangents back through it, one after the other.

        Args:
            inputs: by name, in the order in which the function takes them.
            wanted: the names of those that are differentiated.
            value: the name of what it returns.
            dys: the cotangents by name.
            way: how it is called.

        Yields:
            The name of the cotangent, the value and the derivatives; nothing where the framework
            has no such layout.
        """
        handed = self._handed(inputs, wanted, way.inputs)
        tensors = {name: self._tensor(np.array(dy, order="C")) for name, dy in dys.items()}
        cotangents = {n: self.module.laid_out(one, way.cotangent) for n, one in tensors.items()}
        if not handed or any(one is None for one in cotangents.values()):
            return
        before = self._bits(handed)
        y, back = self.module.called(self.function, handed, wanted)
        dtype = next(iter(dys.values())).dtype
        results = {value: self._array(value, y, dtype)}
        of_value = self._bits({value: y})
        for name, cotangent in cotangents.items():
            of_cotangent = self._bits({"the cotangent": cotangent})
            derivatives = back(cotangent)
            arrays = {n: self._array(n, one, dtype) for n, one in derivatives.items()}
            changed = [
                *self._changed(before, handed, "the call"),
                *self._changed(of_cotangent, {"the cotangent": cotangent}, "the call"),
                *(f"the value {one}" for one in self._changed(of_value, {value: y}, BACKWARD)),
            ]
            yield name, Found(results | arrays, tuple(changed))

    def updated(self, inputs: Arrays, results: tuple[str, ...], way: Way) -> Found | None:
        """Call a function that returns these results in order or by name, or writes into inputs.

        None where the framework has no such layout.
        """
        handed = self._handed(inputs, (), way.inputs)
        if not handed:
            return None
        before = self._bits(handed)
        result = self.function(*handed.values())
        arrays = _by_name(result, results, handed)
        dtype = next(iter(inputs.values())).dtype
        plain = {name: self._array(name, one, dtype) for name, one in arrays.items()}
        kept = {n: bits for n, bits in before.items() if result is not None or n not in results}
        return Found(plain, tuple(self._changed(kept, handed, "the call")))

    def _tensor(self, array: np.ndarray) -> Any:
        return self.module.tensor(array, self.like)

    def _handed(self, inputs: Arrays, wanted: tuple[str, ...], layout: str) -> dict[str, Any]:
        """Return tensors to hand over; none where the layout is that of none of them."""
        plain = {name: self._tensor(array) for name, array in inputs.items()}
        laid = {name: self.module.laid_out(one, layout) for name, one in plain.items()}
        if all(one is None for one in laid.values()):
            return {}
        laid |= {name: plain[name] for name, one in laid.items() if one is None}
        return {name: self.module.fresh(one, name in wanted) for name, one in laid.items()}

    def _bits(self, tensors: Mapping[str, Any]) -> dict[str, tuple]:
        """Return dtype, shape, and the bits of the whole buffer, of tensors by name."""
        return {name: self._bits_of(one) for name, one in tensors.items()}

    def _bits_of(self, tensor: Any) -> tuple:
        if _framework(tensor) != self.framework or not hasattr(tensor, "dtype"):
            return (type(tensor),)
        buffer = as_array(self.module.whole(tensor), np.dtype(np.float64))
        return tensor.dtype, tuple(tensor.shape), buffer.tobytes()

    def _changed(
        self, before: Mapping[str, tuple], now: Mapping[str, Any], by: str
    ) -> Iterator[str]:
        """Yield which tensors do not hold the same bits any more."""
        for name, bits in before.items():
            if self._bits_of(now[name]) != bits:
                yield f"{name}: changed by {by}"

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


def _by_name(result: Any, results: tuple[str, ...], handed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what an update returned, or left in its inputs, by name."""
    if result is None:
        return {name: handed[name] for name in results}
    if isinstance(result, Mapping):
        return {name: result.get(name) for name in results}
    several = result if isinstance(result, tuple | list) else (result,)
    if len(several) != len(results):
        raise WrongReturn(
            f"expected {', '.join(results)} in this order, a mapping of them, or None of a "
            f"function that writes into its inputs; found {len(several)} results"
        )
    return dict(zip(results, several, strict=True))


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
