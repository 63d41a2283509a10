"""Every optimizer on every backend, and against torch.optim over many steps; its state is judged like all else."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from backproof.backends.registry import DEFAULT, Unsupported, backend
from backproof.backends.torch_autograd.optimizers import OPTIMIZERS as RULES
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
    Norm,
    Radam,
    Rmsprop,
    Rprop,
    Sgd,
    Value,
)
from backproof.reference.exact_run import exact_run
from backproof.reference.formulas.optimizers import clipped, init, update
from backproof.reference.numbers.balls import floats, working_precision
from backproof.reference.training import train
from backproof.report.judging.judge import judge
from tests.trial.planting import gradients_only

OF_TORCH = [
    Sgd(learning_rate=0.1), Sgd(learning_rate=0.1, weight_decay=0.1), Momentum(learning_rate=0.05, momentum=0.9),
    Momentum(learning_rate=0.05, momentum=0.9, nesterov=True),
    Momentum(learning_rate=0.05, momentum=0.8, dampening=0.3),
    Momentum(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    Asgd(learning_rate=0.1), Asgd(learning_rate=0.1, t0=5, lambd=0.3, alpha=0.6, weight_decay=0.1),
    Rprop(learning_rate=0.01), Rprop(learning_rate=0.1, smallest_step=0.05, largest_step=0.2, increase=1.5),
    Adagrad(learning_rate=0.1), Adagrad(learning_rate=0.1, weight_decay=0.1),
    Adagrad(learning_rate=0.1, initial_accumulator=0.1, epsilon=1e-3),
    Adadelta(learning_rate=1.0), Adadelta(learning_rate=1.0, weight_decay=0.1), Rmsprop(learning_rate=0.01),
    Rmsprop(learning_rate=0.01, weight_decay=0.1), Rmsprop(learning_rate=0.01, centered=True, epsilon=1e-3),
    Rmsprop(learning_rate=0.01, momentum=0.9), Rmsprop(learning_rate=0.01, momentum=0.9, centered=True, epsilon=1e-3),
    Adam(learning_rate=0.01), Adam(learning_rate=0.01, amsgrad=True), Adam(learning_rate=0.1, beta1=0.0, epsilon=0.1),
    Adam(learning_rate=0.01, weight_decay=0.1), Adam(learning_rate=0.01, epsilon_hat=True, epsilon=1e-3),
    Adamw(learning_rate=0.01), Adamw(learning_rate=0.01, amsgrad=True, weight_decay=0.3), Adamax(learning_rate=0.01),
    Adamw(learning_rate=0.01, epsilon_hat=True, epsilon=1e-3), Adamax(learning_rate=0.01, weight_decay=0.1),
    Nadam(learning_rate=0.01), Nadam(learning_rate=0.01, weight_decay=0.1, momentum_decay=0.1),
    Nadam(learning_rate=0.01, weight_decay=0.1, decoupled=True, epsilon=1e-3),
    Radam(learning_rate=0.01), Radam(learning_rate=0.01, weight_decay=0.1, beta2=0.9),
    Radam(learning_rate=0.01, weight_decay=0.1, decoupled=True, epsilon=1e-3),
]  # fmt: skip
NOT_OF_TORCH = [
    Lion(learning_rate=0.01), Lion(learning_rate=0.01, weight_decay=0.3),
    Adagrad(learning_rate=0.1, epsilon_inside=True), Rmsprop(learning_rate=0.01, epsilon_inside=True, centered=True),
    Rmsprop(learning_rate=0.01, initial_mean_square=1.0), Adam(learning_rate=0.01, beta1_decay=0.9),
    Momentum(learning_rate=0.05, momentum=0.8, dampening=0.3, nesterov=True),
]  # fmt: skip
OPTIMIZERS = OF_TORCH + NOT_OF_TORCH


def name_of(optimizer) -> str:
    return " ".join(
        [optimizer.kind, *(f"{name}={value}" for name, value in optimizer if name in optimizer.model_fields_set)]
    )


every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)


def trained(problem_of, optimizer, dtype: str, **changes):
    """30 steps of two samples out of three, the last batch short."""
    training = {"steps": 30, "batch": {"size": 2}, "optimizer": {optimizer.kind: dict(optimizer)}}
    return problem_of(dtype, training=training, **changes)


@pytest.mark.parametrize(("name", "dtype"), [*product(("numpy", "torch"), ("float64", "float32")), ("jax", "float32")])
@every_optimizer
def test_an_optimizer_is_certified(problem_of, optimizer, name, dtype):
    """JAX takes a second to compile each; in float64 it runs the cases. Torch refuses what it has not, but for Lion."""
    problem = trained(problem_of, optimizer, dtype)
    if name == "torch" and optimizer in NOT_OF_TORCH and optimizer.kind != "lion":
        with pytest.raises(Unsupported, match=r"torch\.optim"):
            backend(name).run(problem)
        return
    run = backend(name).run(problem)
    judgement = judge(problem, run)
    assert judgement.message == ""
    assert {*run.state_after} == {f"{state}/{path}" for state in optimizer.state for path in problem.parameters}
    assert judge(problem, gradients_only(problem, run)).message == ""


@pytest.fixture
def in_double():
    """torch.optim keeps some of its scalars in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("optimizer", [*OF_TORCH, Radam(learning_rate=0.01, beta2=0.5)], ids=name_of)
def test_the_reference_is_the_library_s(optimizer):
    """Over 50 steps with gradients of all sizes, zeros among them."""
    start, gradients = start_and_gradients()
    tensor = torch.tensor(start, requires_grad=True)
    theirs = RULES[optimizer.kind](optimizer, [tensor])
    for g, (w, state) in zip(gradients, ours(optimizer, start, gradients), strict=True):
        tensor.grad = torch.tensor(g)
        theirs.step()
        np.testing.assert_allclose(w, tensor.detach().numpy(), rtol=1e-11, atol=1e-12)
        if "average" in optimizer.state:
            np.testing.assert_allclose(state["average/w"], theirs.state[tensor]["ax"].numpy(), rtol=1e-11)
    assert (w != start).all()


@pytest.mark.parametrize(("inside", "after"), [(True, 0.0), (False, -0.5e-10)])
def test_a_gradient_whose_square_is_flushed_moves_nothing_inside_the_root(inside, after):
    """As optax has it: w where s = 0; outside the root g is divided by what is added."""
    optimizer = Adagrad(learning_rate=0.5, epsilon=1e-20, epsilon_inside=inside)
    weights, state = update(optimizer, {"w": np.zeros(1, np.float32)}, {"w": np.full(1, 1e-30, np.float32)},
                            {"accumulator/w": np.zeros(1, np.float32)}, 0)  # fmt: skip
    assert state["accumulator/w"] == 0
    np.testing.assert_allclose(weights["w"], [after], rtol=1e-6)


def test_lion_stands_still_where_nothing_pulls():
    """sign(0) = 0."""
    weights, _ = update(Lion(learning_rate=0.5), {"w": np.ones(2)}, {"w": np.array([0.0, 3.0])},
                        {"first_moment/w": np.zeros(2)}, 0)  # fmt: skip
    assert weights["w"].tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("optimizer", "theirs"),
    [
        (Adagrad(learning_rate=0.1, epsilon=1e-3, epsilon_inside=True), lambda optax: optax.adagrad(0.1, 0.0, 1e-3)),
        (Rmsprop(learning_rate=0.1, epsilon=1e-3, epsilon_inside=True), lambda optax: optax.rmsprop(0.1, 0.99, 1e-3)),
        (
            Rmsprop(learning_rate=0.1, epsilon=1e-3, epsilon_inside=True, centered=True),
            lambda optax: optax.rmsprop(0.1, 0.99, 1e-3, centered=True),
        ),
        (Lion(learning_rate=0.1), lambda optax: optax.lion(0.1, weight_decay=0.0)),
    ],
    ids=["adagrad", "rmsprop", "rmsprop centered", "lion"],
)
def test_the_reference_is_optax(optimizer, theirs):
    """Likewise, where torch.optim has none."""
    import optax
    from jax import numpy as jnp

    from backproof.backends import jax_autograd  # noqa: F401, turns float64 on

    start, gradients = start_and_gradients()
    transformation, their_w = theirs(optax), jnp.asarray(start)
    their_state = transformation.init(their_w)
    for g, (w, _) in zip(gradients, ours(optimizer, start, gradients), strict=True):
        updates, their_state = transformation.update(jnp.asarray(g), their_state, their_w)
        their_w = optax.apply_updates(their_w, updates)
        np.testing.assert_allclose(w, their_w, rtol=1e-11, atol=1e-12)
    assert (w != start).all()


def start_and_gradients() -> tuple[np.ndarray, list[np.ndarray]]:
    """Of 50 steps, (3, 2)."""
    random = np.random.default_rng(0)
    sizes = (10 ** random.uniform(-4, 2, (3, 2)) * (random.random((3, 2)) < 0.9) for _ in range(50))
    return random.normal(size=(3, 2)), [random.normal(size=(3, 2)) * size for size in sizes]


def ours(optimizer, start: np.ndarray, gradients) -> Iterator[tuple[np.ndarray, dict]]:
    """The parameter and the state after each step."""
    w, state = {"w": start}, init(optimizer, {"w": start})
    for step, g in enumerate(gradients):
        w, state = update(optimizer, w, {"w": g}, state, step)
        yield w["w"], state


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("maximum", [0.1, 3.0, 100.0])
def test_gradients_are_clipped_as_the_library_does(maximum):
    """By value, and by the norm of all of them, to which torch adds 1e-6."""
    gradients = {"a.weight": np.array([[3.0, -4.0], [0.5, -12.0]]), "a.bias": np.array([0.0, -0.05])}
    for clip, theirs in (
        (Value(maximum=maximum), torch.nn.utils.clip_grad_value_),
        (Norm(maximum=maximum, epsilon=1e-6), torch.nn.utils.clip_grad_norm_),
    ):
        tensors = {path: torch.zeros(g.shape) for path, g in gradients.items()}
        for path, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[path])
        theirs([*tensors.values()], maximum)
        axes = {path: tuple(range(-g.ndim, 0)) for path, g in gradients.items()}
        for path, g in clipped(clip, gradients, axes).items():
            np.testing.assert_allclose(g, tensors[path].grad.numpy(), rtol=1e-13)


def test_a_beta1_that_fades():
    """By the first version of the paper: the average of step t has the decay β₁ λ^(t - 1); torch.optim has none."""
    optimizer = Adam(learning_rate=0.01, beta1=0.8, beta1_decay=0.7)
    moment, gradients = 0.0, np.array([[1.0], [-0.3], [2.0], [0.7]])
    for step, (_, state) in enumerate(ours(optimizer, np.zeros(1), gradients)):
        beta = 0.8 * 0.7**step
        moment = beta * moment + (1 - beta) * gradients[step]
        np.testing.assert_allclose(state["first_moment/w"], moment, rtol=1e-14)


@every_optimizer
def test_the_reference_in_balls_is_the_reference(problem_of, optimizer):
    """Of a short run, by the learning rates of a schedule where it takes one; the balls prove 20 digits."""
    scheduled = {} if optimizer.kind in ("asgd", "rprop") else {"schedule": {"cosine_decay": {"steps": 9}}}
    training = {"steps": 8, "batch": {"size": 2}, "optimizer": {optimizer.kind: dict(optimizer)}} | scheduled
    problem = problem_of(training=training)
    exact = exact_run(problem, {7}, seconds=60)
    *_, last = train(problem)
    with working_precision(exact.bits):
        for ours, balls in ((last.after, exact.steps[7].after), (last.state_after, exact.steps[7].state_after)):
            for name, values in ours.items():
                np.testing.assert_allclose(values, floats(balls[name]), rtol=1e-9, atol=1e-15)


@every_optimizer
def test_a_stack_of_steps_is_a_loop(optimizer):
    """Also where the steps are not consecutive."""
    random = np.random.default_rng(1)
    steps = np.array([0, 1, 7, 100])
    w, g = ({"w": random.normal(size=(4, 3, 2)), "b": random.normal(size=(4, 2))} for _ in range(2))
    state = {name: random.uniform(size=value.shape) for name, value in init(optimizer, w).items()}
    state = {name: 9 + value if name.startswith("mean_square/") else value for name, value in state.items()}
    together, remembered = update(optimizer, w, g, state, steps)
    for i, step in enumerate(steps.tolist()):
        alone = update(optimizer, *({name: array[i] for name, array in part.items()} for part in (w, g, state)), step)
        for actual, desired in zip((together, remembered), alone, strict=True):
            for name, array in desired.items():
                np.testing.assert_allclose(actual[name][i], array, rtol=1e-13)


@pytest.mark.parametrize("name", DEFAULT)
def test_a_wrong_state_is_named(problem_of, name):
    problem = trained(problem_of, Adam(learning_rate=0.01), "float64")
    run = backend(name).run(problem)
    moments = run.state_after["second_moment/hidden.weight"].copy()
    moments[29, 1, 2] *= 1 + 1e-13
    judgement = judge(problem, replace(run, state_after=run.state_after | {"second_moment/hidden.weight": moments}))
    where = judgement.where
    assert (where.step, where.phase, where.tensor) == (29, "state", "second_moment/hidden.weight")
    assert where.index == (1, 2)


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_what_a_fading_beta1_leaves_is_computed_in_float32(problem_of, name):
    """Found by a random scenario: 1 - 0.998 has three digits in float16 only if it is rounded afterwards."""
    optimizer = Adam(learning_rate=0.195, beta1=0.998, beta1_decay=0.357, epsilon=0.5)
    problem = problem_of("float16", training={"steps": 2, "optimizer": {"adam": dict(optimizer)}})
    assert judge(problem, backend(name).run(problem)).message == ""


@pytest.mark.parametrize("name", DEFAULT)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_feature_that_is_always_zero_has_a_variance_of_zero(problem_of, name, dtype):
    """Of RMSprop: 0 - 0 under the root is 0 in every program, and its weights stay where they are."""
    data = {"inputs": [[1, 0], [2, 0], [-1, 0]], "targets": [[1], [2], [0.5]]}
    problem = trained(problem_of, Rmsprop(learning_rate=0.01, centered=True), dtype, data=data)
    run = backend(name).run(problem)
    assert (run.after["hidden.weight"][-1, 1] == problem.parameters["hidden.weight"][1]).all()
    assert (run.after["hidden.weight"][-1, 0] != problem.parameters["hidden.weight"][0]).any()
    for scope in (run, gradients_only(problem, run)):
        assert judge(problem, scope).message == ""
