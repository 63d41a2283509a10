"""A training loop of Equinox, whose models see one sample and whose weights are (outputs, inputs)."""

import jax
import jax.numpy as jnp
import optax
import pytest

import backproof
from tests.others.judged import HERE

eqx = pytest.importorskip("equinox", reason="needs equinox, of the extra test-others")

jax.config.update("jax_enable_x64", True)
CASE = HERE / "adam.yaml"


class Net(eqx.Module):
    hidden: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __call__(self, x):
        x = backproof.tap("hidden", self.hidden(x))
        return backproof.tap("readout", self.readout(backproof.tap("tanh1", jnp.tanh(x))))


def problem():
    return backproof.materialise(backproof.load(CASE), "float64")


def model():
    def layer(name):
        weight, bias = (jnp.asarray(problem().parameters[f"{name}.{part}"]) for part in ("weight", "bias"))
        linear = eqx.nn.Linear(*weight.shape, key=jax.random.key(0))
        return eqx.tree_at(lambda linear: (linear.weight, linear.bias), linear, (weight.T, bias))

    return Net(layer("hidden"), layer("readout"))


def train(forward):
    x, t = jnp.asarray(problem().inputs), jnp.asarray(problem().targets)
    with backproof.record_jax() as run:
        net, adam = model(), run.optimizer(optax.adam(0.01, eps=1e-7))
        state = adam.init(eqx.filter(net, eqx.is_array))

        @eqx.filter_jit
        def step(net, state):
            def loss_of(net):
                return backproof.tap("loss", jnp.mean((forward(net, x) - t) ** 2) / 2)

            updates, state = adam.update(eqx.filter_grad(loss_of)(net), state, eqx.filter(net, eqx.is_array))
            return eqx.apply_updates(net, updates), state

        for _ in range(3):
            net, state = step(net, state)
        run.end(net)
    return run


def test_a_loop():
    run = train(lambda net, x: jax.vmap(net)(x))
    assert run.trajectory(problem()).cotangents["hidden"].shape == (3, 4, 4)
    assert "1 of 4 values (input)" in backproof.certify_run(run, CASE).message


def test_a_forgotten_cotangent():
    def forward(net, x):
        hidden = jax.vmap(lambda one: backproof.tap("hidden", net.hidden(one)))(x)
        return jax.vmap(net.readout)(jnp.tanh(jax.lax.stop_gradient(hidden)) + 0 * hidden)

    with pytest.raises(backproof.NotCertified, match="step 0, cotangent of hidden"):
        backproof.certify_run(train(forward), CASE)
