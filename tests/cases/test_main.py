"""`python -m cases`: the list, the exit codes, the JSON Schema."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backproof.cases import __main__ as command
from backproof.cases.format.schema import CASES

GOOD = """\
title: A title that is much too long for a line of a table and so will be cut somewhere behind these words
dtypes: [float64, float32]
network: [{dense: {units: 4}}, sigmoid, {dense: {units: 1, bias: false}}, sigmoid]
parameters:
  dense1.weight: [[1, 2, 3, 4], [1, 2, 3, 4]]
  dense1.bias: [0, 0, 0, 0]
  dense2.weight: [[1], [2], [3], [4]]
data: {inputs: [[0, 0], [0, 1], [1, 0]], targets: [[0], [1], [1]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
training: {epochs: 50, batch: {size: 2}, optimizer: {sgd: {learning_rate: 0.1}}}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(GOOD.replace("sigmoid]", "sigmod]"))
    Path("empty").mkdir()


@pytest.mark.usefixtures("files")
def test_list(capsys):
    assert command.main(["good.yaml"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == list(command.COLUMNS)
    assert row.split()[:5] == ["good", "2-4-1", "sigmoid", "100", "float64/32"]
    assert row.endswith("...")
    assert len(row) <= 80


@pytest.mark.usefixtures("files")
def test_mistakes_do_not_hide_the_valid_cases(capsys):
    assert command.main(["."]) == 2
    output = capsys.readouterr()
    assert output.out.splitlines()[1].startswith("good")
    assert (
        output.err == "bad.yaml:3:75: there is no layer 'sigmod'; did you mean 'sigmoid'? "
        "see docs/generated/reference.md#sigmoid\n"
    )


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("path", "code", "message"),
    [("gone", 2, "gone:1:1: there is no such file or folder\n"), ("empty", 5, "no case found\n")],
)
def test_nothing_to_list(capsys, path, code, message):
    assert command.main([path]) == code
    assert capsys.readouterr().err == message


def test_bad_usage():
    with pytest.raises(SystemExit) as caught:
        command.main(["--no-such-option"])
    assert caught.value.code == 2


def test_shipped_cases_are_listed_by_default(capsys):
    assert command.main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(list(CASES.rglob("*.yaml")))


def test_interrupted(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "named", interrupted)
    assert command.main([]) == 130


def test_broken_pipe_is_silent():
    """The reader has left before anything is printed."""
    arguments, pipe = [sys.executable, "-m", "cases", "--schema"], subprocess.PIPE
    with subprocess.Popen(arguments, cwd=CASES.parent, stdout=pipe, stderr=pipe) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_help_says_every_exit_code(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    told = capsys.readouterr().out
    assert all(f"{code} " in told for code in (0, 2, 5, 130, 141))


def test_title_outside_the_terminals_encoding(files, tmp_path):  # noqa: ARG001
    Path("good.yaml").write_text(GOOD.replace("A title", "Größe ∂"), encoding="utf-8")
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(CASES.parent)}
    arguments = [sys.executable, "-m", "cases", str(tmp_path / "good.yaml")]
    done = subprocess.run(arguments, env=environment, capture_output=True, check=True)
    assert b"Gr\\xf6\\xdfe" in done.stdout


# ---------------------------------------------------------------- the schema


def test_schema_tells_editors_what_they_need():
    schema = json.loads((CASES / "case.schema.json").read_text())
    layers = schema["properties"]["network"]["items"]["anyOf"]
    assert {"title": "relu", "const": "relu", "description": "y = max(x, 0), with the derivative 0 at x = 0."} in layers
    assert schema["required"] == ["title", "dtypes", "network", "data", "loss"]
    assert schema["additionalProperties"] is False
    assert '"null"' not in json.dumps(schema)
