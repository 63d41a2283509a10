"""Networks of the frameworks: values with positions, layers that take several, masks, and buffers."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from backproof.backends.jax_autograd import layers as of_jax
from backproof.backends.jax_autograd.losses import of_real_samples
from backproof.backends.registry import Unsupported, backend
from backproof.backends.torch_autograd import layers as of_torch
from backproof.backends.torch_autograd.losses import LOSSES
from backproof.backends.trajectory import flat
from backproof.cases.format.losses import SquaredError
from backproof.cases.format.network import Node
from tests.trial.oracle import criteria, name_of, outputs_for, targets_for

OURS = ["torch", "jax", "torch-compile"]  # jax-eager has the walk of jax
POSITIONS, SHARE = 2, 0.25


def norm(root, x, mean, variance, training):
    """Normalise by the mean and the variance over samples and positions, or by running ones after the last step."""
    if not training:
        return (x - mean) / root(variance + 0.1)
    now = x.mean((0, 1))
    around = ((x - now) ** 2).mean((0, 1))
    after = {"mean": mean + SHARE * (now - mean), "variance": variance + SHARE * (around - variance)}
    return (x - now) / root(around + 0.1), after


def node(name, kind, *inputs, parameters=(), features=4, masks=None, buffers=None, **settings):
    """A node whose values have two positions."""
    shape = (POSITIONS, features)
    return Node(name, kind, inputs, parameters, settings, shape, masks or {}, buffers or {}, name)


NETWORK = (
    node("wide", "dense", "input", parameters=("wide.weight", "wide.bias")),
    node("norm", "norm", "wide", buffers={"mean": "norm.mean", "variance": "norm.variance"}),
    node("bent", "prelu", "norm", parameters=("bent.slope",)),
    node("leak", "leaky_relu", "wide", slope=0.3),
    node("drop", "dropout", "bent", masks={"mask": "drop.mask"}, rate=0.5),
    node("same", "dense", "drop", parameters=("same.weight",)),
    node("skip", "skip", "same", "leak"),
    node("unused", "tanh", "wide"),
    node("output", "softmax", "skip"),
)


@pytest.fixture(scope="module")
def problem(problem_of):
    """Five samples in batches of three and two, for two epochs."""
    random = np.random.default_rng(0)
    training = {"steps": 4, "batch": {"size": 3}, "optimizer": {"momentum": {"learning_rate": 0.1, "momentum": 0.9}}}
    data = {"inputs": [[0.0, 0.0]] * 5, "targets": [[0.0]] * 5}
    shapes = {"wide.weight": (3, 4), "wide.bias": (4,), "bent.slope": (4,), "same.weight": (4, 4)}
    problem = replace(
        problem_of(training=training, data=data),
        inputs=random.normal(size=(5, POSITIONS, 3)),
        targets=random.uniform(size=(5, POSITIONS, 4)),
        loss=SquaredError(reduction="mean"),
        parameters={path: random.normal(size=shape) for path, shape in shapes.items()},
        trained=tuple(shapes),
        masks={"drop.mask": random.integers(0, 2, size=(3, 3, POSITIONS, 4)).astype(float)},
        buffers={"norm.mean": np.zeros(4), "norm.variance": np.ones(4)},
    )
    return with_network(problem)


def with_network(problem):
    """The problem with these nodes, which no list of layers gives: one has a value that nobody takes."""
    shapes = {"input": (POSITIONS, 3)} | {node.name: node.shape for node in NETWORK}
    graph = SimpleNamespace(nodes=NETWORK, shapes=shapes, output="output")
    vars(problem).update(graph=graph, network=NETWORK, output="output")
    return problem


@pytest.fixture(scope="module")
def runs(problem):
    """The run of each backend; each framework has a layer more for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(of_torch.LAYERS, "norm", partial(norm, torch.sqrt))
        patch.setitem(of_jax.LAYERS, "norm", partial(norm, jnp.sqrt))
        return {name: backend(name).run(problem) for name in OURS}


def test_the_frameworks_agree(runs):
    """Values, cotangents, gradients, updates and buffers, at full and short batches and after the last step."""
    expected = flat(runs["torch"])
    assert expected["values/output"].shape == expected["cotangents/output"].shape == (4, 3, POSITIONS, 4)
    for name, run in runs.items():
        found = flat(run)
        assert found.keys() == expected.keys()
        for key, array in found.items():
            np.testing.assert_allclose(array, expected[key], rtol=1e-9, atol=1e-12, err_msg=f"{name} {key}")
        for group in ("buffers_before", "buffers_after"):
            for path, array in getattr(run, group).items():
                np.testing.assert_allclose(array, getattr(runs["torch"], group)[path], rtol=1e-12)


@pytest.mark.parametrize("name", OURS)
def test_buffers_are_of_the_real_samples(runs, name):
    """A short batch's padding has no part in them; what a step leaves the next one finds, and the end uses."""
    run, means = runs[name], np.zeros(4)
    for step, samples in enumerate([3, 2, 3, 2]):
        np.testing.assert_allclose(run.buffers_before["norm.mean"][step], means, rtol=1e-12)
        now = run.values["wide"][step, :samples].mean((0, 1))
        means = means + SHARE * (now - means)
        np.testing.assert_allclose(run.buffers_after["norm.mean"][step], means, rtol=1e-12)
        assert not run.values["norm"][step, samples:].any()
    wide, variance = run.final_values["wide"], run.buffers_after["norm.variance"][-1]
    np.testing.assert_allclose(run.final_values["norm"], (wide - means) / np.sqrt(variance + 0.1), rtol=1e-12)


@pytest.mark.parametrize("name", OURS)
def test_a_value_that_nobody_takes_has_no_cotangent(runs, name):
    assert runs[name].values["unused"].any()
    assert not runs[name].cotangents["unused"].any()


@pytest.mark.parametrize("name", OURS)
def test_a_layer_that_a_backend_lacks_is_unsupported(problem, name):
    with pytest.raises(Unsupported, match="this backend has no layer norm"):
        backend(name).run(problem)


@pytest.mark.parametrize("loss", criteria(), ids=name_of)
def test_a_loss_runs_over_all_positions(loss):
    """As of so many samples more, but that `batch_mean` divides by the samples alone."""
    numbers = [np.random.default_rng(seed).normal(size=(3, POSITIONS, 2)) for seed in (1, 2)]
    y, t = outputs_for(loss, numbers[0]), targets_for(loss, numbers[1])
    times = POSITIONS if loss.reduction == "batch_mean" else 1
    for of_batch, array in (
        (LOSSES[loss.kind], torch.tensor),
        (partial(of_real_samples, real=None), jnp.array),
    ):
        rows = of_batch(loss, array(y.reshape(6, -1)), array(t.reshape(6, -1)))
        np.testing.assert_allclose(of_batch(loss, array(y), array(t)), times * rows, rtol=1e-12)
