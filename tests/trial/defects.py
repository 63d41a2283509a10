"""Twelve defects that comparators in wide use let through at their defaults, planted in a right run.

`python -m tests.trial.defects` prints what the judge and the pair say of each, as Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from textwrap import shorten

import numpy as np

from backproof.backends.registry import backend
from backproof.backends.trajectory import Trajectory, cut
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem, materialise
from backproof.report.judging.drift import Drift, compare
from backproof.report.judging.judge import Judgement, judge
from backproof.report.telling.cells import table

DTYPES = ("float64", "float32")
PAIR = ("torch", "numpy")  # the defects are planted in the run of the first
SHOWN = 140
ORDINARY, FAINT = 0.5, 1e-6  # factors of the loss, and so of every gradient

# ---------------------------------------------------------------- the right run


@cache
def problem_of(dtype: str, factor: float = ORDINARY) -> Problem:
    """A 100-100-3-1 network that learns the signs of eight sums for ten steps; its first weight has 10,000 elements."""
    inputs = np.random.default_rng(0).normal(size=(8, 100))
    settings = {
        "title": "planted defects",
        "dtypes": [*DTYPES],
        "network": [
            {"dense": {"name": "wide", "units": 100, "bias": False}}, "tanh",
            {"dense": {"name": "hidden", "units": 3}}, "tanh",
            {"dense": {"name": "readout", "units": 1, "bias": False}}, "sigmoid",
        ],
        "parameters": {
            "wide.weight": {"normal": {"mean": 0, "std": 0.1}},
            "hidden.weight": {"normal": {"mean": 0, "std": 0.1}},
            "hidden.bias": [0.1, -0.2, 0.3],
            "readout.weight": [[1.2], [-0.5], [0.7]],
        },
        "random": {"generator": "pcg64", "seed": 1},
        "data": {"inputs": inputs.tolist(), "targets": (inputs.sum(axis=1, keepdims=True) > 0).astype(float).tolist()},
        "loss": {"squared_error": {"factor": factor, "reduction": "sum"}},
        "training": {"steps": 10, "optimizer": {"sgd": {"learning_rate": 0.3}}},
    }  # fmt: skip
    return materialise(Case.model_validate(settings), dtype)


@cache
def right_run(name: str, dtype: str, factor: float = ORDINARY) -> Trajectory:
    """What a backend leaves of the problem."""
    return backend(name).run(problem_of(dtype, factor))


# ---------------------------------------------------------------- the defects


@dataclass(frozen=True)
class Defect:
    """One planted defect.

    Attributes:
        name: what is wrong.
        missed_by: the comparators that let it through.
        plant: makes the defective trajectory of a right one.
        told: what both messages must say.
        factor: of the loss.
    """

    name: str
    missed_by: str
    plant: Callable[[Trajectory], Trajectory]
    told: str
    factor: float = ORDINARY


def in_gradient(path: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Trajectory], Trajectory]:
    """The defect of one gradient, (steps, *shape): `change` makes it of a copy, or in the copy."""

    def plant(run: Trajectory) -> Trajectory:
        gradient = run.gradients[path].copy()
        changed = change(gradient)
        return replace(run, gradients=run.gradients | {path: gradient if changed is None else changed})

    return plant


def with_gradients(change: Callable[[dict], dict]) -> Callable[[Trajectory], Trajectory]:
    """The defect of all gradients, or of which there are."""
    return lambda run: replace(run, gradients=change(run.gradients))


def element(at: tuple[int, ...], change: Callable[[float], float]) -> Callable[[np.ndarray], None]:
    """A change of one element."""

    def of(gradient: np.ndarray) -> None:
        gradient[at] = change(gradient[at])

    return of


def cancelling(gradient: np.ndarray) -> None:
    """One element too large and its neighbour too small by the same 1 %: sum and mean stay what they are."""
    error = 0.01 * gradient[6, 57, 1]
    gradient[6, 57, 1:] += error * np.array([1, -1], gradient.dtype)


def other_dtype(gradient: np.ndarray) -> np.ndarray:
    """float32 for float64, and the other way round."""
    (other,) = {*DTYPES} - {gradient.dtype.name}
    return gradient.astype(other)


def cut_short(run: Trajectory) -> Trajectory:
    """The first four of ten steps."""
    return cut(run, np.arange(4), samples=8)


DEFECTS = [
    Defect(
        "a NaN on one side", "GradBench, HF pt/flax, PaddleTest",
        in_gradient("hidden.weight", element((6, 57, 1), lambda _: np.nan)),
        "step 6, gradient of hidden.weight at [57, 1]",
    ),
    Defect(
        "an Inf on one side", "GradBench, PaddleTest",
        in_gradient("hidden.weight", element((6, 57, 1), lambda _: np.inf)),
        "step 6, gradient of hidden.weight at [57, 1]",
    ),
    Defect(
        "all gradients 5 times wrong at magnitude 1e-6",
        "all but PaDiff, chex, torch assert_close in float64 (in float32 that one too)",
        with_gradients(lambda gradients: {path: 5 * gradient for path, gradient in gradients.items()}),
        "step 0, gradient of ", FAINT,
    ),
    Defect(
        "errors of opposite sign that cancel in a mean or sum", "PaDiff",
        in_gradient("hidden.weight", cancelling),
        "step 6, gradient of hidden.weight at [57, 1]",
    ),
    Defect(
        "one sign flipped", "PaddleTest",
        in_gradient("hidden.bias", element((6, 1), np.negative)),
        "step 6, gradient of hidden.bias at [1]",
    ),
    Defect(
        "one element in 10,000 off by 0.05", "JAX check_grads",
        in_gradient("wide.weight", element((6, 57, 91), lambda number: number + 0.05)),
        "step 6, gradient of wide.weight at [57, 91]",
    ),
    Defect(
        "a tensor missing", "Polygraphy, PaDiff, PaddleTest, tinygrad, TF",
        with_gradients(lambda gradients: {path: gradients[path] for path in gradients if path != "hidden.bias"}),
        "gradients of hidden.bias: missing",
    ),
    Defect(
        "a tensor too many", "Polygraphy, PaDiff, PaddleTest, tinygrad, TF",
        with_gradients(lambda gradients: gradients | {"readout.bias": np.zeros_like(gradients["hidden.bias"][:, :1])}),
        "gradients of readout.bias: nothing of that name is expected",
    ),
    Defect(
        "a gradient that is None", "PaddleTest, NNSmith",
        with_gradients(lambda gradients: gradients | {"readout.weight": None}),
        "gradients of readout.weight: missing",
    ),
    Defect(
        "shape (3,) for (3, 1)", "TF, PaddleTest",
        in_gradient("readout.weight", lambda gradient: gradient[..., 0]),
        "gradients of readout.weight: expected shape (10, 3, 1), found (10, 3)",
    ),
    Defect(
        "float32 where float64 was asked", "eight of thirteen",
        in_gradient("wide.weight", other_dtype),
        "gradients of wide.weight: expected float",
    ),
    Defect(
        "a run cut short (4 steps for 10)", "Polygraphy, PaDiff",
        cut_short,
        "steps: expected 10 from 0 to 9, found 4 from 0 to 3",
    ),
]  # fmt: skip

# ---------------------------------------------------------------- what is said of them


@cache
def control(dtype: str) -> tuple[Judgement, Drift]:
    """What the judge and the pair say of the right run."""
    return _said(right_run(PAIR[0], dtype), dtype, ORDINARY)


@cache
def verdicts(defect: Defect, dtype: str) -> tuple[Judgement, Drift]:
    """What the judge and the pair say of the defective run."""
    return _said(defect.plant(right_run(PAIR[0], dtype, defect.factor)), dtype, defect.factor)


def _said(run: Trajectory, dtype: str, factor: float) -> tuple[Judgement, Drift]:
    problem = problem_of(dtype, factor)
    return judge(problem, run), compare(problem, run, right_run(PAIR[1], dtype, factor), PAIR)


def section() -> str:
    """The counts in a sentence, and in a table what is said of each defect in float64."""
    said = [verdicts(defect, dtype) for dtype in DTYPES for defect in DEFECTS]
    right = [control(dtype) for dtype in DTYPES]
    refused = sum(judgement.verdict in ("differs", "incomplete") for judgement, _ in said)
    outside = sum(not drift.within for _, drift in said)
    certified = sum(judgement.verdict == "certified" for judgement, _ in right)
    within = sum(drift.within for _, drift in right)
    headline = (
        f"**The judge refuses {refused} of {len(said)} ({len(DEFECTS)} defects × {len(DTYPES)} dtypes) and the pair "
        f"{outside} of {len(said)}, both at their defaults; of the {len(right)} right runs {certified} are certified "
        f"and {within} within.**"
    )
    rows = [[defect.name, defect.missed_by, *_cells(*verdicts(defect, DTYPES[0]))] for defect in DEFECTS]
    rows.append(["none: the right run", "", *_cells(*control(DTYPES[0]))])
    headers = ["defect", "who misses it", f"the judge says ({DTYPES[0]})", f"the pair says ({DTYPES[0]})"]
    return f"{headline}\n\n{table(rows, headers)}\n"


def _cells(judgement: Judgement, drift: Drift) -> Iterator[str]:
    yield _shortened(judgement.message or judgement.verdict)
    yield _shortened(drift.message or "within")


def _shortened(message: str) -> str:
    """The first clause, with six digits a number: they are the same on every machine."""
    clause = message.partition("; ")[0]
    return shorten(
        re.sub(r"\d+\.\d{5,}(e-?\d+)?", lambda number: f"{float(number[0]):.6g}", clause), SHOWN, placeholder=" …"
    )


if __name__ == "__main__":
    print(section())
