"""`docs/your-own.md` shows what the commands print, but for the last digits of another machine."""

import re

import pytest

from tests.support.your_own_page import BLOCK, PAGE, SHOWS, output

NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]\d+)?")


@pytest.mark.parametrize("name", ["template", "filled", "sign"])
def test_the_page_shows_what_is_printed(name):
    shown = {found[2]: found[0] for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}
    assert list(shown) == list(SHOWS)
    printed = output(SHOWS[name])
    assert printed.strip()
    masked = [" ".join(NUMBER.sub("N", text).replace("-", " ").split()) for text in (shown[name], printed)]
    assert masked[1] in masked[0]
