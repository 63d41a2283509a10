"""What CI reads: a test a run in JUnit XML, and in SARIF the line of the case that a verdict is about."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from backproof.backends import numpy_reference
from backproof.cases.problem import materialise
from backproof.cases.reading.load import Mistake, load
from backproof.report.__main__ import main
from backproof.report.judging.finding import Finding
from backproof.report.judging.judge import PUBLISHED, judge
from backproof.report.judging.outcome import Comparison, Result
from backproof.report.running.arguments import FORMATS
from backproof.report.telling.annotations import RULES, files_for_ci, junit, sarif

CASE = """\
# yaml-language-server: $schema=case.schema.json
title: Two layers
dtypes: [float64]

network:
  - dense: {name: hidden, units: 2}
  - tanh
  - dense:
      name: hidden.more
      units: 1

parameters:
  hidden.weight: [[0.1, 0.2]]
  hidden.bias: [0, 0]
  hidden.more.weight: [[0.3], [0.4]]
  hidden.more.bias: [0]

data: {inputs: [[1.5]], targets: [[1]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}

training:
  steps: 2
  optimizer: {sgd: {learning_rate: 0.1}}
  schedule: {step_decay: {every: 1, factor: 0.5}}

published:
  - {tensor: loss, step: 0, value: "0.3", within: {value: 1, reason: it is}, source: a page}
  - {tensor: parameter/hidden.bias, step: 0, value: ["0", "7"], source: a page}
"""
WRONG = {
    "value of hidden": 6,
    "cotangent of tanh1": 7,
    "value of hidden.more": 8,
    "gradient of hidden.more.weight": 8,
    "gradient of hidden.bias": 6,
    "value of input": 18,
    "loss of loss": 19,
    "update of hidden.weight": 23,
    "state of velocity/hidden.weight": 23,
    "learning rate of learning rate": 24,
    "start of hidden.bias": 14,
    "start of velocity/hidden.bias": 12,
    f"{PUBLISHED} of parameter/hidden.bias": 28,
    "structure of ": 1,
}


@pytest.fixture
def comparison(tmp_path, monkeypatch):
    """A case below the working directory, and its judged run."""
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine", "two layers.yaml").write_text(CASE, encoding="utf-8")
    case = load(Path("mine", "two layers.yaml"))
    problem = materialise(case, "float64")
    judgement = judge(problem, numpy_reference.run(problem))
    return Comparison(case, problem, [Result("numpy", "differs", "why", judgement=judgement)])


def of(content: bytes) -> list[dict]:
    """The results of a SARIF file."""
    (run,) = json.loads(content)["runs"]
    return run["results"]


def suites_of(content: bytes) -> ET.Element:
    """The root of a JUnit file."""
    return ET.fromstring(content)  # noqa: S314, it is our own


def place(result: dict) -> tuple[str, int]:
    (location,) = result["locations"]
    physical = location["physicalLocation"]
    return physical["artifactLocation"]["uri"], physical["region"]["startLine"]


@pytest.mark.parametrize(("what", "line"), WRONG.items())
def test_a_verdict_stands_at_the_line_that_it_is_about(comparison, what, line):
    phase, _, tensor = what.partition(" of ")
    comparison.results[0].judgement.where = Finding(0, 0, phase, tensor, (), "wrong")
    assert place(*of(sarif([comparison], []))) == ("mine/two%20layers.yaml", line)


OBJECTIVE = """\
title: An objective
dtypes: [float64]
objective:
  quadratic: {coefficients: [1, 2]}
parameters: {x.weight: [1, 1]}
training: {steps: 2, optimizer: {sgd: {learning_rate: 0.1}}}
"""


@pytest.mark.usefixtures("comparison")
def test_what_is_made_of_an_objective_stands_there():
    """The network, the data and the loss of such a case are not in its file."""
    Path("mine", "objective.yaml").write_text(OBJECTIVE, encoding="utf-8")
    case = load(Path("mine", "objective.yaml"))
    problem = materialise(case, "float64")
    judgement = judge(problem, numpy_reference.run(problem))
    judgement.where = Finding(0, 0, "value", case.network[0].name, (), "wrong")
    of_objective = Comparison(case, problem, [Result("numpy", "differs", "why", judgement=judgement)])
    assert place(*of(sarif([of_objective], []))) == ("mine/objective.yaml", 3)


def test_a_file_that_is_gone_or_has_changed_has_a_first_line(comparison):
    comparison.results[0].judgement.where = Finding(0, 0, "loss", "loss", (), "wrong")
    comparison.case.file.write_text("title: [", encoding="utf-8")
    assert place(*of(sarif([comparison], [])))[1] == 1
    comparison.case.file.unlink()
    assert place(*of(sarif([comparison], [])))[1] == 1


@pytest.mark.usefixtures("comparison")
def test_paths_are_those_of_the_repository(monkeypatch):
    """It is where .git is; a file that is not below it has its whole path."""
    root = Path.cwd()
    (root / ".git").mkdir()
    monkeypatch.chdir("mine")
    mistakes = [Mistake("../b.yaml", 3, 5, "wrong"), Mistake(str(root.parent / "c.yaml"), 1, 1, "wrong")]
    (below, _), (outside, _) = map(place, of(sarif([], mistakes)))
    assert below == "b.yaml"
    assert outside == (root.parent / "c.yaml").as_uri()


HOSTILE = "]]><a> & \x1b[31m \udcff \x00 [link](http://example.org)"


def test_words_of_others_do_no_harm(comparison):
    comparison.results[:] = [Result("mine", "crash", HOSTILE, output=HOSTILE)]
    (result,) = of(sarif([comparison], []))
    assert "](" not in result["message"]["text"]
    assert not re.search("[\x00-\x08\x1b\udc80-\udcff]", result["message"]["text"])
    (crash,) = suites_of(junit([comparison], [])).iter("error")
    shown = "]]><a> & \ufffd[31m \ufffd \ufffd [link](http://example.org)"
    assert (crash.get("message"), crash.text) == (shown, shown)


REQUIRED = {
    "run": {"tool", "results", "columnKind"},
    "result": {"ruleId", "level", "message", "locations", "partialFingerprints"},
}


def test_sarif_has_what_its_schema_requires(comparison):
    """OASIS, SARIF 2.1.0: §3.13 sarifLog, §3.14 run, §3.19 toolComponent, §3.27 result, §3.30 region."""
    comparison.results += [Result(verdict, verdict, "why") for verdict in RULES]
    log = json.loads(sarif([comparison], [Mistake("a.yaml", 2, 3, "one"), Mistake("a.yaml", 2, 3, "two")]))
    assert log.keys() == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run.keys() == REQUIRED["run"]
    assert run["tool"]["driver"]["name"] == "backproof"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) == len({*rules}) == len(RULES)
    assert len(run["results"]) == 3 + len(RULES)
    for result in run["results"]:
        assert result.keys() == REQUIRED["result"]
        assert result["ruleId"] in rules
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        (location,) = result["locations"]
        region = location["physicalLocation"]["region"]
        assert min(region["startLine"], region["startColumn"]) >= 1
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len({*prints}) == len(prints)


def test_what_is_certified_is_no_result(comparison):
    comparison.results[0].verdict = "certified"
    assert of(sarif([comparison], [])) == []


def test_junit_counts_what_came_of_the_runs(comparison):
    comparison.results[0].verdict, comparison.results[0].seconds = "certified", {"run": 1.25, "judge": 0.25}
    comparison.results += [
        Result(verdict, verdict, "why") for verdict in ("differs", "crash", "missing", "unsupported")
    ]
    root = suites_of(junit([comparison], [Mistake("a.yaml", 2, 3, "one")]))
    counts = [[element.get(name) for name in ("tests", "failures", "errors", "skipped", "time")] for element in root]
    assert counts == [["5", "1", "2", "1", "1.500000"], ["1", "0", "1", "0", "0.000000"]]
    assert [root.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["6", "1", "3", "1"]
    tests = [
        (test.get("classname"), test.get("name"), *(child.tag for child in test)) for test in root.iter("testcase")
    ]
    assert tests == [
        ("two layers", "float64-numpy"),
        ("two layers", "float64-differs", "failure"),
        ("two layers", "float64-crash", "error"),
        ("two layers", "float64-missing", "error"),
        ("two layers", "float64-unsupported", "skipped"),
        ("a.yaml", "2:3", "error"),
    ]
    differs = root.find(".//failure")
    assert (differs.get("type"), differs.get("message"), differs.text) == ("differs", "why", "why")


# ---------------------------------------------------------------- the option


@pytest.mark.usefixtures("comparison")
def test_the_option_writes_them_and_removes_those_of_an_earlier_report():
    """A pair outside the tolerance fails a test of its own."""
    Path("mine.py").write_text("def gradients(parameters, inputs, targets):\n    return parameters\n", encoding="utf-8")
    command = ["mine", "--no-exact", "--executor=inline", "--backend=numpy", "--backend=own=mine.py:gradients"]
    assert main([*command, "--format=junit", "--format", "sarif"]) == 1
    names = [test.get("name") for test in suites_of(Path("results/report.junit.xml").read_bytes()).iter("testcase")]
    assert names == ["float64-numpy", "float64-own", "float64-numpy-own"]
    rules = [result["ruleId"] for result in of(Path("results/report.sarif").read_bytes())]
    assert rules == ["differs", "differs", "outside"]
    assert main(command) == 1
    assert Path("results/report.json").exists()
    assert [*Path("results").glob("report.junit.xml"), *Path("results").glob("report.sarif")] == []


def test_every_format_that_may_be_asked_for_is_a_file():
    assert files_for_ci([], [], []) == {}
    assert [*files_for_ci(FORMATS, [], [])] == ["report.junit.xml", "report.sarif"]
