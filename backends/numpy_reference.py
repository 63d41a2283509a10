"""The hand-written reference as a backend: NumPy only. The one file here that imports `reference/`."""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from backends.trajectory import Recorder, Trajectory
from cases.problem import Problem
from reference.backprop import forward, operands, total_loss, train
from reference.half import half

PACKAGES = ("numpy", "scipy")


def run(problem: Problem) -> Trajectory:
    """Train by the hand-written backward pass."""
    start, record = time.perf_counter(), Recorder(problem)
    with np.errstate(all="ignore"), threadpool_limits(1):
        for number, step in enumerate(train(problem, half)):
            if number in record.wanted:
                record.add(**{field: _plain(numbers) for field, numbers in step._asdict().items()})
        values = forward(problem.network, operands(problem, step.after), half(problem.inputs))
        final_loss = total_loss(problem, step.after, values[problem.network[-1].name], half(problem.targets))
    return record.trajectory(problem, _plain(values), _plain(final_loss), time.perf_counter() - start)


def _plain(numbers):
    """Arrays as they are on record, one or many by name."""
    if isinstance(numbers, dict):
        return {name: np.asarray(array) for name, array in numbers.items()}
    return np.asarray(numbers)


def settings() -> dict[str, str]:
    """How the backend computes."""
    blas = {library["internal_api"] for library in threadpool_info() if library["user_api"] == "blas"}
    return {"threads": "1", "x64": "yes", "matrix products": ", ".join(sorted(blas)) or "NumPy's own"}
