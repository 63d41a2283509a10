"""Values with positions and graphs of layers: each mistake is told at its place, and nothing that rests on it."""

import pytest
from ruamel.yaml import YAML

from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from tests.cases.reading.test_load import mistakes  # noqa: F401 (a fixture)

yaml = YAML(typ="safe")
POSITIONS = """\
title: A graph over three positions
dtypes: [float64, float32]
network:
  - dense: {name: a, units: 4}
  - tanh: {name: b}
  - dense: {name: c, units: 4, inputs: [a]}
  - skip: {name: d, source: b}
  - dropout: {name: e, rate: 0.5}
  - dense: {name: f, units: 2, inputs: [e]}
parameters:
  a.weight: [[1, 2, 3, 4], [5, 6, 7, 8]]
  a.bias: [0, 0, 0, 0]
  c.weight: {uniform: {low: 0, high: 1}}
  c.bias: [0, 0, 0, 0]
  f.weight: [[1, 2], [3, 4], [5, 6], [7, 8]]
  f.bias: [0, 0]
random: {generator: pcg64, seed: 0}
data:
  inputs: [[[0, 1], [1, 0], [1, 1]], [[0, 2], [2, 0], [2, 2]]]
  targets: [[[0, 1], [1, 0], [1, 1]], [[0, 0], [0, 1], [1, 0]]]
loss: {squared_error: {factor: 0.5, reduction: mean}}
training:
  steps: 3
  optimizer: {sgd: {learning_rate: 0.1}}
published:
  - {tensor: value/d, step: 0, index: [0, 2, 1], value: "0.5", source: a book}
"""
EACH = "[[[0, 1], [1, 0], [1, 1]], [[0, 0], [0, 1], [1, 0]]]"
MASKS = "[[[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]]]"
QUOTE = 'index: [0, 2, 1], value: "0.5"'
BADLY_JOINED = [
    # what layers take
    ("inputs: [a]", "inputs: [aa]", 6, 41, "there is no layer 'aa' before this one; expected input, a or b"),
    ("inputs: [a]", "inputs: [A]", 6, 41, "there is no layer 'A' before this one; did you mean 'a'?"),
    ("inputs: [a]", "inputs: [c]", 6, 41, "there is no layer 'c' before this one"),
    ("inputs: [a]", "inputs: [f]", 6, 41, "there is no layer 'f' before this one"),
    ("inputs: [a]", "inputs: a", 6, 40, "expected a list, found the text 'a'; in brackets it is one, [a]"),
    ("inputs: [a]", "inputs: []", 6, 40, "expected at least 1 entry, found an empty list"),
    ("inputs: [a]", "inputs: [a-b]", 6, 41, "expected a name of letters, digits and _"),
    ("inputs: [a]", "input: [a]", 6, 32, "unknown key 'input'; did you mean 'inputs'?"),
    ("inputs: [a]", "from: a", 6, 32, "unknown key 'from'; did you mean 'inputs'?"),
    ("inputs: [a]", "inputs: [a, b]", 6, 40, "expected 1 name, found 2: dense takes 1 value"),
    ("inputs: [a]", "inputs: [a, a]", 6, 44, "'a' is listed twice: dense takes 1 value"),
    ("{name: d,", "{name: d, inputs: [c, a],", 7, 29, "expected 1 name beside `source`, found 2: skip takes 2 values"),
    ("{name: d,", "{name: d, inputs: [g],", 7, 30, "there is no layer 'g' before this one; expected input, a, b or"),
    (
        "source: b",
        "source: input",
        7,
        29,
        "expected a layer of shape (3, 4) a sample, as the one before the skip; 'input' has (3, 2)",
    ),
    ("source: b", "source: input, inputs: [c]", 7, 29, "of shape (3, 4) a sample, as 'c'; 'input' has (3, 2)"),
    (
        "inputs: [e]",
        "inputs: [a]",
        8,
        14,
        "nothing takes the value of e, so nothing is learnt through it; name it in the `inputs` of a layer behind it",
    ),
    ("source: b", "source: a", 5, 11, "nothing takes the value of b"),
    ("name: d", "name: a", 7, 18, "the name 'a' is taken by an earlier layer"),
    ("{name: d,", "{name: c.bias,", 7, 18, "the name 'c.bias' is that of c's bias"),
    # data
    (EACH, "[[[0, 1], [1, 0]], [[0, 0], [0, 1]]]", 20, 12, "expected shape (2, 3, 2), that of the last layer, 'f', f"),
    (EACH, "[[0, 1], [1, 0]]", 20, 12, "that of the last layer, 'f', found (2, 2)"),
    (EACH, "[[[0], [1], [1]], [[0], [1], [1]]]", 20, 12, "expected shape (2, 3, 2), that of the last layer, 'f', foun"),
    (EACH, "[[[0, 1], [1, 0], [1, 1]]]", 20, 12, "expected as many rows as inputs has, 2, found 1"),
    ("[0, 2], [2, 0], [2, 2]", "[0, 2], [2, 0]", 19, 38, "row 1 has shape (2, 2), row 0 has (3, 2)"),
    # masks
    ("rate: 0.5", f"rate: 0.5, mask: {MASKS}", 8, 41, "expected shape (2, 3, 4) or (steps, 2, 3, 4), found (1, 3, 4)"),
    ("rate: 0.5", "rate: 0.5, mask: [[1, 0, 1, 0]]", 8, 41, "expected shape (2, 3, 4) or (steps, 2, 3, 4), found (1,"),
    ("steps: 3", "steps: 9999999", 8, 14, "9,999,999 masks of (2, 3, 4); at most 100,000,000 numbers are drawn for"),
    # parameters
    ("a.bias: [0, 0, 0, 0]", "a.bias: [0, 0, 0]", 12, 11, "a.bias: expected shape (4,) = (units,), found (3,)"),
    ("[[1, 2], [3, 4], [5, 6], [7, 8]]", "[[1, 2]]", 15, 13, "f.weight: expected shape (4, 2) = (inputs, units), foun"),
    # published numbers
    (QUOTE, 'index: [0, 3, 1], value: "0.5"', 26, 39, "value/d has shape (2, 3, 4), so the index [0, 3, 1] is outside"),
    (QUOTE, 'index: [0, 2, 1, 0], value: "0.5"', 26, 39, "so the index [0, 2, 1, 0] is outside"),
    (QUOTE, 'index: [0, 2], value: ["0.5"]', 26, 54, "expected shape (4,), found (1,)"),
    (QUOTE, 'value: "0.5"', 26, 39, "expected shape (2, 3, 4), found ()"),
    (QUOTE, 'index: [0], transpose: true, value: "0.5"', 26, 68, "expected shape (4, 3), found ()"),
    ("value/d", "value/g", 26, 14, "there is no tensor 'value/g'"),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), BADLY_JOINED)
def test_bad_graph_or_positions(mistakes, old, new, line, column, message):  # noqa: F811
    (complaint,) = mistakes(POSITIONS.replace(old, new))
    assert complaint.startswith(f"case.yaml:{line}:{column}: ")
    assert message in complaint


@pytest.mark.parametrize("row", BADLY_JOINED, ids=lambda row: row[1])
def test_a_mistake_in_a_graph_is_told_beside_another(mistakes, row):  # noqa: F811
    """And nothing that is not wrong, which rests on it."""
    old, new, _, _, message = row
    complaints = mistakes(POSITIONS.replace(old, new).replace("[float64, float32]", "[float64, float32, float64]"))
    assert [message in complaint for complaint in complaints] == [False, True]


def test_good_graph_over_positions(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(POSITIONS)
    case = load(path)
    assert case.graph.shapes == {"input": (3, 2)} | dict.fromkeys("abcde", (3, 4)) | {"f": (3, 2)}
    assert [node.inputs for node in case.graph.nodes] == [("input",), ("a",), ("a",), ("c", "b"), ("d",), ("e",)]
    assert case.graph.masks == {"e.mask": (3, 4)}
    assert materialise(case, "float32").masks["e.mask"].shape == (3, 2, 3, 4)


CLASSES = POSITIONS.replace("squared_error: {factor: 0.5, ", "softmax_cross_entropy: {")
BAD_CLASSES = [
    ("[[0, 1, 2], [0, 1, 1]]", 20, "expected class indices from 0 to 1, found 2"),
    ("[[0, 1], [1, 1]]", 12, "expected shape (2, 3), a class index a position, or (2, 3, 2), that of the last"),
    ("[0, 1]", 12, "a class index a position, or (2, 3, 2), that of the last layer, 'f', found (2,)"),
    (
        "[[[0, 1]], [[1, 0]]]",
        12,
        "a class index a position, or (2, 3, 2), that of the last layer, 'f', found (2, 1, 2)",
    ),
    ("[[[0, -1], [1, 0], [1, 1]], [[0, 0], [0, 1], [1, 0]]]", 12, "expects probabilities as targets, found one below"),
]


@pytest.mark.parametrize(("targets", "column", "message"), BAD_CLASSES)
def test_bad_classes_of_positions(mistakes, targets, column, message):  # noqa: F811
    (complaint,) = mistakes(CLASSES.replace(EACH, targets))
    assert complaint.startswith(f"case.yaml:20:{column}: ")
    assert message in complaint


@pytest.mark.parametrize("targets", [EACH, "[[0, 1, 1], [1, 0, 0]]"])
def test_classes_of_positions(tmp_path, targets):
    """A class index a position, or a distribution; either becomes a number a class."""
    path = tmp_path / "good.yaml"
    path.write_text(CLASSES.replace(EACH, targets))
    problem = materialise(load(path), "float64")
    assert problem.targets.shape == (2, 3, 2)
    assert "[[[" in targets or problem.targets.argmax(axis=-1).tolist() == yaml.load(targets)


def test_two_outputs_a_target_at_every_position(mistakes, tmp_path):  # noqa: F811
    gaussian = POSITIONS.replace("squared_error: {factor: 0.5, ", "gaussian_nll: {")
    path = tmp_path / "good.yaml"
    path.write_text(gaussian.replace(EACH, "[[[0], [1], [1]], [[0], [1], [1]]]"))
    assert load(path).output_shape == (3, 2)
    (complaint,) = mistakes(gaussian)
    assert complaint == "case.yaml:20:12: expected half the width 2 of the last layer, found 2"
