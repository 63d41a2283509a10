"""Random training scenarios, drawn from the schema: a new layer, loss or optimizer joins by itself.

A scenario is what a YAML file holds, as plain data. Its structure (layers, widths, batches, settings) and its numbers
are drawn apart, so that many problems can share a structure, and with it the program that JAX compiles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from backproof.backends.registry import DEFAULT, backend
from backproof.backends.trajectory import Trajectory, cut
from backproof.cases.format.concept import Concept
from backproof.cases.format.fields import OneOf
from backproof.cases.format.layers import Activation, Dense, Dropout, Layer, Sigmoid, Skip
from backproof.cases.format.losses import BinaryCrossEntropy, GaussianNll, Loss, Penalty
from backproof.cases.format.optimizers import AnySchedule, Asgd, Clip, Optimizer, Rprop
from backproof.cases.format.schema import Batch, Case, Dtype, Random
from backproof.cases.problem import Problem, materialise
from backproof.reference.numbers.balls import sizes, working_precision
from backproof.reference.numbers.bounded import RULES, Bounded
from backproof.reference.numbers.precision import precision_of
from backproof.report.judging.judge import BALL_BITS
from backproof.report.judging.operations import checks_of_steps
from backproof.report.judging.outcome import Result, attempt, judged
from tests.trial.planting import gradients_only

DEEPEST, WIDEST, MOST_SAMPLES = 6, 8, 8
KINKS = ((np.heaviside, "__call__"), (np.sign, "__call__"))
NUMBERS_AN_EXAMPLE, PROBLEMS_AN_EXAMPLE = 3000, 16  # as many numbers as Hypothesis draws at once


class Scenarios(NamedTuple):
    """Cases of one structure, which is all of a case but its arrays."""

    structure: dict
    arrays: list[dict]

    @property
    def cases(self) -> list[dict]:
        """The plain data of every case."""
        return [self.structure | arrays for arrays in self.arrays]


# ---------------------------------------------------------------- settings, from the schema


def members(choice: Any) -> list[type[Concept]]:
    """The concepts of a union of the schema."""
    union, *_ = get_args(choice)
    return list(get_args(union) or (union,))


def concept(kind: type[Concept]) -> SearchStrategy:
    """One concept as a file has it: its bare word, where it has no settings."""
    return settings(kind).map(lambda drawn: {kind.kind: drawn} if drawn else kind.kind)


def settings(kind: type[Concept], **given: SearchStrategy) -> SearchStrategy[dict]:
    """All settings of a concept but its name; `given` are drawn in their own way."""
    fields = {name: field for name, field in kind.model_fields.items() if name != "name"}
    drawn = st.fixed_dictionaries(
        {name: given[name] if name in given else value(field) for name, field in fields.items()}
    )
    return drawn.map(lambda values: {name: value for name, value in values.items() if value is not None})


def value(field: FieldInfo) -> SearchStrategy:
    """What a field may hold."""
    return _of_type(field.annotation, field.metadata)


def _of_type(annotation: Any, metadata: list) -> SearchStrategy:
    """Raises TypeError for a type that has no strategy here."""
    bounds = {
        name: getattr(bound, name) for bound in metadata for name in ("gt", "ge", "lt", "le") if hasattr(bound, name)
    }
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return st.sampled_from(arguments)
    if get_origin(annotation) in (Union, UnionType):
        return st.one_of(st.none() if one is NoneType else _of_type(one, metadata) for one in arguments[::-1])
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        least = bounds.get("ge", bounds.get("gt", -1) + 1)
        return st.integers(least, min(bounds.get("le", bounds.get("lt", math.inf) - 1), least + WIDEST - 1))
    if annotation is float:
        return _decimals(bounds)
    if isinstance(annotation, type) and issubclass(annotation, Concept):
        return settings(annotation)
    if get_origin(annotation) is Annotated and any(isinstance(one, OneOf) for one in annotation.__metadata__):
        return st.sampled_from(members(annotation)).flatmap(concept)
    raise TypeError(f"no strategy for a setting of type {annotation}: tests/trial/scenarios.py needs one")


def _decimals(bounds: dict[str, float]) -> SearchStrategy[float]:
    """Three decimal places, as people write them: in binary such numbers have a full mantissa."""
    low, high = bounds.get("gt", bounds.get("ge", -1)), bounds.get("lt", bounds.get("le", 1))
    thousandths = st.integers(math.ceil(low * 1000) + ("gt" in bounds), math.floor(high * 1000) - ("lt" in bounds))
    return thousandths.map(lambda n: n / 1000)


POSITIVE = _decimals({"gt": 0})
SELDOM = st.sampled_from([False, False, False, True])
FACTORS = {"float16": _decimals({"ge": 0.008})}  # a mean over 128 terms leaves a normal number of it

# ---------------------------------------------------------------- structures


@st.composite
def structures(draw: DrawFn) -> dict:
    """Everything of a case but its parameters and data; `samples` and `features` say how large they are."""
    samples, features = draw(st.integers(1, MOST_SAMPLES)), draw(st.integers(1, WIDEST))
    training = draw(st.none() | trainings(samples))
    shuffled = training and training.get("batch", {}).get("order") == "shuffled"
    loss = draw(st.sampled_from(members(Loss)))
    network = draw(networks())
    *_, last = (layer[Dense.kind] for layer in network if Dense.kind in layer)
    last["units"] *= 2 if loss is GaussianNll else 1
    if loss is BinaryCrossEntropy:
        network.append({Sigmoid.kind: {"name": "probability"}})
    network = draw(with_skips(network, features, loss))
    weights = st.none() | st.lists(POSITIVE, min_size=last["units"], max_size=last["units"])
    dtype = draw(st.sampled_from(get_args(Dtype)))
    given = {"factor": FACTORS.get(dtype, POSITIVE), **({"class_weights": weights} if loss.by_class else {})}
    structure = {
        "title": "random scenario",
        "dtypes": [dtype],
        "network": network,
        "loss": {loss.kind: draw(settings(loss, **given))},
        **({"training": training} if training else {}),
        **({"random": draw(settings(Random))} if shuffled or any(Dropout.kind in layer for layer in network) else {}),
        "samples": samples,
        "features": features,
    }
    return structure | draw(sharing(structure))


@st.composite
def networks(draw: DrawFn) -> list:
    """One to six dense layers, each with one other layer behind it or none, and now and then a dropout behind that."""
    network: list[dict] = []
    activations = [kind for kind in members(Layer) if issubclass(kind, Activation)]
    for i in range(draw(st.integers(1, DEEPEST))):
        network.append({Dense.kind: draw(settings(Dense, units=st.integers(1, WIDEST))) | {"name": f"dense{i}"}})
        if kind := draw(st.none() | st.sampled_from(activations)):
            network.append({kind.kind: draw(settings(kind)) | {"name": f"activation{i}"}})
        if draw(st.sampled_from([False, False, False, True])):
            network.append({Dropout.kind: draw(settings(Dropout, mask=st.none())) | {"name": f"dropout{i}"}})
    return network


@st.composite
def with_skips(draw: DrawFn, network: list, features: int, loss: type[Concept]) -> list:
    """The network with a skip or two where widths allow it, but for what a loss asks of the last layer."""
    widths, longer = {"input": features}, []
    for layer in network:
        longer.append(layer)
        ((_, content),) = layer.items()
        width = widths[content["name"]] = content.get("units", [*widths.values()][-1])
        sources = [name for name, other in widths.items() if other == width and name != content["name"]]
        last = layer is network[-1] and loss is BinaryCrossEntropy
        if sources and not last and draw(st.sampled_from([False, False, True])):
            name = f"skip{len(longer)}"
            longer.append({Skip.kind: {"name": name, "source": draw(st.sampled_from(sources))}})
            widths[name] = width
    return longer


@st.composite
def sharing(draw: DrawFn, structure: dict) -> dict:
    """Now and then a tied parameter, a frozen one, a penalty; mostly none."""
    tied, frozen, penalised = (draw(SELDOM) for _ in range(3))
    if not (tied or frozen or penalised):
        return {}
    shapes, drawn = shapes_of(structure)[0], {}
    ties = [
        (path, {"parameter": other, "transposed": transposed})
        for path, other in permutations(shapes, 2)
        for transposed in (False, True)
        if shapes[path] == (shapes[other][::-1] if transposed else shapes[other]) and len(shapes[path]) == 2
    ]
    if ties and tied:
        path, tie = draw(st.sampled_from(ties))
        drawn["tied"] = {path: tie}
        shapes.pop(path)
    if len(shapes) > 1 and frozen:
        drawn["frozen"] = draw(st.lists(st.sampled_from([*shapes]), min_size=1, max_size=len(shapes) - 1, unique=True))
    if penalised:
        named = st.lists(st.sampled_from([*shapes]), min_size=1, unique=True)
        penalty = st.sampled_from(members(Penalty)).flatmap(
            lambda kind: settings(kind, parameters=named).map(lambda content: {kind.kind: content})
        )
        drawn["penalties"] = draw(st.lists(penalty, min_size=1, max_size=2))
    return drawn


@st.composite
def trainings(draw: DrawFn, samples: int) -> dict:
    """A few steps or epochs."""
    length = draw(
        st.fixed_dictionaries({"steps": st.integers(1, 6)}) | st.fixed_dictionaries({"epochs": st.integers(1, 2)})
    )
    batch = draw(st.none() | settings(Batch, size=st.integers(1, samples)))
    optimizer = draw(st.sampled_from(members(Optimizer)))
    rarely = {"clip": draw(st.none() | st.sampled_from(members(Clip)).flatmap(concept))}
    if optimizer not in (Asgd, Rprop):
        rarely["schedule"] = draw(st.none() | st.sampled_from(members(AnySchedule)).flatmap(concept))
    more = {name: value for name, value in ({"batch": batch} | rarely).items() if value}
    drawn = draw(concept(optimizer))
    if optimizer is Rprop:
        steps = drawn[Rprop.kind]
        steps["smallest_step"], steps["largest_step"] = sorted((steps["smallest_step"], steps["largest_step"]))
    return length | more | {"optimizer": drawn}


# ---------------------------------------------------------------- numbers

THOUSANDTHS = st.integers(-2500, 500).map(lambda number: number + 1000)  # shrinks to 1: zeros hide most mistakes
SIGNS = st.sampled_from([1, -1])
KINDS_OF_NUMBERS = [  # what is drawn, a factor, and a power of ten
    *[(THOUSANDTHS, 1, -3)] * 6,
    (st.sampled_from([1, 0, -1]), 1, 0),  # meets kinks exactly
    (THOUSANDTHS, 30, -3),  # saturates
    *((THOUSANDTHS, 1, power - 3) for power in (-3, -10, -30)),
    (st.just(0), 1, 0),
]


@st.composite
def tensor(draw: DrawFn, shape: tuple[int, ...]) -> list:
    """An array as nested lists."""
    numbers, factor, power = draw(st.sampled_from(KINDS_OF_NUMBERS))
    drawn = draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.reshape([float(f"{factor * number}e{power}") for number in drawn], shape).tolist()


@st.composite
def arrays(draw: DrawFn, structure: dict) -> dict:
    """The parameters and the data of a case with this structure."""
    shapes, samples, features, outputs = shapes_of(structure)
    inputs = draw(tensor((1, features))) * samples if draw(st.booleans()) else draw(tensor((samples, features)))
    return {
        "parameters": {path: draw(tensor(shape)) for path, shape in shapes.items()},
        "data": {"inputs": inputs, "targets": draw(targets(next(iter(structure["loss"])), samples, outputs))},
    }


def targets(loss: str, samples: int, outputs: int) -> SearchStrategy[list]:
    """Targets that the loss takes: numbers, shares of 1, probabilities or classes, signs."""
    number = {"hinge": SIGNS, "squared_hinge": SIGNS}.get(loss, st.integers(0, 1000).map(lambda n: n / 1000))
    rows = st.lists(st.lists(number, min_size=outputs, max_size=outputs), min_size=samples, max_size=samples)
    match loss:
        case "hinge" | "squared_hinge" | "binary_cross_entropy" | "sigmoid_binary_cross_entropy" | "kl_divergence":
            return rows
        case "softmax_cross_entropy" | "negative_log_likelihood":
            return rows | st.lists(st.integers(0, outputs - 1), min_size=samples, max_size=samples)
        case "gaussian_nll":
            return tensor((samples, outputs // 2))
    return tensor((samples, outputs))


def shapes_of(structure: dict) -> tuple[dict[str, tuple[int, ...]], int, int, int]:
    """The shapes of the parameters; the numbers of samples, features and outputs."""
    samples, features = structure["samples"], structure["features"]
    data = {"inputs": np.zeros((samples, features)).tolist(), "targets": [[0]]}
    case = Case.model_validate(_without_sizes(structure) | {"data": data})
    return case.parameter_shapes(), samples, features, [*case.widths.values()][-1]


def _without_sizes(structure: dict) -> dict:
    return {key: value for key, value in structure.items() if key not in ("samples", "features")}


@st.composite
def scenarios(draw: DrawFn, most: int = PROBLEMS_AN_EXAMPLE) -> Scenarios:
    """A structure, and so many problems of it as can be drawn at once, at most `most`."""
    structure = draw(structures())
    shapes, samples, features, outputs = shapes_of(structure)
    numbers = sum(map(math.prod, shapes.values())) + samples * (features + outputs)
    problems = draw(st.integers(1, max(1, min(most, NUMBERS_AN_EXAMPLE // numbers))))
    return Scenarios(_without_sizes(structure), [draw(arrays(structure)) for _ in range(problems)])


# ---------------------------------------------------------------- what must hold


class FalseAlarm(AssertionError):  # noqa: N818, it is the finding of a campaign
    """A correct backend was refused: a bug of the judge, of a backend, or of a framework."""

    def __init__(self, case: dict, result: Result):
        super().__init__(f"{result.backend}: {result.verdict}: {result.message}")
        self.case, self.result = case, result


def judge_everywhere(case: dict) -> str:
    """Run a case on every backend that runs by default and can express it.

    Returns:
        `certified` by all, `out of range` or `nothing to compare` by at least one, and rightly so.

    Raises:
        FalseAlarm: if a backend is refused.
    """
    said = set()
    for name in DEFAULT:
        verdict, result = judge_on(case, name)
        if result.verdict == "unsupported":
            continue
        if not verdict:
            raise FalseAlarm(case, result)
        said.add(verdict)
    order = ("out of range", "nothing to compare", "certified")
    return next((verdict for verdict in order if verdict in said), "nothing to compare")


def judge_end_to_end(case: dict) -> Counter:
    """Judge the gradients alone of a case that is run by hand.

    Returns:
        The verdict, and how many `gates` were met at a kink, how many of them `decided`: by the convention where every
        program finds the same number. Of the others it says how many there are whose sides were not all tried.

    Raises:
        FalseAlarm: if they are refused.
    """
    problem = materialise(Case.model_validate(case), case["dtypes"][0])
    run = backend("numpy").run(problem)
    alone = judged(problem, "numpy", gradients_only(problem, run))
    if alone.verdict == "differs" and not honest(problem, replace(alone, trajectory=run)):
        raise FalseAlarm(case, alone)
    kind = "exact" if _exactly_drawn(case) else "other"
    gates = gates_at_kinks(problem, alone.trajectory)
    return Counter({f"{alone.verdict} end to end": 1} | {f"{kind} {name}": number for name, number in gates.items()})


def _exactly_drawn(case: dict) -> bool:
    return bool(np.isin(case["data"]["inputs"], (-1, 0, 1)).all())


def gates_at_kinks(problem: Problem, run: Trajectory) -> Counter:
    """The gates of all steps whose number may lie at the kink, and those that are decided there."""
    gates, rules = Counter(), {key: RULES[key] for key in KINKS}

    def counted(rule: Callable) -> Callable:
        def at_kink(a: Bounded, *others: Bounded) -> Bounded:
            close = (a.magnitude <= a.bound) | (a.magnitude < a.precision.smallest)
            certain = (a.grid > 0) | ((a.magnitude == 0) & (a.bound == 0))
            gates.update(gates=int(close.sum()), decided=int((close & certain).sum()))
            return rule(a, *others)

        return at_kink

    with patch.dict(RULES, {key: counted(rule) for key, rule in rules.items()}), working_precision(BALL_BITS):
        for row, step in enumerate(run.steps):
            list(checks_of_steps(problem, cut(run, np.array([row]), int((problem.batches[step] >= 0).sum()))))
    return gates


def judge_on(case: dict, name: str) -> tuple[str, Result]:
    """Run a case on one backend; the verdict as `honest` says it."""
    problem = materialise(Case.model_validate(case), case["dtypes"][0])
    result = attempt(problem, name)
    return honest(problem, result), result


def honest(problem: Problem, result: Result) -> str:
    """The verdict in the words of `judge_everywhere`; empty if the backend is wronged."""
    if result.verdict == "certified":
        return "certified"
    if result.trajectory is None:
        return ""
    largest, precision = largest_number(problem, result.trajectory), precision_of(problem.dtype)
    too_large = products(problem) * max(largest, 1) >= precision.largest / max(largest, 1)
    may_have_no_root = getattr(problem.optimizer, "centered", False)
    no_number = may_have_no_root or _without_direction(problem, result.trajectory)
    no_number |= _without_scale(problem, result.trajectory)
    error_of_exponent = 16 * precision.u * largest  # 8 ulp
    no_exponent = error_of_exponent >= math.log(precision.largest)
    if result.verdict == "out of range" and (too_large or no_number or no_exponent):
        return "out of range"
    computed = largest_number(replace(problem, targets=0 * problem.targets), result.trajectory)
    if "nothing was compared" in result.message and computed <= 1000 * precision.smallest:
        return "nothing to compare"
    return ""


def _without_direction(problem: Problem, run: Trajectory) -> bool:
    """The cosine of a vector whose squares may be flushed to zero."""
    last, real = problem.network[-1].name, problem.batches[run.steps] >= 0
    vectors = [run.values[last][real], run.final_values[last], problem.targets]
    smallest = min(float(sizes(rows).max(axis=-1).min()) for rows in vectors)
    return problem.loss.kind == "cosine" and smallest**2 <= 1e3 * precision_of(problem.dtype).smallest


def _without_scale(problem: Problem, run: Trajectory) -> bool:
    """A step that is divided by a root, and by next to nothing else, of squares that may be flushed to zero."""
    smallest = min(float(sizes(g).min()) for g in run.gradients.values())
    precision, epsilon = precision_of(problem.dtype), getattr(problem.optimizer, "epsilon", 1.0)
    return epsilon <= 1e3 * precision.smallest and smallest**2 <= 1e3 * precision.smallest


def products(problem: Problem) -> float:
    """No operation of a formula exceeds so many products of two numbers on record.

    The largest is the loss, factor Σ (y - t)², where each (y - t)² is up to four of them.
    """
    return 8.0 * len(problem.inputs) * max(problem.widths.values())


def largest_number(problem: Problem, run: Trajectory) -> float:
    """The largest of all numbers that the run computed, and of the targets; infinite if one is not finite."""
    groups = [run.values, run.final_values, run.cotangents, run.gradients, *([run.after] if problem.optimizer else [])]
    computed = [tensor for group in groups for name, tensor in group.items() if name != "input"]
    computed += [run.loss, run.final_loss, problem.targets]
    size = np.max([float(sizes(tensor).max(initial=0)) for tensor in computed])
    return float(size) if np.isfinite(size) else math.inf


# ---------------------------------------------------------------- a finding as a file


def write_case(case: dict, path: Path, title: str, note: str) -> None:
    """Write a case as YAML, arrays as a line a row."""
    yaml = YAML()
    yaml.default_flow_style, yaml.width = None, 110
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump({"title": title, "note": note, **{key: case[key] for key in case if key != "title"}}, file)
