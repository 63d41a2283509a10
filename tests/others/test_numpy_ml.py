"""numpy-ml is right in float64, which it computes in whatever it is given; its Adam is the paper's."""

import collections.abc
from unittest import mock

import pytest

from tests.others.judged import certified, refused

with mock.patch.object(collections, "Hashable", collections.abc.Hashable, create=True):  # it was there before 3.10
    numpy_ml = pytest.importorskip("numpy_ml.neural_nets", reason="needs numpy-ml, of the extra test-others")

pytestmark = pytest.mark.filterwarnings("ignore")


def gradients(parameters, inputs, targets):
    layers = {"hidden": numpy_ml.layers.FullyConnected(4, "tanh"), "readout": numpy_ml.layers.FullyConnected(1)}
    for name, layer in layers.items():
        layer.n_in = len(parameters[f"{name}.weight"])
        layer._init_params()
        layer.parameters = {"W": parameters[f"{name}.weight"], "b": parameters[f"{name}.bias"][None]}
    y = layers["readout"].forward(layers["hidden"].forward(inputs))
    layers["hidden"].backward(layers["readout"].backward((y - targets) / y.size))
    found = {f"{name}.weight": layer.gradients["W"] for name, layer in layers.items()}
    found |= {f"{name}.bias": layer.gradients["b"][0] for name, layer in layers.items()}
    return ((y - targets) ** 2).mean() / 2, found


def update(parameters, gradients, state, step):
    adam = state.get("adam") or numpy_ml.optimizers.Adam(lr=0.01, eps=1e-7)
    return {path: adam(w, gradients[path], path) for path, w in parameters.items()}, {"adam": adam}


def test_gradients():
    certified("nesterov", gradients)


def test_float32_is_computed_in_float64():
    told = refused("mlp_float32", gradients)
    assert "expected float32, found float64; some number on the way is wider than the inputs" in told


def test_adam():
    certified("adam", update)
    assert "this is what epsilon after the correction of the bias would give" in refused("adam_hat", update)
