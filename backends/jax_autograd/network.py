"""The walk over a network in JAX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from backproof.backends.jax_autograd.recipe import Recipe
from backproof.cases.format.network import Node

Arrays = dict[str, Array]


def forward(
    recipe: Recipe,
    numbers: Arrays,
    inputs: Array,
    taps: Arrays,
    real: Array | None,
    *,
    training: bool,
) -> tuple[Array, Arrays, Arrays]:
    """Compute every value, (samples, *positions, features), from the inputs on.

    Args:
        recipe: has the nodes, each with its rule.
        numbers: parameters, masks and buffers by path.
        inputs: (samples, *positions, features).
        taps: zeros that are added behind the values, and so have their cotangents as gradients.
        real: (samples,), false for samples that only pad the batch, or None if none do.
        training: whether this is a step of training, behind which buffers have changed.

    Returns:
        The output; the values by name, `input` first; the buffers behind the step by path.
    """
    x, values, buffers = inputs + taps["input"], {"input": inputs}, {}
    tapped = {"input": x}
    for node, rule in recipe.network:
        compute: Callable = partial(value_of, node, rule, numbers, training=training)
        if node.buffers and training and recipe.sizes:
            compute = of_real_samples(compute, recipe.sizes, real)
        masks = {keyword: numbers.get(path) for keyword, path in dict(node.masks).items()}
        values[node.name], after = compute([tapped[name] for name in node.inputs], masks)
        x = tapped[node.name] = values[node.name] + taps[node.name]
        buffers |= after
    return x, values, buffers


def value_of(
    node: Node, rule: Callable, numbers: Arrays, xs: list[Array], masks: Arrays, *, training: bool
) -> tuple[Array, Arrays]:
    """Compute the value of a node, and its buffers behind a step of training by path."""
    parameters = [numbers[path] for path in node.parameters]
    rule = partial(rule, *xs, *parameters, **dict(node.settings), **masks)
    if not node.buffers:
        return rule(), {}
    paths = dict(node.buffers)
    found = rule(**{keyword: numbers[paths[keyword]] for keyword in paths}, training=training)
    if not training:
        return found, {}
    y, after = found
    return y, {path: after[keyword] for keyword, path in paths.items()}


def of_real_samples(rule: Callable, sizes: tuple[int, ...], real: Array) -> Callable:
    """Let a rule that mixes samples see the real ones alone, which stand in front; others have 0.

    Args:
        rule: of operands whose first axis are the samples.
        sizes: how many real samples there may be, ascending.
        real: (samples,), true for the real ones.
    """

    def with_samples(number: int) -> Callable:
        def rule_of_number(*operands: list[Array] | Arrays) -> tuple[Array, Arrays]:
            y, after = rule(*jax.tree.map(lambda x: x[:number], operands))
            missing = jnp.zeros((len(real) - number, *y.shape[1:]), y.dtype)
            return jnp.concatenate([y, missing]), after

        return rule_of_number

    which = jnp.searchsorted(jnp.array(sizes), jnp.sum(real))
    return partial(lax.switch, which, [with_samples(number) for number in sizes])


def zero_taps(recipe: Recipe, x: Array) -> Arrays:
    """Return zeros of the shape of x for `input`, and of the shape of the value of every node."""
    zeros = {node.name: jnp.zeros((len(x), *node.shape), x.dtype) for node, _ in recipe.network}
    return {"input": jnp.zeros_like(x)} | zeros
