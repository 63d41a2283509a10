"""A program that knows nothing of backproof: it reads a problem, trains it by hand, and leaves a run.

python -m backproof export cases/xor/mini_batches.yaml -o problem.safetensors
python docs/examples/train_a_problem.py problem.safetensors run.safetensors
python -m report cases/xor/mini_batches.yaml --dtype float64 --run mine=run.safetensors
"""

import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

ACTIVATIONS = {  # y of x, and the derivative by x, from y
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "relu": (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(y.dtype)),
}

arrays, about = load_file(sys.argv[1]), safe_open(sys.argv[1], framework="np").metadata()
settings = json.loads(about["settings"])
network, loss, optimizer = settings["network"], settings["loss"], settings["optimizer"]
known = {"dense", "squared_error", "sgd", *ACTIVATIONS}
used = {one["kind"] for one in (*network, loss, optimizer)}
parameters = {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith("parameters/")}
others = [settings[name] for name in ("penalties", "schedule", "clip", "tied")] + [optimizer["weight_decay"]]
if used - known or any(others) or {*parameters} - {*settings["trained"]}:
    sys.exit("this example knows dense layers, three activations, squared error and sgd")


def forward(parameters, x):
    """The values of all layers."""
    values = {"input": x}
    for layer in network:
        before = values[layer["inputs"][0]]
        if layer["kind"] == "dense":
            weight, *bias = (parameters[path] for path in layer["parameters"])
            values[layer["name"]] = sum(bias, before @ weight)
        else:
            values[layer["name"]] = ACTIVATIONS[layer["kind"]][0](before)
    return values


def terms(t):
    """How many the sum of the loss is divided by."""
    return {"sum": 1, "batch_mean": len(t), "mean": t.size}[loss["reduction"]]


def backward(parameters, values, t):
    """The cotangents of all values, and the gradients."""
    cotangents = {name: np.zeros_like(value) for name, value in values.items()}
    cotangents[settings["output"]] = 2 * loss["factor"] / terms(t) * (values[settings["output"]] - t)
    gradients = {}
    for layer in reversed(network):
        (source,), dy = layer["inputs"], cotangents[layer["name"]]
        if layer["kind"] == "dense":
            weight, *bias = layer["parameters"]
            gradients |= {weight: values[source].T @ dy, **{path: dy.sum(axis=0) for path in bias}}
            cotangents[source] += dy @ parameters[weight].T
        else:
            cotangents[source] += dy * ACTIVATIONS[layer["kind"]][1](values[layer["name"]])
    return cotangents, gradients


def loss_of(values, t):
    """The loss of a batch."""
    return loss["factor"] * np.sum((values[settings["output"]] - t) ** 2) / terms(t)


# Everything that a run must hold, zeros at first: what stands behind a short batch stays so.
run = {name: np.zeros(shape, dtype) for name, shape, dtype in json.loads(about["run"])}
rows = {int(step): row for row, step in enumerate(arrays["recorded"])}
for step, row in enumerate(arrays["batches"]):
    batch = row[row >= 0]
    x, t = arrays["inputs"][batch], arrays["targets"][batch]
    values = forward(parameters, x)
    cotangents, gradients = backward(parameters, values, t)
    after = {path: w - optimizer["learning_rate"] * gradients[path] for path, w in parameters.items()}
    groups = {"values": values, "cotangents": cotangents, "gradients": gradients, "before": parameters, "after": after}
    if step in rows:
        run["loss"][rows[step]] = loss_of(values, t)
        for group, tensors in groups.items():
            for name, tensor in tensors.items():
                kept = run[f"{group}/{name}"][rows[step]]
                kept[: len(tensor)] = tensor
    parameters = after
values = forward(parameters, arrays["inputs"])
run |= {f"final_values/{name}": value for name, value in values.items()}
run["final_loss"] = np.asarray(loss_of(values, arrays["targets"]))
save_file(run, sys.argv[2], json.loads(about["run_metadata"]))
