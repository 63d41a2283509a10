"""Mistakes of the optimizer: other settings, another rule, the number of the update, decay, clipping, the schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.cases.format.optimizers import Norm, Optimizer, Value
from backproof.reference.formulas.optimizers import at_rate, clipped, init, update
from backproof.reference.formulas.schedules import learning_rates
from backproof.reference.numbers.balls import floats
from backproof.report.judging.following import values_of
from backproof.report.judging.mistakes import steps
from backproof.report.judging.mistakes.digits import LESSER
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene

KINDS = {kind.kind: kind for kind in get_args(get_args(Optimizer)[0])}
FLAGS = {
    "nesterov": (
        "plain momentum in place of Nesterov's",
        "Nesterov's step in place of plain momentum",
    ),
    "epsilon_inside": ("epsilon outside of the root", "epsilon inside the root"),
    "epsilon_hat": (
        "epsilon after the correction of the bias",
        "epsilon before the correction of the bias",
    ),
    "amsgrad": ("Adam without amsgrad", "amsgrad"),
    "decoupled": ("a coupled weight decay", "a decoupled weight decay"),
}
NUMBERS = {
    "epsilon": (0.0, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3),
    "beta1": (0.9,),
    "beta2": (0.99, 0.999),
    "rho": (0.9, 0.95, 0.99),
    "lambd": (0.0,),
    "alpha": (0.0,),
    "momentum_decay": (0.0,),
    "dampening": (0.0,),
    "beta1_decay": (1.0,),
    "smallest_step": (0.0,),
    "largest_step": (math.inf,),
    "t0": (-1.0,),
}
SWAPS = (("beta1", "beta2"), ("increase", "decrease"))
MANY = 10**9  # updates, behind which a correction of the bias is gone
FOLLOWED = 64


def settings(scene: Scene) -> Mistakes:
    """The same optimizer with other settings, another count of updates, decay, clip or learning rate."""
    optimizer = scene.problem.optimizer
    yield from _decays(scene, optimizer)
    for words, other in _other_settings(optimizer):
        if _on_record(other, scene):
            yield Mistake(words, scene.updated(optimizer=other))
    yield from _other_counts(scene, optimizer)
    yield from _memories(scene, optimizer)
    yield from _clips(scene)
    yield from _other_rates(scene)


def formulas(scene: Scene) -> Mistakes:
    """Another formula in the place of one of the optimizer's, or another direction."""
    yield from steps.formulas(scene, scene.problem.optimizer)
    yield from _directions(scene, scene.problem.optimizer)


def other_kinds(scene: Scene) -> Mistakes:
    """Another optimizer, with no more state than there is."""
    for words, other in _other_kinds(scene.problem.optimizer) if scene.phase == "update" else ():
        if _on_record(other, scene):
            yield Mistake(words, scene.updated(optimizer=other))


# ---------------------------------------------------------------- settings


def _other_settings(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    for name, (off, on) in FLAGS.items():
        present = getattr(optimizer, name, None)
        if present is not None:
            yield (off if present else on), optimizer.model_copy(update={name: not present})
    for name, choices in NUMBERS.items():
        present = getattr(optimizer, name, None)
        for choice in choices if present is not None else ():
            if choice != present:
                words = f"{name} {choice:g} in place of {present:g}"
                yield words, optimizer.model_copy(update={name: choice})
    if getattr(optimizer, "dampening", None) == 0:
        words = "(1 - momentum) g in the average, a dampening,"
        yield words, optimizer.model_copy(update={"dampening": optimizer.momentum})
    for one, other in SWAPS:
        if hasattr(optimizer, one):
            exchanged = {one: getattr(optimizer, other), other: getattr(optimizer, one)}
            yield f"{one} and {other} exchanged", optimizer.model_copy(update=exchanged)


def _other_kinds(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    """Another rule with the same settings, as far as it has them, and with no more state."""
    own = dict(optimizer)
    for kind, other in KINDS.items():
        if kind == optimizer.kind or (kind == "momentum" and "momentum" not in own):
            continue
        settings = {name: value for name, value in own.items() if name in other.model_fields}
        made = other.model_construct(**settings)
        yield f"{kind} in the place of {optimizer.kind}", made


def _on_record(optimizer: Optimizer, scene: Scene) -> bool:
    """What this optimizer remembers is recorded."""
    return all(
        f"{name}/{path}" in scene.state
        for name in optimizer.state
        for path in scene.problem.trained
    )


def _other_counts(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """Another number of the update."""
    counts = {
        "updates that are counted from 0": max(scene.step - 1, 0),
        "updates that are counted from 2": scene.step + 1,
    }
    if hasattr(optimizer, "beta2") and optimizer.kind != "lion":
        counts |= {"1 - β for 1 - βᵗ, the power forgotten,": 0, "no correction of the bias": MANY}
    for words, step in counts.items():
        yield Mistake(words, scene.updated(step=step))


def _memories(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """A memory that is forgotten, or not kept up."""
    if scene.phase == "state":
        starts = init(optimizer, {path: scene.parameters[path] for path in scene.problem.trained})
        for name, start in starts.items():
            if name.endswith(f"/{scene.tensor.partition('/')[2]}"):
                words = f"the {name.partition('/')[0].replace('_', ' ')} forgotten between steps"
                yield Mistake(words, scene.updated(state=scene.state | {name: start}))
        yield Mistake("a state that is not updated", {scene.key: scene.state[scene.tensor]})


def _other_rates(scene: Scene) -> Mistakes:
    """The learning rate of another step, or of a lesser precision."""
    base, k = scene.problem.optimizer.learning_rate, scene.step
    rates = {
        f"a learning rate that is rounded to {name}": float(dtype(scene.rate))
        for name, dtype in LESSER.items()
    }
    if scene.problem.schedule:
        of = {step: learning_rates(scene.problem, [step])[0] for step in (k + 1, max(k - 1, 0))}
        rates |= {
            "the learning rate without its schedule": base,
            "the learning rate of the next step": of[k + 1],
        }
        rates |= {"the learning rate of the step before": of[max(k - 1, 0)]}
    for words, rate in rates.items():
        if rate != scene.rate:
            yield Mistake(words, scene.updated(rate=rate))


# ---------------------------------------------------------------- decay


def _decays(scene: Scene, optimizer: Optimizer) -> Mistakes:
    decay, rate = getattr(optimizer, "weight_decay", 0), scene.rate
    if not decay:
        return
    without = optimizer.model_copy(update={"weight_decay": 0.0})
    times = {
        "no weight decay": 0,
        "a doubled weight decay": 2,
        "a halved weight decay": 0.5,
        "a negative weight decay": -1,
    }
    for words, factor in times.items():
        yield Mistake(
            words,
            scene.updated(optimizer=optimizer.model_copy(update={"weight_decay": factor * decay})),
        )
    g, w = scene.used, scene.parameters
    gradients = {
        "a coupled weight decay, in the gradient,": {path: g[path] + decay * w[path] for path in g},
        "a weight decay of the gradient in place of the parameter": {
            path: (1 + decay) * g[path] for path in g
        },
        "a gradient less weight decay times itself": {path: (1 - decay) * g[path] for path in g},
        "a gradient times 1 + weight decay times the parameter": {
            path: g[path] * (1 + decay * w[path]) for path in g
        },
    }
    for words, used in gradients.items():
        yield Mistake(words, scene.updated(used, optimizer=without, clip=None))
    decoupled = {
        "a decoupled weight decay": rate * decay,
        "a weight decay without the learning rate": decay,
        "a decoupled weight decay with the wrong sign": -rate * decay,
    }
    for words, share in decoupled.items():
        shrunk = {path: (1 - share) * array for path, array in w.items()}
        yield Mistake(words, scene.updated(optimizer=without, parameters=shrunk))
    if scene.phase == "update":
        for words, share in {"": rate * decay, " without the learning rate,": decay}.items():
            after = scene.updated(optimizer=without)[scene.key] + w[scene.tensor]
            mistaken = after * (1 - share) - w[scene.tensor]
            yield Mistake(
                f"a weight decay after the step, of the new parameter,{words}",
                {scene.key: mistaken},
            )


# ---------------------------------------------------------------- clipping


def _clips(scene: Scene) -> Mistakes:
    g, clip = scene.gradients, scene.problem.clip
    if clip is None:
        return
    limit = clip.maximum
    yield Mistake("no clipping", scene.updated(clip=None))
    total = np.sqrt(sum(np.square(array).sum() for array in g.values()))
    largest = max(np.abs(array).max() for array in g.values())
    each = {path: array * min(1, limit / (np.linalg.norm(array) or 1)) for path, array in g.items()}
    wrong = {
        "each tensor clipped by its own norm": each,
        "the largest element in place of the norm": {
            path: array * min(1, limit / largest) for path, array in g.items()
        },
        "the square of the norm in its place": {
            path: array * min(1, limit / total**2) for path, array in g.items()
        },
        "a clip on the upper side alone": {
            path: np.minimum(array, limit) for path, array in g.items()
        },
        "the signs times the maximum": {path: np.sign(array) * limit for path, array in g.items()},
    }
    others = {"a clip by the norm": Norm, "a clip by value": Value}
    wrong |= {
        words: clipped(kind(maximum=limit), g, scene.problem.axes)
        for words, kind in others.items()
        if not isinstance(clip, kind)
    }
    if isinstance(clip, Norm):
        for epsilon in (1e-6, 1e-8, 1e-12):
            wrong[f"an epsilon of {epsilon:g} beside the norm"] = clipped(
                clip.model_copy(update={"epsilon": epsilon}), g, scene.problem.axes
            )
    for words, used in wrong.items():
        yield Mistake(words, scene.updated(used, clip=None))


def on_record(scene: Scene) -> Mistakes:
    """The gradients as the optimizer has changed them, in the place of those of the loss."""
    problem = scene.problem
    right = {path: truth for (phase, path), truth in scene.truths.items() if phase == "gradient"}
    whole = right if len(right) == len(problem.trained) else scene.all_gradients()
    wrong: dict[str, Arrays] = {}
    if problem.clip:
        wrong["the gradients after the clipping"] = clipped(problem.clip, whole, problem.axes)
    decay = getattr(problem.optimizer, "weight_decay", 0)
    if decay:
        words = "the gradients with the weight decay, which is the optimizer's,"
        wrong[words] = {path: g + decay * scene.parameters[path] for path, g in whole.items()}
    size = np.sqrt(sum(np.square(array).sum() for array in scene.gradients.values()))
    for words, gradients in wrong.items():
        yield Mistake(words, {("gradient", path): gradients[path] for path in right})
    if not size > 0:
        return
    norm = Norm.model_construct(maximum=float(size), epsilon=0.0)
    words, cut = (
        f"gradients that are clipped to a norm of {size:.4g}",
        clipped(norm, whole, problem.axes),
    )
    yield Mistake(words, {("gradient", path): cut[path] for path in right}, again=True)


# ---------------------------------------------------------------- directions


def _directions(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """Not the gradient itself."""
    g = scene.used
    size = np.sqrt(sum(np.square(array).sum() for array in g.values())) or 1
    wrong = {
        "the signs of the gradient": {path: np.sign(array) for path, array in g.items()},
        "a gradient of length one": {
            path: array / (np.linalg.norm(array) or 1) for path, array in g.items()
        },
        "all gradients together of length one": {path: array / size for path, array in g.items()},
    }
    for words, used in wrong.items():
        yield Mistake(words, scene.updated(used, clip=None))
    if scene.phase != "update" or optimizer.kind != "sgd" or scene.tensor not in g:
        return
    norm = np.linalg.norm(scene.found[scene.key]) / scene.rate
    limit = np.abs(scene.found[scene.key]).max() / scene.rate
    if 0 < limit < np.abs(g[scene.tensor]).max():
        words = f"a gradient that is cut at ±{limit:.4g}"
        yield Mistake(
            words,
            scene.updated({p: np.clip(a, -limit, limit) for p, a in g.items()}, clip=None),
            again=True,
        )
    if 0 < norm < np.linalg.norm(g[scene.tensor]):
        used = g | {scene.tensor: g[scene.tensor] * norm / np.linalg.norm(g[scene.tensor])}
        words = f"a clip of each tensor by its own norm, to {norm:.4g},"
        yield Mistake(words, scene.updated(used, clip=None), again=True)
    together = (
        np.sqrt(
            sum(np.square(floats(scene.run.after[p][0]) - scene.parameters[p]).sum() for p in g)
        )
        / scene.rate
    )
    if 0 < together < size:
        used = {path: array * together / size for path, array in g.items()}
        yield Mistake(
            f"a clip by the norm of all, to {together:.4g},",
            scene.updated(used, clip=None),
            again=True,
        )


# ---------------------------------------------------------------- another optimizer, from the start


def followed(scene: Scene) -> Mistakes:
    """Another optimizer, with a memory that is not on record: followed from the first step."""
    optimizer, steps = scene.problem.optimizer, scene.trajectory.steps[: scene.row + 1]
    if (
        scene.phase != "update"
        or scene.step > FOLLOWED
        or not np.array_equal(steps, np.arange(len(steps)))
    ):
        return
    for words, other in _candidates(optimizer):
        yield Mistake(words, {scene.key: _followed(scene, other)})


def _candidates(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    rate = optimizer.learning_rate
    for mu in (0.9, 0.5, 0.95, 0.99):
        plain = KINDS["momentum"](learning_rate=rate, momentum=mu)
        yield f"a momentum of {mu:g}", plain
        yield f"Nesterov's momentum of {mu:g}", plain.model_copy(update={"nesterov": True})
        yield f"a dampened momentum of {mu:g}", plain.model_copy(update={"dampening": mu})
    for kind, other in KINDS.items():
        if kind not in ("sgd", "momentum", optimizer.kind):
            yield f"{kind} in the place of {optimizer.kind}", other(learning_rate=rate)


def _followed(scene: Scene, other: Optimizer) -> np.ndarray:
    """The last change of the wrong parameter by another optimizer that has seen the recorded gradients."""
    run, path = scene.trajectory, scene.tensor
    state = init(other, {path: floats(run.before[path][0])})
    for row in range(scene.row + 1):
        rate = None if run.learning_rates is None else float(values_of(run.learning_rates)[row])
        w, gradients = (
            floats(run.before[path][row]),
            {p: floats(run.gradients[p][row]) for p in scene.problem.trained},
        )
        used = {path: clipped(scene.problem.clip, gradients, scene.problem.axes)[path]}
        after, state = update(at_rate(other, rate), {path: w}, used, state, row)
    return after[path] - w
