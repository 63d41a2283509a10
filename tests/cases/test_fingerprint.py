"""A fingerprint is the same for the same run, and another for every number or setting that a run depends on."""

from dataclasses import fields, replace

import numpy as np
import pytest

from backproof.cases.fingerprint import DIGITS
from backproof.cases.format.layers.activations import Tanh
from backproof.cases.format.losses import L1, SquaredError
from backproof.cases.format.optimizers import Norm, Sgd, StepDecay
from backproof.cases.format.schema import Published, Tie, Tolerance
from backproof.cases.problem import OF_THE_JUDGE

WEIGHT = np.array([[0.5, -0.3, 0.9], [0.1, 0.6, -1.1]])

OTHERS = {
    "dtype": np.dtype("float32"),
    "layers": (Tanh(name="tanh1"),),
    "loss": SquaredError(factor=0.5, reduction="mean"),
    "optimizer": Sgd(learning_rate=0.3000001),
    "parameters": {"hidden.weight": WEIGHT},
    "inputs": np.zeros((3, 2)),
    "targets": np.zeros((3, 1)),
    "batches": np.tile([0, 2, 1], (40, 1)),
    "recorded": np.arange(0, 40, 3),
    "trained": ("hidden.weight",),
    "tied": {"readout.weight": Tie(parameter="hidden.weight")},
    "penalties": (L1(coefficient=0.1, parameters=("hidden.weight",)),),
    "masks": {"dropout1.mask": np.ones((1, 3, 3))},
    "buffers": {"norm1.mean": np.zeros(3)},
    "clip": Norm(maximum=1.0),
    "schedule": StepDecay(every=3, factor=0.5),
}


def test_there_is_another_of_every_field(problem_of):
    assert OTHERS.keys() | {*OF_THE_JUDGE} == {field.name for field in fields(problem_of())}


@pytest.mark.parametrize(("name", "other"), OTHERS.items(), ids=OTHERS)
def test_whatever_a_run_depends_on_changes_it(problem_of, name, other):
    problem = problem_of()
    changed = replace(problem, **{name: other}).fingerprint
    assert changed != problem.fingerprint
    assert len(changed) == DIGITS


def test_a_changed_problem_has_a_fingerprint_of_its_own(problem_of):
    """Which is asked for once, and not taken over from the problem that it was made of."""
    problem = problem_of()
    assert problem.fingerprint is problem.fingerprint
    assert replace(problem, inputs=problem.inputs + 1).fingerprint != problem.fingerprint
    assert replace(problem).fingerprint == problem.fingerprint


def test_one_bit_of_one_number_changes_it(problem_of):
    inputs = problem_of().inputs.copy()
    inputs[1, 1] = np.nextafter(inputs[1, 1], 1)
    assert replace(problem_of(), inputs=inputs).fingerprint != problem_of().fingerprint


def test_what_only_the_judge_reads_does_not(problem_of):
    printed = Published.model_validate({"source": "a book", "step": 3, "tensor": "loss", "value": "0.1"})
    other = replace(problem_of(), name="other", published=(printed,), tolerance=Tolerance(rtol=1.0))
    assert other.fingerprint == problem_of().fingerprint


def test_a_default_may_be_written_or_left_out_and_keys_come_in_any_order(problem_of):
    sgd = {"steps": 40, "optimizer": {"sgd": {"weight_decay": 0, "learning_rate": 0.3}}}
    parameters = dict(reversed(problem_of().parameters.items()))
    assert problem_of(training=sgd).fingerprint == problem_of().fingerprint
    assert replace(problem_of(), parameters=parameters).fingerprint == problem_of().fingerprint


def test_it_is_the_same_on_every_machine(problem_of):
    """Files outlive the program that wrote them."""
    assert problem_of().fingerprint == "784a1bd15c9ea416eef28cf814004d5bd2d9e667"
