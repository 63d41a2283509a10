"""Every kind of bad input is one line a mistake, at its place; nothing else ever comes out of `load`."""

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.files import find, names_of
from backproof.cases.reading.load import InvalidCase, load, load_all

yaml = YAML(typ="safe")
GOOD = """\
title: A good case
dtypes: [float64, float32]
network:
  - dense: {name: hidden, units: 2}
  - sigmoid
  - dense: {name: readout, units: 1, bias: false}
parameters:
  hidden.weight: {uniform: {low: 0, high: 1}}
  hidden.bias: [0.5, -0.5]
  readout.weight: [[1], [2]]
random: {generator: pcg64, seed: 0}
data:
  inputs: [[0, 0, 1], [0, 1, 0], [1, 1, 1]]
  targets: [[0], [1], [1]]
loss: {squared_error: {factor: 0.5, reduction: sum}}
training:
  steps: 7
  batch: {size: 2}
  optimizer: {sgd: {learning_rate: 1e-3}}
published:
  - {tensor: loss, step: 7, value: "0.125", source: a book}
"""


@pytest.fixture
def mistakes(tmp_path, monkeypatch):
    """Load a text, or bytes, and give back what `load` complains about, a line a mistake."""
    monkeypatch.chdir(tmp_path)

    def complaints(content: str | bytes) -> list[str]:
        path = tmp_path / "case.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InvalidCase) as caught:
            load(path)
        lines = str(caught.value).split("\n")
        assert len(lines) == len(caught.value.mistakes)
        return lines

    return complaints


def changed(old: str, new: str) -> str:
    """The good case with one passage replaced."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


@pytest.mark.parametrize("path", sorted(CASES.rglob("*.yaml")), ids=lambda path: path.relative_to(CASES).as_posix())
def test_shipped_case_is_valid(path):
    assert load(path).name == path.relative_to(CASES).with_suffix("").as_posix()


def test_good_case(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    case = load(path)
    assert case.training.optimizer.learning_rate == 1e-3
    assert [layer.name for layer in case.network] == ["hidden", "sigmoid1", "readout"]
    assert list(case.parameter_shapes().values()) == [(3, 2), (2,), (2, 1)]


# ---------------------------------------------------------------- the text


@pytest.mark.parametrize(
    ("content", "line", "column", "message"),
    [
        (b"", 1, 1, "the file is empty"),
        (b"# only a comment\n", 1, 1, "the file is empty"),
        (b"title: \xff", 1, 8, "not UTF-8"),
        (b"title: a\x07", 1, 9, "U+0007"),
        (b"[" * 200_000, 1, 1, "larger than 128 KiB"),
        (b"[" * 100_000, 1, 33, "nested deeper than 32"),
        (b"[" * 33 + b"]" * 33, 1, 33, "nested deeper than 32"),
        (b"? " * 50_000, 1, 3, "expected a name as key, found a list or mapping"),
        (b"title: &a x", 1, 8, "anchors are not allowed"),
        (b"title: [" + b"*a," * 30_000, 1, 9, "aliases are not allowed"),
        (b"title: !!python/name:os.system", 1, 8, "tags are not allowed"),
        (b"title: a\ntitle: b", 2, 1, "the key 'title' stands here and in line 1"),
        (b"data: {inputs: 1,\n inputs: 2}", 2, 2, "the key 'inputs' stands here and in line 1"),
        (b"3: x", 1, 1, "expected a name as key, found the number 3"),
        (b"title: a\n---\ntitle: b", 2, 1, "found a second one"),
        (b"title: a\ndata:\nloss:", 2, 1, "nothing is written here"),
        (b"title: a: b", 1, 9, "not valid YAML: mapping values are not allowed here"),
        (b"title: [a", 1, 10, "not valid YAML"),
        (b'title: "\\U00110000"', 1, 6, "not valid YAML"),
        (b'title: "\\UFFFFFFFF"', 1, 6, "not valid YAML"),
        (b"data: 1" + b"0" * 5000, 1, 7, "a number of 5001 characters"),
        (b"data: 0x1" + b"0" * 5000, 1, 7, "a number of 5003 characters"),
        (b"data: -1e400", 1, 7, "too large for float64"),
        (b"- " + b"x" * 100_000, 1, 1, "expected a mapping with the keys title, "),
    ],
)
def test_refused_text(mistakes, content, line, column, message):
    start = time.perf_counter()
    (complaint,) = mistakes(content)
    assert complaint.startswith(f"case.yaml:{line}:{column}: ")
    assert message in complaint
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(("text", "number"), [("-.5e1", -5.0), ("017", 17), ("0o17", 15), ("0x1F", 31), ("+1.", 1.0)])
def test_numbers_follow_the_core_schema(tmp_path, text, number):
    path = tmp_path / "case.yaml"
    path.write_text(changed("[0.5, -0.5]", f"[0.5, {text}]"))
    assert load(path).parameters["hidden.bias"][1] == number


@pytest.mark.parametrize("text", ["2001-01-01", "no", "=", "<<", "1_000"])
def test_other_scalars_are_text(tmp_path, text):
    path = tmp_path / "case.yaml"
    path.write_text(changed("A good case", text))
    assert load(path).title == text


# ---------------------------------------------------------------- the schema and the checks

BAD = [
    # the schema
    ("steps: 7", "stepps: 7", 17, 3, "unknown key 'stepps'; did you mean 'steps'?"),
    (
        "steps: 7",
        "rounds: 7",
        17,
        3,
        "unknown key 'rounds'; expected steps, epochs, batch, optimizer, clip or schedule",
    ),
    ("learning_rate: 1e-3", "learning_rat: 1e-3, learning_rate: 1", 19, 21, "did you mean 'learning_rate'?"),
    (", units: 1,", ",", 6, 12, "missing key 'units'"),
    ("bias: false", "bias: no", 6, 44, "expected true or false, found the text 'no'; write false"),
    (
        "- sigmoid",
        "- sigmod",
        5,
        5,
        "there is no layer 'sigmod'; did you mean 'sigmoid'? see docs/generated/reference.md#sigmoid",
    ),
    (
        "- sigmoid",
        "- sigmod: {}",
        5,
        5,
        "there is no layer 'sigmod'; did you mean 'sigmoid'? see docs/generated/reference.md#sigmoid",
    ),
    ("- sigmoid", "- 3", 5, 5, "expected dense, skip, dropout, sigmoid, tanh, relu, leaky_relu, prelu, elu"),
    ("- sigmoid", "- {relu: {}, tanh: {}}", 5, 5, "found a mapping of 2 keys"),
    ("squared_error:", "squared_eror:", 15, 8, "did you mean 'squared_error'?"),
    ("{sgd:", "{sdg:", 19, 15, "there is no optimizer 'sdg'; the optimizers are sgd, momentum, asgd,"),
    ("{uniform:", "{unifrom:", 8, 19, "there is no draw 'unifrom'; did you mean 'uniform'?"),
    ("float32", "float23", 2, 19, "unknown 'float23'; did you mean 'float32'?"),
    ("[float64, float32]", "[]", 2, 9, "expected at least 1 entry, found an empty list"),
    ("[float64, float32]", "float64", 2, 9, "expected a list, found the text 'float64'"),
    ("low: 0", 'low: "0"', 8, 34, "expected a number, found the text '0'; write it without quotes"),
    ("low: 0", "low: .nan", 8, 34, "expected a finite number, found the number nan"),
    ("units: 2", "units: 2.5", 4, 34, "expected a whole number, found the number 2.5"),
    ("units: 2", "units: 0", 4, 34, "expected at least 1, found the number 0"),
    ("seed: 0", "seed: 4294967296", 11, 34, "expected at most 4294967295, found"),
    ("1e-3", "-1e-3", 19, 36, "expected a number above 0, found the number -0.001"),
    ("name: hidden", "name: hid-den", 4, 19, "expected a name of letters, digits and _, or several joined by ., found"),
    ("A good case", "3", 1, 8, "expected text, found the number 3; put it in quotes"),
    ("A good case", "x" * 300, 1, 8, "expected at most 200 characters"),
    ("A good case", r'"\e[31m"', 1, 8, "expected one line without control characters"),
    ("A good case", r'"\ud800"', 1, 8, r"found the text '\ud800'"),
    ("{size: 2}", "3", 18, 10, "expected a mapping with the keys size, order or last, found the number 3"),
    ("[0, 1, 0]", "[0, x, 0]", 13, 27, "expected a number, found the text 'x'"),
    ("[0, 1, 0]", "[0, .inf, 0]", 13, 27, "expected a finite number, found inf"),
    ("[0, 1, 0]", "[0, 1]", 13, 23, "row 1 has shape (2,), row 0 has (3,)"),
    ("[0, 1, 0]", "[]", 13, 23, "expected numbers, found an empty list"),
    ('"0.125"', "0.125", 21, 36, "expected a printed number in quotes"),
    ('"0.125"', '"1/8"', 21, 36, "expected a printed number, found '1/8'"),
    ('"0.125"', '"0e999"', 21, 36, "expected a printed number, found '0e999'"),
    ("published:", "tolerance: {float8: {rtol: 0}}\npublished:", 20, 13, "unknown 'float8'"),
    # data and network
    ("[[0], [1], [1]]", "[0, 1, 1]", 14, 12, "expected a matrix with a row a sample, found shape (3,)"),
    ("[[0], [1], [1]]", "[[0], [1]]", 14, 12, "expected as many rows as inputs has, 3, found 2"),
    ("[[0], [1], [1]]", "[[0, 1], [1, 1], [1, 1]]", 14, 12, "expected width 1, that of the last layer"),
    ("name: readout", "name: sigmoid1", 6, 19, "the name 'sigmoid1' is taken"),
    ("name: readout", "name: output", 6, 19, "the name 'output' is reserved"),
    ("name: readout", "name: hidden.weight", 6, 19, "the name 'hidden.weight' is that of hidden's weight"),
    ("name: readout", "name: a..b", 6, 19, "expected a name of letters, digits and _, or several joined by ."),
    ("name: readout", "name: a/b", 6, 19, "expected a name of letters, digits and _, or several joined by ."),
    ("name: readout", "name: 0.5", 6, 19, "expected text, found the number 0.5; put it in quotes"),
    ("  hidden.bias: [0.5, -0.5]\n", "", 8, 3, "missing parameter 'hidden.bias' of shape (2,)"),
    ("hidden.bias:", "a: 1\n  hidden.bias:", 9, 3, "there is no parameter 'a'; expected hidden.weight,"),
    ("[0.5, -0.5]", "[0.5]", 9, 16, "hidden.bias: expected shape (2,) = (units,), found (1,)"),
    ("[[1], [2]]", "[[1, 2]]", 10, 19, "readout.weight: expected shape (2, 1) = (inputs, units), found (1, 2)"),
    ("low: 0", "low: 2", 8, 18, "expected low < high"),
    # training
    ("  steps: 7\n", "", 17, 3, "expected either steps or epochs, found neither"),
    ("steps: 7", "steps: 7\n  epochs: 1", 18, 11, "expected either steps or epochs, found both"),
    ("steps: 7", "epochs: 9000000", 17, 11, "18,000,000 steps"),
    ("size: 2", "size: 4", 18, 17, "expected at most 3, the number of samples, found 4"),
    ("random: {generator: pcg64, seed: 0}\n", "", 8, 18, "random numbers need `random: "),
    ("{uniform: {low: 0, high: 1}}", "[[1, 2], [3, 4], [5, 6]]", 11, 9, "nothing is drawn or shuffled"),
    # dtypes and range
    ("float32", "float64", 2, 19, "float64 is listed twice"),
    ("[float64, float32]", "[float64]\ntolerance: {float32: {rtol: 0}}", 3, 13, "does not run in float32"),
    ("[0.5, -0.5]", "[0.5, -1e300]", 9, 16, "1e+300 is beyond the range of float32"),
    ("[0, 1, 0]", "[0, 1, 1e39]", 13, 11, "1e+39 is beyond the range of float32"),
    ("1e-3", "1e-300", 19, 36, "1e-300 is too small for float32"),
    # published numbers
    ("tensor: loss", "tensor: value/readot", 21, 14, "did you mean 'value/readout'?"),
    ("step: 7", "step: 8", 21, 26, "expected a step from 0 to 7, found 8"),
    ("loss, step: 7", "update/hidden.bias, step: 7", 21, 40, "expected a step from 0 to 6, found 7"),
    ("loss, step: 7", "gradient/hidden.bias, step: 8", 21, 42, "expected a step from 0 to 7, found 8"),
    ("loss, step: 7", "value/input, step: 7", 21, 43, "expected shape (3, 3), found ()"),
    ("loss, step: 7", "value/input, step: 0, index: [2:]", 21, 43, "shape (2, 3), so the index ['2:'] is outside"),
    ("loss, step: 7", "value/input, step: 0, index: [1:1]", 21, 43, "so the index ['1:1'] is outside"),
    ("loss, step: 7", "value/input, step: 0, index: [:, 0:4]", 21, 43, "so the index [':', '0:4'] is outside"),
    (
        "loss, step: 7",
        "value/input, step: 0, index: [-1]",
        21,
        44,
        "expected a number from 0 on, or a part of the axis",
    ),
    ("loss, step: 7", "value/input, step: 0, index: [1:2:1]", 21, 44, "found the text '1:2:1'"),
    ("loss, step: 7", "loss, transpose: true, step: 7", 21, 31, "loss has shape (), which has no transpose"),
    (
        "loss, step: 7",
        "parameter/hidden.weight, step: 7, transpose: true, index: [2]",
        21,
        72,
        "has shape (2, 3), so the index [2] is outside",
    ),
    ("loss, step: 7", "loss, wrong: {elements: [[]]}, step: 7", 21, 27, "missing key 'reason'"),
    ("loss, step: 7", "loss, wrong: {reason: a, elements: [[0]]}, step: 7", 21, 27, "the element [0] is none of them"),
    ("loss, step: 7", "loss, wrong: 3, step: 7", 21, 27, "expected a mapping with the keys reason or elements, found"),
    ("loss, step: 7", "loss, wrong: a, noise: b, step: 7", 21, 37, "what is noise at its source can't be wrong"),
    ("loss, step: 7", "loss, within: 1e-6, step: 7", 21, 28, "expected a mapping with the keys value or reason, found"),
    ("loss, step: 7", "loss, within: {value: 1}, step: 7", 21, 28, "missing key 'reason'"),
    ("loss, step: 7", "loss, noise: a, within: {value: 1, reason: a}, step: 7", 21, 27, "`within` has no use"),
    (
        "loss, step: 7",
        "loss, computed_in: float32, within: {value: 1, reason: a}, step: 7",
        21,
        50,
        "it stands in place of what `computed_in` would allow",
    ),
    (
        "loss, step: 7",
        "value/input, index: [2, 0], step: 0",
        21,
        34,
        "has shape (2, 3), so the index [2, 0] is outside",
    ),
    (
        "loss, step: 7",
        "value/input, index: [1, 0], step: 1",
        21,
        34,
        "has shape (1, 3), so the index [1, 0] is outside",
    ),
    ("loss, step: 7", "parameter/hidden.bias, step: 7", 21, 53, "expected shape (2,), found ()"),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), BAD)
def test_bad_case(mistakes, old, new, line, column, message):
    (complaint,) = mistakes(changed(old, new))
    assert complaint.startswith(f"case.yaml:{line}:{column}: ")
    assert message in complaint


RICH = """\
title: All that layers, parameters and training share
dtypes: [float64, float32]
network:
  - dense: {name: hidden, units: 2, bias: false}
  - prelu
  - dense: {name: second, units: 2}
  - skip: {source: hidden}
  - dropout: {name: drop, rate: 0.5, mask: [[1, 0], [1, 1]]}
  - dense: {name: readout, units: 1}
parameters:
  hidden.weight: [[1, 2], [3, 4]]
  prelu1.slope: [0.25]
  second.bias: [1, 2]
  readout.weight: [[1], [2]]
tied:
  second.weight: {parameter: hidden.weight, transposed: true}
  readout.bias: {parameter: prelu1.slope}
frozen: [readout.weight]
penalties:
  - l2: {coefficient: 0.1, parameters: [hidden.weight]}
data:
  inputs: [[0, 0], [0, 1], [1, 0], [1, 1], [2, 1]]
  targets: [[0], [1], [1], [1], [0]]
loss: {squared_error: {factor: 0.5, reduction: sum}}
training:
  steps: 6
  batch: {size: 2}
  optimizer: {sgd: {learning_rate: 0.1}}
  clip: {norm: {maximum: 1}}
  schedule: {step_decay: {every: 2, factor: 0.5}}
published:
  - {tensor: loss, step: 2, steps: 3, value: "0.125", source: a book}
"""
SKIP, MASK, TIE = "skip: {source: hidden}", "[[1, 0], [1, 1]]", "hidden.weight, transposed: true"
QUOTED = "loss, step: 2, steps: 3"
OF_TIED = "second.weight: {parameter: hidden.weight, transposed: true}"
RICHLY_BAD = [
    # skips and masks
    (SKIP, "skip: {source: hiden}", 7, 20, "there is no layer 'hiden' before this one; did you mean 'hidden'?"),
    (SKIP, "skip: {source: readout}", 7, 20, "there is no layer 'readout' before this one; expected input, hidden, p"),
    (SKIP, "skip: {source: skip1}", 7, 20, "there is no layer 'skip1' before this one"),
    (SKIP, "skip: {source: Hidden}", 7, 20, "there is no layer 'Hidden' before this one; did you mean 'hidden'?"),
    (SKIP, "skip: {source: hidden.}", 7, 20, "expected a name of letters, digits and _"),
    (SKIP, "skip", 7, 5, "missing key 'source'"),
    (
        "readout, units: 1}",
        f"readout, units: 1}}\n  - {SKIP}",
        10,
        20,
        "expected a layer of width 1, as the one before the skip; 'hidden' has 2",
    ),
    (MASK, "[[1, 0]]", 8, 44, "expected shape (2, 2) or (steps, 2, 2), found (1, 2)"),
    (MASK, "[[1, 0, 1], [1, 1, 1]]", 8, 44, "expected shape (2, 2) or (steps, 2, 2), found (2, 3)"),
    (MASK, "1", 8, 44, "found ()"),
    (MASK, f"[[{MASK}]]", 8, 44, "found (1, 1, 2, 2)"),
    (MASK, "[[1, 0.5], [1, 1]]", 8, 44, "expected a mask of 0 and 1"),
    (MASK, "[[1, true], [1, 1]]", 8, 49, "expected a number, found true"),
    (MASK, f"[{', '.join([MASK] * 7)}]", 8, 44, "expected at most 6 masks, one a step, found 7"),
    (MASK, "{file: gone.npz, array: x}", 8, 51, "there is no file 'gone.npz'"),
    (f", mask: {MASK}", "", 8, 14, "random numbers need `random: "),
    ("name: readout", "name: drop.mask", 9, 19, "the name 'drop.mask' is that of drop's mask"),
    ("rate: 0.5", "rate: 1", 8, 33, "expected a number below 1, found the number 1"),
    ("rate: 0.5", "rate: -0.1", 8, 33, "expected at least 0, found the number -0.1"),
    ("rate: 0.5", "rate: 1e-40", 8, 33, "1e-40 is too small for float32"),
    # tied, frozen and penalised parameters
    (TIE, "hiden.weight", 16, 30, "no parameter 'hiden.weight' that is not tied itself; did you mean 'hidden.weight'?"),
    (TIE, "second.weight", 16, 30, "no parameter 'second.weight' that is not tied itself; expected hidden.weight, pr"),
    (TIE, "readout.bias", 16, 30, "there is no parameter 'readout.bias' that is not tied itself"),
    (TIE, "readout.weight", 16, 18, "second.weight: expected shape (2, 2), found (2, 1) of readout.weight"),
    (
        TIE,
        "readout.weight, transposed: true",
        16,
        18,
        "second.weight: expected shape (2, 2), found (1, 2) of the transpose of readout.weight",
    ),
    (TIE, "hidden.weight, transpose: true", 16, 45, "unknown key 'transpose'; did you mean 'transposed'?"),
    (OF_TIED, "second.weight: hidden.weight", 16, 18, "expected a mapping with the keys parameter or transposed, foun"),
    ("prelu1.slope}", "prelu1.slope, transposed: true}", 17, 17, "readout.bias: a vector has no transpose"),
    ("  second.bias:", "  second.weight: [[1]]\n  second.bias:", 13, 3, "second.weight is tied to hidden.weight, so"),
    ("[readout.weight]", "[readot.weight]", 18, 10, "there is no parameter 'readot.weight'; did you mean 'readout.we"),
    ("[readout.weight]", "readout.weight", 18, 9, "expected a list, found the text 'readout.weight'"),
    ("[readout.weight]", "[3]", 18, 10, "expected text, found the number 3"),
    ("[readout.weight]", "[second.weight]", 18, 10, "second.weight is tied to hidden.weight: freeze that one"),
    ("[readout.weight]", "[readout.weight, readout.weight]", 18, 26, "readout.weight is listed twice"),
    (
        "[readout.weight]",
        "[hidden.weight, prelu1.slope, second.bias, readout.weight]",
        18,
        9,
        "every parameter is frozen, so there is no gradient to compare",
    ),
    ("parameters: [hidden.weight]", "parameters: [second.weight]", 20, 41, "second.weight is tied to hidden.weight: "),
    ("parameters: [hidden.weight]", "parameters: [hiden.weight]", 20, 41, "did you mean 'hidden.weight'?"),
    ("parameters: [hidden.weight]", "parameters: []", 20, 40, "expected at least 1 entry, found an empty list"),
    ("parameters: [hidden.weight]", "parameters: [3]", 20, 41, "expected text, found the number 3"),
    ("parameters: [hidden.weight]", "parameters: hidden.weight", 20, 40, "expected a list, found the text"),
    ("parameters: [hidden.weight]", "parameters: [hidden.weight, hidden.weight]", 20, 56, "is listed twice"),
    ("coefficient: 0.1", "coefficient: 0", 20, 23, "expected a number above 0, found the number 0"),
    ("coefficient: 0.1", "coefficient: 1e-40", 20, 23, "1e-40 is too small for float32"),
    (
        "- l2:",
        "- l3:",
        20,
        5,
        "there is no penalty 'l3'; the penalties are l1 and l2; see docs/generated/reference.md#penalties",
    ),
    ("  - l2:", "  l2:", 20, 3, "expected a list, found a mapping"),
    # optimizers, clipping and schedules
    ("maximum: 1", "maximum: 0", 29, 26, "expected a number above 0, found the number 0"),
    ("maximum: 1", "maximum: 1e300", 29, 26, "1e+300 is beyond the range of float32"),
    ("maximum: 1", "maximum: 1, epsilon: -1", 29, 38, "expected at least 0, found the number -1"),
    ("{norm: {maximum: 1}}", "norm", 29, 9, "missing key 'maximum'"),
    ("{norm:", "{nrm:", 29, 10, "there is no clip 'nrm'; did you mean 'norm'?"),
    (
        "{sgd: {learning_rate: 0.1}}",
        "{rprop: {learning_rate: 0.1}}",
        30,
        13,
        "rprop finds its own step sizes, so its l",
    ),
    ("{sgd: {learning_rate: 0.1}}", "{asgd: {learning_rate: 0.1}}", 30, 13, "asgd has a schedule of its own, so its l"),
    ("learning_rate: 0.1", "learning_rate: 0.1, weight_decay: -1", 28, 55, "expected at least 0, found the number -1"),
    ("sgd: {", "momentum: {momentum: 0, ", 28, 36, "expected a number above 0, found the number 0"),
    ("every: 2", "every: 0", 30, 34, "expected at least 1, found the number 0"),
    ("every: 2, factor: 0.5", "every: 2, factor: 1.5", 30, 45, "expected at most 1"),
    ("{step_decay: {every: 2, factor: 0.5}}", "linear_decay", 30, 13, "missing key 'steps'"),
    ("step_decay: {every: 2, factor: 0.5}", "linear_decay: {steps: 2, end: 2}", 30, 44, "expected at most 1"),
    (
        "step_decay: {every: 2, factor: 0.5}",
        "warm_up: {steps: 1, then: {warm_up: {steps: 1}}}",
        30,
        41,
        "there is no schedule behind warm_up 'warm_up'; the schedules behind it are step_decay, exp",
    ),
    ("step_decay: {every: 2, factor: 0.5}", "warm_up: {steps: 1, than: x}", 30, 34, "did you mean 'then'?"),
    # published numbers
    (QUOTED, "loss, step: 4, steps: 3", 32, 36, "the last of these steps is 6, but that of the run is 5"),
    (QUOTED, "loss, step: 4, steps: 10000000", 32, 36, "the last of these steps is 10000003, but that of the run is 5"),
    (QUOTED, "loss, step: 4, steps: 0", 32, 36, "expected at least 1, found the number 0"),
    (QUOTED, "output, index: [0, 0], step: 1, steps: 2", 32, 53, "not every one of these steps has as many samples"),
    (QUOTED, "accuracy, step: 0", 32, 14, "there is no tensor 'accuracy'"),
    (QUOTED, "absolute_error, index: [0], step: 0", 32, 37, "absolute_error has shape (), so the index [0] is outside"),
    (QUOTED, "gradient/readout.weight, step: 0", 32, 14, "there is no tensor 'gradient/readout.weight'"),
    (QUOTED, "update/readout.weight, step: 0", 32, 14, "there is no tensor 'update/readout.weight'"),
    (QUOTED, "parameter/second.weight, step: 0", 32, 14, "there is no tensor 'parameter/second.weight'"),
    (QUOTED, "loss, computed_in: float23, step: 0", 32, 33, "unknown 'float23'; did you mean 'float32'?"),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), RICHLY_BAD)
def test_bad_use_of_what_is_shared(mistakes, old, new, line, column, message):
    assert RICH.count(old) == 1
    (complaint,) = mistakes(RICH.replace(old, new))
    assert complaint.startswith(f"case.yaml:{line}:{column}: ")
    assert message in complaint


def test_good_use_of_what_is_shared(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(RICH)
    case = load(path)
    assert list(case.parameter_shapes()) == ["hidden.weight", "prelu1.slope", "second.bias", "readout.weight"]
    assert list(case.trained_shapes()) == ["hidden.weight", "prelu1.slope", "second.bias"]


def test_a_case_of_class_indices_has_an_accuracy_and_no_absolute_error(mistakes, tmp_path):
    text = RICH.replace("squared_error", "softmax_cross_entropy").replace(
        "[[0], [1], [1], [1], [0]]", "[0, 0, 0, 0, 0]"
    )
    good = tmp_path / "good.yaml"
    good.write_text(text.replace("tensor: loss", "tensor: accuracy"))
    assert load(good).published[0].tensor == "accuracy"
    (complaint,) = mistakes(text.replace("tensor: loss", "tensor: absolute_error"))
    assert "there is no tensor 'absolute_error'" in complaint


def test_a_ring_of_ties(mistakes):
    """Each of the two is named; the parameters that are left have no gradient."""
    ring = RICH.replace(
        "parameter: prelu1.slope}", "parameter: prelu1.slope}\n  prelu1.slope: {parameter: readout.bias}"
    )
    complaints = mistakes(ring)
    for line, name in ((12, "prelu1.slope is tied to readout.bias"), (17, "'prelu1.slope'"), (18, "'readout.bias'")):
        assert any(complaint.startswith(f"case.yaml:{line}:") and name in complaint for complaint in complaints)


@pytest.mark.parametrize("layers", [1, 2])
def test_masks_that_are_too_many_to_draw(mistakes, layers):
    """For one layer, or for all together."""
    drop = "  - dropout: {rate: 0.5}\n" * layers
    text = RICH.replace(f"  - dropout: {{name: drop, rate: 0.5, mask: {MASK}}}\n", drop)
    text = text.replace("data:", "random: {generator: pcg64, seed: 0}\ndata:").replace("steps: 6", "steps: 9999999")
    text = text.replace("units: 2", f"units: {6 // layers}")
    complaint = next(line for line in mistakes(text) if "numbers are drawn for all masks" in line)
    assert complaint.startswith(
        f"case.yaml:{7 + layers}:14: 9,999,999 masks of (2, {6 // layers}); at most 100,000,000"
    )


OBJECTIVE = """\
title: An optimizer alone
dtypes: [float64, float32]
objective: {gradients: {values: [[1, 2], [3, 4]]}}
parameters: {x.weight: [1, 2]}
training: {steps: 3, optimizer: {sgd: {learning_rate: 0.1}}}
"""
GIVEN = "{gradients: {values: [[1, 2], [3, 4]]}}"
INSTEAD = "an objective stands in place of network, data and loss; found"
BAD_OBJECTIVES = [
    (GIVEN, "quadratic", 3, 12, "missing key 'coefficients'"),
    (GIVEN, "3", 3, 12, "expected linear, quadratic or gradients, found the number 3"),
    (GIVEN, "{}", 3, 12, "expected linear, quadratic or gradients, found a mapping of 0 keys"),
    (GIVEN, "{linear: {coefficients: [1]}, gradients: {values: [[1]]}}", 3, 12, "found a mapping of 2 keys"),
    ("{gradients:", "{gradient:", 3, 13, "there is no objective 'gradient'; did you mean 'gradients'?"),
    ("{values: [[1, 2], [3, 4]]}", "[[1, 2]]", 3, 24, "expected a mapping with the keys values, found a list"),
    ("values: [[1, 2], [3, 4]]", "values: []", 3, 33, "expected at least 1 entry, found an empty list"),
    ("values: [[1, 2], [3, 4]]", "values: x", 3, 33, "expected a list, found the text 'x'"),
    ("[3, 4]]", "[3, x]]", 3, 46, "expected a number, found the text 'x'"),
    ("[3, 4]]", "[3, .inf]]", 3, 46, "expected a finite number, found the number inf"),
    ("[3, 4]]", "[3]]", 3, 42, "row 1 has length 1, row 0 has 2"),
    ("[3, 4]]", "[]]", 3, 42, "expected at least 1 entry, found an empty list"),
    ("[3, 4]]", "3]", 3, 42, "expected a list, found the number 3"),
    ("[3, 4]]", "[3, 1e300]]", 3, 12, "1e+300 is beyond the range of float32"),
    (GIVEN, "{quadratic: {coefficients: []}}", 3, 39, "expected at least 1 entry, found an empty list"),
    (GIVEN, "{quadratic: {coefficients: [1, [2]]}}", 3, 43, "expected a number, found a list"),
    (GIVEN, "{linear: {coefficients: [1, 2], more: 3}}", 3, 44, "unknown key 'more'; expected coefficients"),
    (GIVEN, "{linear: {coefficients: [1, 2, 3]}}", 4, 24, "x.weight: expected shape (1, 3) = (inputs, units), found"),
    ("x.weight: [1, 2]", "y.weight: [1, 2], x.weight: [1, 2]", 4, 14, "there is no parameter 'y.weight'"),
    ("[1, 2]}\ntraining", "[1, a]}\ntraining", 4, 28, "expected a number, found the text 'a'"),
    ("steps: 3", "steps: 3, batch: {size: 2}", 5, 22, "an objective has no samples, so there are no batches"),
    ("training: {steps: 3, optimizer: {sgd: {learning_rate: 0.1}}}", "", 3, 24, "one gradient a step needs `training`"),
    (
        "sgd: {learning_rate: 0.1",
        "rprop: {learning_rate: 1, smallest_step: 99",
        5,
        75,
        "at most largest_step, 50, found",
    ),
    ("training:", "network: [sigmoid]\ntraining:", 5, 1, f"{INSTEAD} network as well"),
    ("training:", "data: {inputs: [[1]], targets: [[1]]}\ntraining:", 5, 1, f"{INSTEAD} data as well"),
    ("training:", "loss: 3\ntraining:", 5, 1, f"{INSTEAD} loss as well"),
    ("training:", "frozen: [x.weight]\ntraining:", 5, 9, "every parameter is frozen"),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), BAD_OBJECTIVES)
def test_bad_objective(mistakes, old, new, line, column, message):
    assert OBJECTIVE.count(old) == 1
    (complaint,) = mistakes(OBJECTIVE.replace(old, new))
    assert complaint.startswith(f"case.yaml:{line}:{column}: ")
    assert message in complaint


def test_mistakes_of_an_objective_are_told_with_all_others(mistakes):
    text = OBJECTIVE.replace("title", "titel").replace("[3, 4]", "[3]").replace("learning_rate", "learning_rat")
    text = text.replace("float32", "float23").replace("steps: 3", "steps: 3, batch: 3") + "loss: x\ndata: y\n"
    expected = [
        ("1:1", "missing key 'title'"), ("1:1", "unknown key 'titel'"), ("2:19", "unknown 'float23'"),
        ("3:42", "row 1 has length 1"), ("5:22", "there are no batches"), ("5:49", "missing key 'learning_rate'"),
        ("5:50", "unknown key 'learning_rat'"), ("6:1", "found loss as well"), ("7:1", "found data as well"),
    ]  # fmt: skip
    complaints = mistakes(text)
    for complaint, (place, message) in zip(complaints, expected, strict=True):
        assert complaint.startswith(f"case.yaml:{place}: ")
        assert message in complaint


def test_too_many_parameters(mistakes):
    assert mistakes(changed("units: 2", "units: 9000000"))[0].startswith("case.yaml:4:3: 45,000,000 parameters")


@pytest.mark.parametrize("use", ["update/hidden.bias, step: 0", "loss, step: 1"])
def test_nothing_is_updated_without_training(mistakes, use):
    text = changed("loss, step: 7", use)
    start, end = text.index("training:"), text.index("published:")
    (complaint,) = mistakes(text[:start] + text[end:])
    assert "there is no tensor 'update/" in complaint or "a step from 0 to 0" in complaint


def test_record_needs_training(mistakes):
    text = GOOD[: GOOD.index("training:")] + "record: {every: 2}\n"
    assert mistakes(text) == ["case.yaml:16:9: there is nothing to record without training"]


@pytest.mark.parametrize(
    "quotation",
    [
        'output, step: 7, value: ["1", "2", "3"]',
        'output, step: 1, value: "1"',
        'parameter/readout.weight, step: 7, value: [["1", "2"]]',
        'value/input, step: 0, index: [1, 2], value: [["1"]]',
    ],
)
def test_published_shapes_leave_out_axes_of_length_one(tmp_path, quotation):
    path = tmp_path / "case.yaml"
    path.write_text(changed('loss, step: 7, value: "0.125"', quotation))
    assert len(load(path).published) == 1


WAVES = [  # changes of the good case, and the lines of what is told
    ("- sigmoid", "- sigmod", "[0.5, -0.5]", "[0.5, 1e300]", [5, 9]),
    ("learning_rate: 1e-3", "lr: 1e-3", "size: 2", "size: 4", [18, 19, 19]),
    ("learning_rate: 1e-3", "lr: 1e-3", "[[1], [2]]", "[[1, 2]]", [10, 19, 19]),
    ("A good case", "3", "  hidden.bias: [0.5, -0.5]\n", "", [1, 8]),
    ("{uniform: {low: 0, high: 1}}", "{uniform: {low: 0}}", "[0.5, -0.5]", "[0.5]", [8, 9]),
    ("[0, 1, 0]", "[0, x, 0]", "[[1], [2]]", "[[1e300], [2]]", [10, 13]),
    ("[[0], [1], [1]]", "[[0], [1]]", "[[1], [2]]", "[[1, 2]]", [10, 14]),
    ("[[0], [1], [1]]", "[[0], [1]]", "loss, step: 7", "value/readot, step: 7", [14]),
    ("size: 2", "size: 4", "  hidden.bias: [0.5, -0.5]\n", "", [8, 17]),
    ("size: 2", "size: 4", '"0.125"', '["0.125"]', [18]),
    ("  steps: 7\n", "", "[0.5, -0.5]", "[0.5]", [9, 17]),
    ("bias: false", "bias: no", "loss, step: 7", "loss, noise: a, wrong: b, step: 7", [6, 21]),
    ("reduction: sum", "reduction: som", "[[0], [1], [1]]", "[[0, 1], [1, 1], [1, 1]]", [14, 15]),
    ('"0.125"', "0.125", "[[1], [2]]", "[[1, 2]]", [10, 21]),
]


@pytest.mark.parametrize(("old", "new", "other", "newer", "lines"), WAVES)
def test_mistakes_are_told_in_one_wave(mistakes, old, new, other, newer, lines):
    """One against the schema does not hide one that needs several keys, unless that rests on it."""
    text = changed(old, new)
    assert text.count(other) == 1
    assert [int(line.split(":")[1]) for line in mistakes(text.replace(other, newer))] == lines


@pytest.mark.parametrize("row", [row for row in BAD if "float" not in row[0]], ids=lambda row: row[1])
def test_every_mistake_is_told_beside_another(mistakes, row):
    """And nothing that is not wrong."""
    old, new, _, _, message = row
    complaints = mistakes(changed(old, new).replace("[float64, float32]", "[float64, float32, float64]"))
    assert sum(message in complaint for complaint in complaints) == 1
    assert sum("float64 is listed twice" in complaint for complaint in complaints) == 1
    assert len(complaints) == 2


def test_a_file_that_is_no_case_at_all(mistakes):
    for text in ("[1, 2]", "title", "title: x", "network: 3\nparameters: 4\ndata: 5\ntraining: [6]", "objective: 3"):
        assert all(line.startswith("case.yaml:") for line in mistakes(text))


@pytest.mark.parametrize(
    "what", ["inputs", "targets", "network", "parameters", "loss", "training", "published", "data"]
)
@pytest.mark.parametrize("value", ["3", "x", "[]", "[3]", "[[3]]", "[[[3]]]", "{}", "{a: 3}", "[{a: 3}]", "{sgd: 3}"])
def test_anything_in_the_place_of_anything(mistakes, what, value):
    """Whatever stands there, it is told, and nothing but mistakes comes out."""
    data = yaml.load(GOOD)
    (data["data"] if what in ("inputs", "targets") else data)[what] = yaml.load(value)
    text = io.StringIO()
    yaml.dump(data, text)
    if (what, value) != ("published", "[]"):
        assert any(line.startswith("case.yaml:") for line in mistakes(text.getvalue()))


@pytest.mark.parametrize("name", ["inputs", "targets"])
def test_a_number_in_the_place_of_the_samples(mistakes, name):
    """Without training the batch is all samples."""
    text = GOOD[: GOOD.index("training:")]
    start = text.index(f"{name}:")
    text = text.replace(text[start : text.index("\n", start)], f"{name}: 3")
    assert sum("a row a sample, found shape ()" in line for line in mistakes(text)) == 1


def test_all_mistakes_in_order(mistakes):
    """Mistakes come together, in the order of the file."""
    schema = changed("- sigmoid", "- sigmod").replace("steps: 7", "stepps: x").replace("title:", "titel:")
    assert [line.split(":")[1] for line in mistakes(schema)] == ["1", "1", "5", "17"]
    checks = changed("float32", "float64").replace("size: 2", "size: 4").replace("[0.5, -0.5]", "[0.5, 1e300]")
    assert [line.split(":")[1] for line in mistakes(checks.replace("[[0], [1], [1]]", "[[0]]"))] == ["2", "14", "18"]


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("1e-3", "6e-5", "19:36", "6e-05 is too small for float16"),
        ("factor: 0.5", "factor: 1e-4", "15:32", "0.0001 is too small for float16"),
        ("[0, 1, 0]", "[0, 1, 7e4]", "13:11", "70000 is beyond the range of float16"),
    ],
)
def test_the_range_of_float16(mistakes, old, new, place, message):
    """A factor is divided by the number of terms, a learning rate is not; bfloat16 has the range of float32."""
    text = changed("[float64, float32]", "[bfloat16, float16]").replace(old, new)
    assert mistakes(text) == [f"case.yaml:{place}: {message}"]


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A case's folder with data files, good and bad, and one file outside of it."""
    tmp_path = tmp_path_factory.mktemp("folder")
    inside = tmp_path / "inside"
    inside.mkdir()
    np.savetxt(tmp_path / "outside.csv", np.ones((3, 1)), delimiter=",")
    (inside / "link.csv").symlink_to(tmp_path / "outside.csv")
    (inside / "loop.csv").symlink_to(inside / "loop.csv")
    (inside / "empty.csv").touch()
    (inside / "words.csv").write_text("a,b\nc,d\n")
    (inside / "nan.csv").write_text("1\nnan\n2\n")
    (inside / "text.txt").write_text("1\n")
    (inside / "corrupt.npz").write_bytes(b"PK\x03\x04 nothing else")
    np.savez(inside / "good.npz", x=np.array([[0], [1], [1]]), flags=np.array([[True]]), none=np.ones((0, 1)))
    np.savez(inside / "nothing.npz")
    np.savez(inside / "number.npz", x=np.array(1.0))
    np.savez(inside / "objects.npz", x=np.array([[print]], dtype=object))
    with zipfile.ZipFile(inside / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(257 * 2**20))
    return inside


def with_targets(folder: Path, targets: str) -> Path:
    path = folder / "case.yaml"
    path.write_text(changed("[[0], [1], [1]]", targets))
    return path


def test_data_beside_the_case(folder):
    assert load(with_targets(folder, "{file: good.npz, array: x}")).data.targets.tolist() == [[0.0], [1.0], [1.0]]


@pytest.mark.parametrize(
    ("targets", "column", "message"),
    [
        ("{file: ../outside.csv}", 19, "'../outside.csv' lies outside the case's own folder"),
        ("{file: /etc/passwd}", 19, "lies outside the case's own folder"),
        ("{file: link.csv}", 19, "lies outside the case's own folder"),
        ("{file: loop.csv}", 19, "'loop.csv'"),
        ('{file: "a\\0.csv"}', 19, "is no name of a file"),
        (f"{{file: {'x' * 5000}.csv}}", 19, "is no name of a file"),
        ("{file: gone.csv}", 19, "there is no file 'gone.csv'"),
        ("{file: text.txt}", 19, "expected a .npz or .csv file"),
        ("{file: [1]}", 19, "expected the name of a file beside the case file, found a list"),
        ("{fil: a.csv}", 13, "unknown key 'fil'; did you mean 'file'?"),
        ("{file: empty.csv}", 19, "'empty.csv' holds no numbers"),
        ("{file: words.csv}", 19, "is no table of numbers"),
        ("{file: nan.csv}", 19, "holds numbers that are not finite"),
        ("{file: nan.csv, array: x}", 28, "a .csv file holds one array"),
        ("{file: corrupt.npz, array: x}", 19, "'corrupt.npz' cannot be read"),
        ("{file: objects.npz, array: x}", 19, "'objects.npz' cannot be read"),
        ("{file: bomb.npz, array: x}", 19, "unpacks to more than 256 MiB"),
        ("{file: nothing.npz, array: x}", 19, "'nothing.npz' holds no array"),
        ("{file: number.npz, array: x}", 12, "expected a matrix with a row a sample, found shape ()"),
        ("3", 12, "expected a matrix with a row a sample, found shape ()"),
        ("{file: good.npz, array: y}", 36, "expected `array` to be x, flags or none, found the text 'y'"),
        ("{file: good.npz, array: flags}", 19, "holds bool in place of numbers"),
        ("{file: good.npz, array: none}", 19, "holds no numbers"),
    ],
)
def test_bad_data_file(folder, targets, column, message):
    with pytest.raises(InvalidCase) as caught:
        load(with_targets(folder, targets))
    (complaint,) = str(caught.value).split("\n")
    assert f"case.yaml:14:{column}: " in complaint
    assert message in complaint


@pytest.mark.parametrize("loss", ["squared_error", "softmax_cross_entropy"])
@pytest.mark.parametrize("numbers", ["3", "[1, 2, 3]"])
def test_inputs_that_are_no_matrix(folder, numbers, loss):
    """One mistake, whatever else is asked of the numbers."""
    path = folder / "case.yaml"
    path.write_text(
        changed("inputs: [[0, 0, 1], [0, 1, 0], [1, 1, 1]]", f"inputs: {numbers}").replace("squared_error", loss)
    )
    with pytest.raises(InvalidCase) as caught:
        load(path)
    assert "expected a matrix with a row a sample, found shape (" in str(caught.value)


def test_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [("", "found a folder"), ("pipe", "expected a file"), ("gone", "no such"), ("a\0", "no such")]:
        with pytest.raises(InvalidCase, match=message):
            load(tmp_path / path)


def test_find(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    files = [tmp_path / "a.yaml", tmp_path / "b" / "c" / "d.yaml", tmp_path / "b" / "other.csv"]
    for file in files:
        file.touch()
    assert find([tmp_path / "b", tmp_path, files[0]]) == files[:2]
    assert sorted(find()) == sorted(CASES.rglob("*.yaml"))
    for gone in (tmp_path / "gone", tmp_path / ("x" * 5000)):
        with pytest.raises(InvalidCase, match="there is no such file or folder"):
            find([gone])


def test_a_network_without_parameters(mistakes):
    (complaint,) = mistakes(
        b"title: nothing to train\ndtypes: [float64]\nnetwork: [sigmoid]\n"
        b"data: {inputs: [[1]], targets: [[1]]}\nloss: {squared_error: {factor: 1, reduction: sum}}\n"
    )
    assert complaint.startswith("case.yaml:3:10: there is no dense layer")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["/home/me/long/way/to/xor.yaml"], ["xor"]),
        (["/a/xor.yaml", "/a/and.yaml"], ["xor", "and"]),
        (["/a/b/xor.yaml", "/a/c/xor.yaml", "/a/or.yaml"], ["b/xor", "c/xor", "or"]),
        (["/a/b/xor.yaml", "/c/b/xor.yaml"], ["a/b/xor", "c/b/xor"]),
        (["/b/xor.yaml", "/a/b/xor.yaml"], ["b/xor.yaml", "a/b/xor"]),
        (["/a/xor.yaml", "/a/xor.yml"], ["xor.yaml", "xor.yml"]),
        ([f"{CASES}/xor/relu.yaml", "/a/relu.yaml"], ["xor/relu", "a/relu"]),
        ([f"{CASES}/xor/relu.yaml", "/a/xor/relu.yaml"], ["xor/relu", "a/xor/relu"]),
    ],
)
def test_names_are_the_shortest_that_tell_files_apart(files, names):
    found = names_of([Path(file) for file in files])
    assert len(set(found)) == len(files)
    assert found == names


def test_a_file_outside_is_called_by_its_name(tmp_path, monkeypatch):
    """Whatever folder one stands in, and however the file is named."""
    file = tmp_path / "case.yaml"
    file.write_text(GOOD)
    assert load(file).name == "case"
    for folder, path in ((tmp_path, "case.yaml"), (tmp_path.parent, f"{tmp_path.name}/case.yaml"), (CASES, file)):
        monkeypatch.chdir(folder)
        (case,), mistakes = load_all([path])
        assert (case.name, mistakes) == ("case", [])
        assert materialise(case, "float32").name == "case"


def test_a_file_that_is_named_twice_is_one_case(tmp_path, monkeypatch):
    (tmp_path / "case.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    cases, _ = load_all(["case.yaml", tmp_path / "case.yaml", tmp_path])
    assert [case.name for case in cases] == ["case"]
