"""The shipped cases about positions and graphs are what docs/cases.md says of them, and so are its messages."""

import re

import pytest

from backproof.cases.format.schema import CASES
from backproof.cases.reading.load import InvalidCase, load

PAGE = (CASES.parent / "docs" / "cases.md").read_text(encoding="utf-8")
GRAPH = (CASES / "shapes" / "graph.yaml").read_text(encoding="utf-8")
CLASSES = re.search(r"(    - \[\d.*\]\n)+", GRAPH)[0]
MISTAKES = {
    ("[features]", "[feature]"): "there is no layer 'feature'",
    ("[features]", "[features, branch]"): "expected 1 name",
    ("source: branch", "source: content"): "nothing takes the value of branch",
    ("source: branch", "source: features"): "expected a layer of shape",
    (CLASSES, "    - 0\n    - 2\n    - 1\n"): "a class index a position",
}


def test_the_shapes_of_the_example():
    shapes = load(CASES / "shapes" / "positions.yaml").graph.shapes
    told = re.findall(r"^  - .*# (\(\d+, \d+\))", PAGE, re.MULTILINE)
    assert told == [str(shape) for name, shape in shapes.items() if name != "input"]


def test_the_example_of_a_graph():
    network = load(CASES / "shapes" / "graph.yaml").graph
    assert network.sources["gate"] == ("features",)
    assert network.sources["joined"] == ("other_branch", "branch")


@pytest.mark.parametrize(("change", "words"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_the_messages_of_the_example(tmp_path, monkeypatch, change, words):
    assert GRAPH.count(change[0]) == 1
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(GRAPH.replace(*change))
    with pytest.raises(InvalidCase, match=words) as caught:
        load("mine.yaml")
    assert f"\n{caught.value}\n" in PAGE
