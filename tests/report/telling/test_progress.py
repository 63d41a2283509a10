"""What is seen while a report is made: on a terminal, in a log, with --quiet and with --verbose."""

import os
import re
import select
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from backproof.cases.format.schema import CASES
from backproof.report.__main__ import main
from backproof.report.judging.outcome import Result
from backproof.report.telling import progress
from backproof.report.telling.progress import Progress, case_in_words, lines_of
from backproof.report.telling.rows import planned

CASE = """\
title: A neuron
dtypes: [float64, float32]
network: [{dense: {units: 1}}]
parameters: {dense1.weight: [[0.5]], dense1.bias: [0.25]}
data: {inputs: [[1]], targets: [[0]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
"""
OPTIONS = ("--executor=inline", "--no-exact", "--backend=numpy")
CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with two cases."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        Path(f"{name}.yaml").write_text(CASE)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_in_a_log_there_is_a_line_a_case(capsys):
    assert main(["a.yaml", "b.yaml", *OPTIONS]) == 0
    told = capsys.readouterr()
    lines = [re.sub(r"[\d.]+ s$", "", line) for line in told.err.splitlines()]
    assert lines == ["1/2 a: 2 of 2 certified, ", "2/2 b: 2 of 2 certified, "]
    assert told.out.splitlines()[0].split() == ["case", "dtype", "numpy"]
    assert "\x1b" not in told.err + told.out


@pytest.mark.usefixtures("folder")
def test_verbose_has_a_line_a_run_too(capsys):
    assert main(["a.yaml", "--verbose", *OPTIONS]) == 0
    first, second, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"a float64 numpy: certified.*, \d+\.\d\d \+ \d+\.\d\d s, new", first)
    assert second.startswith("a float32 numpy: ")
    assert last.startswith("1/1 a: ")


@pytest.mark.usefixtures("folder")
def test_quiet_says_the_verdict_and_where_the_report_is_and_complains(capsys):
    Path("c.yaml").write_text("title: x")
    assert main([".", "--quiet", *OPTIONS]) == 2
    told = capsys.readouterr()
    verdict, place = told.out.strip().split("\n\n")
    assert verdict.startswith("4 of 4 runs certified, ")
    assert place == f"The report is in {Path('results/report.md')}."
    assert all(line.startswith("c.yaml:") for line in told.err.splitlines())


def test_quiet_and_verbose_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--quiet", "--verbose"])
    assert stop.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def result(verdict: str) -> Result:
    return Result("torch", verdict)


def test_a_failure_stands_out_by_its_words(monkeypatch):
    """In front of what is certified; what comes from a file is harmless, and no line is endless."""
    monkeypatch.setattr(progress, "cell", lambda result: {"differs": "differs at step 12"}.get(result.verdict, "x"))
    case = SimpleNamespace(name="xor/relu\x1b[31m")
    found = [
        SimpleNamespace(case=case, dtype="float64", results=[result("certified")]),
        SimpleNamespace(case=case, dtype="float32", results=[result("differs")]),
    ]
    told = case_in_words(found)
    assert told == "xor/relu\ufffd[31m: float32 torch differs at step 12, 1 of 2 certified"
    found[1].results *= 1000
    assert len(case_in_words(found)) < 2100


def test_a_kept_run_is_said_to_be_cached(capsys):
    Progress(1, verbose=True).unit(("a", "float64", "torch"), Result("torch", "error"), kept=True)
    assert capsys.readouterr().err == "a float64 torch: error, cached\n"


def test_what_is_printed_is_not_printed_again(capsys):
    """What is left of an interrupted report has its rows below those that came while it ran."""
    names = ("a", "b")
    comparisons = [
        SimpleNamespace(case=SimpleNamespace(name=name), dtype="float64", results=[result("error")], finished=[])
        for name in names
    ]
    shown = Progress(2, columns=planned([(name, "float64") for name in names], ["torch"], 80))
    shown.case(comparisons[:1], 1.0)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["case", "----", "a"]
    assert shown.table(comparisons).split() == ["b", "float64", "error"]
    shown.case(comparisons[1:], 1.0)
    assert capsys.readouterr().out.split() == ["b", "float64", "error"]
    assert shown.table(comparisons) == "\n"


# ---------------------------------------------------------------- what moves


def test_the_longest_runs_are_shown_and_the_others_counted():
    running = [(("a", "float64", f"b{i}"), float(i)) for i in range(20)] + [(("xor/relu", "compared"), 30.0)]
    lines = [*lines_of(running)]
    assert lines[0].split() == ["xor/relu", "compared", "30", "s"]
    assert lines[1].split() == ["a", "float64", "b19", "19", "s"]
    assert lines[-1] == "and 13 more"
    assert len({len(line) for line in lines[:-1]}) == 1
    assert [*lines_of([])] == []


class Work:
    """As much of the work as the display asks for."""

    def __init__(self, share: float):
        self._share = share

    def running(self) -> list:
        return []

    def done(self) -> tuple[int, int]:
        return 30, 60

    def share(self) -> float:
        return self._share


@pytest.mark.parametrize(
    ("share", "seconds", "room", "told"),
    [
        (0.25, 50, 80, "3/12  0:50  about 2 min left  30 of 60 runs"),
        (0.75, 90, 80, "3/12  1:30  about 30 s left  30 of 60 runs"),
        (0.05, 50, 80, "3/12  0:50  30 of 60 runs"),
        (0.75, 90, 30, "3/12  1:30  about 30 s left"),
        (0.75, 90, 20, "3/12  1:30"),
        (0.75, 90, 2, "3/12"),
    ],
)
def test_what_is_left_is_said_where_somebody_can_know_and_where_it_fits(monkeypatch, share, seconds, room, told):
    shown = Progress(12, work=Work(share), told=3, start=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(seconds))
    assert shown.left(room) == told


@pytest.fixture
def seen(folder):
    """Runs a report whose stdout and stderr are a terminal each; returns the exit code and what came there."""
    return partial(run_on_terminals, folder)


def run_on_terminals(folder: Path, columns: int, *options: str) -> tuple[int, str, str]:
    import fcntl
    import termios

    terminals = [os.openpty() for _ in range(2)]
    for _, inside in terminals:
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(CASES.parent), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "report", str(folder), "--output", str(folder / "out"), *OPTIONS, *options]
    streams = dict(zip(("stdout", "stderr"), (inside for _, inside in terminals), strict=True))
    process = subprocess.Popen(command, cwd=CASES.parent, env=environment, **streams)
    for _, inside in terminals:
        os.close(inside)
    came = {outside: b"" for outside, _ in terminals}
    left = {*came}
    while left:
        for outside in select.select([*left], [], [], 60)[0]:
            try:
                read = os.read(outside, 65536)
            except OSError:  # nobody has the other end any more
                read = b""
            came[outside] += read
            left -= set() if read else {outside}
    for outside in came:
        os.close(outside)
    out, err = (words.decode().replace("\r\n", "\n") for words in came.values())
    return process.wait(60), out, err


@pytest.mark.parametrize("columns", [80, 40])
def test_on_a_terminal_rows_are_printed_once_and_what_moves_is_gone(seen, columns):
    code, out, err = seen(columns)
    assert code == 0
    assert "\x1b" not in out
    assert len(re.findall(r"^[ab] +float(64|32) +certified", out, re.MULTILINE)) == 4
    assert out.count("dtype") == 1
    assert "\n\nAll 4 runs are certified" in out or "\n\nOnly the reference" in out
    assert "2/2" in err
    drawn = CONTROL.sub("\n", err).replace("\r", "\n").splitlines()
    assert max(map(len, drawn)) <= columns
    assert err.endswith("\x1b[2K")
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") > 0


def test_on_a_terminal_quiet_moves_nothing(seen):
    code, out, err = seen(80, "--quiet")
    assert (code, err) == (0, "")
    assert "dtype" not in out


def test_on_a_terminal_verbose_prints_lines_above_what_moves(seen):
    code, out, err = seen(80, "--verbose")
    assert code == 0
    assert out.count("dtype") == 1
    assert "\x1b" not in out
    assert len(re.findall(r"[ab] float(64|32) numpy: certified.* s, new\n", err)) == 4


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_a_log(monkeypatch, name):
    stream = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert progress.is_terminal(stream)
    monkeypatch.setenv("TERM", name)
    assert not progress.is_terminal(stream)


def test_a_closed_stream_is_no_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with (tmp_path / "file").open("w") as file:
        pass
    assert not progress.is_terminal(file)
    assert not progress.is_terminal(None)
