"""At a kink the convention decides where the side is certain; elsewhere a number fits one side or the other."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backproof.backends import numpy_reference
from backproof.backends.trajectory import of_arrays
from backproof.backends.trajectory_files import save_run
from backproof.cases.format.schema import CASES, Case
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.load import load
from backproof.reference.formulas import activations, losses
from backproof.reference.numbers.balls import floats
from backproof.reference.numbers.bounded import exact
from backproof.reference.numbers.kinks import Kinks
from backproof.reference.numbers.precision import precision_of
from backproof.report.__main__ import main
from backproof.report.judging import kinks as kinks_module
from backproof.report.judging.judge import judge
from backproof.report.judging.outcome import attempt
from tests.trial.bounds import WIDE_DTYPES
from tests.trial.planting import gradients_only, planted

both_dtypes = pytest.mark.parametrize("dtype", WIDE_DTYPES)

# ---------------------------------------------------------------- what every program finds

SMALL = st.integers(-(2**8), 2**8)


@both_dtypes
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_number_with_a_grid_is_found_by_every_program(dtype, data):
    """Sums of random orders in the dtype give the very number, and it is a multiple of the grid."""
    n, scale = data.draw(st.integers(1, 6)), 2.0 ** data.draw(st.integers(-12, 12))
    a, b = (np.array(data.draw(st.lists(SMALL, min_size=n, max_size=n)), dtype) * dtype(scale) for _ in "ab")
    bias, order = dtype(data.draw(SMALL) * scale), data.draw(st.permutations(range(n + 1)))
    precision = precision_of(np.dtype(dtype))
    row, column = exact(a[None], precision), exact(b[:, None], precision)
    bounded = np.maximum((row @ column) + exact(bias[None, None], precision), 0)
    terms, total = np.append(a * b, bias), dtype(0)
    for i in order:
        total = dtype(total + terms[i])
    if bounded.grid[0, 0] > 0:
        assert float(bounded.value[0, 0]) == np.maximum(total, 0)
        assert bounded.value[0, 0] == 0 or bounded.value[0, 0] % bounded.grid[0, 0] == 0


def grid_of(formula, *arrays) -> float:
    precision = precision_of(np.dtype(np.float32))
    return float(formula(*(exact(np.float32(array), precision) for array in arrays)).grid.max())


GRIDS = {
    "a number": (lambda a: a, ([[6.0]],), 2),
    "a subnormal number": (lambda a: a, ([[1e-40]],), 0),
    "zero": (lambda a: a, ([[0.0]],), np.inf),
    "sum": (lambda a, b: a + b, ([[0.75]], [[1.0]]), 0.25),
    "sum that is rounded": (lambda a, b: a + b, ([[2.0**24]], [[1.0]]), 0),
    "difference": (lambda a, b: a - b, ([[0.75]], [[1.0]]), 0.25),
    "difference of what is the same": (lambda a, b: a - b, ([[0.1]], [[0.1]]), 2.0**-27),
    "product": (lambda a, b: a * b, ([[0.75]], [[6.0]]), 0.5),
    "product that is rounded": (lambda a, b: a * b, ([[0.1]], [[0.1]]), 0),
    "product that is flushed": (lambda a, b: a * b, ([[2.0**-100]], [[2.0**-100]]), 0),
    "product with zero": (lambda a, b: np.tanh(a) * b, ([[0.3]], [[0.0]]), np.inf),
    "square": (np.square, ([[0.75]],), 2.0**-4),
    "quotient by a power of two": (lambda a: a / 4, ([[3.0]],), 0.25),
    "quotient by three": (lambda a: a / 3, ([[3.0]],), 0),
    "larger one": (lambda a: np.maximum(a, 0), ([[0.75]],), 0.25),
    "smaller one": (lambda a: np.minimum(a, 6), ([[7.0]],), 2),
    "larger one, whatever the other is": (lambda a: np.maximum(np.tanh(a), 2), ([[0.3]],), 2),
    "absolute value": (np.abs, ([[-0.75]],), 0.25),
    "reduction": (lambda a: a.sum(axis=-1), ([[0.75, -1.0, 3.0]],), 0.25),
    "reduction that is rounded": (lambda a: a.sum(axis=-1), ([[2.0**24, 1.0, 1.0]],), 0),
    "reduction that cancels": (lambda a: a.sum(axis=-1), ([[0.1, -0.1]],), 2.0**-27),
    "matrix product": (lambda a, b: a @ b, ([[0.5, 3.0]], [[1.0], [1.0]]), 0.5),
    "matrix product of what is vague with zero": (lambda a, b: np.tanh(a) @ b, ([[0.5, 3.0]], [[0.0], [0.0]]), np.inf),
    "matrix product of what is vague": (lambda a, b: np.tanh(a) @ b, ([[0.5, 0.0]], [[1.0], [0.0]]), 0),
    "zero by three": (lambda a: a / 3, ([[0.0]],), np.inf),
    "zero by zero": (lambda a: a / a, ([[0.0]],), 0),
    "root of zero": (np.sqrt, ([[0.0]],), np.inf),
    "functions that are 0 at 0": (lambda a: np.tanh(np.expm1(np.log1p(a))), ([[0.0]],), np.inf),
    "elementary function": (np.exp, ([[0.0]],), 0),
    "side of a kink": (lambda a: np.heaviside(a, 0), ([[0.1]],), 1),
    "one of several": (lambda a: a[..., :1], ([[0.75, 1.0]],), 0.25),
}


@pytest.mark.parametrize(("formula", "arrays", "grid"), GRIDS.values(), ids=GRIDS)
def test_grid(formula, arrays, grid):
    """Of each rule, in float32; a sum that may go on has that of its terms."""
    assert grid_of(formula, *arrays) == grid


@both_dtypes
def test_a_sum_of_zeros_is_zero(dtype):
    precision = precision_of(np.dtype(dtype))
    zeros, any_numbers = exact(np.zeros((2, 3), dtype), precision), exact(np.full((3, 2), 0.1, dtype), precision)
    for result in (zeros.sum(axis=-1), zeros @ any_numbers, (zeros @ any_numbers) + zeros[:, :2]):
        assert (result.value == 0).all()
        assert (result.bound == 0).all()


# ---------------------------------------------------------------- certain sides

WRONG = (0.3, 0.5, 1.0)  # in place of the convention's number


def network_at(kind: str, x: float, **settings_of) -> dict:
    """A network of one dense layer whose second unit lies at x exactly, reached as 2 · x - x."""
    return {
        "title": "at a kink",
        "dtypes": ["float64", "float32"],
        "network": [{"dense": {"name": "one", "units": 2}}, {kind: settings_of}],
        "parameters": {"one.weight": [[1, 2 * x]], "one.bias": [0.25, -x]},
        "data": {"inputs": [[1]], "targets": [[5, 7]]},
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
    }


PIECEWISE = [
    ("relu", 0), ("leaky_relu", 0), ("relu6", 0), ("relu6", 6), ("hard_tanh", -1), ("hard_tanh", 1), ("elu", 0),
    ("selu", 0), ("hard_sigmoid", -3), ("hard_sigmoid", 3), ("hard_swish", -3), ("hard_swish", 3),
]  # fmt: skip


def at_kink_instead(slope: float, x_at: float):
    """A backward pass that is right but for its derivative where x is at the kink."""

    def wrong(right):
        def backward(x, y, dy, *others, **settings):
            usual = right(x, y, dy, *others, **settings)
            return np.where(np.asarray(x) == x_at, dy * np.asarray(dy).dtype.type(slope), usual)

        return backward

    return wrong


@both_dtypes
@pytest.mark.parametrize(
    ("kind", "x", "slope"),
    [(kind, x, slope) for kind, x in PIECEWISE for slope in WRONG if (kind, x, slope) != ("hard_swish", 3, 1)],  # right
)
@pytest.mark.parametrize("scope", ["layers", "gradients"])
def test_a_wrong_derivative_at_a_kink_is_never_certified(kind, x, slope, dtype, scope):
    """Of every piecewise activation; the right one is, so that it is the derivative that it is refused for."""
    settings_of = {"alpha": 1.25} if kind == "elu" else {}
    problem = materialise(Case.model_validate(network_at(kind, x, **settings_of)), np.dtype(dtype).name)
    assert verdict_of(problem, numpy_reference.run(problem), scope) == "certified"
    _, right = activations.ACTIVATIONS[kind]
    with planted(right, at_kink_instead(slope, x)(right)):
        run = numpy_reference.run(problem)
    assert verdict_of(problem, run, scope) == "differs"


def verdict_of(problem: Problem, run, scope: str) -> str:
    return judge(problem, run if scope == "layers" else gradients_only(problem, run)).verdict


@both_dtypes
@pytest.mark.parametrize("slope", WRONG)
@pytest.mark.parametrize(("kind", "y", "t"), [("absolute_error", 0.75, 0.75), ("hinge", 1, 1), ("hinge", -1, -1)])
@pytest.mark.parametrize("scope", ["layers", "gradients"])
def test_a_wrong_derivative_of_a_loss_at_a_kink_is_never_certified(kind, y, t, slope, dtype, scope):
    case = {
        "title": "at a kink",
        "dtypes": ["float64", "float32"],
        "network": [{"dense": {"name": "one", "units": 2}}],
        "parameters": {"one.weight": [[2 * y, 0.5]], "one.bias": [-y, 0.25]},
        "data": {"inputs": [[1]], "targets": [[t, -1]]},
        "loss": {kind: {"factor": 1, "reduction": "sum"}},
    }
    problem = materialise(Case.model_validate(case), np.dtype(dtype).name)
    assert verdict_of(problem, numpy_reference.run(problem), scope) == "certified"
    _, right = losses.LOSSES[kind]
    at = (lambda y, t: y == t) if kind == "absolute_error" else (lambda y, t: t * y == 1)

    def wrong(loss, y, t):
        return np.where(at(np.asarray(y), t), np.asarray(y).dtype.type(slope), right(loss, y, t))

    with planted(right, wrong):
        run = numpy_reference.run(problem)
    assert verdict_of(problem, run, scope) == "differs"


@both_dtypes
@pytest.mark.parametrize("slope", WRONG)
def test_xor_with_relu_exercises_its_kink(dtype, slope):
    """Its note speaks of the sample (0, 0), whose hidden preactivations are 0: the bias' gradient is behind them."""
    problem = materialise(load(CASES / "xor" / "relu.yaml"), np.dtype(dtype).name)
    with planted(activations.relu_backward, at_kink_instead(slope, 0)(activations.relu_backward)):
        run = numpy_reference.run(problem)
    for scope in ("layers", "gradients"):
        judgement = judge(problem, run if scope == "layers" else gradients_only(problem, run))
        assert (judgement.verdict, judgement.where.step) == ("differs", 0)


# ---------------------------------------------------------------- uncertain sides


def uncertain_network(samples: int, units: int = 1) -> dict:
    """A relu network whose preactivations are 0 but for what three terms may be off in any order."""
    return {
        "title": "near a kink",
        "dtypes": ["float64", "float32"],
        "network": [{"dense": {"name": "one", "units": units}}, "relu"],
        "parameters": {"one.weight": [[0.1] * units, [0.7] * units], "one.bias": [-0.5] * units},
        "data": {"inputs": [[0.3 + 0.7 * i, (0.5 - 0.1 * (0.3 + 0.7 * i)) / 0.7] for i in range(samples)],
                 "targets": [[5 + i] * units for i in range(samples)]},
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
    }  # fmt: skip


def on_sides(problem: Problem, slopes: np.ndarray):
    """The gradients of a program that finds these derivatives, one a sample and unit."""
    w, b, x, t = *problem.parameters.values(), problem.inputs, problem.targets
    y = np.maximum(x @ w + b, 0)
    d = (y - t) * slopes.astype(problem.dtype)
    same = {path: array[None] for path, array in problem.parameters.items()}
    gradients = {"one.weight": (x.T @ d)[None], "one.bias": d.sum(axis=0)[None]}
    loss = np.asarray(0.5 * np.sum((y - t) ** 2), problem.dtype)
    arrays = {"loss": loss[None], "final_loss": loss, "before": same, "after": same, "gradients": gradients}
    return of_arrays(arrays, problem, 0.0)


@both_dtypes
def test_each_side_of_an_uncertain_kink_is_right_and_nothing_between(dtype):
    problem = materialise(Case.model_validate(uncertain_network(3)), np.dtype(dtype).name)
    for sides in np.ndindex(2, 2, 2):
        judgement = judge(problem, on_sides(problem, np.array(sides)[:, None]))
        assert judgement.verdict == "certified", judgement.message
    for slopes in ([0.5, 1, 0], [0, 0, 0.3], [1, 1, -1], [2, 0, 0]):
        judgement = judge(problem, on_sides(problem, np.array(slopes)[:, None]))
        assert judgement.verdict == "differs", slopes
        assert judgement.where.phase == "gradient"


@both_dtypes
def test_all_gradients_of_a_step_must_fit_the_same_sides(dtype):
    """A weight's gradient of one side, and a bias' of the other, is no program's."""
    problem = materialise(Case.model_validate(uncertain_network(1)), np.dtype(dtype).name)
    closed, opened = (on_sides(problem, np.full((1, 1), side)) for side in (0, 1))
    mixed = replace(opened, gradients=opened.gradients | {"one.bias": closed.gradients["one.bias"]})
    assert judge(problem, opened).verdict == "certified"
    assert judge(problem, mixed).verdict == "differs"


@both_dtypes
def test_many_kinks_are_tried_in_groups(dtype):
    """2²⁰ combinations are too many, but the gates of one unit change no other unit's gradient."""
    problem = materialise(Case.model_validate(uncertain_network(4, 5)), np.dtype(dtype).name)
    random = np.random.default_rng(0)
    for _ in range(3):
        right = judge(problem, on_sides(problem, random.integers(0, 2, (4, 5))))
        assert right.verdict == "certified", right.message
        assert right.ledger.undecided == 0
    between = judge(problem, on_sides(problem, random.uniform(0.2, 0.8, (4, 5))))
    assert between.verdict == "differs"


@both_dtypes
def test_too_many_kinks_of_one_unit_are_undecided(dtype):
    """Twelve of them have 4,096 combinations; what is on no side of any number of them is wrong all the same."""
    problem = materialise(Case.model_validate(uncertain_network(12)), np.dtype(dtype).name)
    random = np.random.default_rng(0)
    judgement = judge(problem, on_sides(problem, random.integers(0, 2, (12, 1))))
    assert judgement.verdict == "undecided"
    assert judgement.ledger.undecided == 3
    assert "kinks whose side is not certain" in judgement.message
    assert judge(problem, on_sides(problem, np.full((12, 1), 2.0))).verdict == "differs"


def test_what_cannot_be_tried_is_not_certified(monkeypatch):
    """Not even where the number is right."""
    monkeypatch.setattr(kinks_module, "MOST_GATES", 1)
    monkeypatch.setattr(kinks_module, "MOST_COMBINATIONS", 1)
    problem = materialise(Case.model_validate(uncertain_network(2)), "float64")
    verdicts = {judge(problem, on_sides(problem, np.array(sides)[:, None])).verdict for sides in np.ndindex(2, 2)}
    assert verdicts == {"certified", "undecided"}


def two_gates(first_widths: int, second_widths: int) -> dict:
    """Two samples, one a step: the first meets a kink of layer a, the second one of layer b, by rounding alone."""
    random = np.random.default_rng(0)
    a, b, c = (
        random.uniform(0.3, 1, shape)
        for shape in ((2, first_widths), (first_widths, second_widths), (second_widths, 1))
    )
    x = np.array([[1.0, 1.0], [0.7, 0.9]])
    of_a, of_b = np.zeros(first_widths), np.full(second_widths, 0.1)
    of_a[0] = -np.float32(np.float32(x[0]) @ np.float32(a[:, 0]))
    hidden = np.maximum(np.float32(x[1]) @ np.float32(a) + np.float32(of_a), 0)
    of_b[1] = -np.float32(hidden @ np.float32(b[:, 1]))
    return {
        "title": "kinks of two layers at two steps",
        "dtypes": ["float32"],
        "network": [
            {"dense": {"name": "a", "units": first_widths}}, "relu",
            {"dense": {"name": "b", "units": second_widths}}, "relu", {"dense": {"name": "c", "units": 1}},
        ],
        "parameters": {
            "a.weight": a.tolist(), "a.bias": of_a.tolist(), "b.weight": b.tolist(), "b.bias": of_b.tolist(),
            "c.weight": c.tolist(), "c.bias": [0.1],
        },
        "data": {"inputs": x.tolist(), "targets": [[1.0], [2.0]]},
        "loss": {"squared_error": {"factor": 1, "reduction": "sum"}},
        "training": {"steps": 2, "batch": {"size": 1}, "optimizer": {"sgd": {"learning_rate": 1e-9}}},
    }  # fmt: skip


@pytest.mark.parametrize("widths", [(3, 3), (3, 4)])
@pytest.mark.parametrize("side", [0.0, 1.0])
def test_each_step_has_the_kinks_of_its_own_layers(widths, side):
    """A kink is known by its place in the computation, not by how many were uncertain before it."""
    problem = materialise(Case.model_validate(two_gates(*widths)), "float32")
    with planted(activations.relu_backward, at_kink_instead(side, 0)(activations.relu_backward)):
        run = gradients_only(problem, numpy_reference.run(problem))
    assert judge(problem, run).verdict == "certified"


def test_a_kink_of_the_optimizer_decides_none_of_the_network():
    """Lion steps by a sign that is uncertain; the gradients' own gates are too many all the same."""
    case = uncertain_network(12)
    case["data"]["inputs"] = [[*x, 2e-38] for x in case["data"]["inputs"]]
    case["parameters"]["one.weight"].append([0.0])
    verdicts = set()
    for optimizer in ({"sgd": {"learning_rate": 1e-3}}, {"lion": {"learning_rate": 1e-3, "beta1": 0.999999}}):
        case["training"] = {"steps": 1, "optimizer": optimizer}
        problem = materialise(Case.model_validate(case), "float32")
        right = gradients_only(problem, numpy_reference.run(problem))
        y = np.maximum(problem.inputs @ problem.parameters["one.weight"] + problem.parameters["one.bias"], 0)
        of_open_gates = (problem.inputs.T @ (y - problem.targets))[None]
        mixed = {"one.weight": of_open_gates, "one.bias": 0 * right.gradients["one.bias"]}  # and of closed ones
        verdicts.add(judge(problem, replace(right, gradients=mixed)).verdict)
    assert "certified" not in verdicts


def test_what_cancels_from_one_side_is_seen_from_another():
    """A relu's gate changes nothing while what comes back from two outputs cancels."""
    weights, x = np.float32([[0.1, 0.3], [0.7, 0.2]]), np.float32([0.3, (0.5 - 0.03) / 0.7])
    to_kink = float(-np.float32(x.astype(float) @ weights[:, 0].astype(float)))
    hidden = np.float32(x.astype(float) @ weights[:, 1].astype(float) + 0.5)
    case = {
        "title": "an exact fit behind a kink",
        "dtypes": ["float32"],
        "network": [{"dense": {"name": "a", "units": 2}}, "relu", {"dense": {"name": "c", "units": 2}}],
        "parameters": {
            "a.weight": weights.tolist(), "a.bias": [to_kink, 0.5],
            "c.weight": [[1, -1], [0.7, 0.9]], "c.bias": [0, 0],
        },
        "data": {"inputs": [x.tolist()], "targets": [[float(np.float32(w) * hidden) for w in (0.7, 0.9)]]},
        "loss": {"absolute_error": {"factor": 1, "reduction": "sum"}},
    }  # fmt: skip
    problem = materialise(Case.model_validate(case), "float32")
    run = gradients_only(problem, numpy_reference.run(problem))
    for gate in (0, 1):
        signs, h = np.float32([[1, -1]]), np.float32([[0, hidden]])
        dz = (signs @ problem.parameters["c.weight"].T) * np.float32([[gate, 1]])
        gradients = {"a.weight": x[:, None] @ dz, "a.bias": dz[0], "c.weight": h.T @ signs, "c.bias": signs[0]}
        fitted = replace(
            run, loss=np.zeros(1, np.float32), final_loss=np.zeros((), np.float32), final_values={},
            gradients={path: gradient[None] for path, gradient in gradients.items()},
        )  # fmt: skip
        assert judge(problem, fitted).verdict == "certified"


def test_a_network_may_be_deeper_than_calls_may_be():
    """The grid of the last layer's numbers rests on those of all layers before it."""
    layers, parameters = 150, {}
    for i in range(layers):
        parameters |= {f"l{i}.weight": [[0.7, 0.1], [0.3, 0.9]], f"l{i}.bias": [0.1, 0.0]}
    case = {
        "title": "deep",
        "dtypes": ["float32"],
        "network": [layer for i in range(layers) for layer in ({"dense": {"name": f"l{i}", "units": 2}}, "leaky_relu")],
        "parameters": parameters,
        "data": {"inputs": [[1.0, 1.3], [0.7, 0.9]], "targets": [[1.0, 1], [2.0, 2]]},
        "loss": {"squared_error": {"factor": 1, "reduction": "sum"}},
    }
    before_last = numpy_reference.run(materialise(Case.model_validate(case), "float32")).values[
        f"leaky_relu{layers - 1}"
    ]
    parameters[f"l{layers - 1}.bias"][0] = -float(np.float32(before_last[0, 0] @ np.float32([0.7, 0.3])))
    problem = materialise(Case.model_validate(case), "float32")
    assert judge(problem, gradients_only(problem, numpy_reference.run(problem))).verdict == "certified"


def test_a_sign_of_an_optimizer_is_on_one_side_or_the_other(problem_of):
    """Lion steps by the sign of 0.9 · 1 - 0.1 · 9: down, up or not at all, and nothing else."""
    problem = problem_of(
        "float32",
        objective={"gradients": {"values": [[1.0], [-9.0]]}}, network=None, parameters={"x.weight": [0.5]}, data=None,
        loss=None, training={"steps": 2, "optimizer": {"lion": {"learning_rate": 0.25, "beta2": 0}}},
    )  # fmt: skip
    run = numpy_reference.run(problem)
    verdicts = {}
    for moved in (-0.25, 0.0, 0.25, 0.1):
        after = run.after["x.weight"].copy()
        after[1] = run.before["x.weight"][1] + np.float32(moved)
        judgement = judge(problem, replace(run, after={"x.weight": after}))
        verdicts[moved] = judgement.where.place if judgement.where.phase == "update" else ""
    assert verdicts == {-0.25: "", 0.0: "", 0.25: "", 0.1: "step 1, update of x.weight at [0, 0]"}


def test_kinks_are_met_once():
    """A formula that asks twice for the side of the same numbers is told the same side."""
    kinks = Kinks()
    precision = replace(precision_of(np.dtype(np.float32)), kinks=kinks)
    x = exact(np.float32([[0.1]]), precision) - np.tanh(exact(np.float32([[0.1003]]), precision))
    x.bound = np.ones(x.shape)
    activations.leaky_relu_backward(x, x, exact(np.float32([[1.0]]), precision), 0.5)
    assert len(kinks.met) == 1
    assert set(kinks.met[0].signs) == {0.0, 1.0}
    x.precision = replace(precision, kinks=Kinks(lambda *_: -1.0))
    assert x.value > 0
    assert floats(activations.positive(x).value).tolist() == [[0.0]]


# ---------------------------------------------------------------- what may be claimed


@pytest.mark.parametrize(
    ("name", "dtype", "of_zeros"),
    [("depth/tanh_16_wide", "float32", "undecided"), ("precision/vanishing", "bfloat16", "differs")],
)
def test_gradients_that_are_not_resolved_are_not_certified(tmp_path, name, dtype, of_zeros):
    """Right ones or zeros: their allowance is wider than they are, and the updates are the reference's own.

    Of the vanishing ones those of the last layers are resolved.
    """
    problem = materialise(load(CASES / f"{name}.yaml"), dtype)
    honest = judge(problem, gradients_only(problem, numpy_reference.run(problem)))
    assert honest.verdict == "undecided"
    assert "record the layers" in honest.message
    (tmp_path / "zeros.py").write_text(
        "def gradients(parameters, inputs, targets):\n    return {path: 0 * w for path, w in parameters.items()}\n"
    )
    assert attempt(problem, f"mine={tmp_path / 'zeros.py'}:gradients").verdict == of_zeros


def test_a_gradient_that_is_exactly_zero_needs_no_resolution(problem_of):
    """Of a unit that no sample reaches."""
    problem = problem_of(
        network=[{"dense": {"name": "one", "units": 2}}, "relu"],
        parameters={"one.weight": [[-1, 1], [-1, 1]], "one.bias": [0, 0.5]},
        data={"inputs": [[1, 1], [1, 2]], "targets": [[0, 0], [0, 0]]},
    )
    run = gradients_only(problem, numpy_reference.run(problem))
    assert (run.gradients["one.weight"][..., 0] == 0).all()
    assert judge(problem, run).verdict == "certified"


def test_an_undecided_run_is_incomplete(tmp_path, monkeypatch, capsys):
    """Exit code 3, with the reason on the console, and counted in the report."""
    monkeypatch.chdir(tmp_path)
    case = CASES / "depth" / "tanh_16_wide.yaml"
    problem = materialise(load(case), "float32")
    save_run(gradients_only(problem, numpy_reference.run(problem)), tmp_path / "mine.safetensors", problem)
    arguments = ["--run=mine=mine.safetensors", "--backend=numpy", "--dtype=float32", "--no-exact"]
    assert main([str(case), *arguments]) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 runs certified, 1 undecided." in told
    assert "a gradient of zeros would pass as well; record the layers" in told
    counted = r"\| undecided elements, behind kinks whose side is not certain +\| 0 "
    assert re.search(counted, Path("results/report.md").read_text(encoding="utf-8"))


def test_a_gradient_that_cancels_needs_no_resolution(problem_of):
    """Its truth is 0 at every step, but for what rounding leaves."""
    problem = problem_of(
        network=[{"dense": {"name": "one", "units": 1}}],
        parameters={"one.weight": [[0]], "one.bias": [0]},
        data={"inputs": [[-1], [1]], "targets": [[-2], [2]]},
    )
    run = gradients_only(problem, numpy_reference.run(problem))
    assert not run.gradients["one.bias"].any()
    assert judge(problem, run).verdict == "certified"


# ---------------------------------------------------------------- JAX's own function


MAXIMUM_OF_JAX = """\
import jax
import jax.numpy as jnp


def gradients(parameters, inputs, targets):
    def loss(p):
        h = jnp.maximum(inputs @ p["hidden.weight"] + p["hidden.bias"], 0)
        return jnp.mean((h @ p["readout.weight"] + p["readout.bias"] - targets) ** 2)

    return jax.value_and_grad(loss)(parameters)
"""


def test_the_maximum_of_jax_is_refused_at_a_tie(tmp_path):
    """Its derivative is shared out there, half to each side, where the convention of relu is 0."""
    (tmp_path / "mine.py").write_text(MAXIMUM_OF_JAX)
    problem = materialise(load(CASES / "xor" / "relu.yaml"), "float32")
    result = attempt(problem, f"mine={tmp_path / 'mine.py'}:gradients")
    assert (result.verdict, result.judgement.where.step) == ("differs", 0)
    assert "kink of relu" in result.message
