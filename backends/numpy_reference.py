"""The hand-written reference as a backend: NumPy only. The one file here that imports `reference/`."""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from backends.trajectory import Recorder, Trajectory
from cases.problem import Problem
from reference.backprop import forward, operands, total_loss, train

PACKAGES = ("numpy", "scipy")


def run(problem: Problem) -> Trajectory:
    """Train by the hand-written backward pass."""
    start, record = time.perf_counter(), Recorder(problem)
    with np.errstate(all="ignore"), threadpool_limits(1):
        for number, step in enumerate(train(problem)):
            if number in record.wanted:
                record.add(**step._asdict())
        values = forward(problem.network, operands(problem, step.after), problem.inputs)
        final_loss = total_loss(problem, step.after, values[problem.network[-1].name], problem.targets)
    return record.trajectory(problem, values, final_loss, time.perf_counter() - start)


def settings() -> dict[str, str]:
    """How the backend computes."""
    blas = {library["internal_api"] for library in threadpool_info() if library["user_api"] == "blas"}
    return {"threads": "1", "x64": "yes", "matrix products": ", ".join(sorted(blas)) or "NumPy's own"}
