"""The update of each optimizer, by hand: one equation a line.

`init` makes the state before the first step, `update` the parameters and the state after a step. Parameters and
gradients are dictionaries by path, a state is one by `NAME/PATH`. A rule is of one parameter: of its value w, its
gradient g, the number t = 1, 2, ... of the update, and what the optimizer remembers of it; w and g are of one shape,
with one more leading axis where t is an array. It returns the new value and the new memory.

What depends on t alone is no state. Hyper-parameters are taken as numbers of the kind of w, so that a bounded 1 - β
knows that β was rounded.
"""

from __future__ import annotations

import numpy as np

from cases.schema import Optimizer
from reference.activations import positive
from reference.constants import number_like

# ---------------------------------------------------------------- gradient descent


def sgd(optimizer, w, g, t):
    """w ← w - η g."""
    return w - optimizer.learning_rate * g, ()


def momentum(optimizer, w, g, t, velocity):
    """v ← μ v + (1 - τ) g, at first v ← g;  w ← w - η v, or by Nesterov w - η (g + μ v)."""
    mu, tau = number_like(w, optimizer.momentum), number_like(w, optimizer.dampening)
    v = mu * velocity + (g if not optimizer.dampening else (1 - tau * (t > 1)) * g)
    return w - optimizer.learning_rate * (g + mu * v if optimizer.nesterov else v), (v,)


def lion(optimizer, w, g, t, first_moment):
    """c = β₁ m + (1 - β₁) g,  w ← w - η sign(c),  m ← β₂ m + (1 - β₂) g."""
    c = _average(optimizer.beta1, first_moment, g)
    sign = positive(c) - positive(-c)
    return w - optimizer.learning_rate * sign, (_average(optimizer.beta2, first_moment, g),)


# ---------------------------------------------------------------- a learning rate for every element


def adagrad(optimizer, w, g, t, accumulator):
    """s ← s + g²,  w ← w - η g / (√s + ε)."""
    s = accumulator + np.square(g)
    return w - optimizer.learning_rate * g / (np.sqrt(s) + optimizer.epsilon), (s,)


def adadelta(optimizer, w, g, t, mean_square, mean_square_update):
    """s ← ρ s + (1 - ρ) g²,  Δ = g √(u + ε) / √(s + ε),  u ← ρ u + (1 - ρ) Δ²,  w ← w - η Δ."""
    s = _average(optimizer.rho, mean_square, np.square(g))
    step = g * np.sqrt(mean_square_update + optimizer.epsilon) / np.sqrt(s + optimizer.epsilon)
    u = _average(optimizer.rho, mean_square_update, np.square(step))
    return w - optimizer.learning_rate * step, (s, u)


def rmsprop(optimizer, w, g, t, mean_square, *others):
    """s ← ρ s + (1 - ρ) g²,  v ← μ v + g / (√s + ε),  w ← w - η v.

    If centered, the square of ḡ ← ρ ḡ + (1 - ρ) g is subtracted from s under the root.
    """
    s, others = _average(optimizer.rho, mean_square, np.square(g)), list(others)
    if optimizer.centered:
        others[0] = _average(optimizer.rho, others[0], g)
    variance = s - np.square(others[0]) if optimizer.centered else s
    v = g / (np.sqrt(variance) + optimizer.epsilon)
    if optimizer.momentum:
        v = others[-1] = number_like(w, optimizer.momentum) * others[-1] + v
    return w - optimizer.learning_rate * v, (s, *others)


# ---------------------------------------------------------------- Adam


def adam(optimizer, w, g, t, first_moment, second_moment, *largest):
    """m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  w ← w - η m̂ / (√v̂ + ε), with m̂ = m / (1 - β₁ᵗ) and v̂ likewise.

    AMSGrad takes for v the largest so far. (Kingma and Ba, 2015; Reddi, Kale and Kumar, 2018.)
    """
    m = _average(optimizer.beta1, first_moment, g)
    v = _average(optimizer.beta2, second_moment, np.square(g))
    largest = tuple(np.maximum(before, v) for before in largest)
    root = np.sqrt((largest[0] if largest else v) / _correction(optimizer.beta2, t, w))
    return w - optimizer.learning_rate * (m / _correction(optimizer.beta1, t, w)) / (root + optimizer.epsilon), (
        m, v, *largest,
    )  # fmt: skip


def adamw(optimizer, w, g, t, *state):
    """Adam's, from (1 - η λ) w in the place of w (Loshchilov and Hutter, 2019)."""
    decay = number_like(w, optimizer.learning_rate) * optimizer.weight_decay
    return adam(optimizer, (1 - decay) * w, g, t, *state)


def adamax(optimizer, w, g, t, first_moment, infinity_norm):
    """m ← β₁ m + (1 - β₁) g,  u ← max(β₂ u, |g| + ε),  w ← w - η m̂ / u."""
    m = _average(optimizer.beta1, first_moment, g)
    u = np.maximum(number_like(w, optimizer.beta2) * infinity_norm, np.abs(g) + optimizer.epsilon)
    return w - optimizer.learning_rate * (m / _correction(optimizer.beta1, t, w)) / u, (m, u)


def _average(decay: float, before, now):
    """An exponential moving average, β before + (1 - β) now.

    Written so that its bound holds for torch's `lerp` as well, which is before + (now - before) (1 - β) where β > 1/2,
    else now - (now - before) β, where β is 1 - (1 - β).
    """
    weight = 1 - number_like(now, decay)
    return (1 - weight) * before + weight * now


def _correction(decay: float, t, w):
    """1 - βᵗ."""
    return 1 - number_like(w, decay) ** t


# ---------------------------------------------------------------- any optimizer

OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "lion": lion,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "adamax": adamax,
}


def init(optimizer: Optimizer | None, parameters: dict) -> dict:
    """The state before the first step: zeros, or the accumulator that is given."""
    start = getattr(optimizer, "initial_accumulator", 0)
    names = optimizer.state if optimizer else ()
    return {f"{name}/{path}": w - w + start for name in names for path, w in parameters.items()}


def update(optimizer: Optimizer | None, parameters: dict, gradients: dict, state: dict, step) -> tuple[dict, dict]:
    """Parameters and state after the step of that number, from 0; without an optimizer both stay as they are.

    `step` is an array of numbers where many steps are stacked along the first axis.
    """
    if optimizer is None:
        return parameters, state
    after, state_after = {}, {}
    for path, w in parameters.items():
        t = np.reshape(step, np.shape(step) + (1,) * (len(w.shape) - 1)) + 1 if np.ndim(step) else step + 1
        memory = [state[f"{name}/{path}"] for name in optimizer.state]
        after[path], remembered = OPTIMIZERS[optimizer.kind](optimizer, w, gradients[path], t, *memory)
        state_after |= {f"{name}/{path}": new for name, new in zip(optimizer.state, remembered, strict=True)}
    return after, state_after
