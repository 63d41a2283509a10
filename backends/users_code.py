"""Somebody's own code as a backend: a function in a file or in a package, `mine=path/to/file.py:function`.

The function is one of three, which are told apart by what they take:

- `gradients(parameters, inputs, targets) -> (loss, gradients)`, which may take `masks` as well;
- `update(parameters, gradients, state, step) -> (parameters, state)`, an optimizer alone;
- `run(problem)`, which returns a `Trajectory` or any mapping with its arrays.

Whatever is handed over are arrays of their own, which it may write into.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from backproof.backends.returned import as_arrays
from backproof.backends.trajectory import Trajectory, WrongReturn, of_arrays
from backproof.cases.problem import Problem

GRADIENTS, RUN = ("parameters", "inputs", "targets"), ("problem",)
UPDATE, MASKS = ("parameters", "gradients", "state", "step"), "masks"
OF_A_MODULE = ("run", "gradients", "update")


class Place(NamedTuple):
    """Where a function is: in a file, or in a module that can be imported."""

    module: str
    function: str

    @property
    def file(self) -> Path | None:
        """The file, if it is one."""
        return Path(self.module) if self.module.endswith(".py") else None


class YourOwn(NamedTuple):
    """What a backend's module has: `run`, `PACKAGES` and `settings()`."""

    run: Callable[[Problem], Trajectory]
    settings: Callable[[], dict[str, str]]
    PACKAGES: tuple[str, ...] = ()


def place(text: str) -> Place:
    """`file.py:function` or `package.module:function`.

    Raises:
        WrongReturn: if it is none of both, or the file is not there.
    """
    module, colon, function = text.rpartition(":")
    if not (colon and module and function.isidentifier()):
        raise WrongReturn(f"expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION, found {text!r}")
    where = Place(os.path.expanduser(module), function)  # noqa: PTH111, it may be no path
    if where.file and not where.file.is_file():
        raise WrongReturn(f"there is no file {module}")
    if not where.file and not all(part.isidentifier() for part in module.split(".")):
        raise WrongReturn(f"expected a file that ends in .py, or a module, found {module!r}")
    return where


def load(where: Place, reference: ModuleType) -> YourOwn:
    """The function as a backend; the reference's adapter trains with one that gives gradients or updates alone.

    Raises:
        WrongReturn: if there is no such function, or it takes something else.
    """
    function = _function(_module(where), where)
    return YourOwn(
        _as_run(function, where, reference),
        lambda: {"function": f"{where.module}:{where.function}"},
    )


def of_function(function: Callable, reference: ModuleType) -> YourOwn:
    """A function as a backend, as `load` makes one of a place.

    Raises:
        WrongReturn: if it takes something else.
    """
    where = Place(function.__module__, getattr(function, "__name__", type(function).__name__))
    return YourOwn(_as_run(function, where, reference), dict)


def of_module(module: ModuleType, reference: ModuleType) -> YourOwn:
    """A module with a function `run`, or `gradients` or `update`, as a backend.

    Raises:
        WrongReturn: if it has none of them.
    """
    name = next((name for name in OF_A_MODULE if callable(getattr(module, name, None))), None)
    if name is None:
        raise WrongReturn(f"{module.__name__} has none of the functions {', '.join(OF_A_MODULE)}")
    run = _as_run(getattr(module, name), Place(module.__name__, name), reference)
    return YourOwn(run, getattr(module, "settings", dict), getattr(module, "PACKAGES", ()))


def _as_run(
    function: Callable, where: Place, reference: ModuleType
) -> Callable[[Problem], Trajectory]:
    takes = _takes(function, where)
    if takes == RUN:
        return _timed(function)
    if takes == UPDATE:
        return partial(_trained_by, reference.run_update, function)
    return partial(_trained_by, partial(reference.run_gradients, masked=MASKS in takes), function)


def _trained_by(train: Callable, function: Callable, problem: Problem) -> Trajectory:
    return train(problem, function)


def _module(where: Place):
    if not where.file:
        return importlib.import_module(where.module)
    spec = importlib.util.spec_from_file_location(where.file.stem, where.file)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(where.file.stem, module)  # dataclasses and pickle look a class up there
    sys.path.insert(0, str(where.file.resolve().parent))  # so that it finds what stands beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _function(module, where: Place) -> Callable:
    function = getattr(module, where.function, None)
    if callable(function):
        return function
    names = [
        name
        for name, thing in vars(module).items()
        if inspect.isfunction(thing) and not name.startswith("_")
    ]
    meant = get_close_matches(where.function, names, 1)
    hint = f"did you mean {meant[0]!r}?" if meant else f"it has {', '.join(names) or 'no function'}"
    raise WrongReturn(f"{where.module} has no function {where.function!r}; {hint}")


def _takes(function: Callable, where: Place) -> tuple[str, ...]:
    """Which of them it is, by the number of its arguments; one of them may be called masks."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function of C does not say what it takes
        return RUN
    if MASKS in signature.parameters:
        return (*GRADIENTS, MASKS)
    for names in (RUN, GRADIENTS, UPDATE):
        try:
            signature.bind(*names)
        except TypeError:
            continue
        return names
    expected = ", or ".join(f"({', '.join(names)})" for names in (GRADIENTS, UPDATE, RUN))
    raise WrongReturn(f"expected a function of {expected}, found {where.function}{signature}")


def _timed(function: Callable) -> Callable[[Problem], Trajectory]:
    """`run(problem)`, with the wall time, and a trajectory of whatever mapping it returns."""

    def run(problem: Problem) -> Trajectory:
        own, start = _writable(problem), time.perf_counter()
        result = function(own)
        seconds = time.perf_counter() - start
        if isinstance(result, Mapping):
            return of_arrays(as_arrays(result, problem), problem.recorded, seconds)
        if not isinstance(result, Trajectory):
            raise WrongReturn(
                f"run(problem) returns a Trajectory or a mapping, not a {type(result).__name__}"
            )
        return result

    return run


def _writable(problem: Problem) -> Problem:
    """The problem with arrays of its own."""
    groups = {
        name: {key: array.copy() for key, array in getattr(problem, name).items()}
        for name in ("parameters", "masks")
    }
    arrays = {
        name: getattr(problem, name).copy() for name in ("inputs", "targets", "batches", "recorded")
    }
    return replace(problem, **groups, **arrays)
