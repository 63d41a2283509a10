"""The report as one HTML file: every case's page and figure, and nothing that is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape, unescape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from backproof.report.telling.curves import Curves
from backproof.report.telling.palette import Look

if TYPE_CHECKING:  # slow to import
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

HERE = Path(__file__).parent
SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "figure.js", "page.js")
BARE_TAG = re.compile(r"(</?(?:details|summary|b|br|code|em|strong|sub|sup)>|<details open>)")
CASE_PAGE = re.compile(r"(?:\.{1,2}/)*cases/(.+)\.md(?:#.*)?", re.DOTALL)
REPORT_PAGE = re.compile(r"(?:\.{1,2}/)*report\.md(#.*)?")
NO_PICTURES: Mapping[str, bytes] = MappingProxyType({})
DIGITS = 5  # of a number in a figure


class RunRow(NamedTuple):
    """What the table of the runs says of one: its first wrong step is None where there is none."""

    dtype: str
    backend: str
    verdict: str
    share: float | None
    step: int | None
    message: str


class CaseOnPage(NamedTuple):
    """One case.

    Attributes:
        name: as `xor/two_four_one`; its folder is what stands before the last `/`.
        title: in a line.
        rows: one a dtype and backend.
        body: the HTML of its page, which `body_of` makes.
        curves: what its figure shows; None without one.
        page: the file of its page, to which the overview links; empty for `cases/NAME.md`.
    """

    name: str
    title: str
    rows: list[RunRow]
    body: str
    curves: Curves | None
    page: str = ""


def html_report(
    sentence: str,
    overview: str,
    cases: list[CaseOnPage],
    looks: dict[str, Look],
    pictures: Mapping[str, bytes] = NO_PICTURES,
    *,
    well: bool = True,
) -> bytes:
    """Return the page. Its policy lets a browser run these scripts, and fetch nothing.

    Args:
        sentence: the verdict on all cases, in plain words.
        overview: what `report.md` says of them all, in Markdown.
        cases: in the order of the report.
        looks: how each backend is drawn.
        pictures: SVG by the name that the overview has for it.
        well: nothing but the runs may make the sentence stand out.
    """
    scripts = [_file(name) for name in SCRIPTS]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    parts = {
        "scripts_allowed": hashes,
        "style": _file("page.css") + _colours(looks.values()),
        "sentence": escape(sentence),
        "overview": _html(overview, pictures),
        "bodies": "\n".join(map(_body, cases)),
        "data": _json(_data(cases, looks) | {"well": well}),
        "licences": _file("vendor/LICENSES.txt"),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))
    return page.encode("utf-8", "replace")


def _body(case: CaseOnPage) -> str:
    """Return the page of a case as text that a browser does not read before it is opened."""
    text = re.sub(r"<(?=/?script|!)", "&lt;", case.body, flags=re.IGNORECASE)
    return f'<script type="text/html" data-case="{escape(case.name)}">{text}</script>'


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _colours(looks: Iterable[Look]) -> str:
    """Write the colour of each backend; on a dark page it is as light as one sees it there."""
    colours = (
        f"--look-{i}: light-dark({look.colour}, oklch(from {look.colour} max(l, 0.7) c h));"
        for i, look in enumerate(looks)
    )
    return f":root {{ {' '.join(colours)} }}"


# ---------------------------------------------------------------- data


def _data(cases: list[CaseOnPage], looks: dict[str, Look]) -> dict:
    return {
        "looks": {name: look.marker for name, look in looks.items()},
        "cases": [
            {
                "name": case.name,
                "title": case.title,
                "page": _page(case.page or f"cases/{case.name}.md"),
                "runs": [row._asdict() | {"share": _short(row.share)} for row in case.rows],
                "figure": _figure(case.curves) if case.curves else None,
            }
            for case in cases
        ],
    }


def _page(file: str) -> str | None:
    """Return what links call the page of a case in this file: `xor-a` for `cases/xor-a.md`."""
    found = CASE_PAGE.fullmatch(file)
    return found[1] if found else None


def _figure(curves: Curves) -> dict:
    """Return what a figure shows; steps that several lines share stand there once."""
    steps = [*dict.fromkeys(tuple(line.steps) for line in curves.lines)]
    lines = [
        {
            "panel": line.panel,
            "name": line.name,
            "dtype": line.dtype,
            "steps": steps.index(tuple(line.steps)),
            "values": [_short(value) for value in line.values],
        }
        for line in curves.lines
    ]
    failures = [failure._asdict() for failure in curves.failures]
    return {"steps": steps, "lines": lines, "failures": failures}


def _short(value: float | None) -> float | None:
    """Return a number with the digits that a figure shows; None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def _json(content: dict) -> str:
    """Write JSON in which no `<` ends the element around it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


# ---------------------------------------------------------------- Markdown


def body_of(markdown: str) -> str:
    """Return the page of a case as HTML, with a place for its figure.

    Of HTML in it only tags without attributes stay, such as `<details>`; all else is text.
    """
    return _html(markdown)


def _html(markdown: str, pictures: Mapping[str, bytes] = NO_PICTURES) -> str:
    reader = _reader()
    given = {"pictures": pictures}
    tokens = reader.parse(markdown, given)
    for token, following in zip(tokens, tokens[1:] + tokens[:1], strict=True):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(following.content))
        token.attrs.pop("style", None)  # the alignment of a cell
        for inner in token.children or ():
            if inner.type == "link_open":
                inner.attrSet("href", _in_page(str(inner.attrs["href"])))
    return reader.renderer.render(tokens, reader.options, given)


def _anchor(heading: str) -> str:
    """Return what Markdown viewers call a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _in_page(link: str) -> str:
    """Return where a link to a page of the report leads in this one."""
    if name := _page(unquote(link)):
        return f"#page={quote(name)}"
    page = REPORT_PAGE.fullmatch(link)
    return (page[1] or "#") if page else link


@cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark").enable("table")
    reader.add_render_rule("html_block", _raw)
    reader.add_render_rule("html_inline", _raw)
    reader.add_render_rule("image", _image)
    reader.add_render_rule("table_open", lambda *_: '<div class="scroll"><table>\n')
    reader.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return reader


def _raw(_renderer, tokens: list[Token], at: int, _options, _given) -> str:
    """Keep tags that bear no attributes, which do nothing; whatever else is there is text."""
    parts = BARE_TAG.split(tokens[at].content)
    return "".join(x if BARE_TAG.fullmatch(x) else escape(unescape(x)) for x in parts)


def _image(renderer, tokens: list[Token], at: int, options, given: dict) -> str:
    """Put the picture itself into the page, or make the place where a script draws the figure."""
    token = tokens[at]
    words = escape(renderer.renderInlineAsText(token.children, options, given))
    picture = given["pictures"].get(unquote(str(token.attrs["src"])))
    if picture is None:
        return f'<span data-figure="{words}"></span>'
    content = base64.b64encode(picture).decode()
    return f'<img alt="{words}" src="data:image/svg+xml;base64,{content}">'
