"""Keras on one of its backends, `python keras_glue.py torch`: what comes of each check, printed as JSON."""

import json
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "docs/examples"), str(Path(__file__).parents[2])]
os.environ["KERAS_BACKEND"] = BACKEND = sys.argv[1]

import jax
import keras
from keras import layers, ops
from keras_training import record_keras

import backproof

jax.config.update("jax_enable_x64", True)
HERE = Path(__file__).parent


def network(parameters):
    keras.config.set_floatx(parameters["hidden.bias"].dtype.name)
    keras.config.set_dtype_policy(parameters["hidden.bias"].dtype.name)
    parts = [layers.Dense(4, name="hidden"), layers.Activation("tanh", name="tanh1"), layers.Dense(1, name="readout")]
    net = keras.Sequential([keras.Input((3,)), *parts])
    net.set_weights([*parameters.values()])
    return net


def gradients(parameters, inputs, targets):
    net, x, t = network(parameters), *map(ops.convert_to_tensor, (inputs, targets))
    if BACKEND == "torch":
        loss = ops.mean((net(x) - t) ** 2) / 2
        loss.backward()
        found = [w.value.grad for w in net.trainable_variables]
    else:

        def loss_of(weights):
            return ops.mean((net.stateless_call(weights, [], x)[0] - t) ** 2) / 2

        loss, found = jax.value_and_grad(loss_of)([w.value for w in net.trainable_variables])
    return loss, dict(zip(parameters, found, strict=True))


def update(parameters, gradients, state, step):
    given = state.get("given") or [keras.Variable(w, dtype=w.dtype.name) for w in parameters.values()]
    adam = state.get("adam") or keras.optimizers.Adam(0.01)
    adam.apply([ops.convert_to_tensor(g) for g in gradients.values()], given)
    after = [ops.convert_to_numpy(w.value) for w in given]
    return dict(zip(parameters, after, strict=True)), {"given": given, "adam": adam}


def train_on_batch():
    problem = backproof.materialise(backproof.load(HERE / "adam_hat.yaml"), "float32")
    net = network(problem.parameters)
    net.compile(keras.optimizers.Adam(0.01), lambda t, y: ops.mean((y - t) ** 2) / 2)
    with record_keras(net) as run:
        for _ in range(3):
            net.train_on_batch(problem.inputs, problem.targets)
    return run


def outcome(verb, case, thing):
    try:
        found = verb(HERE / f"{case}.yaml", thing) if verb is backproof.certify_case else verb(thing, HERE / case)
    except backproof.NotCertified as refused:
        return str(refused)
    return "certified " + getattr(found, "message", "")


if __name__ == "__main__":
    checks = {"mlp_float32": gradients, "nesterov": gradients, "adam_hat": update, "adam": update}
    found = {case: outcome(backproof.certify_case, case, function) for case, function in checks.items()}
    run = train_on_batch()
    found |= {f"run {case}": outcome(backproof.certify_run, f"{case}.yaml", run) for case in ("adam_hat", "adam")}
    print(json.dumps(found))
