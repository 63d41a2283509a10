import numpy as np


def _right(parameters, inputs, targets, one=1.0):
    w1, b1, w2, b2 = (parameters[n] for n in ("hidden.weight", "hidden.bias", "readout.weight", "readout.bias"))
    h = one / (one + np.exp(-(inputs @ w1 + b1)))
    y = one / (one + np.exp(-(h @ w2 + b2)))
    e = (y - targets) * y * (1 - y) / len(inputs)
    d = (e @ w2.T) * h * (1 - h)
    return 0.5 * np.mean((y - targets) ** 2), {
        "hidden.weight": inputs.T @ d,
        "hidden.bias": d.sum(axis=0),
        "readout.weight": h.T @ e,
        "readout.bias": e.sum(axis=0),
    }


def right(parameters, inputs, targets):
    return _right(parameters, inputs, targets)


def float64_leaks(parameters, inputs, targets):
    return _right(parameters, inputs, targets, np.float64(1))


def no_loss(parameters, inputs, targets):
    return None, _right(parameters, inputs, targets)[1]


def gradients_alone(parameters, inputs, targets):
    return _right(parameters, inputs, targets)[1]


def transposed(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return loss, {n: a.T for n, a in g.items()}


def keepdims(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return loss, {n: a[None] if a.ndim == 1 else a for n, a in g.items()}


def descent(parameters, inputs, targets):
    """What is added to the weights: minus the gradient, times the learning rate."""
    loss, g = _right(parameters, inputs, targets)
    return loss, {n: -0.5 * a for n, a in g.items()}


def minus(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return loss, {n: -a for n, a in g.items()}


def as_list(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return loss, {n: a.tolist() for n, a in g.items()}


def as_torch(parameters, inputs, targets):
    import torch

    loss, g = _right(parameters, inputs, targets)
    return torch.tensor(loss), {n: torch.tensor(a) for n, a in g.items()}


def array_loss(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return np.array([[loss]]), g


def other_names(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return loss, {"W1": g["hidden.weight"], "b1": g["hidden.bias"], "W2": g["readout.weight"], "b2": g["readout.bias"]}


def printing(parameters, inputs, targets):
    print("hello", inputs.shape)
    return _right(parameters, inputs, targets)


def tuple_of_lists(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return loss, list(g.values())


def raises(parameters, inputs, targets):
    return inputs @ parameters["readout.weight"]


def per_sample_loss(parameters, inputs, targets):
    loss, g = _right(parameters, inputs, targets)
    return np.full(len(inputs), loss), g
