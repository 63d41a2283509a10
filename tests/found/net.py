"""A whole training run of a 2-layer network of tanh, by hand, with a place for mistakes in what stands around it."""

import numpy as np


def derivatives(p, x, t, readout=None):
    h = np.tanh(x @ p["hidden.weight"] + p["hidden.bias"])
    y = h @ p["readout.weight"] + p["readout.bias"]
    d = 2 * (y - t) / y.size
    dz = (d @ (p["readout.weight"] if readout is None else readout).T) * (1 - h * h)
    return np.mean((y - t) ** 2), {
        "hidden.weight": x.T @ dz,
        "hidden.bias": dz.sum(axis=0),
        "readout.weight": h.T @ d,
        "readout.bias": d.sum(axis=0),
    }


def trained(problem, step, rates=None):
    """step(k, p, x, t) -> (loss, gradients, after)."""
    p, rows = dict(problem.parameters), []
    for k, batch in enumerate(problem.batches):
        rows_of = batch[batch >= 0]
        loss, g, after = step(k, p, problem.inputs[rows_of], problem.targets[rows_of])
        rows.append({"loss": {"": loss}, "gradients": g, "before": p, "after": after})
        p = after
    out = {f"{a}/{n}".rstrip("/"): np.stack([r[a][n] for r in rows]) for a in rows[0] for n in rows[0][a]}
    out["final_loss"] = np.asarray(derivatives(p, problem.inputs, problem.targets)[0])
    if rates is not None:
        out["learning_rates"] = np.array([rates(k) for k in range(len(rows))])
    return out


def sgd(p, g, rate):
    return {n: p[n] - rate * g[n] for n in p}


def right(problem):
    def step(k, p, x, t):
        loss, g = derivatives(p, x, t)
        return loss, g, sgd(p, g, 0.1)

    return trained(problem, step)


def updates_first(problem):
    """The readout is updated before the hidden layer's gradient is taken."""

    def step(k, p, x, t):
        loss, g = derivatives(p, x, t)
        late = p["readout.weight"] - 0.1 * g["readout.weight"]
        g = derivatives(p, x, t, late)[1]
        return loss, g, sgd(p, g, 0.1)

    return trained(problem, step)


def never_reset(problem):
    kept = {}

    def step(k, p, x, t):
        loss, g = derivatives(p, x, t)
        for n in g:
            kept[n] = kept.get(n, 0) + g[n]
        return loss, dict(kept), sgd(p, kept, 0.1)

    return trained(problem, step)


def clip_each(problem):
    """Each tensor by its own norm, as clipnorm of Keras does."""

    def step(k, p, x, t):
        loss, g = derivatives(p, x, t)
        c = {n: a * min(1, 0.1 / np.linalg.norm(a)) for n, a in g.items()}
        return loss, g, sgd(p, c, 0.1)

    return trained(problem, step)


def clipped_on_record(problem):
    """Right, but what is handed over are the gradients behind the clipping."""

    def step(k, p, x, t):
        loss, g = derivatives(p, x, t)
        size = np.sqrt(sum(np.sum(a * a) for a in g.values()))
        c = {n: a * min(1, 0.1 / size) for n, a in g.items()}
        return loss, c, sgd(p, c, 0.1)

    return trained(problem, step)


def factor(k, warm=5, steps=10):
    if k < warm:
        return k / warm
    return (1 + np.cos(np.pi * min(k - warm, steps) / steps)) / 2


def scheduled(problem, of):
    def step(k, p, x, t):
        loss, g = derivatives(p, x, t)
        return loss, g, sgd(p, g, 0.1 * of(k))

    return trained(problem, step, lambda k: 0.1 * of(k))


def schedule_right(problem):
    return scheduled(problem, factor)


def schedule_ahead(problem):
    """The scheduler steps before the optimizer does."""
    return scheduled(problem, lambda k: factor(k + 1))


def schedule_overshoots(problem):
    return scheduled(problem, lambda k: 2 / (1 + np.cos(np.pi / 10)) if k == 5 else factor(k))


def schedule_not_recorded(problem):
    """Only parameters are on record, and the rate is the case's; the scheduler steps too early."""
    out = scheduled(problem, lambda k: factor(k + 1))
    out.pop("learning_rates")
    return out
