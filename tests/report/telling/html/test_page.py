"""What is written into the page: Markdown as HTML in which nothing acts, data for programs, and programs of our own."""

import json
import re

import pytest

from backproof.report.telling.curves import Curves, Failure, Line
from backproof.report.telling.escape import block, code, text
from backproof.report.telling.html.page import CaseOnPage, RunRow, body_of, html_report
from backproof.report.telling.palette import looks
from tests.report.telling.test_escape import HOSTILE

ACTING = re.compile(r"<(?!/?(?:p|h\d|code|pre|em|strong|ul|ol|li|blockquote|hr|a|br)\b)", re.IGNORECASE)


def page(cases=(), overview="", **pictures) -> str:
    return html_report("All well.", overview, [*cases], looks(["numpy"]), pictures).decode()


def script(html: str, mark: str) -> str:
    """Return what stands in the script element that bears this mark, up to where a browser sees its end."""
    return re.search(rf"<script [^>]*{re.escape(mark)}>(.*?)</script", html, re.DOTALL)[1]


def test_a_table_scrolls_in_a_box_of_its_own():
    html = body_of("| a | b |\n|:--|--:|\n| 1 | `x|y` |".replace("x|y", "x\\|y"))
    assert html.startswith('<div class="scroll"><table>')
    assert "<td>1</td>" in html  # without the alignment of Markdown
    assert "<code>x|y</code>" in html


def test_what_is_folded_stays_so():
    html = body_of("<details><summary>float64 &lt; it</summary>\n\n*a*\n\n</details>")
    assert html == "<details><summary>float64 &lt; it</summary>\n<p><em>a</em></p>\n</details>"


@pytest.mark.parametrize(
    "tag", ["<script>x</script>", "<img src=x onerror=x>", "<details ontoggle=x>", "<a href=x>", "<!-- x -->", "<svg>"]
)
def test_no_other_tag_is_kept(tag):
    """Neither as a block nor within a line."""
    assert not ACTING.search(body_of(f"{tag}\n\nword {tag} word"))


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "vbscript:x"])
def test_no_link_acts(link):
    assert "<a" not in body_of(f"[a]({link})")


@pytest.mark.parametrize("words", HOSTILE)
def test_escaped_words_are_read_as_they_were(words):
    """What `escape` writes for Markdown viewers is read in the same way by this one."""
    html = body_of(f"a {text(words)} b\n\n{code(words)}\n\n{block(words)}")
    assert not ACTING.search(html)
    assert "<em>" not in html
    assert "<a" not in html


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("cases/xor/two_four_one.md", "#page=xor/two_four_one"),
        ("../cases/a%20b.md#float64-step-0", "#page=a%20b"),
        ("cases/a&b.md", "#page=a%26b"),
        ("../../report.md", "#"),
        ("../report.md#environment", "#environment"),
        ("#environment", "#environment"),
        ("report.json", "report.json"),
    ],
)
def test_links_lead_through_the_page(link, target):
    assert f'<a href="{target}">' in body_of(f"[a]({link})")


def test_headings_are_called_as_in_other_viewers():
    assert '<h2 id="what-was-compared">' in body_of("## What was compared")


def test_a_case_has_a_place_for_its_figure():
    assert '<span data-figure="loss of &quot;a&quot;"></span>' in body_of('![loss of "a"](../figures/a.svg)')


def test_a_picture_of_the_overview_is_in_the_page():
    html = page(overview="![depth](figures/d.svg)", **{"figures/d.svg": b"<svg/>"})
    assert '<img alt="depth" src="data:image/svg+xml;base64,PHN2Zy8+">' in html


def test_data_for_programs():
    lines = [
        Line("loss", "numpy", "float64", [0, 1], [0.123456789, None]),
        Line("share", "a", "b", [0, 1], [0.5, 0.25]),
    ]
    rows = [RunRow("float64", "numpy", "differs", float("inf"), 1, "</script>")]
    failures = [Failure("numpy", "float64", 1, "loss")]
    case = CaseOnPage("xor/a", "A title", rows, "", Curves("xor/a", lines, failures))
    (row,) = json.loads(script(page([case]), 'id="data"'))["cases"]
    assert (row["name"], row["title"]) == ("xor/a", "A title")
    assert row["runs"] == [rows[0]._asdict() | {"share": None}]
    assert row["figure"]["steps"] == [[0, 1]]
    assert [line["values"] for line in row["figure"]["lines"]] == [[0.12346, None], [0.5, 0.25]]
    assert row["figure"]["failures"] == [failures[0]._asdict()]


def test_a_body_does_not_leave_its_place():
    case = CaseOnPage('a"><b>', "", [], "a</script><!--<script>b</SCRIPT >", None)
    html = page([case])
    assert script(html, 'data-case="a&quot;&gt;&lt;b&gt;"') == "a&lt;/script>&lt;!--&lt;script>b&lt;/SCRIPT >"


def test_words_in_braces_are_no_place_of_the_template():
    assert "<p>{{data}}</p>" in page(overview="{{data}}")


def test_without_programs_it_says_where_else_to_read():
    assert re.search(r"<noscript>.*report\.md.*</noscript>", page())
