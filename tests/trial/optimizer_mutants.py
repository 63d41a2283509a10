"""Wrong rules for the optimizers, each on a small network that is trained by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.reference.formulas import optimizers as right
from tests.trial.planting import Mutant, instead


def wrong(name: str, rule: Callable, plant: Callable, tensor: str = "update hidden.weight", step: int = 0) -> Mutant:
    """A wrong rule of one parameter; a tensor of the state is noticed as `velocity`, the first parameter's."""
    kind = rule.__name__
    noticed = tensor if " " in tensor else f"state {tensor}/hidden.weight"
    return Mutant(f"{kind}: {name}", rule, plant, noticed, step=step, on=f"by {kind}")


def settings(**changes: Callable) -> Callable:
    """The right rule with other hyper-parameters, functions of the right settings."""
    return lambda rule: (
        lambda optimizer, *operands: rule(
            optimizer.model_copy(update={name: change(optimizer) for name, change in changes.items()}), *operands
        )
    )


def earlier(rule):
    """The number of the update counted from 0, but at least 1."""
    return lambda optimizer, w, g, t, *state: rule(optimizer, w, g, max(t - 1, 1), *state)


def later(rule):
    """The number of the update counted from 2."""
    return lambda optimizer, w, g, t, *state: rule(optimizer, w, g, t + 1, *state)


def forgetful(rule):
    """No state is carried from step to step."""
    return lambda optimizer, w, g, t, *state: rule(optimizer, w, g, t, *(0 * s for s in state))


def updated(change: Callable) -> Callable:
    """Another new value of the parameter; what is remembered is right."""

    def plant(rule):
        def planted(optimizer, w, g, t, *state):
            after, memory = rule(optimizer, w, g, t, *state)
            return change(optimizer, w, g, t, after, memory), memory

        return planted

    return plant


def decay(name: str, kind: str, change: Callable, tensor: str = "update hidden.weight") -> Mutant:
    """Another weight decay, of the optimizer, w and g."""
    return Mutant(f"{kind}: {name}", right.decayed, instead(change), tensor, on=f"by {kind}")


def root(optimizer, v, t):
    """The corrected root of the second moment."""
    return np.sqrt(v / (1 - optimizer.beta2**t)) + optimizer.epsilon


def rectified(optimizer, t):
    """RAdam's factor."""
    return float(right._rectification(t, optimizer.beta2))


OPTIMIZER_MUTANTS = [
    wrong("the gradient added", right.sgd, updated(lambda o, w, g, t, after, memory: w + o.learning_rate * g)),
    wrong("an average, (1 - momentum) g", right.momentum, settings(dampening=lambda o: o.momentum), "velocity", step=1),
    wrong("velocity forgotten", right.momentum, forgetful, "velocity", step=1),
    wrong("Nesterov's step", right.momentum, settings(nesterov=lambda o: True)),
    wrong("the velocity before for the velocity after", right.momentum,
          lambda rule: lambda o, w, g, t, v: (w - o.learning_rate * v, rule(o, w, g, t, v)[1])),
    wrong("betas exchanged", right.lion, settings(beta1=lambda o: o.beta2, beta2=lambda o: o.beta1), "first_moment"),
    wrong("no sign", right.lion, updated(lambda o, w, g, t, after, memory: w - o.learning_rate * g)),
    wrong("epsilon inside the root", right.adagrad,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * g / np.sqrt(memory[0] + o.epsilon))),
    wrong("accumulator forgotten", right.adagrad, forgetful, "accumulator", step=1),
    wrong("accumulator of the gradients", right.adagrad,
          lambda rule: lambda o, w, g, t, s: (rule(o, w, g, t, s)[0], (s + g,)), "accumulator"),
    wrong("root of the updates after this step", right.adadelta,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * g * np.sqrt(memory[1] + o.epsilon)
                  / np.sqrt(memory[0] + o.epsilon))),
    wrong("epsilon forgotten in the numerator", right.adadelta,
          updated(lambda o, w, g, t, after, memory: w - 0 * g if t == 1 else after)),
    wrong("epsilon inside the root", right.rmsprop,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * g / np.sqrt(memory[0] + o.epsilon))),
    wrong("decay 0.9 for 0.99", right.rmsprop, settings(rho=lambda o: 0.9), "mean_square"),
    wrong("mean square of the step before", right.rmsprop,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * g / (np.sqrt(memory[0] / 2) + o.epsilon))),
    wrong("no correction of the bias", right.adam,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * memory[0] / (np.sqrt(memory[1]) + o.epsilon))),
    wrong("bias of the second moment only", right.adam,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * memory[0] / (
              np.sqrt(memory[1] / (1 - o.beta2**t)) + o.epsilon))),
    wrong("updates counted from 0", right.adam, earlier, step=1),
    wrong("updates counted from 2", right.adam, later),
    wrong("betas exchanged", right.adam, settings(beta1=lambda o: o.beta2, beta2=lambda o: o.beta1), "first_moment"),
    wrong("moments forgotten", right.adam, forgetful, "first_moment", step=1),
    wrong("second moment of |g|", right.adam,
          lambda rule: lambda o, w, g, t, m, v: (w, (rule(o, w, g, t, m, v)[1][0], o.beta2 * v + (1 - o.beta2) * abs(g))),
          "second_moment"),
    wrong("epsilon inside the root", right.adam,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * (memory[0] / (1 - o.beta1**t)) / np.sqrt(
              memory[1] / (1 - o.beta2**t) + o.epsilon))),
    wrong("epsilon before the correction of the bias, TensorFlow's", right.adam,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * (memory[0] / (1 - o.beta1**t)) / (
              (np.sqrt(memory[1]) + o.epsilon) / (1 - o.beta2**t) ** 0.5))),
    decay("decay in the gradient", "adamw", lambda o, w, g: (w, g + o.weight_decay * w), "state first_moment/hidden.weight"),
    decay("decay without the learning rate", "adamw", lambda o, w, g: (w - o.weight_decay * w, g)),
    decay("decay forgotten", "adamw", lambda o, w, g: (w, g)),
    decay("decay of the step, not of w", "adamw", lambda o, w, g: (w, g - o.weight_decay * g), "state first_moment/hidden.weight"),
    decay("decay in the gradient", "lion", lambda o, w, g: (w, g + o.weight_decay * w), "state first_moment/hidden.weight"),
    wrong("sum for maximum", right.adamax,
          lambda rule: lambda o, w, g, t, m, u: (rule(o, w, g, t, m, u)[0], (
              rule(o, w, g, t, m, u)[1][0], o.beta2 * u + abs(g) + o.epsilon)), "infinity_norm", step=1),
    wrong("no correction of the bias", right.adamax,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * memory[0] / memory[1])),
    wrong("frozen", right.adamax, lambda rule: lambda o, w, g, t, m, u: (w, (rule(o, w, g, t, m, u)[1][0], u)), "infinity_norm"),
    wrong("decay forgotten", right.asgd, settings(lambd=lambda o: 0.0)),
    wrong("learning rate not fading", right.asgd, settings(alpha=lambda o: 0.0), step=1),
    wrong("updates counted from 2", right.asgd, later),
    wrong("average from the start", right.asgd, settings(t0=lambda o: -1.0), "average", step=1),
    wrong("the last value for the average", right.asgd, lambda rule: lambda o, w, g, t, a: (
        after := rule(o, w, g, t, a)[0], (after,)), "average", step=3),
    wrong("factors exchanged", right.rprop, settings(increase=lambda o: o.decrease, decrease=lambda o: o.increase),
          "step_size", step=1),
    wrong("no sign", right.rprop, updated(lambda o, w, g, t, after, memory: w - memory[0] * memory[1])),
    wrong("the step before for the new one", right.rprop,
          lambda rule: lambda o, w, g, t, p, d: (w - np.sign(g) * d, rule(o, w, g, t, p, d)[1]), step=1),
    wrong("no largest step", right.rprop, settings(largest_step=lambda o: 0.4), "state step_size/readout.weight", step=2),
    wrong("steps forgotten", right.rprop, lambda rule: lambda o, w, g, t, p, d: rule(o, w, g, t, p, 0 * d + o.learning_rate),
          "step_size", step=2),
    wrong("decay of the momenta forgotten", right.nadam, settings(momentum_decay=lambda o: 0.0), "momentum_product"),
    wrong("updates counted from 2", right.nadam, later, "momentum_product"),
    wrong("no momentum ahead, Adam's", right.nadam, updated(
        lambda o, w, g, t, after, memory: w - o.learning_rate * memory[0] / (1 - o.beta1**t) / root(o, memory[1], t))),
    wrong("plain Nesterov momentum, optax'", right.nadam, updated(
        lambda o, w, g, t, after, memory: w - o.learning_rate * (
            (1 - o.beta1) * g / (1 - o.beta1**t) + o.beta1 * memory[0] / (1 - o.beta1 ** (t + 1))) / root(o, memory[1], t))),
    wrong("product of the momenta forgotten", right.nadam,
          lambda rule: lambda o, w, g, t, m, v, q: rule(o, w, g, t, m, v, 0 * q + 1), "momentum_product", step=1),
    wrong("never rectified", right.radam, updated(
        lambda o, w, g, t, after, memory: w - o.learning_rate * memory[0] / (1 - o.beta1**t)), step=5),
    wrong("always adaptive, Adam's", right.radam, updated(
        lambda o, w, g, t, after, memory: w - o.learning_rate * memory[0] / (1 - o.beta1**t) / root(o, memory[1], t))),
    wrong("epsilon after the correction, optax'", right.radam, updated(
        lambda o, w, g, t, after, memory: after if not rectified(o, t) else w - o.learning_rate * memory[0] / (
            1 - o.beta1**t) * rectified(o, t) / (1 - o.beta2**t) ** 0.5 / root(o, memory[1], t)), step=5),
    wrong("rectified from 4 on", right.radam, updated(
        lambda o, w, g, t, after, memory: after if t != 5 else w - o.learning_rate * memory[0] / (
            1 - o.beta1**t) / root(o, memory[1], t)), step=4),
    wrong("updates counted from 2", right.radam, later),
]  # fmt: skip
