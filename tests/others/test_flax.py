"""Training loops of flax, linen and nnx, recorded as docs/training-loops-jax.md has them."""

import jax
import jax.numpy as jnp
import optax
import pytest

import backproof
from tests.others.judged import HERE

flax = pytest.importorskip("flax", reason="needs flax, of the extra test-others")
from flax import linen, nnx
from flax.training.train_state import TrainState

jax.config.update("jax_enable_x64", True)
CASE = HERE / "adam.yaml"
LAYERS = ("hidden", "readout")


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = backproof.tap("hidden", linen.Dense(4, name="hidden", param_dtype=jnp.float64)(x))
        x = backproof.tap("tanh1", linen.tanh(x))
        return backproof.tap("readout", linen.Dense(1, name="readout", param_dtype=jnp.float64)(x))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(3, 4, param_dtype=jnp.float64, rngs=rngs)
        self.readout = nnx.Linear(4, 1, param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, x):
        x = backproof.tap("hidden", self.hidden(x))
        return backproof.tap("readout", self.readout(backproof.tap("tanh1", nnx.tanh(x))))


def problem():
    return backproof.materialise(backproof.load(CASE), "float64")


def half_mean_square(y):
    return backproof.tap("loss", jnp.mean((y - problem().targets) ** 2) / 2)


def train_linen(epsilon):
    given = problem().parameters
    start = {name: {"kernel": given[f"{name}.weight"], "bias": given[f"{name}.bias"]} for name in LAYERS}
    with backproof.record_jax() as run:
        adam = run.optimizer(optax.adam(0.01, eps=epsilon))
        state = TrainState.create(apply_fn=Linen().apply, params={"params": start}, tx=adam)

        @jax.jit
        def step(state, x):
            gradients = jax.grad(lambda params: half_mean_square(state.apply_fn(params, x)))(state.params)
            return state.apply_gradients(grads=gradients)

        for _ in range(3):
            state = step(state, problem().inputs)
        run.end(state.params)
    return run


def train_nnx(epsilon):
    model = Nnx(nnx.Rngs(0))
    for name in LAYERS:
        layer = getattr(model, name)
        layer.kernel[...] = jnp.asarray(problem().parameters[f"{name}.weight"])
        layer.bias[...] = jnp.asarray(problem().parameters[f"{name}.bias"])
    with backproof.record_jax() as run:
        optimizer = nnx.Optimizer(model, run.optimizer(optax.adam(0.01, eps=epsilon)), wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer, x):
            optimizer.update(model, nnx.grad(lambda model: half_mean_square(model(x)))(model))

        for _ in range(3):
            step(model, optimizer, problem().inputs)
        run.end(nnx.state(model, nnx.Param))
    return run


@pytest.mark.parametrize("train", [train_linen, train_nnx])
def test_a_loop(train):
    run = train(1e-7)
    assert len(run.trajectory(problem()).state_after) == 8
    assert "1 of 4 values (input)" in backproof.certify_run(run, CASE).message


@pytest.mark.parametrize("train", [train_linen, train_nnx])
def test_another_epsilon(train):
    with pytest.raises(backproof.NotCertified, match=r"step 0, update of hidden\.weight"):
        backproof.certify_run(train(1e-8), CASE)
