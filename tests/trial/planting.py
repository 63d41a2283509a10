"""Plant a wrong rule into a backend, run it, and see what the judge says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from backproof.backends.registry import backend
from backproof.backends.trajectory import MAY_LACK, Trajectory, flat, of_arrays
from backproof.cases.problem import Problem
from backproof.report.judging import blame
from backproof.report.judging.hints import Hint
from backproof.report.judging.judge import Judgement, judge
from tests.trial.examples import problem_of

DTYPES = ("float64", "float32")
PROGRAMS = ("backproof.reference.", "backproof.backends.")


class Mutant(NamedTuple):
    """A deliberately wrong rule.

    Attributes:
        name: what is wrong, in words.
        rule: the function that is replaced, wherever the programs use it.
        wrong: makes the wrong function of the right one, anew for every run, so that it may remember what it saw.
        noticed: the phase and the tensor of the first wrong number, `cotangent middle`.
        step: where it starts.
        on: which of `EXAMPLES` it runs on, or which shipped case, `shapes/positions`.
        backend: whose program it is planted in.
        blind: why the judge cannot see it in float32; it is certified there.
    """

    name: str
    rule: Callable
    wrong: Callable[[Callable], Callable]
    noticed: str
    step: int = 0
    on: str = "mixed"
    backend: str = "numpy"
    blind: str = ""


def instead(wrong: Callable) -> Callable:
    """Another function in the place of the right one."""
    return lambda _: wrong


def times(factor: float) -> Callable:
    """The right result times a factor."""
    return lambda right: lambda *operands, **settings: right(*operands, **settings) * factor


@contextmanager
def planted(right: Callable, wrong: Callable) -> Iterator[None]:
    """Put `wrong` in the place of `right` in every module and every table of the programs.

    Raises:
        LookupError: if no program uses it: the mutant would be the right program.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith(PROGRAMS)]
    places = [
        (module, name, value) for module in modules for name, value in vars(module).items()
        if not name.startswith("__")
    ]  # fmt: skip
    changes = [(module, name, _replaced(value, right, wrong)) for module, name, value in places]
    changes = [change for change, (*_, value) in zip(changes, places, strict=True) if change[-1] is not value]
    if not changes:
        raise LookupError(f"no program uses {right}")
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(patch.object(*change))
        yield


def _replaced(value: Any, right: Callable, wrong: Callable) -> Any:
    """The value with `right` replaced, or the value itself; a table is a dictionary of functions or tuples of them."""
    if value is right:
        return wrong
    if isinstance(value, dict | tuple):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        changed = [_replaced(part, right, wrong) for part in parts] if type(value) in (dict, tuple) else parts
        if any(new is not old for new, old in zip(changed, parts, strict=True)):
            return dict(zip(value, changed, strict=True)) if isinstance(value, dict) else tuple(changed)
    return value


def run_planted(problem: Problem, name: str, right: Callable, wrong: Callable) -> Trajectory:
    """The run of a backend with a wrong rule; what JAX has compiled before is forgotten, and so is what it compiles."""
    module = backend(name)
    forget = sys.modules["jax"].clear_caches if name == "jax" else lambda: None
    with planted(right, wrong(right)):
        forget()
        run = module.run(problem)
    forget()
    return run


def gradients_only(problem: Problem, run: Trajectory) -> Trajectory:
    """The run as a backend would leave it that has no layer values: it is judged end to end."""
    last = problem.output
    return replace(run, values={}, cotangents={}, final_values={last: run.final_values[last]}, scope="gradients")


def part_of(problem: Problem, run: Trajectory, seed: int) -> Trajectory:
    """A run without the input, and with each other tensor that may lack left out with a chance that is drawn too."""
    random = np.random.default_rng(seed)
    chance = random.uniform()
    may_lack = tuple(f"{field}/" for field in MAY_LACK if field != "gradients" or problem.optimizer)
    arrays = {
        name: array
        for name, array in flat(run).items()
        if not f"{name}/".startswith(may_lack) or (random.uniform() > chance and name != "values/input")
    }
    return of_arrays(arrays, problem, 0.0)


class Outcome(NamedTuple):
    """What the judge says of a mutant: locally, and end to end."""

    mutant: Mutant
    dtype: str
    local: Judgement
    end_to_end: Judgement

    @property
    def place(self) -> str:
        """Step, phase and tensor of the first wrong number; `certified` if there is none."""
        where = self.local.where
        return spot(where.step, where.phase, where.tensor) if self.local.verdict != "certified" else "certified"

    @property
    def hint(self) -> str:
        """The known mistake that the message names; mostly what "would give" the tensor, else words of their own."""
        found = re.search("; (this is .*|these are .*|it is .*|it agrees .*|every .*)$", self.local.message)
        words = found[1] if found else ""
        is_mistake = words.startswith("this is what ") and words.endswith(" would give")
        return words.removeprefix("this is what ").removesuffix(" would give").rstrip(",") if is_mistake else words

    @property
    def blamed(self) -> bool:
        """The first wrong number is where the mutant's entry says."""
        return self.place == f"step {self.mutant.step}, {self.mutant.noticed}"

    @property
    def blamed_end_to_end(self) -> bool:
        """From gradients alone, the operation that computes that number is the one told, or one of those told."""
        if self.end_to_end.verdict != "differs":
            return False
        where = self.end_to_end.where
        places = [spot(where.step, *suspect) for suspect in where.suspects]
        return f"step {self.mutant.step}, {self.mutant.noticed}" in places

    @property
    def suspects(self) -> int:
        """How many operations are told from gradients alone."""
        return len(self.end_to_end.where.suspects)


def spot(step: int, phase: str, tensor: str) -> str:
    """Step, phase and tensor in short words."""
    return f"step {step}, {phase}{f' {tensor}' if tensor != phase else ''}"


@cache
def outcome(mutant: Mutant, dtype: str) -> Outcome:
    """Run a mutant and judge it."""
    problem = problem_of(mutant.on, dtype)
    run = run_planted(problem, mutant.backend, mutant.rule, mutant.wrong)
    with patch.object(blame, "hint", lambda *_: Hint()):  # end to end it is the blame that is on trial
        end_to_end = judge(problem, gradients_only(problem, run))
    return Outcome(mutant, dtype, judge(problem, run), end_to_end)
