"""The table of verdicts: row by row it is the table that is printed at once."""

from types import SimpleNamespace

import pytest

from backproof.report.judging.outcome import Result
from backproof.report.telling import rows

NAMES = ("numpy", "torch", "jax")


def one(case: str, dtype: str, *verdicts: str) -> SimpleNamespace:
    """As much of a comparison as a row looks at."""
    results = [Result(name, verdict) for name, verdict in zip(NAMES, verdicts, strict=False)]
    return SimpleNamespace(case=SimpleNamespace(name=case), dtype=dtype, results=results)


def test_columns_are_as_wide_as_what_stands_in_them():
    told = [one("xor/relu", "float64", "certified", "out of memory", "error"), one("a", "bfloat16", "certified")]
    table = rows.filled(told, NAMES)
    assert f"{table.head()}\n{table.rows(told)}".splitlines() == [
        "case      dtype     numpy      torch          jax",
        "--------  --------  ---------  -------------  -----",
        "xor/relu  float64   certified  out of memory  error",
        "a         bfloat16  certified",
    ]


def test_rows_that_come_one_by_one_line_up():
    """Whatever comes: every cell begins where the name of its column does."""
    table = rows.planned([("xor/relu", "float64"), ("a", "bfloat16")], NAMES, 80)
    told = [one("xor/relu", "float64", "certified", "out of memory", "error"), one("a", "bfloat16", "", "certified")]
    head, rule, first, second = "\n".join([table.head(), *(table.rows([each]) for each in told)]).splitlines()
    assert len(rule) == table.width <= 80
    assert head.index("torch") == first.index("out of memory") == second.index("certified")
    assert head.index("jax") == first.index("error")


def test_a_cell_that_is_too_long_has_several_lines_and_loses_nothing(monkeypatch):
    monkeypatch.setattr(rows, "cell", lambda result: result.verdict)
    table = rows.planned([("xor/three_four_one", "float64")], NAMES, 70)
    text = table.rows([one("xor/three_four_one", "float64", "differs at step 1,234", "certified", "x" * 50)])
    first, second = text.splitlines()
    assert first.split() == ["xor/three_four_one", "float64", "differs", "at", "certified", "x" * 50]
    assert second.strip() == "step 1,234"
    assert second.index("step") == first.index("differs")


@pytest.mark.parametrize(("room", "fits"), [(80, True), (60, True), (40, False)])
def test_what_does_not_fit_is_not_planned(room, fits):
    table = rows.planned([("xor/relu", "float64")], NAMES, room)
    assert (table is not None) == fits
    assert not fits or table.width <= room


def test_names_of_files_are_no_commands():
    told = [one("\x1b[31mred\n", "float64", "certified")]
    table = rows.filled(told, NAMES)
    assert "\x1b" not in table.rows(told)
    assert len(table.rows(told).splitlines()) == 1
