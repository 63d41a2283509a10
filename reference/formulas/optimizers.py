"""The update of each optimizer, by hand: one equation a line.

`init` makes the state before the first step, `update` the parameters and the state after a step.
Parameters and gradients are dictionaries by path, a state is one by `NAME/PATH`. A rule updates one
parameter: it takes its value w, its gradient g, the number t = 1, 2, ... of the update, and what
the optimizer remembers of it, and returns the new value and the new memory. w and g are of one
shape, with one more leading axis where t is an array.

Where programs compute a rule by several formulas, which round differently, `by_any_form` names
them: the textbook's, which is computed, and those that its error bound has to cover as well.

What depends on t alone is no state. Hyper-parameters are taken as numbers of the kind of w, so that
a bounded 1 - β knows that β was rounded. Weight decay, clipping and schedules are the same for all
rules, and stand at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from backproof.cases.format.optimizers import Clip, Optimizer
from backproof.reference.formulas.added import added_optimizers
from backproof.reference.numbers import protocol
from backproof.reference.numbers.protocol import by_any_form, number_like, of_step, positive

# ---------------------------------------------------------------- gradient descent


def sgd(optimizer, w, g, t):
    """w ← w - η g."""
    return w - optimizer.learning_rate * g, ()


def momentum(optimizer, w, g, t, velocity):
    """v ← μ v + (1 - τ) g, at first v ← g;  w ← w - η v, or by Nesterov w - η (g + μ v)."""
    v = number_like(w, optimizer.momentum) * velocity + _damped(optimizer, g, t)
    return _along(optimizer, w, g, v, velocity), (v,)


def _damped(optimizer, g, t):
    """(1 - τ) g, at first g."""
    return (1 - number_like(g, optimizer.dampening) * (t > 1)) * g if optimizer.dampening else g


def _along(optimizer, w, g, v, before):
    """w - η v, or by Nesterov w - η (g + μ v).

    If nothing is damped, g + μ v = (1 + μ) v - μ (v before).
    """
    eta, mu = optimizer.learning_rate, number_like(w, optimizer.momentum)
    if not optimizer.nesterov:
        return w - eta * v
    parts = w, -(eta * g), -(eta * (mu * v))
    forms = [lambda: w - eta * (g + mu * v), lambda: protocol.sum_of_three(*parts)]
    if not optimizer.dampening:
        forms.append(lambda: w - ((1 + mu) * (eta * v) - mu * (eta * before)))
    return by_any_form(w, *forms)


def asgd(optimizer, w, g, t, average):
    """w ← (1 - λ h) w - h g,  a ← a + (w - a) / n.

    h = η / (1 + λ η (t - 1))^α,  n = max(1, t - 1 - t₀).
    """
    rate = of_step(w, _asgd_rate, t, optimizer.learning_rate, optimizer.lambd, optimizer.alpha)
    share = of_step(w, lambda t, t0: 1 / np.maximum(t - 1 - t0, 1), t, optimizer.t0)
    after = protocol.shrunk(w, rate, number_like(w, optimizer.lambd), -(rate * g))
    return after, (protocol.mixture(average, after, share),)


def _asgd_rate(t, eta, lambd, alpha):
    return eta / (1 + lambd * eta * (t - 1)) ** alpha


def lion(optimizer, w, g, t, first_moment):
    """c = β₁ m + (1 - β₁) g,  w ← w - η sign(c),  m ← β₂ m + (1 - β₂) g."""
    c = _average(optimizer.beta1, first_moment, g)
    return w - optimizer.learning_rate * np.sign(c), (_average(optimizer.beta2, first_moment, g),)


def rprop(optimizer, w, g, t, previous_gradient, step_size):
    """d ← d f within its limits,  g ← 0 where g p < 0,  w ← w - sign(g) d,  p ← g.

    f is η₊ where g p > 0, η₋ where g p < 0, else 1.
    """
    same = np.sign(g * previous_gradient)
    onward, back = positive(same), positive(-same)
    d = step_size * (1 - onward - back + optimizer.increase * onward + optimizer.decrease * back)
    d = np.minimum(np.maximum(d, optimizer.smallest_step), optimizer.largest_step)
    g = g * (1 - back)
    return w - np.sign(g) * d, (g, d)


# ---------------------------------------------------------------- a learning rate for every element


def adagrad(optimizer, w, g, t, accumulator):
    """s ← s + g²,  w ← w - η g / (√s + ε); inside the root w - η g / √(s + ε), w where s = 0."""
    s = accumulator + np.square(g)
    g = g * positive(s) if optimizer.epsilon_inside else g
    return w - optimizer.learning_rate * g / _root(optimizer, s), (s,)


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
    v = g / _root(optimizer, variance)
    if optimizer.momentum:
        v = others[-1] = number_like(w, optimizer.momentum) * others[-1] + v
    return w - optimizer.learning_rate * v, (s, *others)


def _root(optimizer, s):
    """√s + ε, or √(s + ε)."""
    epsilon = optimizer.epsilon
    return np.sqrt(s + epsilon) if optimizer.epsilon_inside else np.sqrt(s) + epsilon


# ---------------------------------------------------------------- Adam


def adam(optimizer, w, g, t, first_moment, second_moment, *largest):
    """m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  w ← w - η m̂ / (√v̂ + ε).

    m̂ = m / (1 - β₁ᵗ), and v̂ likewise. AMSGrad takes for v the largest so far. ε̂ is added before
    the correction, (√v + ε̂) / √(1 - β₂ᵗ). β₁ may fade, as in the first version of the paper.
    (Kingma and Ba, 2015; Reddi, Kale and Kumar, 2018.)
    """
    m = _average(optimizer.beta1, first_moment, g, fading=optimizer.beta1_decay, t=t)
    v = _average(optimizer.beta2, second_moment, np.square(g))
    largest = tuple(np.maximum(before, v) for before in largest)
    root = _corrected_root(optimizer, largest[0] if largest else v, t, w)
    w = w - optimizer.learning_rate * (m / _correction(optimizer.beta1, t, w)) / root
    return w, (m, v, *largest)


def adamax(optimizer, w, g, t, first_moment, infinity_norm):
    """m ← β₁ m + (1 - β₁) g,  u ← max(β₂ u, |g| + ε),  w ← w - η m̂ / u."""
    m = _average(optimizer.beta1, first_moment, g)
    u = np.maximum(number_like(w, optimizer.beta2) * infinity_norm, np.abs(g) + optimizer.epsilon)
    return w - optimizer.learning_rate * (m / _correction(optimizer.beta1, t, w)) / u, (m, u)


def nadam(optimizer, w, g, t, first_moment, second_moment, momentum_product):
    """m and v as in Adam,  q ← q c(t),  w ← w - η (a g + b m) / (√v̂ + ε).

    c(t) = β₁ (1 - 0.96^(ψ t) / 2),  a = (1 - c(t)) / (1 - q),  b = c(t + 1) / (1 - q c(t + 1)).
    (Dozat, 2016.)
    """
    settings = optimizer.beta1, optimizer.momentum_decay
    now, later = (of_step(w, _nadam_momentum, s, *settings) for s in (t, t + 1))
    m = _average(optimizer.beta1, first_moment, g)
    v = _average(optimizer.beta2, second_moment, np.square(g))
    q = now * momentum_product
    eta, root = optimizer.learning_rate, _corrected_root(optimizer, v, t, w)
    steps = -(eta * (1 - now) * g / (1 - q) / root), -(eta * later * m / (1 - later * q) / root)
    return protocol.sum_of_three(w, *steps), (m, v, q)


def _nadam_momentum(t, beta1, decay):
    return beta1 * (1 - 0.96 ** (t * decay) / 2)


def radam(optimizer, w, g, t, first_moment, second_moment):
    """m and v as in Adam,  w ← w - η m̂ r √(1 - β₂ᵗ) / (√v + ε).

    As long as r is not known well, w ← w - η m̂. (Liu et al., 2020.)
    """
    m = _average(optimizer.beta1, first_moment, g)
    v = _average(optimizer.beta2, second_moment, np.square(g))
    rectified = of_step(w, _rectification, t, optimizer.beta2)
    alone = of_step(w, lambda *of: 1 - positive(_length(*of) - 5), t, optimizer.beta2)
    ahead = m / _correction(optimizer.beta1, t, w)
    adaptive = ahead * rectified / (np.sqrt(v) + optimizer.epsilon)
    return w - optimizer.learning_rate * (adaptive + alone * ahead), (m, v)


def _length(t, beta2):
    """l = L - 2 t β₂ᵗ / (1 - β₂ᵗ),  L = 2 / (1 - β₂) - 1."""
    power = beta2**t
    return 2 / (1 - beta2) - 1 - 2 * t * power / (1 - power)


def _rectification(t, beta2):
    """r √(1 - β₂ᵗ) where l > 5, else 0;  r² = (l - 4) (l - 2) L / ((L - 4) (L - 2) l)."""
    now, last = np.maximum(_length(t, beta2), 5), np.maximum(2 / (1 - beta2) - 1, 5)
    r = np.sqrt((now - 4) * (now - 2) * last / ((last - 4) * (last - 2) * now))
    return positive(_length(t, beta2) - 5) * r * np.sqrt(1 - beta2**t)


def _average(decay: float, before, now, *, fading: float = 1.0, t=1):
    """An exponential moving average, β before + (1 - β) now.

    Where β <= 1/2, torch's `lerp` is now - β (now - before), where β is 1 - (1 - β).
    """
    beta = number_like(now, decay)
    if fading != 1:
        beta = beta * number_like(now, fading) ** (t - 1)
    weight = 1 - beta
    forms = [lambda: beta * before + weight * now, lambda: before + weight * (now - before)]
    if decay <= 1 / 2:
        forms.append(lambda: now - (1 - weight) * (now - before))
    return by_any_form(now, *forms)


def _corrected_root(optimizer, v, t, w):
    """√(v / (1 - β₂ᵗ)) + ε; or (√v + ε) / √(1 - β₂ᵗ)."""
    correction = _correction(optimizer.beta2, t, w)
    if getattr(optimizer, "epsilon_hat", False):
        return (np.sqrt(v) + optimizer.epsilon) / correction**0.5
    return np.sqrt(v / correction) + optimizer.epsilon


def _correction(decay: float, t, w):
    """1 - βᵗ."""
    return 1 - number_like(w, decay) ** t


# ---------------------------------------------------------------- weight decay


def decayed(optimizer: Optimizer, w, g):
    """(1 - η λ) w in the place of w if the decay is decoupled, else g + λ w in the place of g."""
    decay = optimizer.weight_decay
    if optimizer.is_decoupled:
        return (1 - number_like(w, optimizer.learning_rate) * decay) * w, g
    return w, g + decay * w


def _coupled(optimizer, w, g, t, *memory):
    """The rule of w and g + λ w."""
    w, g = decayed(optimizer, w, g)
    return OPTIMIZERS[optimizer.kind](optimizer, w, g, t, *memory)


def _decoupled(optimizer, w, g, t, *memory):
    """(1 - η λ) w + d, d the step of the rule from 0; or w + d - η λ w in any order."""
    smaller, g = decayed(optimizer, w, g)
    d, memory = OPTIMIZERS[optimizer.kind](optimizer, 0 * w, g, t, *memory)
    drop = optimizer.learning_rate * (optimizer.weight_decay * w)
    return by_any_form(w, lambda: smaller + d, lambda: protocol.sum_of_three(w, d, -drop)), memory


def _sgd_with_decay(optimizer, w, g, t):
    """w ← (1 - η λ) w - η g."""
    eta = optimizer.learning_rate
    return protocol.shrunk(w, number_like(w, eta), optimizer.weight_decay, -(eta * g)), ()


def _momentum_with_decay(optimizer, w, g, t, velocity):
    """v ← μ v + (1 - τ) g + (1 - τ) λ w in any order."""
    decay = optimizer.weight_decay * w
    terms = _damped(optimizer, g, t), _damped(optimizer, decay, t)
    v = protocol.sum_of_three(number_like(w, optimizer.momentum) * velocity, *terms)
    return _along(optimizer, w, g + decay, v, velocity), (v,)


# ---------------------------------------------------------------- any optimizer

OURS = (sgd, momentum, asgd, lion, rprop, adagrad, adadelta, rmsprop, adam, adamax, nadam, radam)
OPTIMIZERS: dict[str, Callable] = {rule.__name__: rule for rule in OURS}
OPTIMIZERS |= {"adamw": adam, **added_optimizers()}
# Other forms of a rule with weight decay, of the gradient without.
WITH_DECAY: dict[str, Callable] = {"sgd": _sgd_with_decay, "momentum": _momentum_with_decay}


def init(optimizer: Optimizer | None, parameters: dict) -> dict:
    """Make the state before the first step, of these parameters."""
    starts = optimizer.starts if optimizer else {}
    return {
        f"{name}/{path}": w - w + start
        for name, start in starts.items()
        for path, w in parameters.items()
    }


def update(
    optimizer: Optimizer | None, parameters: dict, gradients: dict, state: dict, step
) -> tuple[dict, dict]:
    """Compute parameters and state after a step; without an optimizer both stay as they are.

    Args:
        optimizer: with the learning rate of the step.
        parameters: by path; one without a gradient is frozen.
        gradients: by path.
        state: by `NAME/PATH`.
        step: its number, from 0; an array where many steps are stacked along the first axis.
    """
    if optimizer is None:
        return parameters, state
    rule, rate, t, names = _rule(optimizer), optimizer.learning_rate, step + 1, optimizer.state
    after, state_after = dict(parameters), {}
    for path, g in gradients.items():
        keys = [f"{name}/{path}" for name in names]
        if getattr(rate, "shape", ()):
            optimizer = at_rate(optimizer, _by_step(rate, g))
        remembered = [state[key] for key in keys]
        after[path], memory = rule(optimizer, parameters[path], g, _by_step(t, g), *remembered)
        state_after |= zip(keys, memory, strict=True)
    return after, state_after


def _rule(optimizer: Optimizer) -> Callable:
    """Look the optimizer's rule up; with weight decay, in all its forms."""
    if not getattr(optimizer, "weight_decay", 0):
        return OPTIMIZERS[optimizer.kind]
    rules: list[Callable] = [_decoupled if optimizer.is_decoupled else _coupled]
    if optimizer.kind in WITH_DECAY:
        rules.append(WITH_DECAY[optimizer.kind])
    return lambda now, w, *more: by_any_form(w, *(partial(rule, now, w, *more) for rule in rules))


def _by_step(number, w):
    """Give numbers, one for each step, as many axes as w has; a number alone stays."""
    return number[(..., *[None] * (len(w.shape) - 1))] if getattr(number, "shape", ()) else number


def at_rate(optimizer: Optimizer | None, rate) -> Optimizer | None:
    """Give the optimizer the learning rate of a step, or an array of those of many."""
    return optimizer if rate is None else optimizer.model_copy(update={"learning_rate": rate})


def clipped(clip: Clip | None, gradients: dict, axes: dict[str, tuple[int, ...]]) -> dict:
    """Clip gradients: g m / max(|g| + ε, m), or g between -m and m.

    `axes` are those of each parameter, counted from the end; those in front of them are steps.
    """
    if clip is None:
        return gradients
    m = clip.maximum
    if clip.kind == "value":
        return {path: np.maximum(np.minimum(g, m), -m) for path, g in gradients.items()}
    squares = sum(np.square(g).sum(axis=axes[path]) for path, g in gradients.items())
    share = m / np.maximum(np.sqrt(squares) + clip.epsilon, m)
    return {path: g * share[(..., *[None] * len(axes[path]))] for path, g in gradients.items()}
