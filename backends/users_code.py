"""Somebody's own code as a backend: a function in a file or package, `mine=FILE.py:FUNCTION`.

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
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from backproof.backends.returned import as_arrays
from backproof.backends.trajectory import Trajectory, WrongReturn, of_arrays
from backproof.cases.problem import Problem

Run = Callable[[Problem], Trajectory]
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

    run: Run
    settings: Callable[[], dict[str, str]]
    PACKAGES: tuple[str, ...] = ()


def place(text: str) -> Place:
    """Read `file.py:function` or `package.module:function`.

    Raises:
        WrongReturn: if it is neither, or the file is not there.
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
    """Return a function as a backend; `reference` trains with gradients or an update alone.

    Raises:
        WrongReturn: if there is no such function, or it takes something else.
    """
    run = _as_run(_function(_module(where), where), where.function, reference)
    return YourOwn(run, lambda: {"function": f"{where.module}:{where.function}"})


def of_function(function: Callable, reference: ModuleType) -> YourOwn:
    """Return a function as a backend, as `load` does with a place.

    Raises:
        WrongReturn: if it takes something else.
    """
    name = getattr(function, "__name__", type(function).__name__)
    return YourOwn(_as_run(function, name, reference), dict)


def of_module(module: ModuleType, reference: ModuleType) -> YourOwn:
    """Return a module with a function `run`, or `gradients` or `update`, as a backend.

    Raises:
        WrongReturn: if it has none of them.
    """
    name = next((name for name in OF_A_MODULE if callable(getattr(module, name, None))), None)
    if name is None:
        raise WrongReturn(f"{module.__name__} has none of the functions {', '.join(OF_A_MODULE)}")
    run = _as_run(getattr(module, name), name, reference)
    return YourOwn(run, getattr(module, "settings", dict), getattr(module, "PACKAGES", ()))


def _as_run(function: Callable, name: str, reference: ModuleType) -> Run:
    """Return `run(problem)` of a function, whichever of the three it is."""
    takes = _takes(function, name)
    if takes == RUN:
        return partial(_run, function)
    if takes == UPDATE:
        return partial(reference.run_update, function=function)
    return partial(reference.run_gradients, gradients=function, masked=MASKS in takes)


def _module(where: Place) -> ModuleType:
    """Import the module, or the file as one."""
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


def _function(module: ModuleType, where: Place) -> Callable:
    """Return the function; raise WrongReturn, with the name that was meant, if it is not there."""
    function = getattr(module, where.function, None)
    if callable(function):
        return function
    functions = [name for name, thing in vars(module).items() if inspect.isfunction(thing)]
    names = [name for name in functions if not name.startswith("_")]
    meant = get_close_matches(where.function, names, 1)
    hint = f"did you mean {meant[0]!r}?" if meant else f"it has {', '.join(names) or 'no function'}"
    raise WrongReturn(f"{where.module} has no function {where.function!r}; {hint}")


def _takes(function: Callable, name: str) -> tuple[str, ...]:
    """Return which of the three it is, by the number of its arguments; one may be called masks."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function of C does not say what it takes
        return RUN
    if MASKS in signature.parameters:
        return (*GRADIENTS, MASKS)
    for names in (RUN, GRADIENTS, UPDATE):
        with suppress(TypeError):
            signature.bind(*names)
            return names
    expected = ", or ".join(f"({', '.join(names)})" for names in (GRADIENTS, UPDATE, RUN))
    raise WrongReturn(f"expected a function of {expected}, found {name}{signature}")


def _run(function: Callable, problem: Problem) -> Trajectory:
    """Call `run(problem)` and take its time; make a trajectory of whatever mapping it returns."""
    own, start = _writable(problem), time.perf_counter()
    result = function(own)
    seconds = time.perf_counter() - start
    if isinstance(result, Mapping):
        return of_arrays(as_arrays(result, problem), problem, seconds)
    if isinstance(result, Trajectory):
        return result
    found = type(result).__name__
    raise WrongReturn(f"run(problem) returns a Trajectory or a mapping, not a {found}")


def _writable(problem: Problem) -> Problem:
    """Return the problem with arrays of its own."""
    names = ("inputs", "targets", "batches", "recorded", "parameters", "masks")
    return replace(problem, **{name: deepcopy(getattr(problem, name)) for name in names})
