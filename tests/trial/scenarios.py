"""Random training scenarios, drawn from the schema: a new layer, loss or optimizer joins by itself.

A scenario is what a YAML file holds, as plain data. Its structure (layers, shapes, batches, settings) and its numbers
are drawn apart, so that many problems can share a structure, and with it the program that JAX compiles. Each layer is
drawn among those of any kind that fit behind the others: a kind is asked for the shape of its value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
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
from backproof.cases.format.layers.activations import Sigmoid
from backproof.cases.format.layers.layer import LayerConcept, Shape
from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.losses import BinaryCrossEntropy, GaussianNll, Loss, Penalty
from backproof.cases.format.network import Network
from backproof.cases.format.optimizers import AnySchedule, Asgd, Clip, Optimizer, Rprop
from backproof.cases.format.schema import Batch, Case, Dtype, Random
from backproof.cases.problem import Problem, materialise
from backproof.reference.numbers.balls import sizes, working_precision
from backproof.reference.numbers.bounded import RULES, Bounded
from backproof.reference.numbers.precision import precision_of
from backproof.report.judging.judge import BALL_BITS
from backproof.report.judging.operations import checks_of_steps
from backproof.report.judging.outcome import Result, attempt, judged
from tests.trial.planting import gradients_only, part_of

DEEPEST, WIDEST, MOST_SAMPLES = 12, 8, 8
POSITIONS = [(), (), (), (), (1,), (3,), (2, 3)]
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
    union, sort = get_args(choice)
    return list(sort.choices(union).values())


def concept(kind: type[Concept]) -> SearchStrategy:
    """One concept as a file has it: its bare word, where it has no settings."""
    return settings(kind).map(lambda drawn: {kind.kind: drawn} if drawn else kind.kind)


def settings(kind: type[Concept], **given: SearchStrategy) -> SearchStrategy[dict]:
    """All settings of a concept but its name and what it takes; `given` are drawn in their own way."""
    fields = {name: field for name, field in kind.model_fields.items() if name not in ("name", *names_in(kind))}
    drawn = st.fixed_dictionaries(
        {name: given[name] if name in given else value(field) for name, field in fields.items()}
    )
    return drawn.map(lambda values: {name: value for name, value in values.items() if value is not None})


def names_in(kind: type[Concept]) -> list[str]:
    """The fields of a layer that name values which it takes."""
    fields = kind.model_fields.items() if issubclass(kind, LayerConcept) else ()
    return [name for name, field in fields if name == "inputs" or (field.annotation is str and name != "name")]


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
    if annotation is np.ndarray:
        return st.nothing()  # is drawn with the other random numbers of the case
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
    if get_origin(annotation) is Annotated:
        return _of_type(arguments[0], [*metadata, *annotation.__metadata__])
    raise TypeError(f"no strategy for a setting of type {annotation}: tests/trial/scenarios.py needs one")


def _decimals(bounds: dict[str, float]) -> SearchStrategy[float]:
    """Three decimal places, as people write them: in binary such numbers have a full mantissa."""
    low, high = bounds.get("gt", bounds.get("ge", -1)), bounds.get("lt", bounds.get("le", 1))
    thousandths = st.integers(math.ceil(low * 1000) + ("gt" in bounds), math.floor(high * 1000) - ("lt" in bounds))
    return thousandths.map(lambda n: n / 1000)


POSITIVE = _decimals({"gt": 0})
SELDOM = st.sampled_from([False, False, False, True])
FACTORS = {"float16": _decimals({"ge": 0.05})}  # a mean over 768 terms leaves a normal number of it

# ---------------------------------------------------------------- structures


@st.composite
def structures(draw: DrawFn) -> dict:
    """Everything of a case but its parameters and data; `samples` and `shape` say how large they are."""
    samples, shape = draw(st.integers(1, MOST_SAMPLES)), draw(shapes())
    training = draw(st.none() | trainings(samples))
    shuffled = training and training.get("batch", {}).get("order") == "shuffled"
    loss = draw(st.sampled_from(members(Loss)))
    layers = draw(networks(shape).filter(lambda layers: loss is not GaussianNll or _outputs(layers, shape) % 2 == 0))
    if loss is BinaryCrossEntropy:
        layers.append(Sigmoid(name="probability"))
    network, outputs = Network(layers, shape), _outputs(layers, shape)
    weights = st.none() | st.lists(POSITIVE, min_size=outputs, max_size=outputs)
    dtype = draw(st.sampled_from(get_args(Dtype)))
    given = {"factor": FACTORS.get(dtype, POSITIVE), **({"class_weights": weights} if loss.by_class else {})}
    structure = {
        "title": "random scenario",
        "dtypes": [dtype],
        "network": [*map(as_data, layers)],
        "loss": {loss.kind: draw(settings(loss, **given))},
        **({"training": training} if training else {}),
        **({"random": draw(settings(Random))} if shuffled or network.masks else {}),
        "samples": samples,
        "shape": shape,
    }
    return structure | draw(sharing(structure))


def shapes() -> SearchStrategy[Shape]:
    """The shape of a sample: features, and now and then positions."""
    return st.tuples(st.sampled_from(POSITIONS), st.integers(1, WIDEST)).map(lambda drawn: (*drawn[0], drawn[1]))


def _outputs(layers: list[LayerConcept], shape: Shape) -> int:
    network = Network(layers, shape)
    return network.shapes[network.output][-1]


def as_data(layer: LayerConcept) -> dict:
    """A layer as a file has it, with all its settings and its name."""
    content = {name: value for name, value in layer if value is not None}
    inputs = content.pop("inputs")
    return {layer.kind: content | ({"inputs": [*inputs]} if inputs else {})}


# ---------------------------------------------------------------- networks


@st.composite
def networks(draw: DrawFn, shape: Shape) -> list[LayerConcept]:
    """Up to a dozen layers of every family, one with parameters among them, and now and then a branch."""
    layers: list[LayerConcept] = []
    number = draw(st.integers(1, DEEPEST))
    trained = draw(st.integers(0, number - 1))
    for place in range(number):
        kinds = with_parameters() if place == trained else draw(st.sampled_from([*families(), kinds_of_layers()]))
        fitting = draw(layers_behind(Network(layers, shape).shapes, draw(st.sampled_from(kinds)), f"_{place}"))
        if fitting:
            layers.append(draw(st.sampled_from(fitting)))
            layers += draw(branches(layers, shape)) if draw(SELDOM) and draw(SELDOM) else []
    return layers


def families() -> list[list[type[LayerConcept]]]:
    """The kinds of layers by the file that they stand in."""
    by_file: dict[str, list] = {}
    for kind in kinds_of_layers():
        by_file.setdefault(kind.__module__, []).append(kind)
    return [*by_file.values()]


def with_parameters() -> list[type[LayerConcept]]:
    """The kinds that have parameters."""
    return [kind for kind in kinds_of_layers() if kind.parameters is not LayerConcept.parameters]


def kinds_of_layers() -> list[type[LayerConcept]]:
    """All kinds of layers."""
    return [*KINDS.values()]


@st.composite
def layers_behind(draw: DrawFn, shapes: dict[str, Shape], kind: type[LayerConcept], suffix: str) -> list[LayerConcept]:
    """A layer of this kind with every choice of what it may take beside the value before it; none if none fits."""
    content = draw(settings(kind)) | {"name": f"{kind.kind}{suffix}"}
    return [layer for layer in _with_sources(kind, content, [*shapes]) if _fits(layer, shapes)]


def _with_sources(kind: type[LayerConcept], content: dict, names: list[str]) -> list[LayerConcept]:
    """The layer with all names of values before it, where it names some."""
    fields = [name for name in names_in(kind) if name != "inputs"]
    chosen = [dict(zip(fields, values, strict=True)) for values in product(names, repeat=len(fields))]
    others = kind.takes - 1 - len(fields)
    inputs = [{"inputs": (names[-1], *more)} for more in product(names, repeat=others)] if others else [{}]
    return [kind(**content, **named, **taken) for named in chosen for taken in inputs]


def _fits(layer: LayerConcept, shapes: dict[str, Shape]) -> bool:
    *_, before = shapes
    try:
        layer.shape(*(shapes[name] for name in layer.sources(before)))
    except ValueError:
        return False
    return True


@st.composite
def branches(draw: DrawFn, layers: list[LayerConcept], shape: Shape) -> list[LayerConcept]:
    """A second layer like the last one and of the same value, and one that takes both; nothing where none fits."""
    kinds = [kind for kind in kinds_of_layers() if kind.takes > 1]
    if not kinds:
        return []
    *_, before = ["input", *(layer.name for layer in layers[:-1])]
    last = layers[-1]
    twin = last.model_copy(update={"name": f"{last.name}_twin", "inputs": last.inputs or (before,)})
    shapes = Network([*layers, twin], shape).shapes
    fitting = draw(layers_behind(shapes, draw(st.sampled_from(kinds)), f"_of_{last.name}"))
    joining = [layer for layer in fitting if {last.name, twin.name} <= {*layer.sources(twin.name)}]
    return [twin, draw(st.sampled_from(joining))] if joining else []


@st.composite
def sharing(draw: DrawFn, structure: dict) -> dict:
    """Now and then a tied parameter, a frozen one, a penalty; mostly none."""
    tied, frozen, penalised = (draw(SELDOM) for _ in range(3))
    if not (tied or frozen or penalised):
        return {}
    shapes, drawn = case_of(structure).parameter_shapes(), {}
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
    case, samples, shape = case_of(structure), structure["samples"], structure["shape"]
    inputs = draw(tensor((1, *shape))) * samples if draw(st.booleans()) else draw(tensor((samples, *shape)))
    return {
        "parameters": {path: draw(tensor(of)) for path, of in case.parameter_shapes().items()},
        "data": {"inputs": inputs, "targets": draw(targets(case.loss.kind, samples, case.output_shape))},
    }


def targets(loss: str, samples: int, outputs: Shape) -> SearchStrategy[list]:
    """Targets that the loss takes: numbers, shares of 1, probabilities or classes, signs."""
    *positions, width = samples, *outputs
    number = {"hinge": SIGNS, "squared_hinge": SIGNS}.get(loss, st.integers(0, 1000).map(lambda n: n / 1000))
    match loss:
        case "hinge" | "squared_hinge" | "binary_cross_entropy" | "sigmoid_binary_cross_entropy" | "kl_divergence":
            return array_of(number, (*positions, width))
        case "softmax_cross_entropy" | "negative_log_likelihood":
            return array_of(number, (*positions, width)) | array_of(st.integers(0, width - 1), (*positions,))
        case "gaussian_nll":
            return tensor((*positions, width // 2))
    return tensor((*positions, width))


def array_of(number: SearchStrategy, shape: Shape) -> SearchStrategy[list]:
    """Nested lists of such numbers."""
    length = math.prod(shape)
    return st.lists(number, min_size=length, max_size=length).map(lambda drawn: np.reshape(drawn, shape).tolist())


def case_of(structure: dict) -> Case:
    """The case with this structure, of inputs that are all 0."""
    data = {"inputs": np.zeros((structure["samples"], *structure["shape"])).tolist(), "targets": [[0]]}
    return Case.model_validate(_without_sizes(structure) | {"data": data})


def _without_sizes(structure: dict) -> dict:
    return {key: value for key, value in structure.items() if key not in ("samples", "shape")}


@st.composite
def scenarios(draw: DrawFn, most: int = PROBLEMS_AN_EXAMPLE) -> Scenarios:
    """A structure, and so many problems of it as can be drawn at once, at most `most`."""
    structure = draw(structures())
    case = case_of(structure)
    data = structure["samples"] * sum(map(math.prod, (structure["shape"], case.output_shape)))
    numbers = sum(map(math.prod, case.parameter_shapes().values())) + data
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
    """Judge the gradients alone of a case that is run by hand, and a part of what the run holds.

    Returns:
        The verdicts, and how many `gates` were met at a kink, how many of them `decided`: by the convention where every
        program finds the same number. Of the others it says how many there are whose sides were not all tried.

    Raises:
        FalseAlarm: if they are refused.
    """
    problem = materialise(Case.model_validate(case), case["dtypes"][0])
    run = backend("numpy").run(problem)
    alone = judged(problem, "numpy", gradients_only(problem, run))
    if alone.verdict == "differs" and not honest(problem, replace(alone, trajectory=run)):
        raise FalseAlarm(case, alone)
    part = judged(problem, "numpy", part_of(problem, run, len(str(case))))
    if part.verdict == "differs" and not honest(problem, replace(part, trajectory=run)):
        raise FalseAlarm(case, part)
    kind = "exact" if _exactly_drawn(case) else "other"
    gates = gates_at_kinks(problem, alone.trajectory)
    verdicts = {f"{alone.verdict} end to end": 1, f"{part.verdict} in part": 1}
    return Counter(verdicts | {f"{kind} {name}": number for name, number in gates.items()})


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
    last, real = problem.output, problem.batches[run.steps] >= 0
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
    return 8.0 * len(problem.inputs) * max(map(math.prod, problem.shapes.values()))


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
