import numpy as np


def run(problem):
    """All is right, but the share of layer b in the gradient is forgotten."""
    w, x, t = problem.parameters["a.weight"], problem.inputs, problem.targets
    a = x @ w
    h = np.tanh(a)
    y = h @ w
    dy = y - t
    dh = dy @ w.T
    da = dh * (1 - h * h)
    loss, same = np.asarray(0.5 * np.sum(dy * dy)), {"a.weight": w[None]}
    values = {"input": x, "a": a, "tanh1": h, "b": y}
    return {
        "loss": loss[None],
        "final_loss": loss,
        "final_values": values,
        "values": {n: v[None] for n, v in values.items()},
        "cotangents": {"b": dy[None], "tanh1": dh[None], "a": da[None], "input": (da @ w.T)[None]},
        "gradients": {"a.weight": (x.T @ da)[None]},
        "before": same,
        "after": same,
    }
