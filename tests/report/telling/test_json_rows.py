"""`report.json` is what its schema says, whatever comes of a run."""

import json
from pathlib import Path

import jsonschema
import pytest

from backproof.cases.format.schema import CASES
from backproof.report.__main__ import main
from backproof.report.telling import report_format
from backproof.report.telling.annotations import INVALID, OUTSIDE, RULES
from backproof.report.telling.report_format import VERDICTS, json_schema

SCHEMA = json.loads(Path(report_format.__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
GOOD = """\
title: Three classes
dtypes: [float64]
network: [{dense: {name: readout, units: 3, bias: false}}]
parameters: {readout.weight: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
data: {inputs: [[9, 0, 0], [0, 9, 0], [0, 0, 9]], targets: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
loss: {softmax_cross_entropy: {factor: 1, reduction: sum}}
training: {steps: 2, optimizer: {sgd: {learning_rate: 0.001}}}
published:
  - {tensor: gradient/readout.weight, step: 0, index: [0, 0], value: "-0.002221", source: a page}
"""
MISPRINTED = GOOD.replace('"-0.002221"', '"-0.003221"')
ZERO = """\
title: Nothing but zeros
dtypes: [float64]
network: [{dense: {name: readout, units: 1, bias: false}}]
parameters: {readout.weight: [[1]]}
data: {inputs: [[0]], targets: [[0]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
"""
MINE = """\
import os

import numpy as np

from backproof.backends.registry import Unsupported


def twice(parameters, inputs, targets):
    z = np.exp(inputs @ parameters["readout.weight"])
    return {"readout.weight": 2 * inputs.T @ (z / z.sum(axis=1, keepdims=True) - targets)}


def cannot(parameters, inputs, targets):
    raise Unsupported("it has no such layer")


def fails(parameters, inputs, targets):
    raise ValueError("no")


def dies(parameters, inputs, targets):
    os._exit(3)


def is_interrupted(parameters, inputs, targets):
    raise KeyboardInterrupt
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Report on a case of this text by functions of MINE, beside the reference; return what is written."""

    def report(text: str, *functions: str, executor: str = "inline", into: str = "results") -> dict:
        folder = tmp_path_factory.mktemp("rows")
        (folder / "case.yaml").write_text(text, encoding="utf-8")
        (folder / "mine.py").write_text(MINE, encoding="utf-8")
        own = [f"--backend={name}={folder / 'mine.py'}:{name}" for name in functions]
        output = folder / "results"
        main([str(folder / "case.yaml"), "--no-exact", f"--executor={executor}", f"--output={output}",
              "--backend=numpy", *own])  # fmt: skip
        written = (folder / into / "report.json").read_text(encoding="utf-8")
        return json.loads(written, parse_constant=pytest.fail)

    return report


@pytest.fixture(scope="module")
def reports(report):
    """Reports of every kind."""
    return {
        "differs and unsupported": report(GOOD, "twice", "cannot"),
        "misprinted": report(MISPRINTED),
        "undecided": report(ZERO),
        "error and crash": report(GOOD, "fails", "dies", executor="processes"),
        "interrupted": report(GOOD, "is_interrupted", into="results/unfinished"),
    }


def rows(reports: dict) -> dict[str, dict]:
    """A row of each verdict, the last one there is."""
    return {row["verdict"]: row for one in reports.values() for row in one["results"]}


def test_the_file_is_the_schema():
    """`make schema` renews it."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json_schema() == SCHEMA


def test_the_command_prints_the_schema(capsys):
    assert main(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_every_report_is_valid_and_every_key_is_met(reports):
    for one in reports.values():
        jsonschema.validate(one, SCHEMA, jsonschema.Draft202012Validator)
    assert rows(reports).keys() >= {"certified", "differs", "undecided", "unsupported", "crash", "error"}
    assert [one["complete"] for one in reports.values()] == [True] * 4 + [False]
    met = {key for one in reports.values() for key in filled(one)}
    wanted = {key for concept in SCHEMA["$defs"].values() for key in concept["properties"]}
    assert wanted - met == set()


def filled(data) -> set[str]:
    """The keys, however deep, that hold something."""
    if isinstance(data, dict):
        return {key for key, value in data.items() if value not in (None, "")} | filled([*data.values()])
    return {key for value in data for key in filled(value)} if isinstance(data, list) else set()


@pytest.mark.parametrize("change", [{"more": 1}, {"verdict": "fine"}, {"hint": 1}, {"bias": {}}])
def test_what_is_not_promised_is_not_valid(reports, change):
    one = json.loads(json.dumps(reports["undecided"]))
    one["results"][0] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(one, SCHEMA, jsonschema.Draft202012Validator)


def test_what_a_message_says_is_there_by_itself(reports):
    wrong = rows({"": reports["differs and unsupported"]})["differs"]
    assert wrong["hint"].endswith("a missing factor ½ would give")
    assert wrong["look"].startswith("only gradients are recorded: ")
    assert wrong["look"] in wrong["message"]
    assert f"; {wrong['hint']}" in wrong["message"]
    assert {"loss", "values/input", "cotangents/readout"} < {*wrong["recorded"].pop("lacks")}
    assert wrong["recorded"] == {
        "scope": "gradients", "phases": ["gradient"], "borrowed": ["update"], "steps": 2, "of": 2,
    }  # fmt: skip
    certified = rows({"": reports["error and crash"]})["certified"]
    assert [certified[key] for key in ("hint", "look", "undecided", "accuracy")] == ["", "", "", 1]
    assert certified["recorded"]["phases"] == ["value", "loss", "cotangent", "gradient", "update"]
    undecided = rows({"": reports["undecided"]})["undecided"]
    assert undecided["undecided"] == undecided["message"] != ""
    died = rows(reports)["crash"]
    judged = ("hint", "look", "recorded", "undecided", "bias", "biased", "numbers", "median_resolution")
    assert [died[key] for key in judged] == [None] * len(judged)


def test_published_numbers_are_there_as_printed(reports):
    (row,) = reports["misprinted"]["results"]
    expected = {"source": "a page", "tensor": "gradient/readout.weight", "step": 0, "steps": 1, "shape": []}
    (number,) = row["numbers"]
    (found,) = number.pop("found")
    assert number == expected | {"printed": ["-0.003221"], "status": "missed"}
    assert found == pytest.approx(-0.002221, abs=1e-6)


def test_every_verdict_is_one_of_the_schema_and_of_the_documents():
    words = (CASES.parent / "docs" / "report.md").read_text(encoding="utf-8")
    table = words.partition("| verdict | meaning |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in row.split(" | ")[0].strip("| ").split(", ")]
    assert {*named} == {*VERDICTS} == {*RULES, "certified"} - {OUTSIDE, INVALID}
