"""Optimizers with the mistakes of the reports, as runs of a case that is an objective of given gradients."""

import numpy as np


def trained(problem, names, update, starts=()):
    """update(t, w, g, *state) -> (w, *state), t from 1."""
    w = problem.parameters["x.weight"]
    state = [np.full_like(w, dict(starts).get(name, 0)) for name in names]
    rows = {"loss": [], "gradients/x.weight": [], "before/x.weight": [], "after/x.weight": []}
    rows |= {f"state_{when}/{name}/x.weight": [] for name in names for when in ("before", "after")}
    for t, (index,) in enumerate(problem.batches, start=1):
        g = problem.targets[index][None]
        after, *new = update(t, w, g, *state)
        for name, old, now in zip(names, state, new):
            rows[f"state_before/{name}/x.weight"].append(old)
            rows[f"state_after/{name}/x.weight"].append(now)
        for key, value in (
            ("loss", np.sum(w * g)),
            ("gradients/x.weight", g),
            ("before/x.weight", w),
            ("after/x.weight", after),
        ):
            rows[key].append(value)
        w, state = after, new
    stacked = {key: np.stack(values) for key, values in rows.items()}
    return stacked | {"final_loss": np.asarray(np.sum(problem.targets * w))}


MOMENTS = ("first_moment", "second_moment")


def amsgrad_of_optax(problem):
    def update(t, w, g, m, v, largest):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        largest = np.maximum(largest, v / (1 - 0.999**t))  # the largest after the correction
        return w - 0.1 * m / (1 - 0.9**t) / (np.sqrt(largest) + 1e-8), m, v, largest

    return trained(problem, (*MOMENTS, "largest_second_moment"), update)


def amsgrad_of_optax_rescaled(problem):
    """The same, but what is kept is told in the reference's terms."""

    def update(t, w, g, m, v, largest):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        corrected = np.maximum(largest / (1 - 0.999 ** (t - 1)) if t > 1 else 0, v / (1 - 0.999**t))
        return w - 0.1 * m / (1 - 0.9**t) / (np.sqrt(corrected) + 1e-8), m, v, np.maximum(largest, v)

    return trained(problem, (*MOMENTS, "largest_second_moment"), update)


def epsilon_hat(problem):
    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 0.01), m, v

    return trained(problem, MOMENTS, update)


def rmsprop_inside(problem):
    def update(t, w, g, s):
        s = 0.99 * s + (1 - 0.99) * g * g
        return w - 0.0006 * g / np.sqrt(s + 0.01), s

    return trained(problem, ("mean_square",), update)


def adam_without_a_power(problem):
    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * (m / (1 - 0.9)) / (np.sqrt(v / (1 - 0.999)) + 1e-8), m, v

    return trained(problem, MOMENTS, update)


def adam_without_correction(problem):
    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * m / (np.sqrt(v) + 1e-8), m, v

    return trained(problem, MOMENTS, update)


def adam_counts_from_2(problem):
    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8), m, v

    return trained(problem, MOMENTS, update)


def radam_in_place(problem):
    longest = 2 / (1 - 0.999) - 1

    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m = m / (1 - 0.9**t)  # the mistake: this is what the next step starts from
        length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
        if length <= 5:
            return w - 0.1 * m, m, v
        r = np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        return w - 0.1 * m * r * np.sqrt(1 - 0.999**t) / (np.sqrt(v) + 1e-8), m, v

    return trained(problem, MOMENTS, update)


def _adam(m, v, t):
    return m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def adamw_decay_without_rate(problem):
    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * _adam(m, v, t) - 0.05 * w, m, v

    return trained(problem, MOMENTS, update)


def adamw_decay_afterwards(problem):
    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.1 * _adam(m, v, t)
        return w - 0.1 * 0.05 * w, m, v

    return trained(problem, MOMENTS, update)


def adamw_coupled(problem):
    def update(t, w, g, m, v):
        g = g + 0.05 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * _adam(m, v, t), m, v

    return trained(problem, MOMENTS, update)


def nesterov_of_mlx(problem):
    def update(t, w, g, v):
        g = g + 0.9 * v
        v = 0.9 * v + (1 - 0.9) * g
        return w - 0.1 * v, v

    return trained(problem, ("velocity",), update)


def nadam_of_mxnet(problem):
    def update(t, w, g, m, v, q):
        g = g * (1 + 0.01 * w)  # the mistake: times, not plus
        now, later = (0.9 * (1 - 0.96 ** (k * 0.004) / 2) for k in (t, t + 1))
        m, v, q = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g, q * now
        direction = (1 - now) * g / (1 - q) + later * m / (1 - q * later)
        return w - 0.1 * direction / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v, q

    return trained(problem, (*MOMENTS, "momentum_product"), update, {"momentum_product": 1})


def nadam_product_twice(problem):
    def update(t, w, g, m, v, q):
        g = g + 0.01 * w
        now, later = (0.9 * (1 - 0.96 ** (k * 0.004) / 2) for k in (t, t + 1))
        m, v, q = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g, q * now
        direction = (1 - now) * g / (1 - q) + later * m / (1 - q * now * later)  # the mistake
        return w - 0.1 * direction / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v, q

    return trained(problem, (*MOMENTS, "momentum_product"), update, {"momentum_product": 1})


def black_box(problem):
    """A right Adam of which only the parameters are seen."""

    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * _adam(m, v, t), m, v

    return {name: a for name, a in trained(problem, MOMENTS, update).items() if not name.startswith("state")}


def right(problem):
    def update(t, w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * _adam(m, v, t), m, v

    return trained(problem, MOMENTS, update)
