"""Case files as tests: `pytest cases/xor/two_four_one.yaml::float64-torch`, in a copy of the checkout."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CASE = """\
title: A small run
dtypes: [float64, float32]
network: [{dense: {name: neuron, units: 1}}, sigmoid]
parameters: {neuron.weight: [[0.5], [-0.25]], neuron.bias: [0.125]}
data: {inputs: [[0, 1], [1, 0], [1, 1]], targets: [[0], [1], [1]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
training: {steps: 3, optimizer: {sgd: {learning_rate: 0.5}}}
"""
MISSED = 'published: [{tensor: parameter/neuron.bias, step: 0, value: "9", source: a book}]\n'
NUMPY = ("--backend", "numpy")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one case of its own in `cases/` and another one outside of it."""
    for name in ("backends", "backproof", "cases", "reference", "report"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.yaml"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "cases" / "mine.yaml").write_text(CASE)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.yaml").write_text(CASE)
    return tmp_path


def run(checkout: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of pytest, and what it prints."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-rs", *arguments]
    done = subprocess.run(command, cwd=checkout, env={"COLUMNS": "200"}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def outcomes(output: str) -> list[tuple[str, str]]:
    """The node ids with their outcome."""
    return re.findall(r"^(\S+\.yaml::\S+) (PASSED|FAILED|SKIPPED)", output, re.MULTILINE)


def test_every_dtype_and_backend_is_an_item(checkout):
    """A new file in `cases/` is picked up without being named; one outside is not."""
    code, output = run(checkout, "--collect-only", "-qq")
    assert code == 0
    assert re.findall(r"^\S+\.yaml::\S+", output, re.MULTILINE) == [
        f"cases/mine.yaml::{dtype}-{backend}"
        for dtype in ("float64", "float32")
        for backend in ("numpy", "torch", "jax")
    ]


def test_other_modes_run_when_they_are_asked_for(checkout):
    code, output = run(checkout, "--collect-only", "-qq", "--backend=torch-compile", "--backend=jax-eager")
    assert code == 0
    assert re.findall(r"float32-\S+", output) == ["float32-torch-compile", "float32-jax-eager"]


@pytest.mark.parametrize(
    ("arguments", "items"),
    [
        (["cases", *NUMPY], ["cases/mine.yaml::float64-numpy", "cases/mine.yaml::float32-numpy"]),
        (["cases/mine.yaml::float32-numpy"], ["cases/mine.yaml::float32-numpy"]),
        (["-k", "numpy and float64"], ["cases/mine.yaml::float64-numpy"]),
        (["elsewhere/other.yaml::float64-numpy"], ["elsewhere/other.yaml::float64-numpy"]),
        (["elsewhere/other.yaml", "-k", "float32-numpy"], ["elsewhere/other.yaml::float32-numpy"]),
    ],
    ids=["folder", "node id", "keyword", "node id outside", "named outside"],
)
def test_selection(checkout, arguments, items):
    code, output = run(checkout, *arguments)
    assert code == 0, output
    assert outcomes(output) == [(item, "PASSED") for item in items]


def test_outside_only_when_named(checkout):
    assert run(checkout, "elsewhere")[0] == pytest.ExitCode.NO_TESTS_COLLECTED


def test_failures_are_told_in_words(checkout):
    """The judge's words for a difference, file:line:column for what is no case; tracebacks for neither."""
    (checkout / "cases" / "mine.yaml").write_text(CASE + MISSED)
    (checkout / "cases" / "bad.yaml").write_text(CASE.replace("sigmoid", "sigmod"))
    code, output = run(checkout, *NUMPY)
    assert code == 1
    assert outcomes(output) == [
        ("cases/bad.yaml::invalid", "FAILED"),
        ("cases/mine.yaml::float64-numpy", "FAILED"),
        ("cases/mine.yaml::float32-numpy", "FAILED"),
    ]
    assert "cases/bad.yaml:3:46: there is no layer 'sigmod'; did you mean 'sigmoid'?" in output
    assert "mine float64 numpy: differs\n  step 0, published number of parameter/neuron.bias: a book prints 9" in output
    assert "Traceback" not in output
    assert "conftest.py:" not in output


@pytest.mark.parametrize("again", ["mine=mine.py:gradients", "mine=other.py:gradients"])
def test_one_name_for_two_backends_is_refused(checkout, again):
    for name in ("mine.py", "other.py"):
        (checkout / name).touch()
    code, output = run(checkout, "--backend=mine=mine.py:gradients", f"--backend={again}")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "mine is given twice" in output
    assert outcomes(output) == []


def test_no_word_of_a_failure_reaches_a_terminal_as_a_command(checkout):
    text = "def gradients(parameters, inputs, targets):\n    return 1, {'\\x1b[31mred': inputs}\n"
    (checkout / "mine.py").write_text(text)
    (checkout / "elsewhere" / "bell\x07.yaml").write_text("title: x")
    code, output = run(checkout, "cases/mine.yaml", "elsewhere/bell\x07.yaml", "--backend=mine=mine.py:gradients")
    assert code == 1
    assert "found \ufffd[31mred" in output
    assert "elsewhere/bell\ufffd.yaml:1:1: missing key" in output
    assert "\n  expected the gradients of" in output


@pytest.mark.parametrize(
    ("options", "outcome"),
    [(["-k", "torch"], "SKIPPED"), (["-k", "torch", "--require-backend"], "FAILED"), (["--backend=torch"], "FAILED")],
)
def test_missing_backend(checkout, options, outcome):
    """It skips, unless it is named or required."""
    registry = checkout / "backends" / "registry.py"
    registry.write_text(registry.read_text().replace("backproof.backends.torch_autograd", "no_such_module"))
    code, output = run(checkout, *options)
    assert code == (outcome == "FAILED")
    assert outcomes(output) == [(f"cases/mine.yaml::{dtype}-torch", outcome) for dtype in ("float64", "float32")]
    assert "the backend torch is not installed: No module named 'no_such_module'" in output


def test_the_tolerance_of_a_case_is_an_item(checkout):
    """Two certified runs that part by more than the case allows fail in an item of their own."""
    case = (
        CASE.replace("sigmoid", "tanh").replace("steps: 3", "steps: 300") + "tolerance: {float32: {rtol: 0, atol: 0}}\n"
    )
    (checkout / "cases" / "mine.yaml").write_text(case)
    code, output = run(checkout, "--backend=numpy", "--backend=torch", "-k", "float32")
    assert code == 1
    assert outcomes(output) == [
        ("cases/mine.yaml::float32-numpy", "PASSED"),
        ("cases/mine.yaml::float32-torch", "PASSED"),
        ("cases/mine.yaml::float32-pairs", "FAILED"),
    ]
    assert "mine float32 numpy-torch: outside the case's tolerance" in output


def test_a_file_of_ones_own_that_cannot_be_imported_fails(checkout):
    """In words that name the file and what it can't import."""
    (checkout / "mine.py").write_text("import probe\n\ndef gradients(parameters, inputs, targets): pass\n")
    code, output = run(checkout, "--backend=mine=mine.py:gradients")
    assert code == 1
    assert outcomes(output) == [(f"cases/mine.yaml::{dtype}-mine", "FAILED") for dtype in ("float64", "float32")]
    assert "mine float64 mine: missing\n  mine.py can't import probe: No module named 'probe'" in output


def test_an_exception_of_ones_own_is_raised(checkout):
    """With the frames of that code, and none of ours."""
    text = "def gradients(parameters, inputs, targets):\n    return helper(inputs)\n\n\n"
    (checkout / "mine.py").write_text(f"{text}def helper(x):\n    print('here')\n    return x.no_such_thing\n")
    code, output = run(checkout, "--backend=mine=mine.py:gradients", "-k", "float64")
    assert code == 1
    assert "mine.py:2:" in output
    assert "mine.py:7: AttributeError" in output
    assert "Captured stdout call" in output
    assert "numpy_reference.py" not in output
    assert "report/judging/outcome.py" not in output


def test_the_end_of_the_program_is_no_end_of_pytest(checkout):
    """The frames are those of the code that would end it."""
    (checkout / "mine.py").write_text(
        "import sys\n\ndef gradients(parameters, inputs, targets):\n    return helper()\n\n\n"
        "def helper():\n    sys.exit(3)\n"
    )
    code, output = run(checkout, "--backend=mine=mine.py:gradients", "-k", "float64")
    assert code == 1
    assert outcomes(output) == [("cases/mine.yaml::float64-mine", "FAILED")]
    assert "mine.py:4:" in output
    assert "mine.py:8: SystemExit" in output
    assert "report/judging/outcome.py" not in output
    assert "EndedError" not in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "def gradient(parameters, inputs, targets): pass",
            "mine.py has no function 'gradients'; did you mean 'gradient'?",
        ),
        ("def gradients(x, y): pass", "expected a function of (parameters, inputs, targets), or "),
        ("def gradients(problem): return {'valeus/x': 3}", "a run has nothing called 'valeus/x'; expected steps, loss"),
    ],
)
def test_what_a_function_should_be_is_told_without_frames(checkout, text, message):
    (checkout / "mine.py").write_text(text)
    code, output = run(checkout, "--backend=mine=mine.py:gradients", "-k", "float64")
    assert code == 1
    assert f"mine float64 mine: error\n  {message}" in output
    assert (
        ".py:" not in output.replace("pytest.py:", "").partition("= FAILURES =")[2].partition("short test summary")[0]
    )


def test_what_a_function_returns_wrongly_is_told_without_frames(checkout):
    (checkout / "mine.py").write_text("def gradients(parameters, inputs, targets):\n    return 1\n")
    code, output = run(checkout, "--backend=mine=mine.py:gradients", "-k", "float64")
    assert code == 1
    assert "mine float64 mine: error\n  expected (loss, gradients), the gradients in a dictionary" in output
    assert "mine.py:2" not in output


CHANGES_THE_JUDGE = """\
from dataclasses import replace
from backproof.backends import numpy_reference
from backproof.reference import training
from backproof.reference.formulas import layers
from backproof.report.judging import judge, operations

def run(problem):
    run = numpy_reference.run(problem)
    for module in (training, layers, operations):
        for name in dir(module):
            if name == "dense_backward":
                right = getattr(module, name)
                setattr(module, name, lambda x, weight, dy: (*right(x, weight, dy)[:2], right(x, weight, dy)[2] * 2))
    judge.structure_mistakes = lambda problem, run: []
    judge._Tally.judgement = lambda self, *_: judge.Judgement(
        "certified", 0.5, None, "", None, judge.Ledger(3, 1, 1, 1), [], self.budgets, "layers")
    return replace(run, gradients={path: 2 * gradient for path, gradient in run.gradients.items()})
"""


def test_a_backend_that_changes_the_judge_in_its_process_is_judged_by_the_right_one(checkout):
    (checkout / "mine.py").write_text(CHANGES_THE_JUDGE)
    code, output = run(checkout, "--backend=mine=mine.py:run", "-k", "float64")
    assert code == 1
    assert outcomes(output) == [("cases/mine.yaml::float64-mine", "FAILED")]
    assert "mine float64 mine: differs\n  step 0, gradient of neuron." in output
