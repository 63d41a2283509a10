"""Ordinary training loops in JAX of the case beside this file, as a user writes them."""

from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import backproof

CASE = Path(__file__).with_name("mlp.yaml")


def problem(dtype="float64"):
    return backproof.materialise(backproof.load(CASE), dtype)


def start(dtype="float64"):
    """Return the parameters as nested dictionaries with flax' names."""
    given = problem(dtype).parameters
    return {
        name: {"kernel": jnp.asarray(given[f"{name}.weight"]), "bias": jnp.asarray(given[f"{name}.bias"])}
        for name in ("hidden", "readout")
    }


def batches(dtype="float64"):
    """Yield the inputs and targets of each step; the last batch is short."""
    case = problem(dtype)
    for rows in case.batches:
        yield case.inputs[rows[rows >= 0]], case.targets[rows[rows >= 0]]


def model(params, x):
    x = backproof.tap("hidden", x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    x = backproof.tap("squashed", jnp.tanh(x))
    return backproof.tap("readout", x @ params["readout"]["kernel"] + params["readout"]["bias"])


def loss_of(params, x, t, model=model):
    return backproof.tap("loss", jnp.mean((model(params, x) - t) ** 2))


def train(loss_of=loss_of, dtype="float64", compiled=jax.jit, tx=None, rate=0.01, steps=3):
    """Train by optax' Adam in a loop over batches, and return the recording."""
    with backproof.record_jax() as run:
        optimizer = run.optimizer(tx or optax.adam(rate))

        @compiled
        def step(params, state, x, t):
            gradients = jax.grad(loss_of)(params, x, t)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        params = start(dtype)
        state = optimizer.init(params)
        for x, t in islice(batches(dtype), steps):
            params, state = step(params, state, x, t)
        run.end(params)
    return run
