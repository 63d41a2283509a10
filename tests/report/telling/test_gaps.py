"""A thinned run says which of its steps were not judged."""

from dataclasses import replace

import numpy as np
import pytest

from backproof.report.__main__ import main
from backproof.report.telling.gaps import not_judged

CASE = """\
title: Every fourth step of twelve
dtypes: [float64]
network: [dense: {name: neuron, units: 1}]
parameters: {neuron.weight: [[1], [2]], neuron.bias: [0.5]}
data: {inputs: [[1, 2], [0.5, -1]], targets: [[1], [2]]}
loss: {squared_error: {reduction: sum}}
training: {steps: 12, optimizer: {sgd: {learning_rate: 0.01}}}
"""


@pytest.mark.parametrize(
    ("steps", "recorded", "told"),
    [
        (3, [0, 1, 2], ""),
        (3, [0, 2], "1 of 3 steps is not recorded and so not judged: 1"),
        (12, [0, 4, 8, 11], "8 of 12 steps are not recorded and so not judged: 1 to 3, 5 to 7, 9 to 10"),
        (
            200,
            [0, 100, 102, 105, 199],
            "195 of 200 steps are not recorded and so not judged: 1 to 99, 101, 103 to 104, and 1 more gap up to 198",
        ),
        (
            200,
            [0, 100, 102, 105, 109, 199],
            "194 of 200 steps are not recorded and so not judged: 1 to 99, 101, 103 to 104, and 2 more gaps up to 198",
        ),
    ],
)
def test_gaps_in_words(problem_of, steps, recorded, told):
    problem = problem_of(training={"steps": steps, "optimizer": {"sgd": {"learning_rate": 0.1}}})
    assert not_judged(replace(problem, recorded=np.array(recorded))) == told


def test_the_sentence_of_the_verdict_says_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thin.yaml").write_text(CASE + "record: {every: 4}\n")
    (tmp_path / "whole.yaml").write_text(CASE)
    assert main(["thin.yaml", "whole.yaml", "--backend", "numpy", "--executor", "inline"]) == 0
    told = "; but 8 of 12 steps are not recorded and so not judged: 1 to 3, 5 to 7, 9 to 10 (thin float64)."
    assert f"of the truth{told}" in " ".join(capsys.readouterr().out.split())
    report = (tmp_path / "results" / "report.md").read_text(encoding="utf-8")
    assert f"of the truth{told}" in report
    assert report.count("not judged") == 1
    assert (tmp_path / "results" / "cases" / "thin.md").read_text(encoding="utf-8").count("not judged") == 1


def test_several_thinned_runs_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = CASE.replace("[float64]", "[float64, float32]") + "record: {every: 4}\n"
    (tmp_path / "thin.yaml").write_text(text)
    assert main(["thin.yaml", "--backend", "numpy", "--executor", "inline"]) == 0
    told = "9 to 10 (thin float64, and steps of 1 other case and dtype)."
    assert told in " ".join(capsys.readouterr().out.split())
