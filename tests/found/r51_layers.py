import numpy as np


def _of(problem, factor):
    w, x, t = problem.parameters["w.weight"], problem.inputs, problem.targets
    z = x @ w
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    d = (p - t) / len(x)
    loss = np.asarray(-np.mean(np.log((p * t).sum(axis=1))) + 0.05 * np.sum(w * w))
    return {
        "loss": loss[None],
        "final_loss": loss,
        "values": {"input": x[None], "w": z[None]},
        "cotangents": {"w": d[None], "input": (d @ w.T)[None]},
        "gradients": {"w.weight": (x.T @ d + factor * 0.05 * w)[None]},
        "before": {"w.weight": w[None]},
        "after": {"w.weight": w[None]},
        "final_values": {"input": x, "w": z},
    }


def run(problem):
    return _of(problem, 1)


def right(problem):
    return _of(problem, 2)
