"""Twelve defects that comparators in wide use let through: the judge and the pairs refuse each, at their defaults."""

import numpy as np
import pytest

from backproof.report.judging.drift import compare
from backproof.report.judging.judge import judge
from tests.trial import defects
from tests.trial.defects import DEFECTS, DTYPES, FAINT, PAIR, Defect, control, problem_of, right_run, verdicts

OF_THE_RECORD = {
    "a tensor missing", "a tensor too many", "a gradient that is None", "shape (3,) for (3, 1)",
    "float32 where float64 was asked", "a run cut short (4 steps for 10)",
}  # fmt: skip

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def test_there_are_twelve():
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) == 12


@both_dtypes
def test_the_right_run_passes(dtype):
    """Without this, an instrument that refuses everything would pass below."""
    for factor in (defects.ORDINARY, FAINT):
        problem, runs = problem_of(dtype, factor), [right_run(name, dtype, factor) for name in PAIR]
        assert problem.tolerance is None
        assert [judge(problem, run).verdict for run in runs] == ["certified", "certified"]
        assert compare(problem, *runs).within


@both_dtypes
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect_is_refused(defect, dtype):
    """By both, in words that name the place; by the pair also if the defective run is the second."""
    judgement, drift = verdicts(defect, dtype)
    assert judgement.verdict == ("incomplete" if defect.name in OF_THE_RECORD else "differs")
    assert defect.told in judgement.message
    assert not drift.within
    assert defect.told in drift.message
    wrong, right = (right_run(name, dtype, defect.factor) for name in PAIR)
    other_way = compare(problem_of(dtype, defect.factor), right, defect.plant(wrong), PAIR[::-1])
    assert not other_way.within
    assert defect.told in other_way.message


@both_dtypes
def test_every_defect_has_its_own_message(dtype):
    for messages in zip(*((verdict.message for verdict in verdicts(defect, dtype)) for defect in DEFECTS), strict=True):
        assert len(set(messages)) == len(DEFECTS)


# ---------------------------------------------------------------- the defects are what their names say


def gradients_of(name: str, dtype: str) -> tuple[dict, dict]:
    (defect,) = [defect for defect in DEFECTS if defect.name.startswith(name)]
    right = right_run(PAIR[0], dtype, defect.factor)
    return right.gradients, defect.plant(right).gradients


@both_dtypes
def test_planted_sizes(dtype):
    right, _ = gradients_of("all gradients", dtype)
    assert all(2e-7 < np.abs(gradient).max() < 2e-6 for gradient in right.values())
    right, wrong = (gradients["wide.weight"][6] for gradients in gradients_of("one element", dtype))
    assert right.size == 10_000
    assert np.sort(np.abs(wrong - right), axis=None)[-2:] == pytest.approx([0, 0.05])
    right, wrong = (gradients["hidden.weight"][6] for gradients in gradients_of("errors of opposite", dtype))
    errors = np.float64(wrong - right)
    assert np.count_nonzero(errors) == 2
    assert abs(errors.sum()) < 1e-3 * np.abs(errors).sum()


# ---------------------------------------------------------------- the section


def test_section_tells_every_defect():
    headline, _, *rows = defects.section().strip().splitlines()
    assert headline.startswith("**The judge refuses 24 of 24 (12 defects × 2 dtypes) and the pair 24 of 24, ")
    assert headline.endswith("of the 2 right runs 2 are certified and 2 within.**")
    names = [row.split("|")[1].strip() for row in rows[2:]]
    assert names == [*(defect.name for defect in DEFECTS), "none: the right run"]
    assert "…" not in "".join(rows)


def test_counts_are_computed(monkeypatch):
    """What is no defect is not refused, and lowers the counts."""
    monkeypatch.setattr(defects, "DEFECTS", [DEFECTS[0], Defect("none", "", lambda run: run, "")])
    assert defects.section().startswith("**The judge refuses 2 of 4 (2 defects × 2 dtypes) and the pair 2 of 4, ")
    assert control("float64")[1].within
