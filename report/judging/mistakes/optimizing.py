"""Mistakes of the optimizer: other settings, another rule, another count, decay, clip or rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from backproof.backends.trajectory import Arrays
from backproof.cases.format.optimizers import KINDS, Momentum, Norm, Optimizer, Value
from backproof.reference.formulas.optimizers import at_rate, clipped, init, update
from backproof.reference.formulas.schedules import learning_rates
from backproof.reference.numbers.balls import floats
from backproof.report.judging.following import values_of
from backproof.report.judging.mistakes import steps
from backproof.report.judging.mistakes.digits import LESSER
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene, Tensors

AFTER = "epsilon after the correction of the bias"
BEFORE = "epsilon before the correction of the bias"
NESTEROV = "Nesterov's step in place of plain momentum"
FLAGS = {
    "nesterov": ("plain momentum in place of Nesterov's", NESTEROV),
    "epsilon_inside": ("epsilon outside of the root", "epsilon inside the root"),
    "epsilon_hat": (AFTER, BEFORE),
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
    """Yield updates with other settings, another count of updates, decay, clip or learning rate."""
    optimizer = scene.problem.optimizer
    yield from _decays(scene, optimizer)
    yield from _by_others(scene, _other_settings(optimizer))
    yield from _other_counts(scene, optimizer)
    yield from _memories(scene, optimizer)
    yield from _clips(scene)
    yield from _other_rates(scene)


def formulas(scene: Scene) -> Mistakes:
    """Yield updates by another formula of the optimizer, or in another direction."""
    yield from steps.formulas(scene, scene.problem.optimizer)
    yield from _directions(scene, scene.problem.optimizer)


def other_kinds(scene: Scene) -> Mistakes:
    """Yield the updates by other optimizers, with no more state than there is."""
    if scene.phase == "update":
        yield from _by_others(scene, _other_kinds(scene.problem.optimizer))


def _by_others(scene: Scene, others: Iterator[tuple[str, Optimizer]]) -> Mistakes:
    """Yield the updates by those optimizers whose whole state is on record."""
    for words, other in others:
        names = [f"{name}/{path}" for name in other.state for path in scene.problem.trained]
        if all(name in scene.state for name in names):
            yield Mistake(words, scene.updated(optimizer=other))


def _size(arrays: Arrays) -> float:
    """Return the Euclidean norm of all of them together."""
    return np.sqrt(sum(np.square(array).sum() for array in arrays.values()))


def _unit(array: np.ndarray) -> np.ndarray:
    return array / (np.linalg.norm(array) or 1)


# ---------------------------------------------------------------- settings


def _other_settings(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    def changed(**settings) -> Optimizer:
        return optimizer.model_copy(update=settings)

    own = dict(optimizer)
    for name, (off, on) in FLAGS.items():
        if own.get(name) is not None:
            yield (off if own[name] else on), changed(**{name: not own[name]})
    for name, choices in NUMBERS.items():
        for choice in choices if own.get(name) is not None else ():
            if choice != own[name]:
                yield f"{name} {choice:g} in place of {own[name]:g}", changed(**{name: choice})
    if own.get("dampening") == 0:
        words = "(1 - momentum) g in the average, a dampening,"
        yield words, changed(dampening=own["momentum"])
    for one, other in SWAPS:
        if one in own:
            yield f"{one} and {other} exchanged", changed(**{one: own[other], other: own[one]})


def _other_kinds(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    """Yield other rules with the same settings, as far as they have them."""
    own = dict(optimizer)
    for kind, other in KINDS.items():
        if kind != optimizer.kind and (kind != "momentum" or "momentum" in own):
            settings = {name: value for name, value in own.items() if name in other.model_fields}
            yield f"{kind} in the place of {optimizer.kind}", other.model_construct(**settings)


def _other_counts(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """Yield the updates under another number."""
    counts = {
        "updates that are counted from 0": max(scene.step - 1, 0),
        "updates that are counted from 2": scene.step + 1,
    }
    if hasattr(optimizer, "beta2") and optimizer.kind != "lion":
        counts |= {"1 - β for 1 - βᵗ, the power forgotten,": 0, "no correction of the bias": MANY}
    for words, step in counts.items():
        yield Mistake(words, scene.updated(step=step))


def _memories(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """Yield a memory that is forgotten, or not kept up."""
    if scene.phase == "state":
        starts = init(optimizer, {path: scene.parameters[path] for path in scene.problem.trained})
        for name, start in starts.items():
            if name.endswith(f"/{scene.tensor.partition('/')[2]}"):
                words = f"the {name.partition('/')[0].replace('_', ' ')} forgotten between steps"
                yield Mistake(words, scene.updated(state=scene.state | {name: start}))
        yield scene.here("a state that is not updated", scene.state[scene.tensor])


def _other_rates(scene: Scene) -> Mistakes:
    """Yield the updates by the learning rate of another step, or of a lesser precision."""
    rates = {
        f"a learning rate that is rounded to {name}": float(dtype(scene.rate))
        for name, dtype in LESSER.items()
    }
    if scene.problem.schedule:
        later, earlier = scene.step + 1, max(scene.step - 1, 0)
        rates |= {
            "the learning rate without its schedule": scene.problem.optimizer.learning_rate,
            "the learning rate of the next step": learning_rates(scene.problem, [later])[0],
            "the learning rate of the step before": learning_rates(scene.problem, [earlier])[0],
        }
    for words, rate in rates.items():
        if rate != scene.rate:
            yield Mistake(words, scene.updated(rate=rate))


# ---------------------------------------------------------------- decay

DECAYS = {"no": 0, "a doubled": 2, "a halved": 0.5, "a negative": -1}


def _decays(scene: Scene, optimizer: Optimizer) -> Mistakes:
    decay, rate = getattr(optimizer, "weight_decay", 0), scene.rate
    if not decay:
        return
    for words, factor in DECAYS.items():
        other = optimizer.model_copy(update={"weight_decay": factor * decay})
        yield Mistake(f"{words} weight decay", scene.updated(optimizer=other))
    without = optimizer.model_copy(update={"weight_decay": 0.0})
    coupled: dict[str, Callable] = {
        "a coupled weight decay, in the gradient,": lambda g, w: g + decay * w,
        "a weight decay of the gradient in place of the parameter": lambda g, w: (1 + decay) * g,
        "a gradient less weight decay times itself": lambda g, w: (1 - decay) * g,
        "a gradient times 1 + weight decay times the parameter": lambda g, w: g * (1 + decay * w),
    }
    for words, change in coupled.items():
        used = {path: change(g, scene.parameters[path]) for path, g in scene.used.items()}
        yield Mistake(words, scene.updated(used, optimizer=without, clip=None))
    decoupled = {
        "a decoupled weight decay": rate * decay,
        "a weight decay without the learning rate": decay,
        "a decoupled weight decay with the wrong sign": -rate * decay,
    }
    for words, share in decoupled.items():
        shrunk = {path: (1 - share) * w for path, w in scene.parameters.items()}
        yield Mistake(words, scene.updated(optimizer=without, parameters=shrunk))
    if scene.phase == "update":
        w = scene.parameters[scene.tensor]
        after = scene.updated(optimizer=without)[scene.key] + w
        for end, share in {"": rate * decay, " without the learning rate,": decay}.items():
            words = f"a weight decay after the step, of the new parameter,{end}"
            yield scene.here(words, after * (1 - share) - w)


# ---------------------------------------------------------------- clipping


def _clips(scene: Scene) -> Mistakes:
    g, clip = scene.gradients, scene.problem.clip
    if clip is None:
        return
    yield Mistake("no clipping, or one after the step,", scene.updated(clip=None))
    limit, total = clip.maximum, _size(g)
    largest = max(np.abs(array).max() for array in g.values())
    changes: dict[str, Callable] = {
        "each tensor clipped by its own norm": lambda g: (
            g * min(1, limit / (np.linalg.norm(g) or 1))
        ),
        "the largest element in place of the norm": lambda g: g * min(1, limit / largest),
        "the square of the norm in its place": lambda g: g * min(1, limit / total**2),
        "a clip on the upper side alone": lambda g: np.minimum(g, limit),
        "the signs times the maximum": lambda g: np.sign(g) * limit,
    }
    yield from _changed_gradients(scene, g, changes)
    clips = {"a clip by the norm": Norm, "a clip by value": Value}
    others = {words: kind(maximum=limit) for words, kind in clips.items() if kind is not type(clip)}
    if isinstance(clip, Norm):
        for epsilon in (1e-6, 1e-8, 1e-12):
            words = f"an epsilon of {epsilon:g} beside the norm"
            others[words] = clip.model_copy(update={"epsilon": epsilon})
    for words, other in others.items():
        used = clipped(other, g, scene.problem.axes)
        yield Mistake(words, scene.updated(used, clip=None))


def _changed_gradients(scene: Scene, gradients: Arrays, changes: dict[str, Callable]) -> Mistakes:
    """Yield the updates by gradients that are all changed, and not clipped."""
    for words, change in changes.items():
        used = {path: change(g) for path, g in gradients.items()}
        yield Mistake(words, scene.updated(used, clip=None))


def on_record(scene: Scene) -> Mistakes:
    """Yield the gradients as the optimizer has changed them, in the place of those of the loss."""
    problem = scene.problem
    right = {path: truth for (phase, path), truth in scene.truths.items() if phase == "gradient"}
    whole = right if len(right) == len(problem.trained) else scene.all_gradients()

    def of(gradients: Arrays) -> Tensors:
        return {("gradient", path): gradients[path] for path in right}

    if problem.clip:
        clip = clipped(problem.clip, whole, problem.axes)
        yield Mistake("the gradients after the clipping", of(clip))
    if decay := getattr(problem.optimizer, "weight_decay", 0):
        words = "the gradients with the weight decay, which is the optimizer's,"
        decayed = {path: g + decay * scene.parameters[path] for path, g in whole.items()}
        yield Mistake(words, of(decayed))
    if (size := _size(scene.gradients)) > 0:
        norm = Norm.model_construct(maximum=float(size), epsilon=0.0)
        words = f"gradients that are clipped to a norm of {size:.4g}"
        yield Mistake(words, of(clipped(norm, whole, problem.axes)), again=True)


# ---------------------------------------------------------------- directions


def _directions(scene: Scene, optimizer: Optimizer) -> Mistakes:
    """Yield the updates by something else than the gradient itself."""
    g, size = scene.used, _size(scene.used) or 1
    changes: dict[str, Callable] = {
        "the signs of the gradient": np.sign,
        "a gradient of length one": _unit,
        "all gradients together of length one": lambda array: array / size,
    }
    yield from _changed_gradients(scene, g, changes)
    if scene.phase != "update" or optimizer.kind != "sgd" or scene.tensor not in g:
        return
    own, change = g[scene.tensor], scene.found[scene.key]
    norm, limit = np.linalg.norm(change) / scene.rate, np.abs(change).max() / scene.rate
    moved = {path: scene.after[path] - scene.parameters[path] for path in g}
    together = _size(moved) / scene.rate
    read_off = {}
    if 0 < limit < np.abs(own).max():
        words = f"a gradient that is cut at ±{limit:.4g}"
        read_off[words] = {path: np.clip(array, -limit, limit) for path, array in g.items()}
    if 0 < norm < np.linalg.norm(own):
        words = f"a clip of each tensor by its own norm, to {norm:.4g},"
        read_off[words] = g | {scene.tensor: norm * _unit(own)}
    if 0 < together < size:
        words = f"a clip by the norm of all, to {together:.4g},"
        read_off[words] = {path: array * together / size for path, array in g.items()}
    for words, used in read_off.items():
        yield Mistake(words, scene.updated(used, clip=None), again=True)


# ---------------------------------------------------------------- another optimizer, from the start


def followed(scene: Scene) -> Mistakes:
    """Yield the updates by optimizers whose memory is not on record, from the first step on."""
    steps = scene.trajectory.steps[: scene.row + 1]
    whole = np.array_equal(steps, np.arange(len(steps)))
    if scene.phase == "update" and scene.step <= FOLLOWED and whole:
        for words, other in _candidates(scene.problem.optimizer):
            yield scene.here(words, _followed(scene, other))


def _candidates(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    rate = optimizer.learning_rate
    for mu in (0.9, 0.5, 0.95, 0.99):
        plain = Momentum(learning_rate=rate, momentum=mu)
        yield f"a momentum of {mu:g}", plain
        yield f"Nesterov's momentum of {mu:g}", plain.model_copy(update={"nesterov": True})
        yield f"a dampened momentum of {mu:g}", plain.model_copy(update={"dampening": mu})
    for kind, other in KINDS.items():
        if kind not in ("sgd", "momentum", optimizer.kind):
            yield f"{kind} in the place of {optimizer.kind}", other(learning_rate=rate)


def _followed(scene: Scene, other: Optimizer) -> np.ndarray:
    """Compute the last change of the wrong parameter by an optimizer with these gradients."""
    run, path, problem = scene.trajectory, scene.tensor, scene.problem
    state = init(other, {path: floats(run.before[path][0])})
    for row in range(scene.row + 1):
        rate = None if run.learning_rates is None else float(values_of(run.learning_rates)[row])
        w = floats(run.before[path][row])
        gradients = {name: floats(run.gradients[name][row]) for name in problem.trained}
        used = {path: clipped(problem.clip, gradients, problem.axes)[path]}
        after, state = update(at_rate(other, rate), {path: w}, used, state, row)
    return after[path] - w
