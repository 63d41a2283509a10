"""The table of a step: every tensor as the judge saw it, the first wrong element and what lies around it."""

from dataclasses import replace

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.report.judging.judge import judge
from backproof.report.telling.step_table import neighbours, step_table, tensors_at


@pytest.fixture
def problem(problem_of):
    return problem_of()


def wrong_from(problem, step: int, index=(1, 1)):
    """A right run but for one element of a gradient, from this step on."""
    run = numpy_reference.run(problem)
    gradient = run.gradients["hidden.weight"].copy()
    gradient[(slice(step, None), *index)] *= 1.01
    return replace(run, gradients=run.gradients | {"hidden.weight": gradient})


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_every_tensor_stands_there_in_the_order_in_which_it_is_computed(problem):
    run = numpy_reference.run(problem)
    names = [tensor.what for tensor in tensors_at(problem, run, 7)]
    assert names == [
        "value hidden", "value tanh1", "value readout", "value sigmoid1", "loss", "cotangent sigmoid1",
        "cotangent readout", "gradient readout.weight", "cotangent tanh1", "cotangent hidden",
        "gradient hidden.weight", "gradient hidden.bias", "cotangent input", "change hidden.weight",
        "change hidden.bias", "change readout.weight",
    ]  # fmt: skip
    assert {row[-1] for row in rows(step_table(tensors_at(problem, run, 7)))} == {"right"}


def test_what_is_wrong_is_marked_where_it_is_and_nowhere_before(problem):
    run = wrong_from(problem, 12)
    judgement = judge(problem, run)
    assert {row[-1] for row in rows(step_table(tensors_at(problem, run, 11)))} == {"right"}
    table = rows(step_table(tensors_at(problem, run, judgement.where.step)))
    wrong = [row for row in table if row[-1].startswith("wrong")]
    assert [(row[0], row[1], row[-1]) for row in wrong] == [
        ("gradient hidden.weight", "[1, 1]", "wrong 1/6"),
        ("change hidden.weight", "[1, 1]", "wrong 1/6"),
    ]
    found, truth, allowance, share = (float(number) for number in wrong[0][2:6])
    assert found == pytest.approx(1.01 * truth, rel=1e-4)
    assert share == pytest.approx(judgement.budget, rel=0.1)
    assert abs(found - truth) / allowance == pytest.approx(judgement.budget, rel=0.1)


def test_an_update_is_told_as_the_change_it_makes(problem):
    run = numpy_reference.run(problem)
    change = next(tensor for tensor in tensors_at(problem, run, 3) if tensor.what == "change readout.weight")
    expected = run.after["readout.weight"][3] - run.before["readout.weight"][3]
    assert change.found == pytest.approx(expected, rel=1e-12)
    assert change.truth == pytest.approx(-0.3 * run.gradients["readout.weight"][3], rel=1e-12)


def test_the_elements_around_the_first_wrong_one(problem):
    run = wrong_from(problem, 5)
    around = rows(neighbours(tensors_at(problem, run, 5)))
    assert [row[1] for row in around] == ["[0, 1]", "[1, 0]", "[1, 1]", "[1, 2]"]
    assert [row[0] for row in around] == ["", "", "gradient hidden.weight", ""]
    assert [row[-1] for row in around] == ["right", "right", "wrong", "right"]
    assert neighbours(tensors_at(problem, run, 4)) == ""
    scalar = replace(run, loss=run.loss * 2)
    assert neighbours(tensors_at(problem, scalar, 0)) == ""


def test_digits_show_what_is_wrong(problem):
    run = numpy_reference.run(problem)
    loss = run.loss.copy()
    loss[2] *= 1 + 1e-12
    (row,) = (row for row in rows(step_table(tensors_at(problem, replace(run, loss=loss), 2))) if row[0] == "loss")
    assert row[2] != row[3]
    assert len(row[2]) >= 14


def test_nan_is_wrong_and_nothing_recorded_is_no_tensor(problem_of):
    problem = problem_of(training={"steps": 40, "optimizer": {"sgd": {"learning_rate": 0.3}}})
    run = numpy_reference.run(problem)
    nan = replace(run, loss=np.where(run.steps == 3, np.nan, run.loss))
    (row,) = (row for row in rows(step_table(tensors_at(problem, nan, 3))) if row[0] == "loss")
    assert (row[2], row[-1]) == ("nan", "wrong")
    assert tensors_at(problem, run, 41) == []
    behind = [tensor.what for tensor in tensors_at(problem, run, 40)]
    assert behind == ["value hidden", "value tanh1", "value readout", "value sigmoid1", "loss"]


def test_from_gradients_alone_there_is_what_was_judged(problem):
    run = numpy_reference.run(problem)
    alone = replace(run, scope="gradients", values={}, cotangents={})
    names = {tensor.what.split()[0] for tensor in tensors_at(problem, alone, 0)}
    assert names == {"loss", "gradient", "change"}


def test_in_a_terminal_there_are_no_shares(problem):
    table = step_table(tensors_at(problem, numpy_reference.run(problem), 0), "simple")
    assert "share" not in table
    assert max(map(len, table.splitlines())) <= 80
