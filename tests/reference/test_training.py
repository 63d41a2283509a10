"""The training loop against the programs of the tutorials, and its batches and steps."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from backproof.cases.format.losses import SquaredError
from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem, materialise
from backproof.reference.formulas.losses import loss_backward, loss_forward
from backproof.reference.training import Step, backward, forward, train

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ULPS = 64


def case(**changes) -> Problem:
    """XOR as in the notes on batches and epochs: 2-4-1, sigmoid, no biases, full batch."""
    settings = {
        "title": "XOR",
        "dtypes": ["float64"],
        "network": [
            {"dense": {"name": "hidden", "units": 4, "bias": False}},
            "sigmoid",
            {"dense": {"name": "readout", "units": 1, "bias": False}},
            "sigmoid",
        ],
        "parameters": {f"{name}.weight": {"uniform": {"low": 0, "high": 1}} for name in ("hidden", "readout")},
        "random": {"generator": "mt19937", "seed": 0},
        "data": {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]},
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
        "training": {"steps": 50, "optimizer": {"sgd": {"learning_rate": 0.1}}},
    }
    return materialise(Case.model_validate(settings | changes), "float64")


def last_step(problem: Problem) -> Step:
    *_, last = train(problem)
    return last


def assert_close(actual: np.ndarray, desired: np.ndarray) -> None:
    """Equal but for the rounding of a short run."""
    np.testing.assert_array_max_ulp(actual, np.asarray(desired).reshape(actual.shape), ULPS)


# ---------------------------------------------------------------- the tutorials' programs, as they stand
# ruff: noqa: NPY002, N806


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_derivative(x):
    return x * (1 - x)


def sigmoid_prime(x):
    return sigmoid(x) * (1 - sigmoid(x))


def test_the_program_of_the_notes_on_batches_and_epochs():
    np.random.seed(0)
    w1 = np.random.uniform(size=(2, 4))
    w2 = np.random.uniform(size=(4, 1))
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    y = np.array([[0], [1], [1], [0]])
    learning_rate = 0.1
    for _ in range(50):
        # Forward propagation
        layer1_output = sigmoid(np.dot(X, w1))
        output = sigmoid(np.dot(layer1_output, w2))
        # Backpropagation
        error = y - output
        output_delta = error * sigmoid_derivative(output)
        layer1_error = output_delta.dot(w2.T)
        layer1_delta = layer1_error * sigmoid_derivative(layer1_output)
        # Update weights
        w2 += layer1_output.T.dot(output_delta) * learning_rate
        w1 += X.T.dot(layer1_delta) * learning_rate
    last = last_step(case())
    assert_close(last.after["hidden.weight"], w1)
    assert_close(last.after["readout.weight"], w2)
    assert_close(last.values["sigmoid2"], output)
    assert_close(last.cotangents["readout"], -output_delta)
    assert_close(last.cotangents["hidden"], -layer1_delta)


def test_the_program_of_the_step_by_step_implementation():
    """A Step-by-Step Implementation of Gradient Descent and Backpropagation."""
    X, y = np.array([[0, 0, 1], [1, 1, 1], [1, 0, 1], [0, 1, 1]]), np.array([[0, 1, 1, 0]]).T
    neural_network = run_path(str(EXAMPLES / "three_four_one.py"))["NeuralNetwork"]()
    neural_network.gradient_descent(X, y, 50)
    problem = case(
        random={"generator": "mt19937", "seed": 10},
        data={"inputs": X.tolist(), "targets": y.tolist()},
        training={"steps": 50, "optimizer": {"sgd": {"learning_rate": 1}}},
    )
    last = last_step(problem)
    assert_close(last.after["hidden.weight"], neural_network.wij)
    assert_close(last.after["readout.weight"], neural_network.wjk)


def neuron(inputs: list, target: float, weights: list) -> Step:
    return last_step(
        case(
            network=[{"dense": {"name": "unit", "units": 1, "bias": False}}, "sigmoid"],
            parameters={"unit.weight": [[weight] for weight in weights]},
            random=None,
            data={"inputs": [inputs], "targets": [[target]]},
            training={"steps": 1, "optimizer": {"sgd": {"learning_rate": 0.5}}},
        )
    )


@pytest.mark.parametrize(
    ("inputs", "y", "initial"),
    [([0.1, 0.3], 0.2, [-0.8, 0.5]), ([1, 2], 0.5, [0.5, -0.5]), ([1, 2, 3, 4], 0.5, [0.5, -0.5, 0.3, 0.1])],
)
def test_one_step_of_a_neuron(inputs, y, initial):
    learnrate, x, w = 0.5, np.array(inputs), np.array(initial)
    h = np.dot(x, w)
    error = y - sigmoid(h)
    error_term = error * sigmoid_prime(h)
    del_w = learnrate * error_term * x
    step = neuron(inputs, y, initial)
    assert_close(step.cotangents["unit"], -error_term)
    np.testing.assert_allclose(
        step.after["unit.weight"].ravel() - w, del_w, rtol=1e-14, atol=4 * np.finfo(float).eps * abs(w).max()
    )


def test_the_printed_numbers_of_one_step():
    step = neuron([1, 2, 3, 4], 0.5, [0.5, -0.5, 0.3, 0.1])
    printed = [-0.02031869, -0.04063738, -0.06095608, -0.08127477]
    np.testing.assert_allclose(-0.5 * step.gradients["unit.weight"].ravel(), printed, atol=0.5e-8)
    np.testing.assert_allclose(step.values["sigmoid1"], [[0.689974481128]], atol=0.5e-12)


def test_one_step_of_a_small_network():
    x, target, learnrate = np.array([0.5, 0.1, -0.2]), 0.6, 0.5
    weights_input_hidden = np.array([[0.5, -0.6], [0.1, -0.2], [0.1, 0.7]])
    weights_hidden_output = np.array([0.1, -0.3])
    # Forward pass
    hidden_layer_input = np.dot(x, weights_input_hidden)
    hidden_layer_output = sigmoid(hidden_layer_input)
    output_layer_in = np.dot(hidden_layer_output, weights_hidden_output)
    output = sigmoid(output_layer_in)
    # Backwards pass
    error = target - output
    output_error_term = error * output * (1 - output)
    hidden_error_term = (
        np.dot(output_error_term, weights_hidden_output) * hidden_layer_output * (1 - hidden_layer_output)
    )
    delta_w_h_o = learnrate * output_error_term * hidden_layer_output
    delta_w_i_h = learnrate * hidden_error_term * x[:, None]
    problem = replace(
        case(
            network=[
                {"dense": {"name": "hidden", "units": 2, "bias": False}}, "sigmoid",
                {"dense": {"name": "readout", "units": 1, "bias": False}}, "sigmoid",
            ],
            parameters={
                "hidden.weight": weights_input_hidden.tolist(),
                "readout.weight": weights_hidden_output[:, None].tolist(),
            },
            random=None, data={"inputs": [x.tolist()], "targets": [[target]]},
        ),
        batches=np.array([[0]]),
    )  # fmt: skip
    step = last_step(problem)
    assert_close(-learnrate * step.gradients["readout.weight"], delta_w_h_o)
    assert_close(-learnrate * step.gradients["hidden.weight"], delta_w_i_h)


# ---------------------------------------------------------------- steps


def test_one_step_is_yielded_a_step_and_starts_where_the_last_one_ended():
    steps = list(train(case()))
    assert len(steps) == 50
    for earlier, later in pairwise(steps):
        assert later.before is earlier.after
        assert later.state_before is earlier.state_after


def test_a_step_holds_every_tensor_in_order():
    problem = case()
    step = next(train(problem))
    assert list(step.values) == ["input", "hidden", "sigmoid1", "readout", "sigmoid2"]
    assert list(step.cotangents) == list(step.values)
    assert step.gradients.keys() == step.before.keys() == step.after.keys() == problem.parameters.keys()
    for tensors, others in ((step.cotangents, step.values), (step.gradients, step.before)):
        assert {name: tensor.shape for name, tensor in tensors.items()} == {
            name: others[name].shape for name in tensors
        }


def test_the_problem_is_left_as_it_was():
    problem = case()
    before = {path: values.copy() for path, values in problem.parameters.items()}
    list(train(problem))
    assert all(np.array_equal(problem.parameters[path], values) for path, values in before.items())


def test_steps_are_computed_when_they_are_asked_for():
    """A run of ten million steps may be looked at and left."""
    problem = replace(case(), batches=np.broadcast_to(np.arange(4), (10_000_000, 4)))
    assert next(train(problem)).loss > 0


def test_without_an_optimizer_the_parameters_stay():
    problem = replace(case(training=None))
    (step,) = train(problem)
    assert step.after is step.before
    assert step.state_after == {}
    assert any(gradient.any() for gradient in step.gradients.values())


def test_batches_are_taken_in_their_order_without_their_padding():
    problem = replace(case(), batches=np.array([[2, 0], [3, -1], [1, 1]]))
    steps = list(train(problem))
    for step, rows in zip(steps, ([2, 0], [3], [1, 1]), strict=True):
        assert np.array_equal(step.values["input"], problem.inputs[rows])
        assert {value.shape[0] for value in step.values.values()} == {len(rows)}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_batch_is_a_run_of_its_own(reduction):
    """Also the ragged last one: its mean is over its own samples."""
    loss = {"squared_error": {"factor": 0.5, "reduction": reduction}}
    optimizer = {"sgd": {"learning_rate": 0.1}}
    problem = case(loss=loss, training={"epochs": 2, "batch": {"size": 3, "order": "shuffled"}, "optimizer": optimizer})
    parameters = problem.parameters
    for rows, step in zip(problem.batches, train(problem), strict=True):
        rows = rows[rows >= 0]  # noqa: PLW2901
        alone = replace(
            problem, parameters=parameters, inputs=problem.inputs[rows], targets=problem.targets[rows],
            batches=np.arange(len(rows))[None],
        )  # fmt: skip
        parameters = last_step(alone).after
        assert all(np.array_equal(step.after[path], parameters[path]) for path in parameters)


def test_the_mean_of_a_ragged_batch_is_over_its_samples():
    problem = replace(
        case(loss={"squared_error": {"factor": 1, "reduction": "mean"}}), batches=np.array([[1, -1, -1, -1]])
    )
    (step,) = train(problem)
    ((output,),), (target,) = step.values["sigmoid2"], problem.targets[1]
    assert step.loss == pytest.approx((output - target) ** 2, rel=1e-15)


@pytest.mark.parametrize("shape", [(1, 4), (3, 2), (2, 3, 4)])
def test_a_mean_is_over_samples_and_outputs(shape):
    """Each of the losses and derivatives has as many terms as its own matrix has numbers."""
    y, t = np.random.default_rng(0).normal(size=(2, *shape))
    loss = SquaredError(factor=0.3, reduction="mean")
    np.testing.assert_allclose(loss_forward(loss, y, t), 0.3 * np.mean((y - t) ** 2, axis=(-2, -1)), rtol=1e-14)
    np.testing.assert_allclose(loss_backward(loss, y, t), 0.6 * (y - t) / (shape[-2] * shape[-1]), rtol=1e-14)


def test_the_values_of_another_network_are_refused():
    """Where a value is missing, no layer is silently left out."""
    problem, step = case(), next(train(case()))
    values = {name: value for name, value in step.values.items() if name != "sigmoid2"}
    with pytest.raises(KeyError, match="sigmoid2"):
        backward(problem.network, problem.parameters, values, step.cotangents["sigmoid2"])


def test_forward_and_backward_by_themselves():
    """They are what a step is made of."""
    problem, step = case(), next(train(case()))
    values, buffers = forward(problem.network, problem.parameters, problem.inputs)
    assert buffers == {}
    dy = loss_backward(problem.loss, values["sigmoid2"], problem.targets)
    cotangents, gradients = backward(problem.network, problem.parameters, values, dy)
    for actual, desired in ((values, step.values), (cotangents, step.cotangents), (gradients, step.gradients)):
        assert all(np.array_equal(actual[name], desired[name]) for name in desired)


def test_number_is_applied_to_all_that_is_given():
    """Parameters, inputs and targets; nothing else is converted."""
    problem, seen = case(), []
    next(train(problem, lambda values: seen.append(values.shape) or values.astype(np.longdouble)))
    assert sorted(seen) == sorted([(4, 2), (4, 1), (2, 4), (4, 1)])
    step = next(train(problem, np.longdouble))
    assert {tensor.dtype for tensor in step.gradients.values()} == {np.dtype(np.longdouble)}


@pytest.mark.parametrize("positions", [(1,), (3,), (2, 1)])
@pytest.mark.parametrize("reduction", ["sum", "mean", "batch_mean"])
def test_a_position_is_a_row_of_the_loss(positions, reduction):
    """But a mean over the batch counts samples; one position is an axis as well."""
    x, t = np.random.default_rng(1).normal(size=(2, 4, *positions, 2))
    problem = case(
        network=[{"dense": {"name": "readout", "units": 2}}],
        parameters={"readout.weight": [[0.5, 1], [-1, 0.25]], "readout.bias": [0.1, 0.2]},
        random=None,
        data={"inputs": x.tolist(), "targets": t.tolist()},
        loss={"squared_error": {"factor": 0.3, "reduction": reduction}},
        training=None,
    )
    (step,) = train(problem)
    y, number = step.values["readout"], {"sum": 1, "mean": t.size, "batch_mean": 4}[reduction]
    np.testing.assert_allclose(step.loss, 0.3 * ((y - t) ** 2).sum() / number, rtol=1e-14)
    np.testing.assert_allclose(step.cotangents["readout"], 0.6 * (y - t) / number, rtol=1e-13)
