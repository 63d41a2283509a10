"""HIPS autograd is right."""

import pytest

from tests.others.judged import certified

np = pytest.importorskip("autograd.numpy", reason="needs autograd, of the extra test-others")
from autograd import value_and_grad


@value_and_grad
def gradients(parameters, inputs, targets):
    y = np.tanh(inputs @ parameters["hidden.weight"] + parameters["hidden.bias"])
    y = y @ parameters["readout.weight"] + parameters["readout.bias"]
    return np.mean((y - targets) ** 2) / 2


def test_gradients():
    # What autograd returns takes any arguments.
    certified("mlp", lambda parameters, inputs, targets: gradients(parameters, inputs, targets))  # noqa: PLW0108
