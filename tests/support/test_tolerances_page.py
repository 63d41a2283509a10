"""`docs/tolerances.md` shows what is computed, but for the last digits of another machine."""

import re

import pytest

from tests.support.tolerances_page import PAGE, TABLE, table

NUMBER = re.compile(r"\d\.\de[+-]\d\d")


def test_the_page_shows_what_is_computed():
    (shown,) = TABLE.findall(PAGE.read_text(encoding="utf-8"))
    computed = table()
    assert NUMBER.sub("N", shown) == NUMBER.sub("N", computed)
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (shown, computed)]
    assert len(numbers[0]) > 50
    assert numbers[0] == pytest.approx(numbers[1], rel=0.15)
