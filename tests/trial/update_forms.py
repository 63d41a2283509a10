"""Updates as programs write them: for each optimizer the forms that its bound covers, by any arithmetic.

A form takes the optimizer, a maker c of constants, w, g, the number t of the update and what is remembered, and returns
the new value and the new memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from backproof.cases.format.optimizers import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adamw,
    Asgd,
    Lion,
    Momentum,
    Nadam,
    Optimizer,
    Radam,
    Rmsprop,
    Sgd,
)
from backproof.reference.formulas.optimizers import _asgd_rate, _nadam_momentum, _rectification
from backproof.reference.numbers.protocol import of_step

# ---------------------------------------------------------------- a running average, of m and g by beta


def textbook(c, m, g, beta):
    """β m + (1 - β) g."""
    return c(beta) * m + (1 - c(beta)) * g


def increment(c, m, g, beta):
    """Keras: m + (1 - β) (g - m)."""
    return m + (g - m) * (1 - c(beta))


def decrement(c, m, g, beta):
    """m - (1 - β) (m - g)."""
    return m - (1 - c(beta)) * (m - g)


def lerp(c, m, g, beta):
    """As torch and its fused kernels have it: from the nearer end."""
    weight = 1 - c(beta)
    return m + weight * (g - m) if beta > 1 / 2 else g - (g - m) * (1 - weight)


AVERAGES = (textbook, increment, decrement, lerp)


def square_textbook(c, s, g, beta):
    """β s + (1 - β) g²."""
    return textbook(c, s, np.square(g), beta)


def square_addcmul(c, s, g, beta):
    """Torch's β s + ((1 - β) g) g."""
    return c(beta) * s + ((1 - c(beta)) * g) * g


def square_increment(c, s, g, beta):
    """Keras: s + (1 - β) (g² - s)."""
    return increment(c, s, np.square(g), beta)


def square_lerp(c, s, g, beta):
    """As torch's fused kernels have it."""
    return lerp(c, s, np.square(g), beta)


SQUARES = (square_textbook, square_addcmul, square_increment, square_lerp)

# ---------------------------------------------------------------- Adam's step; b = 1 - β₁ᵗ, B = 1 - β₂ᵗ

ADAM_STEPS = {
    "textbook": lambda eta, eps, m, v, b, B: eta * ((m / b) / (np.sqrt(v / B) + eps)),
    "optax": lambda eta, eps, m, v, b, B: -((m / b) / (np.sqrt(v / B) + eps) * -eta),
    "torch": lambda eta, eps, m, v, b, B: (eta / b) * (m / (np.sqrt(v) / np.sqrt(B) + eps)),
    "torch capturable": lambda eta, eps, m, v, b, B: m / (np.sqrt(v) / (np.sqrt(B) * (eta / b)) + eps / (eta / b)),
    "merged": lambda eta, eps, m, v, b, B: (eta * np.sqrt(B) / b) * m / (np.sqrt(v) + eps * np.sqrt(B)),
    "reciprocal": lambda eta, eps, m, v, b, B: eta * (m * (1 / b)) * (1 / (np.sqrt(v * (1 / B)) + eps)),
}
ADAM_HAT_STEPS = {
    "merged": lambda eta, eps, m, v, b, B: (eta * np.sqrt(B) / b) * m / (np.sqrt(v) + eps),
    "textbook": lambda eta, eps, m, v, b, B: eta * (m / b) / ((np.sqrt(v) + eps) / np.sqrt(B)),
}


def adam(step: Callable, average: Callable, square: Callable, *, decay: Callable | None = None) -> Callable:
    """An Adam by its parts; `decay` puts w, the step and what decays together."""

    def form(o, c, w, g, t, m, v):
        if o.weight_decay and not o.is_decoupled:
            g = g + c(o.weight_decay) * w
        m, v = average(c, m, g, o.beta1), square(c, v, g, o.beta2)
        s = step(c(o.learning_rate), c(o.epsilon), m, v, 1 - c(o.beta1) ** t, 1 - c(o.beta2) ** t)
        return (decay(c(o.learning_rate), c(o.weight_decay), w, s) if decay else w - s), m, v

    return form


# ---------------------------------------------------------------- what decays by itself, beside a step s

DECAYS = {
    "torch: (1 - ηλ) w - s": lambda eta, lam, w, s: (1 - eta * lam) * w - s,
    "Keras: (w - ηλ w) - s": lambda eta, lam, w, s: (w - w * lam * eta) - s,
    "(w - s) - ηλ w": lambda eta, lam, w, s: (w - s) - eta * (lam * w),
    "w - (s + ηλ w)": lambda eta, lam, w, s: w - (s + eta * lam * w),
}


def lion(decay: Callable, average: Callable) -> Callable:
    """Lion, whose sign is exact."""

    def form(o, c, w, g, t, m):
        pull = average(c, m, g, o.beta1)
        sign = np.heaviside(pull, 0) - np.heaviside(-pull, 0)
        return decay(c(o.learning_rate), c(o.weight_decay), w, sign), average(c, m, g, o.beta2)

    return form


LION = {
    "torch: (1 - ηλ) w - η s": lambda eta, lam, w, s: (1 - eta * lam) * w - eta * s,
    "optax: w - η (s + λ w)": lambda eta, lam, w, s: w - eta * (s + lam * w),
    "(w - η s) - ηλ w": lambda eta, lam, w, s: (w - eta * s) - eta * lam * w,
}

# ---------------------------------------------------------------- gradient descent

SGD = {
    "w - η (g + λ w)": lambda eta, lam, w, g: w - eta * (g + lam * w),
    "w (1 - ηλ) - η g": lambda eta, lam, w, g: w * (1 - eta * lam) - eta * g,
    "(w - η g) - ηλ w": lambda eta, lam, w, g: (w - eta * g) - eta * lam * w,
    "(w - η g) - η (λ w)": lambda eta, lam, w, g: (w - eta * g) - eta * (lam * w),
    "(w - ηλ w) - η g": lambda eta, lam, w, g: (w - eta * lam * w) - eta * g,
    "w - (η g + ηλ w)": lambda eta, lam, w, g: w - (eta * g + eta * lam * w),
}


def sgd(move: Callable) -> Callable:
    """Gradient descent with weight decay."""
    return lambda o, c, w, g, t: (move(c(o.learning_rate), c(o.weight_decay), w, g),)


VELOCITIES = {
    "μ v + (g + λ w)": lambda mu, v, g, decay: mu * v + (g + decay),
    "(μ v + g) + λ w": lambda mu, v, g, decay: (mu * v + g) + decay,
    "(μ v + λ w) + g": lambda mu, v, g, decay: (mu * v + decay) + g,
}
NESTEROV = {
    "w - η (g + μ v)": lambda eta, mu, w, g, v, before: w - eta * (g + mu * v),
    "(w - η g) - ημ v": lambda eta, mu, w, g, v, before: (w - eta * g) - eta * mu * v,
    "(w - ημ v) - η g": lambda eta, mu, w, g, v, before: (w - eta * mu * v) - eta * g,
    "w - (η g + μ (η v))": lambda eta, mu, w, g, v, before: w - (eta * g + mu * (eta * v)),
    "w - η ((1 + μ) v - μ v₀)": lambda eta, mu, w, g, v, before: w - eta * ((1 + mu) * v - mu * before),
    "w + (μ (η v₀) - (1 + μ) (η v))": lambda eta, mu, w, g, v, before: w + (mu * (eta * before) - (1 + mu) * (eta * v)),
}


def nesterov(ahead: Callable) -> Callable:
    """Momentum by Nesterov, with weight decay or without."""

    def form(o, c, w, g, t, before):
        eta, mu = c(o.learning_rate), c(o.momentum)
        g = g + c(o.weight_decay) * w if o.weight_decay else g
        v = mu * before + g
        return ahead(eta, mu, w, g, v, before), v

    return form


def momentum(velocity: Callable) -> Callable:
    """Momentum with weight decay."""

    def form(o, c, w, g, t, v):
        terms = g, c(o.weight_decay) * w
        if o.dampening and t > 1:
            terms = [(1 - c(o.dampening)) * term for term in terms]
        v = velocity(c(o.momentum), v, *terms)
        return w - c(o.learning_rate) * v, v

    return form


ASGD = {
    "torch: (1 - λh) w - h g": lambda h, lam, w, g: w * (1 - lam * h) - h * g,
    "Bottou: w - h (g + λ w)": lambda h, lam, w, g: w - h * (g + lam * w),
    "(w - h g) - λ h w": lambda h, lam, w, g: (w - h * g) - lam * h * w,
}


def asgd(move: Callable, average: Callable) -> Callable:
    """ASGD."""

    def form(o, c, w, g, t, a):
        h = of_step(w, _asgd_rate, t, o.learning_rate, o.lambd, o.alpha)
        share = of_step(w, lambda t, t0: 1 / np.maximum(t - 1 - t0, 1), t, o.t0)
        w = move(h, c(o.lambd), w, g)
        return w, average(a, w, share)

    return form


MEANS = {
    "(1 - s) a + s w": lambda a, w, share: (1 - share) * a + share * w,
    "torch: a + s (w - a)": lambda a, w, share: a + (w - a) * share,
}

# ---------------------------------------------------------------- a learning rate for every element

QUOTIENTS = {
    "(η g) / d": lambda eta, g, d: eta * g / d,
    "η (g / d)": lambda eta, g, d: eta * (g / d),
    "(η / d) g": lambda eta, g, d: eta / d * g,
    "η (1 / d) g": lambda eta, g, d: eta * (1 / d) * g,
}


def adagrad(quotient: Callable) -> Callable:
    """Adagrad."""

    def form(o, c, w, g, t, s):
        s = s + g * g
        return w - quotient(c(o.learning_rate), g, np.sqrt(s) + c(o.epsilon)), s

    return form


def rmsprop(quotient: Callable, square: Callable, average: Callable) -> Callable:
    """RMSprop, centered."""

    def form(o, c, w, g, t, s, a):
        s, a = square(c, s, g, o.rho), average(c, a, g, o.rho)
        return w - quotient(c(o.learning_rate), g, np.sqrt(s - a * a) + c(o.epsilon)), s, a

    return form


def adadelta(step: Callable, square: Callable) -> Callable:
    """Adadelta."""

    def form(o, c, w, g, t, s, u):
        s = square(c, s, g, o.rho)
        d = step(g, u + c(o.epsilon), s + c(o.epsilon))
        return w - c(o.learning_rate) * d, s, square(c, u, d, o.rho)

    return form


ADADELTAS = {
    "torch: (√u / √s) g": lambda g, u, s: np.sqrt(u) / np.sqrt(s) * g,
    "(g √u) / √s": lambda g, u, s: g * np.sqrt(u) / np.sqrt(s),
}


def adamax(average: Callable) -> Callable:
    """Adamax, with torch's rate η / (1 - β₁ᵗ)."""

    def form(o, c, w, g, t, m, u):
        m, u = average(c, m, g, o.beta1), np.maximum(c(o.beta2) * u, np.abs(g) + c(o.epsilon))
        return w - c(o.learning_rate) / (1 - c(o.beta1) ** t) * (m / u), m, u

    return form


NADAMS = {
    "torch: (w - a) - b": lambda eta, w, a, b, root: (w - eta * a / root) - eta * b / root,
    "w - η (a + b) / d": lambda eta, w, a, b, root: w - eta * (a + b) / root,
}


def nadam(move: Callable, average: Callable, square: Callable) -> Callable:
    """NAdam."""

    def form(o, c, w, g, t, m, v, q):
        now, later = (of_step(w, _nadam_momentum, s, o.beta1, o.momentum_decay) for s in (t, t + 1))
        m, v, q = average(c, m, g, o.beta1), square(c, v, g, o.beta2), q * now
        root = np.sqrt(v / (1 - c(o.beta2) ** t)) + c(o.epsilon)
        return move(c(o.learning_rate), w, (1 - now) * g / (1 - q), later * m / (1 - q * later), root), m, v, q

    return form


RADAMS = {
    "torch: ((m̂ η) (√B / d)) r": lambda eta, m, B, root, r: m * eta * (np.sqrt(B) / root) * r,
    "m̂ (r √B) / d": lambda eta, m, B, root, r: eta * (m * (r * np.sqrt(B)) / root),
}


def radam(step: Callable, average: Callable, square: Callable) -> Callable:
    """RAdam, rectified: r is computed in float64, √(1 - β₂ᵗ) too."""

    def form(o, c, w, g, t, m, v):
        m, v = average(c, m, g, o.beta1), square(c, v, g, o.beta2)
        B = of_step(w, lambda t, beta: 1 - beta**t, t, o.beta2)  # noqa: N806
        r = of_step(w, lambda t, beta: _rectification(t, beta) / np.sqrt(1 - beta**t), t, o.beta2)
        mean = m / (1 - c(o.beta1) ** t)
        return w - step(c(o.learning_rate), mean, B, np.sqrt(v) + c(o.epsilon), r), m, v

    return form


# ---------------------------------------------------------------- gradient clipping, of w's and b's gradient


def norm(w, b):
    """Of both together."""
    return np.sqrt(np.square(w).sum(axis=(-2, -1)) + np.square(b).sum(axis=-1))[..., None, None]


def norm_of_norms(w, b):
    """Torch's: of the tensors' norms."""
    return np.sqrt(np.square(np.sqrt(np.square(w).sum(axis=(-2, -1)))) + np.square(b).sum(axis=-1))[..., None, None]


CLIPS = {
    "g (m / norm)": lambda w, b, m: w * (m / norm(w, b)),
    "(g / norm) m": lambda w, b, m: w / norm(w, b) * m,
    "g m / norm": lambda w, b, m: w * m / norm(w, b),
    "g m (1 / norm)": lambda w, b, m: w * m * (1 / norm(w, b)),
    "g (m / norm of norms)": lambda w, b, m: w * (m / norm_of_norms(w, b)),
}

# ---------------------------------------------------------------- all optimizers


class Form(NamedTuple):
    """An optimizer, and a program of its update: of it, a maker of constants, w, g, t and the memory."""

    name: str
    optimizer: Optimizer
    update: Callable


def forms_of_averages() -> Iterator[Form]:
    """Of the first moment and the second, in step; of Adam, whose state shows them."""
    for beta1, beta2 in ((0.9, 0.999), (0.5, 0.99), (0.3, 0.9), (0.0, 0.9999)):
        optimizer = Adam(learning_rate=0.1, beta1=beta1, beta2=beta2)
        for average, square in zip(AVERAGES, SQUARES, strict=True):
            step = ADAM_STEPS["textbook"]
            yield Form(f"averages by {average.__name__}, beta1 {beta1}", optimizer, adam(step, average, square))


def forms_of_adam() -> Iterator[Form]:
    """Where the root decides, and where epsilon does."""
    for (name, step), epsilon in product(ADAM_STEPS.items(), (1e-8, 10.0)):
        optimizer = Adam(learning_rate=0.1, epsilon=epsilon)
        yield Form(f"adam {name}, epsilon {epsilon}", optimizer, adam(step, increment, square_addcmul))
    for name, step in ADAM_HAT_STEPS.items():
        optimizer = Adam(learning_rate=0.1, epsilon=10, epsilon_hat=True, weight_decay=0.1)
        yield Form(f"adam with epsilon hat, {name}", optimizer, adam(step, lerp, square_lerp))
    for (name, decay), epsilon in product(DECAYS.items(), (1e-8, 10.0)):
        optimizer = Adamw(learning_rate=0.5, weight_decay=0.3, epsilon=epsilon)
        program = adam(ADAM_STEPS["textbook"], lerp, square_addcmul, decay=decay)
        yield Form(f"adamw {name}, epsilon {epsilon}", optimizer, program)
    yield Form("adamax of torch", Adamax(learning_rate=0.1), adamax(lerp))
    for name, move in NADAMS.items():
        yield Form(f"nadam {name}", Nadam(learning_rate=0.1, epsilon=1.0), nadam(move, lerp, square_addcmul))
    for (name, step), epsilon in product(RADAMS.items(), (1e-8, 100.0)):
        optimizer = Radam(learning_rate=30.0, epsilon=epsilon)
        yield Form(f"radam {name}, epsilon {epsilon}", optimizer, radam(step, lerp, square_addcmul))


def forms_of_descent() -> Iterator[Form]:
    """With little decay and with much."""
    for (name, move), (rate, decay) in product(SGD.items(), ((0.1, 0.1), (0.7, 0.9))):
        yield Form(f"sgd {name}, decay {decay}", Sgd(learning_rate=rate, weight_decay=decay), sgd(move))
    for name, move in LION.items():
        yield Form(f"lion {name}", Lion(learning_rate=0.1, weight_decay=0.3), lion(move, lerp))
    for (name, move), mean in product(ASGD.items(), MEANS):
        yield Form(f"asgd {name}, {mean}", Asgd(learning_rate=0.1, lambd=0.3, t0=3), asgd(move, MEANS[mean]))


def forms_of_momentum() -> Iterator[Form]:
    """With and without decay, by Nesterov too."""
    for name, velocity in VELOCITIES.items():
        for dampening in (0.0, 0.3):
            optimizer = Momentum(learning_rate=0.1, momentum=0.9, dampening=dampening, weight_decay=0.1)
            yield Form(f"momentum {name}, dampening {dampening}", optimizer, momentum(velocity))
    for (name, ahead), mu, decay in product(NESTEROV.items(), (0.9, 0.3), (0.0, 0.1)):
        optimizer = Momentum(learning_rate=0.1, momentum=mu, nesterov=True, weight_decay=decay)
        yield Form(f"nesterov {name}, momentum {mu}, decay {decay}", optimizer, nesterov(ahead))


def forms_of_own_rates() -> Iterator[Form]:
    """A learning rate for every element."""
    for name, quotient in QUOTIENTS.items():
        yield Form(f"adagrad {name}", Adagrad(learning_rate=0.1, epsilon=1.0), adagrad(quotient))
        optimizer = Rmsprop(learning_rate=0.1, epsilon=1.0, centered=True)
        yield Form(f"rmsprop {name}", optimizer, rmsprop(quotient, square_increment, lerp))
    for name, step in ADADELTAS.items():
        yield Form(f"adadelta {name}", Adadelta(learning_rate=1.0), adadelta(step, square_addcmul))


FORMS = [
    *forms_of_averages(),
    *forms_of_adam(),
    *forms_of_descent(),
    *forms_of_momentum(),
    *forms_of_own_rates(),
]
