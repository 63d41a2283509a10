import numpy as np


def _p(parameters, x):
    z = x @ parameters["one.weight"] + parameters["one.bias"]
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


def _gradients(parameters, x, t, p):
    d = (p - t) / x.dtype.type(len(x))
    return {"one.weight": x.T @ d, "one.bias": d.sum(axis=0)}


def right(parameters, inputs, targets):
    p = _p(parameters, inputs)
    return -np.mean(np.log((p * targets).sum(axis=1))), _gradients(parameters, inputs, targets, p)


def epsilon_8(parameters, inputs, targets):
    p = _p(parameters, inputs)
    loss = -np.mean((targets * np.log(p + inputs.dtype.type(1e-8))).sum(axis=1))
    return loss, _gradients(parameters, inputs, targets, p)


def epsilon_15(parameters, inputs, targets):
    p = _p(parameters, inputs)
    loss = -np.mean((targets * np.log(p + inputs.dtype.type(1e-15))).sum(axis=1))
    return loss, _gradients(parameters, inputs, targets, p)


def numerical(parameters, inputs, targets):
    """Central differences, as a learner would hand in to try the tool."""

    def loss(p):
        q = _p(p, inputs)
        return -np.mean(np.log((q * targets).sum(axis=1)))

    h, found = inputs.dtype.type(1e-5 if inputs.dtype == np.float64 else 1e-2), {}
    for n, w in parameters.items():
        g = np.zeros_like(w)
        for i in np.ndindex(w.shape):
            up, down = {**parameters, n: w.copy()}, {**parameters, n: w.copy()}
            up[n][i] += h
            down[n][i] -= h
            g[i] = (loss(up) - loss(down)) / (2 * h)
        found[n] = g
    return loss(parameters), found
