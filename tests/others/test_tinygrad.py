"""tinygrad's gradients are right; its Adam keeps its moments and the powers of beta in float32."""

import os

import pytest

from tests.others.judged import certified, refused

os.environ.setdefault("DEV", "PYTHON")  # a device that needs no compiler
pytest.importorskip("tinygrad", reason="needs tinygrad, of the extra test-others")
from tinygrad import Tensor
from tinygrad.helpers import Context
from tinygrad.nn.optim import Adam


def gradients(parameters, inputs, targets):
    given = {path: Tensor(w).is_param_() for path, w in parameters.items()}
    y = (Tensor(inputs) @ given["hidden.weight"] + given["hidden.bias"]).tanh()
    y = y @ given["readout.weight"] + given["readout.bias"]
    loss = ((y - Tensor(targets)) ** 2).mean() / 2
    loss.backward()
    return loss.numpy(), {path: w.grad.numpy() for path, w in given.items()}


def update(parameters, gradients, state, step):
    given = state.get("given") or [Tensor(w).is_param_() for w in parameters.values()]
    adam = state.get("adam") or Adam(given, 0.01, eps=1e-7)
    for w, g in zip(given, gradients.values(), strict=True):
        w.grad = Tensor(g)
    with Context(TRAINING=1):
        adam.step()
    return dict(zip(parameters, [w.numpy() for w in given], strict=True)), {"given": given, "adam": adam}


def test_gradients():
    certified("mlp", gradients)


def test_adam_in_float32():
    certified("adam_float32", update)


def test_adam_in_float64():
    """The error is 7e-6 of the update: 1 - beta2 is the difference of a power in float32."""
    told = refused("adam", update)
    assert "adam float64 mine: differs" in told
    assert "step 0, update of hidden.weight" in told
