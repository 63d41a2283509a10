"""The page of all cases: what it says of runs that fail alike, that did not run, and of pairs outside."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from backproof.backends import numpy_reference
from backproof.cases.format.schema import CASES, Case
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.__main__ import main
from backproof.report.judging.bias import Bias
from backproof.report.judging.outcome import Comparison, Result, judged
from backproof.report.running import work
from backproof.report.running.chapter import Told
from backproof.report.telling.case_page import case_page
from backproof.report.telling.not_certified import not_certified
from backproof.report.telling.overview import matrix_by_case, remarks
from tests.report.test_report import GOOD


@pytest.fixture
def case():
    return load(CASES / "xor" / "relu.yaml")


def compared(case, dtype: str, **spoilt) -> Comparison:
    """The hand-written run beside one that is spoilt, if it is at this dtype."""
    problem = materialise(case, dtype)
    right = numpy_reference.run(problem)
    runs = {"numpy": right} | {name: spoil(right) for name, spoil in spoilt.items()}
    return Comparison(case, problem, [judged(problem, name, run) for name, run in runs.items()])


def wrong_gradient(run):
    return replace(run, gradients={path: 1.01 * values for path, values in run.gradients.items()})


def told(*comparisons: Comparison) -> list[str]:
    return [line for line in "\n".join(not_certified([*comparisons], [])).splitlines() if line.startswith("- ")]


def test_one_cause_is_one_finding(case):
    """At all dtypes, with who it was before what it was."""
    (line,) = told(*(compared(case, dtype, mine=wrong_gradient) for dtype in ("float64", "float32")))
    assert line.startswith("- [xor/relu](cases/xor-relu.md) float64 float32: **mine: differs at step 0**. ")
    assert line.index("In float64: step 0, gradient of ") > 0
    assert "times the rounding allowed" in line


def test_one_message_is_one_finding(case):
    """Of all cases; an own name stands there as it was given."""
    other = load(CASES / "neuron" / "slope.yaml")
    crashed = [Result("Mine_2", "error", "no luck", output="a stack")]
    (line,) = told(*(Comparison(one, materialise(one, "float64"), crashed) for one in (case, other)))
    links = "[xor/relu](cases/xor-relu.md) float64, [neuron/slope](cases/neuron-slope.md) float64"
    assert line == f"- {links}: **Mine_2: error**. no luck."


def test_a_backend_that_ran_at_one_dtype_is_certified_at_that_one_alone(case):
    both = compared(case, "float64", mine=lambda run: run), compared(case, "float32")
    row = matrix_by_case([*both]).splitlines()[-1]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == [
        "float64 float32", "certified", "float64 certified",
    ]  # fmt: skip


def test_what_a_step_was_given_is_told_apart_from_what_it_computed(case):
    """Another start is no fault of an operation."""
    shifted = compared(case, "float64", mine=lambda run: replace(run, before=moved(run.before), after=moved(run.after)))
    assert shifted.results[1].verdict == "differs"
    page = case_page([shifted], [])
    assert "What is wrong is what the step was given" in page
    computed = case_page([compared(case, "float64", mine=wrong_gradient)], [])
    assert "## float64 mine, step 0: differs at step 0" in computed
    assert "What is wrong is what the step was given" not in computed


def moved(arrays):
    return {path: values + 0.5 for path, values in arrays.items()}


def dies(_exact: bool, _names: tuple, _case: Case, _done: dict) -> Told:  # noqa: FBT001
    """Do not tell a case."""
    os._exit(3)


def test_a_verdict_outlives_the_telling(tmp_path, monkeypatch):
    """Where the telling dies nothing is certified any more, and what differs does."""
    monkeypatch.chdir(tmp_path)
    Path("case.yaml").write_text(GOOD)
    Path("mine.py").write_text(
        "from dataclasses import replace\nfrom backproof.backends import numpy_reference\n"
        "def run(problem):\n    run = numpy_reference.run(problem)\n"
        "    return replace(run, loss=1.5 * run.loss)\n"
    )
    monkeypatch.setattr(work, "tell_case", dies)
    options = "--backend=numpy", "--backend=mine=mine.py:run", "--no-cache", "--fail-on=difference", "--dtype=float64"
    assert main(["case.yaml", *options]) == 1
    text = Path("results/report.md").read_text(encoding="utf-8")
    assert "**0 of 2 runs certified, 1 crash, 1 differs.**" in text
    assert "judged, but not compared with the others: the process ended with exit code 3" in text


@pytest.mark.parametrize("name", ["a]b", "a[b", "[a](b)", "a b|c"])
def test_a_link_leads_to_the_page_whatever_the_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(f"{name}.yaml").write_text(GOOD)
    assert main([f"{name}.yaml", "--backend=numpy", "--executor=inline", "--no-exact", "--dtype=float64"]) == 0
    html = MarkdownIt("commonmark").enable("table").render(Path("results/report.md").read_text(encoding="utf-8"))
    assert html.count("<a href=") == 1
    (page,) = Path("results/cases").iterdir()
    assert MarkdownIt("commonmark").render(page.read_text(encoding="utf-8")).count("<img ") == 1


def test_what_leans_is_a_remark_with_its_run(case):
    """The first of each backend; what is not recorded stands by itself."""
    comparison = compared(case, "float64", mine=lambda run: run)
    *_, result = comparison.results
    leans = (Bias("gradient", "hidden.weight", -0.25, 900, 100, -9.5), Bias("value", "hidden", 0.5, 90, 90, 9.0))
    judgement = replace(result.judgement, biased=leans, message="; ".join(map(str, leans)))
    comparison.results[1] = replace(result, judgement=judgement, message=judgement.message)
    (told,) = remarks([comparison])
    assert " ".join(told.split()) == (
        "xor/relu float64 mine: biased: the errors of gradient of hidden.weight lean down, on average by 0.25 of the "
        "rounding allowed: 100 independent do so with a chance below 1e-20 (and of 1 tensor more, in report.json)"
    )
