"""Keras on torch and on JAX, each in a process of its own: right in float32, and not in float64."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.others.judged import HERE

if find_spec("keras") is None:
    pytest.skip("needs keras, of the extra test-others", allow_module_level=True)


@pytest.fixture(scope="module", params=["torch", "jax"])
def found(request):
    """What came of each check on one backend."""
    command = [sys.executable, HERE / "keras_glue.py", request.param]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {"backend": request.param} | json.loads(done.stdout.splitlines()[-1])


def test_gradients_in_float32(found):
    assert found["mlp_float32"] == "certified "


def test_float64_is_computed_in_float32(found):
    """On torch products of matrices and means are; on JAX tanh and means."""
    assert "step 0, loss: found 0.2046333" in found["nesterov"]
    assert "the loss is wrong; every gradient is wrong; look at the forward pass" in found["nesterov"]


def test_epsilon_of_adam(found):
    assert found["adam_hat"] == "certified "
    assert "this is what epsilon before the correction of the bias would give" in found["adam"]


def test_train_on_batch(found):
    assert found["run adam_hat"].startswith("certified")
    assert ("1 of 4 values (input)" in found["run adam_hat"]) == (found["backend"] == "jax")
    assert "step 0, update of hidden.weight" in found["run adam"]
