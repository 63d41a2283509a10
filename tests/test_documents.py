"""What people read: every link leads somewhere, prose has a readable width, the index has every page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
OTHERS = [ROOT / "CHANGELOG.md", ROOT / "tests" / "trial" / "survivors.md", *(ROOT / "docs" / "generated").glob("*.md")]
CODE = re.compile(r"^```.*?^```$|^ {4}.*?$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
NO_PROSE = re.compile(
    r"^```.*?^```$|<!-- (\w+): written by .*?<!-- end of \1 -->|^ {4}.*?$|^\|.*?$|^!\[.*?$", re.MULTILINE | re.DOTALL
)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    """Links to no file, or to no heading of one."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        missing = not target.exists() or (anchor and anchor not in anchors(target))
        if missing and not link.startswith("https://"):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", [*WRITTEN, *OTHERS], ids=name)
def test_links_lead_somewhere(page):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "page.md").write_text("# One\n[a](page.md#one) [b](page.md#two) [c](gone.md) `[d](e)`\n", "utf-8")
    assert dead_links(tmp_path / "page.md") == ["page.md#two", "gone.md"]


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_prose_fits_120_columns(page):
    """As the code does; a table and an example have the width that they need."""
    prose = NO_PROSE.sub("", page.read_text(encoding="utf-8")).splitlines()
    assert len(prose) > 10
    assert [line for line in prose if len(line) > 120] == []


def test_the_index_has_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))


def test_a_page_in_words_stands_before_each_generated_one():
    for page in (ROOT / "docs" / "generated").glob("*.md"):
        words = (ROOT / "docs" / page.name).read_text(encoding="utf-8")
        assert f"](generated/{page.name})" in words
        assert f"](../{page.name})" in page.read_text(encoding="utf-8")
