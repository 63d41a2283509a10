"""What is said of values with positions, and of networks that branch."""

from dataclasses import replace

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.report.judging.judge import judge
from backproof.report.judging.outcome import accuracy
from tests.trial.examples import DRAWN, EXAMPLES, problem_of
from tests.trial.planting import gradients_only

pytestmark = pytest.mark.usefixtures("loud_hints")


def judged_with(group: str, name: str, change) -> str:
    """The message about the run with positions, of which the first step of one tensor is changed."""
    problem = problem_of("positions", "float64")
    run = numpy_reference.run(problem)
    tensors = dict(getattr(run, group))
    tensors[name] = tensors[name].copy()
    change(tensors[name][0])
    return judge(problem, replace(run, **{group: tensors})).message


def test_a_position_that_all_wrong_elements_are_in():
    def change(value):
        value[:, 1] += 1

    told = judged_with("values", "middle", change)
    assert "step 0, value of middle at [0, 1, 0]" in told
    assert "8 of 24 elements are wrong, all in position 1" in told


def test_a_unit_that_all_wrong_elements_are_in():
    def change(value):
        value[..., 2] += 1

    assert "all in unit 2" in judged_with("values", "middle", change)


def test_the_sample_and_the_position_whose_share_is_wrong():
    seen = numpy_reference.run(problem_of("positions", "float64")).values["dropout"][0, 1, 2]

    def change(gradient):
        gradient += np.outer(seen, [1, 2, -1, 0.5])

    told = judged_with("gradients", "middle.weight", change)
    assert "in proportion to what the layer sees of sample 1 at position 2" in told


def with_settings(**changes):
    return materialise(Case.model_validate(EXAMPLES["positions"] | changes), "float64")


TWO_BRANCHES = [
    {"dense": {"name": "hidden", "units": 4}},
    {"dense": {"name": "left", "units": 4}},
    {"dense": {"name": "right", "units": 4, "inputs": ["hidden"]}},
    {"skip": {"name": "both", "source": "left"}},
    {"dense": {"name": "readout", "units": 1}},
]


def test_what_lies_beside_the_way_back_is_no_suspect():
    """The gradient of a branch does not depend on the other one."""
    names = [f"{one}.{kind}" for one in ("hidden", "left", "right", "readout") for kind in ("weight", "bias")]
    drawn = dict.fromkeys(names, DRAWN)
    problem = with_settings(network=TWO_BRANCHES, parameters=drawn, loss={
        "squared_error": {"factor": 0.7, "reduction": "batch_mean"}})  # fmt: skip
    run = gradients_only(problem, numpy_reference.run(problem))
    for path in ("left.weight", "left.bias", "hidden.weight", "hidden.bias"):
        run.gradients[path][0] *= 1.5
    where = judge(problem, run).where
    assert ("cotangent", "left") in where.suspects
    assert ("cotangent", "right") not in where.suspects


def test_the_accuracy_is_the_share_of_all_positions():
    targets = [[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]]
    problem = with_settings(
        network=[{"dense": {"name": "readout", "units": 2}}],
        parameters={"readout.weight": [[1, -1], [0.5, 0.5]], "readout.bias": [0, 0]},
        random=None, loss={"softmax_cross_entropy": {"factor": 1.0, "reduction": "mean"}},
        data=EXAMPLES["positions"]["data"] | {"targets": targets},
    )  # fmt: skip
    run = numpy_reference.run(problem)
    found = run.final_values["readout"].argmax(axis=-1) == np.array(targets)
    assert accuracy(problem, run) == found.mean()
    assert 0 < found.mean() < 1
