"""Records an ordinary training loop in JAX: taps in the model, and what the optimizer is given.

What is recorded goes through the host and comes back: the next operation consumes the very numbers
on record, in whatever way XLA fuses the rest. So it is under `grad`, `jit`, `scan`, `vmap` (whose
axis comes first) and `checkpoint`. Steps follow each other by their data alone: what the next one
computes depends on what the last one left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import io_callback

from backproof.backends.jax_recording.records import Call, Named, Record, Step

Tree = Any

ACTIVE: list[Recording] = []


# ---------------------------------------------------------------- taps


def tap(name: str, x: Any) -> Any:
    """Return x; while `record_jax` records, keep it under that name, and its cotangent too.

    Outside of a recording it is x itself, and compiles to nothing. Only passes that are
    differentiated are kept, so that a validation between two steps is none of the run.

    Args:
        name: of the case's layer whose value this is, or `loss` for the loss of the batch.
        x: (samples, *positions, features), or under `vmap` what one sample has of that.
    """
    if not ACTIVE:
        return x
    ACTIVE[-1].tapped.setdefault(name, len(ACTIVE[-1].steps))
    return _tapped(name, jnp.asarray(x))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tapped(_: str, x: jax.Array) -> jax.Array:
    return x


def _forward(name: str, x: jax.Array) -> tuple:
    """Record a value; the recording and its call, (2,), go to the way back beside it."""
    shapes = jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((2,), jnp.int32)
    keep = _host(_keep_value, name, x.ndim)
    return jax.pure_callback(keep, shapes, x, vmap_method="expand_dims")


def _backward(name: str, call: jax.Array, cotangent: jax.Array) -> tuple:
    shape = jax.ShapeDtypeStruct(cotangent.shape, cotangent.dtype)
    keep = _host(_keep_cotangent, name)
    return (jax.pure_callback(keep, shape, cotangent, call, vmap_method="expand_dims"),)


_tapped.defvjp(_forward, _backward)


@cache
def _host(function: Callable, *arguments: Any) -> Callable:
    """Return a call from the device to here, the same each time: another is compiled anew."""
    return partial(function, *arguments)


def _keep_value(name: str, axes: int, x: Any) -> tuple:
    x, call = np.array(x), np.zeros((*np.shape(x)[: np.ndim(x) - axes], 2), np.int32)
    if ACTIVE:
        calls = ACTIVE[-1].calls.setdefault(name, [])
        call[...] = ACTIVE[-1].number, len(calls)
        calls.append(Call(x, len(ACTIVE[-1].steps)))
    return x, call


def _keep_cotangent(name: str, cotangent: Any, call: Any) -> np.ndarray:
    """Record a cotangent, unless the way there was in a recording that is over."""
    cotangent, (number, place) = np.array(cotangent), np.asarray(call).reshape(-1, 2)[0]
    for run in ACTIVE:
        if run.number == number:
            run.calls[name][place].cotangent = cotangent
    return cotangent


# ---------------------------------------------------------------- the loop


class Recording(Record):
    """A loop as it is recorded, step by step; `certify_run` judges it."""

    def optimizer(self, inner: optax.GradientTransformation) -> optax.GradientTransformation:
        """Return an optimizer of optax that records each update, and else is the one given."""
        inner = optax.with_extra_args_support(inner)

        def update(gradients: Tree, state: Tree, params: Tree = None, **more: Any) -> tuple:
            if not ACTIVE:
                return inner.update(gradients, state, params, **more)
            if params is None:
                raise ValueError("update(gradients, state, params): the parameters are needed too")
            begin = _host(_begin, _turned(params))
            gradients, params, state = _through(begin, gradients, params, state)
            return _through(_finish, *inner.update(gradients, state, params, **more))

        return optax.GradientTransformationExtraArgs(inner.init, update)

    def step(
        self,
        before: Tree,
        gradients: Tree,
        after: Tree,
        *,
        loss: Any = None,
        state_before: Tree = None,
        state_after: Tree = None,
    ) -> None:
        """Record one update that no optimizer of optax makes; also inside of `jit` and `scan`.

        Args:
            before: the parameters before the update, a tree.
            gradients: a tree like it.
            after: the parameters behind it, likewise.
            loss: of the batch; or tap it.
            state_before: what is remembered before, by the case's name or optax', in trees like
                that of the parameters: `{"velocity": {...}}`.
            state_after: what is remembered behind it, likewise.
        """
        trees = gradients, before, state_before, after, state_after, loss  # as Step has them
        leaves, structure = jax.tree.flatten([*map(_named, trees[:-1]), loss])
        keep = _host(_kept, _whole, _turned(before), structure)
        io_callback(keep, None, *leaves, ordered=True)

    def end(self, params: Tree) -> None:
        """Give the parameters after the last update, where `optimizer` records them."""
        self.after = {path: np.array(leaf) for path, leaf in _named(params).items()}

    def of(self, case, names):
        """Return the problem of a case that was read, and the loop as its run."""
        from backproof.backends.jax_recording.runs import problem_of, trajectory_of

        problem = problem_of(self, case)
        return problem, trajectory_of(self, problem, names)

    def trajectory(self, problem, names=None):
        """Return the loop as the run of a problem; `runs.trajectory_of` says how.

        Raises:
            NotTheCase: if it can't be; the message says what was expected and found.
        """
        from backproof.backends.jax_recording.runs import trajectory_of

        return trajectory_of(self, problem, names or {})

    def save(self, path, case, names=None) -> None:
        """Write the loop as the run of a case, which `report --run` and `certify_run` judge.

        Args:
            path: of the file in safetensors.
            case: the path of the case's YAML file.
            names: as `certify_run` has them.
        """
        from backproof.backends.jax_recording.runs import save

        save(self, path, case, names or {})


@contextmanager
def record_jax() -> Iterator[Recording]:
    """Record every step of the training loop in the body of a `with`.

    What was compiled before is compiled anew inside, with the taps, and again behind it, without.

        with backproof.record_jax() as run:
            optimizer = run.optimizer(optax.adam(1e-3))
            ...  # the loop, with `backproof.tap` in its model
            run.end(params)
    """
    run, start = Recording(), time.perf_counter()
    ACTIVE.append(run)
    try:
        with _programs_of_its_own():
            yield run
            jax.effects_barrier()
    finally:
        ACTIVE.remove(run)
    run.seconds = time.perf_counter() - start


IS_RECORDING = jax.make_user_context(False) if hasattr(jax, "make_user_context") else None


@contextmanager
def _programs_of_its_own() -> Iterator[None]:
    """Let jit tell programs with taps from those without; older versions compile all anew."""
    if IS_RECORDING is not None:
        with IS_RECORDING(True):
            yield
        return
    jax.clear_caches()
    try:
        yield
    finally:
        jax.clear_caches()


def path_of(keys: tuple) -> str:
    """Return `Dense_0.kernel` of the keys to a leaf, in dictionaries, lists, and attributes."""
    parts = [
        str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in keys
    ]
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "value" else parts)


def _named(tree: Tree) -> dict[str, Any]:
    """Return the arrays of a tree by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_of(keys): leaf for keys, leaf in leaves if hasattr(leaf, "dtype")}


def _through(keep: Callable, *trees: Tree) -> tuple:
    """Return trees as the host has seen them, which keeps their arrays by path."""
    flat, structures = zip(*map(jax.tree.flatten, trees), strict=True)
    names = tuple(
        tuple(path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree))
        for tree in trees
    )
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), flat
    )
    found = jax.pure_callback(_host(_seen, keep, names), tuple(shapes), *flat)
    return tuple(map(jax.tree.unflatten, structures, found))


def _seen(keep: Callable, names: tuple, *flat: list) -> tuple:
    """Keep arrays by path, and return them."""
    arrays = tuple([*map(np.array, leaves)] for leaves in flat)
    _kept(keep, *(dict(zip(*pair, strict=True)) for pair in zip(names, arrays, strict=True)))
    return arrays


def _turned(params: Tree) -> frozenset[str]:
    """Return which matrices are attributes called weight: (outputs, inputs) in Equinox."""
    return frozenset(
        path_of(keys)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
        if keys
        and isinstance(keys[-1], jax.tree_util.GetAttrKey)
        and keys[-1].name == "weight"
        and leaf.ndim == 2
    )


# ---------------------------------------------------------------- what the host keeps


def _begin(
    turned: frozenset, run: Recording, gradients: Named, params: Named, state: Named
) -> None:
    run.turned |= turned
    run.steps.append(Step(gradients, params, state))


def _finish(run: Recording, _: Named, state: Named) -> None:
    run.steps[-1].state_after = state


def _whole(run: Recording, turned: frozenset, structure: Any, *arrays: Any) -> None:
    """Keep an update of which everything is given."""
    run.turned |= turned
    step = Step(*jax.tree.unflatten(structure, map(np.array, arrays)))
    run.steps.append(step)


def _kept(keep: Callable, *arguments: Any) -> None:
    """Let the recording that is under way keep something."""
    if ACTIVE:
        keep(ACTIVE[-1], *arguments)
