"""Wrong rules for the optimizers, each on a small network that is trained by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reference import optimizers as right
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


def coupled(rule):
    """The decay is part of the gradient, as in torch.optim.Adam."""
    return lambda optimizer, w, g, t, *state: rule(
        optimizer.model_copy(update={"weight_decay": 0.0}), w, g + optimizer.weight_decay * w, t, *state
    )


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
    wrong("decay in the gradient", right.adamw, coupled, "first_moment"),
    wrong("decay without the learning rate", right.adamw,
          updated(lambda o, w, g, t, after, memory: after - (1 - o.learning_rate) * o.weight_decay * w)),
    wrong("decay forgotten", right.adamw, settings(weight_decay=lambda o: 0.0)),
    wrong("sum for maximum", right.adamax,
          lambda rule: lambda o, w, g, t, m, u: (rule(o, w, g, t, m, u)[0], (
              rule(o, w, g, t, m, u)[1][0], o.beta2 * u + abs(g) + o.epsilon)), "infinity_norm", step=1),
    wrong("no correction of the bias", right.adamax,
          updated(lambda o, w, g, t, after, memory: w - o.learning_rate * memory[0] / memory[1])),
    wrong("frozen", right.adamax, instead(lambda o, w, g, t, m, u: (w, right.adam(o, w, g, t, m, u)[1])),
          "infinity_norm"),
]  # fmt: skip
