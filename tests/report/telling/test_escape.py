"""A hostile case cannot break the report, or inject anything into it or into a terminal."""

import os
import re
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from safetensors.numpy import save_file

from backproof.cases.__main__ import main as list_cases
from backproof.cases.console.terminal import MOST, WIDTH, cut, wrapped
from backproof.report.__main__ import main
from backproof.report.telling.escape import block, code, plain, text

HOSTILE = [
    "<script>alert(1)</script>", "a | b || c", "`code` and ``more``", "*bold* _it_ __x__ ~~no~~", "[a](http://x)",
    "![a](http://x)", "[a]: http://x", "# heading", "- item", "1. item", "> quote", "--- | ---", "\\| \\` \\", "$x$",
    "</details></summary>", "&lt;b&gt;", "one\ntwo", "\x1b[31mred\x07", "a\u202eb", "```", "<!-- ",
]  # fmt: skip


@pytest.mark.parametrize("words", HOSTILE)
def test_words_stay_words(words):
    """Nothing is left of what Markdown or HTML would read: what a backslash stands before is taken literally."""
    escaped = text(words)
    assert not re.search(r"[<>]|(?<!&lt;)&(?!(lt|gt|amp);)", escaped)
    unescaped = re.sub(r"\\[\\`*<>&|$~_\[\]!#+=.)-]", "x", escaped)
    assert not re.search(r"[`*|~$]|\]\(|!\[|(?<!\w)_|_(?!\w)|\\", unescaped)
    assert not re.search("<a |<img ", MarkdownIt("commonmark").render(f"{escaped}\n\n{escaped}"))  # nor a reference
    assert not re.match(r"#|-|\+|=|\d+[.)]", unescaped)
    assert escaped.isprintable()
    assert plain(words).isprintable()


@pytest.mark.parametrize(
    "words", ["hidden.weight", "three_two_one", "[0, 1]", "1e-05", "0.5", "±", "budget 5.9e+09", "a-b", "x (y)"]
)
def test_what_is_harmless_is_left_alone(words):
    assert text(words) == words


def test_code_is_fenced_by_more_than_it_has():
    assert code("a") == "`a`"
    assert code("a ``b`` c") == "``` a ``b`` c ```"
    assert block("a\n```\nb\x1b") == "````text\na\n```\nb\ufffd\n````"


CASE = """\
title: "{hostile}"
source: "{hostile}"
note: "{hostile}"
dtypes: [float64]
network: [{{dense: {{name: neuron, units: 1}}}}, sigmoid]
parameters: {{neuron.weight: [[0.5], [-0.5]], neuron.bias: [0]}}
data: {{inputs: [[0, 1], [1, 0], [1, 1]], targets: [[0], [1], [1]]}}
loss: {{squared_error: {{factor: 0.5, reduction: sum}}}}
training: {{steps: 3, optimizer: {{sgd: {{learning_rate: 0.5}}}}}}
published:
  - {{tensor: parameter/neuron.bias, step: 0, value: "0", source: "{hostile}"}}
  - {{tensor: parameter/neuron.bias, step: 0, value: "1", source: "{hostile}", wrong: "{hostile}"}}
"""


def test_a_report_of_hostile_cases_is_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hostile = r"# </details><script>x</script> | `b` [l](http://h) <!-- *c* \n"
    name = "a|b `c` $d$ <i> [e](f) \x1b[31m.yaml"
    (tmp_path / name).write_text(CASE.format(hostile=hostile.replace("\\", "\\\\").replace('"', "")))
    (tmp_path / "bad.yaml").write_text("title: `</summary><b>` | x\n")
    (tmp_path / "mine.py").write_text(f"def run(problem): raise RuntimeError({hostile!r} * 2)")
    assert main([".", "--backend=numpy", "--backend=mine=mine.py:run"]) == 2
    (page,) = Path("results/cases").iterdir()
    report = "".join(path.read_text(encoding="utf-8") for path in (Path("results/report.md"), page))
    outside_code = re.sub(r"`+[^`\n]+`+", "", report)
    assert not re.search(r"<(?!/?details>|/?summary>)[a-z!]", outside_code)
    assert report.count("<details>") == report.count("</details>")
    assert not re.search(r"(?<!\\)\]\(http", outside_code)
    for lines in re.findall(r"(?:^\|.*\n)+", report, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}
        assert len(bars) == 1, lines
    printed = capsys.readouterr()
    assert "\x1b[31m" not in printed.out + printed.err
    for figure in Path("results/figures").iterdir():
        ET.parse(figure)  # noqa: S314, our own


HOSTILE_NAMES = [b"no\x80text.yaml", b"esc\x1b[31m.yaml"]


@pytest.mark.parametrize("command", ["report", "cases"])
def test_no_name_of_a_file_reaches_a_terminal_as_a_command(tmp_path, monkeypatch, capsys, command):
    """A name that is no UTF-8 is told by its bytes; the case is judged like any other."""
    monkeypatch.chdir(tmp_path)
    for name in HOSTILE_NAMES:
        Path(os.fsdecode(name)).write_text(CASE.format(hostile="x"))
        Path(os.fsdecode(b"bad-" + name)).write_text("title: x")
    report = partial(main, [".", "--backend=numpy", "--executor=inline", "--no-exact"])
    assert {"report": report, "cases": partial(list_cases, ["."])}[command]() == 2
    printed = capsys.readouterr()
    assert "\x1b[" not in printed.out + printed.err.replace("\x1b[?25", "")
    assert "no\\x80text" in printed.out
    assert all(line.startswith("bad-") for line in printed.err.splitlines() if ".yaml" in line)
    if command == "report":
        assert printed.out.count("certified\n") == 2
        assert "no\\\\x80text" in Path("results/report.md").read_text(encoding="utf-8")
        assert len([*Path("results/figures").iterdir()]) == 2


def test_no_word_of_a_run_reaches_a_terminal_as_a_command(tmp_path, capsys):
    (tmp_path / "one.yaml").write_text(CASE.format(hostile="x"))
    file = tmp_path / "run.safetensors"
    save_file({"loss": np.zeros(1)}, file, {"backproof": "1", "case": "\x1b[31mred\x07", "dtype": "float64"})
    assert main([str(tmp_path / "one.yaml"), f"--run=mine={file}"]) == 2
    printed = capsys.readouterr().err
    assert "is a run of \ufffd[31mred\ufffd in float64" in " ".join(printed.split())
    assert "\x1b" not in printed


@pytest.mark.parametrize("words", ["short", "x" * 2000])
def test_what_is_not_long_stays(words):
    assert cut(words) == words


@pytest.mark.parametrize("words", ["word " * 1000, "x" * 5000, "x" * 1990 + " word" * 10, "x " + "y" * 3000])
def test_what_is_long_is_cut_between_words(words):
    """And says how much is left out."""
    shown = cut(words)
    kept, _, left_out = shown.partition(" … (")
    assert len(shown) <= MOST
    assert words.startswith(kept)
    assert left_out == f"{len(words) - len(kept):,} characters are left out)"
    assert words[len(kept)] == " " or " " not in words[1000 : len(kept)]


def test_lines_are_broken_between_words_alone():
    path = "a-long/path-that/goes-on-and-on.safetensors"
    lines = wrapped(f"one two {path} three\x1b\nfour", 20).splitlines()
    assert lines == ["one two", path, "three\ufffd four"]
    assert max(map(len, wrapped("word-by-word " * 100).splitlines())) <= WIDTH


def test_the_headings_are_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text(CASE.format(hostile="# heading"))
    assert main(["one.yaml", "--backend=numpy", "--executor=inline", "--no-exact"]) == 0
    headings = re.findall(r"^#+ .*", Path("results/cases/one.md").read_text(), re.MULTILINE)
    assert not [line for line in headings if line.endswith("heading")]
