"""HIPS autograd as a backend: a framework that backproof has no file for.

python -m report cases/xor/relu.yaml --backend autograd=docs/examples/autograd_backend.py:run
"""

import autograd.numpy as np
import numpy
from autograd import value_and_grad

from backproof import Unsupported

ACTIVATIONS = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh, "relu": lambda x: np.where(x > 0, x, 0)}


def forward(problem, parameters, taps, x):
    """The values of all layers. A tap is a zero that is added: its derivative is the cotangent of the value."""
    values = {"input": x + taps["input"]}
    for layer in problem.network:
        x = values[layer.inputs[0]]
        if layer.kind == "dense":
            weight, bias = (*(parameters[path] for path in layer.parameters), -0.0)[:2]
        y = np.dot(x, weight) + bias if layer.kind == "dense" else ACTIVATIONS[layer.kind](x)
        values[layer.name] = y + taps[layer.name]
    return values


def run(problem):
    """Train: any mapping with a trajectory's arrays will do, each with a first axis of steps."""
    kinds = {layer.kind for layer in problem.network} | {problem.loss.kind, getattr(problem.optimizer, "kind", "sgd")}
    more = problem.tied, problem.penalties, problem.clip, problem.schedule, (problem.batches < 0).any()
    if kinds - {"dense", *ACTIVATIONS, "squared_error", "sgd"} or any(more):
        raise Unsupported("this example knows dense layers, three activations, squared error, sgd and full batches")

    def loss_of(parameters, taps, x, t):
        y = forward(problem, parameters, taps, x)[problem.output]
        terms = {"sum": 1, "batch_mean": len(x), "mean": t.size}[problem.loss.reduction]
        return problem.loss.factor * np.sum((y - t) ** 2) / terms

    def zeros(samples):
        return {name: numpy.full((samples, *shape), -0.0, problem.dtype) for name, shape in problem.shapes.items()}

    steps, parameters, size = [], dict(problem.parameters), problem.batches.shape[1]
    for rows in problem.batches:
        batch, before = (problem.inputs[rows], problem.targets[rows]), parameters
        loss, (gradients, cotangents) = value_and_grad(loss_of, (0, 1))(before, zeros(size), *batch)
        if problem.optimizer:
            rate = problem.dtype.type(problem.optimizer.learning_rate)
            parameters = before | {path: before[path] - rate * gradients[path] for path in problem.trained}
        step = {"loss": {"": problem.dtype.type(loss)}, "values": forward(problem, before, zeros(size), batch[0])}
        step |= {"gradients": {path: gradients[path] for path in problem.trained}, "cotangents": cotangents}
        steps.append(step | {"before": before, "after": parameters})
    stacked = {
        f"{group}/{name}".rstrip("/"): numpy.stack([step[group][name] for step in steps])[problem.recorded]
        for group in steps[0]
        for name in steps[0][group]
    }
    end = parameters, zeros(len(problem.inputs)), problem.inputs
    return stacked | {"final_loss": loss_of(*end, problem.targets), "final_values": forward(problem, *end)}
