"""JAX without jit: the same training, operation by operation, each compiled by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backproof.backends.jax_autograd import PACKAGES, settings, training
from backproof.backends.trajectory import Trajectory
from backproof.cases.problem import Problem

__all__ = ["PACKAGES", "run", "settings"]


def scan(step: Callable, carry: Any, intervals: tuple) -> tuple:
    """Do what `lax.scan` does, as a loop in Python."""
    records = []
    for interval in zip(*intervals, strict=True):
        carry, record = step(carry, interval)
        records.append(jax.device_get(record))
    return carry, jax.tree.map(lambda *steps: np.stack(steps), *records)


def fori_loop(first: int, last: int, step: Callable, carry: Any) -> Any:
    """Do what `lax.fori_loop` does, as a loop in Python."""
    for number in range(first, last):
        carry = step(number, carry)
    return carry


def train(recipe: training.Recipe, *arrays: Any) -> tuple:
    """Train on arrays of JAX: those of NumPy would be computed with by NumPy."""
    loops = training.Loops(scan, fori_loop)
    return training.train(loops, recipe, *jax.tree.map(jnp.asarray, arrays))


def run(problem: Problem) -> Trajectory:
    """Train by jax.grad without jit; JAX's own functions alone are compiled, at XLA's defaults."""
    return training.run(problem, train)
