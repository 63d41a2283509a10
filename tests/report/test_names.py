"""Layers may be called what modules are called: in every backend, in files of runs, and in the report."""

import numpy as np
import pytest

from backproof.backends import jax_autograd, numpy_reference, torch_autograd
from backproof.backends.trajectory_files import load_run, save_run
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.__main__ import main
from backproof.report.judging.judge import judge

CASE = """\
title: Names of real modules
dtypes: [float64, float32]
network:
  - dense: {name: 0, units: 2}
  - prelu: {name: 0.act}
  - dropout: {name: Dropout_0, rate: 0.5, mask: [[1, 0], [1, 1], [0, 1]]}
  - dense: {name: encoder.layers.1.fc1, units: 2, bias: false}
  - skip: {name: encoder.skip, source: 0}
  - dense: {name: Dense_0, units: 1}
parameters:
  0.weight: [[1, 0.5], [-0.25, 2]]
  0.bias: [0.1, 0.2]
  0.act.slope: [0.25]
  Dense_0.weight: [[1.5], [0.5]]
  Dense_0.bias: [0.3]
tied: {encoder.layers.1.fc1.weight: {parameter: 0.weight, transposed: true}}
frozen: [Dense_0.bias]
penalties: [l2: {coefficient: 0.01, parameters: [0.weight]}]
data: {inputs: [[1, 2], [0.5, -1], [2, 0.25]], targets: [[1], [2], [0]]}
loss: {squared_error: {reduction: mean}}
training: {steps: 3, optimizer: {adam: {learning_rate: 0.1}}}
published:
  - {tensor: value/0, step: 0, index: [0], value: ["0.60", "4.70"], source: a book}
  - {tensor: state/first_moment/0.act.slope, step: 0, value: "0", source: a book}
"""


@pytest.fixture
def case(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text(CASE)
    return load(path)


def test_a_number_as_a_name_is_text(case):
    assert [layer.name for layer in case.network][:2] == ["0", "0.act"]
    assert case.network[4].source == "0"


@pytest.mark.parametrize("backend", [numpy_reference, torch_autograd, jax_autograd], ids=lambda module: module.__name__)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_backend_is_certified(case, backend, dtype):
    problem = materialise(case, dtype)
    judgement = judge(problem, backend.run(problem))
    assert (judgement.verdict, judgement.message) == ("certified", "")
    assert [number.status for number in judgement.published] == ["met", "met"]


def test_a_wrong_gradient_is_blamed_by_name(case):
    problem = materialise(case, "float64")
    run = numpy_reference.run(problem)
    run.gradients["0.act.slope"][1] *= 2
    judgement = judge(problem, run)
    assert (judgement.where.step, judgement.where.phase, judgement.where.tensor) == (1, "gradient", "0.act.slope")


def test_a_run_file_keeps_the_names(case, tmp_path):
    problem = materialise(case, "float32")
    run = numpy_reference.run(problem)
    save_run(run, tmp_path / "run.safetensors", problem)
    loaded = load_run(tmp_path / "run.safetensors", problem)
    assert judge(problem, loaded).verdict == "certified"
    np.testing.assert_array_equal(loaded.gradients["0.act.slope"], run.gradients["0.act.slope"])


@pytest.mark.usefixtures("case")
def test_the_report_tells_the_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["names.yaml", "--backend", "numpy", "--executor", "inline"]) == 0
    assert "encoder.layers.1.fc1" in (tmp_path / "results" / "cases" / "names.md").read_text(encoding="utf-8")


def test_the_factor_of_a_loss_is_one(case):
    assert case.loss.factor == 1
