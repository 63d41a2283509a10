"""Somebody's own code as a backend: a function in a file or in a package, `mine=path/to/file.py:function`.

The function is `gradients(parameters, inputs, targets) -> (loss, gradients)`, plain arrays in and out, or
`run(problem)`, which returns a `Trajectory` or any mapping with its arrays.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from backends.trajectory import Trajectory, of_arrays
from cases.problem import Problem

GRADIENTS, RUN = ("parameters", "inputs", "targets"), ("problem",)


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
        ValueError: if it is none of both, or the file is not there.
    """
    module, colon, function = text.rpartition(":")
    if not (colon and module and function.isidentifier()):
        raise ValueError(f"expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION, found {text!r}")
    where = Place(module, function)
    if where.file and not where.file.is_file():
        raise ValueError(f"there is no file {module}")
    if not where.file and not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"expected a file that ends in .py, or a module, found {module!r}")
    return where


def load(where: Place, run_gradients: Callable[[Problem, Callable], Trajectory]) -> YourOwn:
    """The function as a backend; `run_gradients` trains with one that gives gradients alone.

    Raises:
        ValueError: if there is no such function, or it takes something else.
    """
    function = _function(_module(where), where)
    whole = _takes(function, where) == RUN
    run = _timed(function) if whole else lambda problem: run_gradients(problem, function)
    return YourOwn(run, lambda: {"function": f"{where.module}:{where.function}"})


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
    names = [name for name, thing in vars(module).items() if inspect.isfunction(thing) and not name.startswith("_")]
    meant = get_close_matches(where.function, names, 1)
    hint = f"did you mean {meant[0]!r}?" if meant else f"it has {', '.join(names) or 'no function'}"
    raise ValueError(f"{where.module} has no function {where.function!r}; {hint}")


def _takes(function: Callable, where: Place) -> tuple[str, ...]:
    """Which of both it is: it takes three arguments, or one."""
    for names in (RUN, GRADIENTS):
        try:
            inspect.signature(function).bind(*names)
        except TypeError:
            continue
        except ValueError:  # a function of C does not say what it takes
            return RUN
        return names
    found = f"{where.function}{inspect.signature(function)}"
    raise ValueError(f"expected a function ({', '.join(GRADIENTS)}) or ({', '.join(RUN)}), found {found}")


def _timed(function: Callable) -> Callable[[Problem], Trajectory]:
    """`run(problem)`, with the wall time, and a trajectory of whatever mapping it returns."""

    def run(problem: Problem) -> Trajectory:
        start = time.perf_counter()
        result = function(problem)
        seconds = time.perf_counter() - start
        if isinstance(result, Mapping):
            return of_arrays(result, problem.recorded, seconds)
        if not isinstance(result, Trajectory):
            raise ValueError(f"run(problem) returns a Trajectory or a mapping, not a {type(result).__name__}")
        return result

    return run
