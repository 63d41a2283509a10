import numpy as np


def gradients(parameters, inputs, targets):
    """The tanh form, in float32."""
    f = np.float32
    z = inputs @ parameters["hidden.weight"] + parameters["hidden.bias"]
    u = np.tanh(f(0.7978845608028654) * (z + f(0.044715) * z**3))
    h = f(0.5) * z * (1 + u)
    y = h @ parameters["readout.weight"] + parameters["readout.bias"]
    d = 2 * (y - targets) / f(y.size)
    slope = f(0.5) * (1 + u) + f(0.5) * z * (1 - u * u) * f(0.7978845608028654) * (1 + 3 * f(0.044715) * z * z)
    dz = (d @ parameters["readout.weight"].T) * slope
    return np.mean((y - targets) ** 2), {
        "hidden.weight": inputs.T @ dz,
        "hidden.bias": dz.sum(axis=0),
        "readout.weight": h.T @ d,
        "readout.bias": d.sum(axis=0),
    }
