"""`--explain CASE [--step K]`: a step of every run in the terminal, and no report."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from backproof.report.__main__ import main
from backproof.report.running import job, sites, work
from backproof.report.running.isolation import DiedError
from tests.report.test_report import GOOD

MINE = """\
from dataclasses import replace
from backproof.backends import numpy_reference

def run(problem):
    run = numpy_reference.run(problem)
    after = {path: values.copy() for path, values in run.after.items()}
    after["readout.weight"][5:] *= 1.001
    return replace(run, after=after)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("case.yaml").write_text(GOOD)
    Path("mine.py").write_text(MINE)


def explain(*arguments: str) -> int:
    backends = "--backend=numpy", "--backend=Mine=mine.py:run"
    return main(["--explain", "case.yaml", "--executor=inline", "--dtype=float64", *backends, *arguments])


def test_the_first_wrong_step_is_printed(capsys):
    assert explain() == 1
    out = capsys.readouterr().out
    assert "case float64 numpy: certified" in out
    assert "of the rounding allowed" in out
    _, mine = out.split("case float64 Mine: differs at step 5\n")
    assert "\nstep 5\n" in mine
    assert "change readout.weight" in mine
    assert "wrong 2/2" in mine
    assert "Around the first wrong element:" in mine
    assert max(map(len, out.splitlines())) <= 80
    assert not Path("results").exists()


def test_another_step_is_printed_where_asked_for(capsys):
    assert explain("--step", "4") == 1
    out = capsys.readouterr().out
    assert out.count("\nstep 4\n") == 2
    assert "wrong " not in out.split("Mine: differs at step 5")[1].split("step 4\n")[1]


def test_a_step_that_is_not_there_is_named(capsys):
    assert explain("--step", "99") == 1
    assert "Step 99 is not recorded, so there is nothing to show; the nearest are 11." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--step=2"], "--step is of --explain CASE"),
        (["case.yaml", "--step=2"], "--step is of --explain CASE"),
        (["case.yaml", "--explain=case.yaml"], "--explain CASE writes no report: name no other case"),
        (["--explain=case.yaml", "--format=sarif"], "--explain CASE writes no report"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, why, capsys):
    assert main(arguments) == 2
    assert why in " ".join(capsys.readouterr().err.split())


def test_a_step_that_cannot_be_told_is_said(monkeypatch, capsys):
    """Whatever happens in it, in its own process, the others are explained and the exit code is the verdict."""

    def dies(*_):
        raise DiedError("error", "no luck")

    monkeypatch.setattr(work, "explain_case", dies)
    monkeypatch.setattr(sites.Immediately, "submit", in_a_future)
    assert explain() == 1
    assert capsys.readouterr().out == "case can't be explained: no luck\n\n"


def in_a_future(_, function, *arguments):
    future = Future()
    try:
        future.set_result(function(*arguments))
    except DiedError as death:
        future.set_exception(death)
    return future


def test_an_interruption_leaves_no_report(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "run_unit", interrupted)
    assert explain() == 130
    assert "interrupted" in capsys.readouterr().err
    assert not Path("results").exists()


def test_what_did_not_run_says_why(capsys):
    Path("mine.py").write_text("def run(problem): raise RuntimeError('no luck')")
    command = ["--explain", "case.yaml", "--dtype=float64", "--backend=Mine=mine.py:run", "--no-cache", "--jobs=1"]
    assert main(command) == 3
    assert "case float64 Mine: error\n\nRuntimeError: no luck, at mine.py:1 in run" in capsys.readouterr().out
