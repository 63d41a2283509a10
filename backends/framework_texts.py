"""The texts of files that train a case in PyTorch or JAX, with places for what is the case's."""

TORCH = '''"""{name} in PyTorch: an ordinary loop that records every value, cotangent and gradient.

    {command}

Put your own layer, loss or optimizer in the place of one of these, and judge it.{todos}
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

TRAINED = {trained}
# What the optimizer remembers: its name in torch, and where it starts.
STATE = {state}


class Model(nn.Module):
    """The network of the case; its parameters are those of `start`, by their names with _ for a dot."""

    def __init__(self, start):
        super().__init__(){declared}

    def forward(self, x, masks):
        """The values of all layers, of x (samples, {inputs}); there are no masks after the last step."""
        values = {{"input": x}}{layers}
        return values


def loss_of(model, y, t):
    """The loss of a batch, of outputs and targets (samples, {outputs})."""
    terms = {terms}
    loss = {factor} * terms.sum(){divided}{penalties}
    return loss


def optimizer_of(parameters):
    return {optimizer}


def learning_rate(k):
    """Of the step k = 0, 1, ..."""
    return {rate}


def clip(parameters):
    """Change gradients before they are used."""
    {clip}


def name_of(path):
    return path.replace(".", "_") if path[0].isalpha() else f"_{{path}}".replace(".", "_")


def tensor(array, dtype):
    return torch.tensor(array.astype("float64"), dtype=dtype)  # NumPy and torch have no bfloat16 in common


def gradient_of(one):
    return torch.zeros_like(one) if one.grad is None else one.grad


def run(problem):
    """Train the problem, and return everything that is judged."""
    dtype, record = getattr(torch, problem.dtype.name), {{}}
    model = Model({{path: tensor(start, dtype) for path, start in problem.parameters.items()}})
    parameters = {{path: getattr(model, name_of(path)) for path in problem.parameters}}
    trained = {{path: parameters[path] for path in TRAINED}}
    optimizer = optimizer_of([*trained.values()])
    inputs, targets = tensor(problem.inputs, dtype), tensor(problem.targets, dtype)

    def keep(group, tensors):
        for name, one in tensors.items():
            record.setdefault(f"{{group}}/{{name}}", []).append(one.detach().clone())

    def keep_all(when):
        keep(when, parameters)
        for name, (key, start) in STATE.items():
            found = {{path: optimizer.state[w].get(key, torch.full_like(w, start)) for path, w in trained.items()}}
            keep(f"state_{{when}}", {{f"{{name}}/{{path}}": one for path, one in found.items()}})

    for k, row in enumerate(problem.batches):
        samples, is_recorded = torch.from_numpy(row[row >= 0]), k in problem.recorded
        x, t = inputs[samples].requires_grad_(), targets[samples]
        masks = {{path: tensor(mask[: len(samples)], dtype) for path, mask in problem.masks_at(k).items()}}
        model.zero_grad()
        values = model(x, masks)
        for value in values.values():
            value.retain_grad()
        loss = loss_of(model, values["{output}"], t)
        loss.backward()
        if is_recorded:
            record.setdefault("loss", []).append(loss.detach())
            keep("values", values)
            keep("cotangents", {{name: gradient_of(value) for name, value in values.items()}})
            keep("gradients", {{path: gradient_of(w) for path, w in trained.items()}})
            keep_all("before")
        if optimizer:
            clip([*trained.values()])
            optimizer.param_groups[0]["lr"] = learning_rate(k)
            optimizer.step()
        if is_recorded:
            keep_all("after")
    with torch.no_grad():
        values = model(inputs, {{}})
        record |= {{f"final_values/{{name}}": value for name, value in values.items()}}
        record["final_loss"] = loss_of(model, values["{output}"], targets)
    return record{rates}
'''  # noqa: E501, what it writes is wider

JAX = '''"""{name} in JAX: a loop of value_and_grad that records every value, cotangent and gradient.

    {command}

Put your own layer, loss or optimizer in the place of one of these, and judge it. Nothing is compiled: what a program
of jit records may differ from what its next operation has used.{todos}
"""

import math

import jax
import jax.numpy as jnp
import optax

from backproof import Unsupported

jax.config.update("jax_enable_x64", True)  # or else there is no float64

TRAINED = {trained}
# What the optimizer remembers, and its name in optax.
STATE = {state}


def forward(p, taps, x, masks):
    """The values of all layers, of the parameters p and of x (samples, {inputs}).

    A tap is a zero that is added: its derivative is the cotangent of the value. There are no masks after the last step.
    """
    values = {{"input": x + taps["input"]}}{layers}
    return values


def loss_of(p, taps, x, t, masks):
    """The loss of a batch, and the values; targets are (samples, {outputs})."""
    values = forward(p, taps, x, masks)
    y = values["{output}"]
    terms = {terms}
    loss = {factor} * terms.sum(){divided}{penalties}
    return loss, values


def optimizer_of(rate):
    return {optimizer}


def learning_rate(k):
    """Of the step k = 0, 1, ..."""
    return {rate}


def clip(gradients):
    """The gradients as they are used."""
    {clip}


def run(problem):
    """Train the problem, and return everything that is judged."""
    if problem.dtype.itemsize == 2:
        raise Unsupported("JAX rounds a sum of 16-bit numbers after every term")
    parameters, record = {{path: jnp.asarray(start) for path, start in problem.parameters.items()}}, {{}}
    optimizer = optimizer_of(learning_rate(0))
    memory = optimizer.init({{path: parameters[path] for path in TRAINED}}) if optimizer else None

    def taps(samples):
        return {{name: jnp.full((samples, *shape), -0.0, problem.dtype) for name, shape in problem.shapes.items()}}

    def keep(group, arrays):
        for name, one in arrays.items():
            record.setdefault(f"{{group}}/{{name}}", []).append(one)

    def keep_all(when):
        keep(when, parameters)
        for name, key in STATE.items():
            found = optax.tree_utils.tree_get(memory, key)
            keep(f"state_{{when}}", {{f"{{name}}/{{path}}": found[path] for path in TRAINED}})

    for k, row in enumerate(problem.batches):
        samples, is_recorded = row[row >= 0], k in problem.recorded
        batch = problem.inputs[samples], problem.targets[samples]
        masks = {{path: mask[: len(samples)] for path, mask in problem.masks_at(k).items()}}
        trained = {{path: parameters[path] for path in TRAINED}}

        def of_trained(w, taps, rest=(parameters, batch, masks)):
            fixed, (x, t), masks = rest
            return loss_of(fixed | w, taps, x, t, masks)

        derive = jax.value_and_grad(of_trained, argnums=(0, 1), has_aux=True)
        (loss, values), (gradients, cotangents) = derive(trained, taps(len(samples)))
        if is_recorded:
            record.setdefault("loss", []).append(loss)
            for group, arrays in (("values", values), ("cotangents", cotangents), ("gradients", gradients)):
                keep(group, arrays)
            keep_all("before")
        if optimizer:
            updates, memory = optimizer_of(learning_rate(k)).update(clip(gradients), memory, trained)
            parameters = parameters | optax.apply_updates(trained, updates)
        if is_recorded:
            keep_all("after")
    record["final_loss"], values = loss_of(parameters, taps(len(problem.inputs)), problem.inputs, problem.targets, {{}})
    record |= {{f"final_values/{{name}}": value for name, value in values.items()}}
    return record{rates}
'''  # noqa: E501, likewise
