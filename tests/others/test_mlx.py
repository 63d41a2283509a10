"""MLX is right in float32, its widest dtype; its Adam corrects no bias unless it is told to."""

import numpy as np
import pytest

from tests.others.judged import certified, refused

mx = pytest.importorskip("mlx.core", reason="needs mlx and mlx-cpu, of the extra test-others", exc_type=ImportError)
from mlx.optimizers import Adam


def loss_of(parameters, inputs, targets):
    y = mx.tanh(inputs @ parameters["hidden.weight"] + parameters["hidden.bias"])
    return mx.mean((y @ parameters["readout.weight"] + parameters["readout.bias"] - targets) ** 2) / 2


def gradients(parameters, inputs, targets):
    given = {path: mx.array(w) for path, w in parameters.items()}, mx.array(inputs), mx.array(targets)
    loss, found = mx.value_and_grad(loss_of)(*given)
    return np.array(loss), {path: np.array(g) for path, g in found.items()}


def updates(**settings):
    def update(parameters, gradients, state, step):
        adam = state.get("adam") or Adam(0.01, eps=1e-7, **settings)
        trees = [{path: mx.array(x) for path, x in arrays.items()} for arrays in (gradients, parameters)]
        return {path: np.array(w) for path, w in adam.apply_gradients(*trees).items()}, {"adam": adam}

    return update


@pytest.fixture(autouse=True)
def on_the_processor():
    mx.set_default_device(mx.cpu)


def test_gradients():
    certified("mlp_float32", gradients)


def test_adam_with_its_correction():
    certified("adam_float32", updates(bias_correction=True))


def test_adam_as_it_comes():
    assert "this is what no correction of the bias would give" in refused("adam_float32", updates())
