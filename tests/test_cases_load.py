"""Every kind of bad input is one line a mistake, at its place; nothing else ever comes out of `load`."""

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cases.load import InvalidCase, find, load
from cases.schema import CASES

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
    ("steps: 7", "rounds: 7", 17, 3, "unknown key 'rounds'; expected steps, epochs, batch or optimizer"),
    ("learning_rate: 1e-3", "learning_rat: 1e-3, learning_rate: 1", 19, 21, "did you mean 'learning_rate'?"),
    (", units: 1,", ",", 6, 12, "missing key 'units'"),
    ("bias: false", "bias: no", 6, 44, "expected true or false, found the text 'no'; write false"),
    ("- sigmoid", "- sigmod", 5, 5, "unknown 'sigmod'; did you mean 'sigmoid'?"),
    ("- sigmoid", "- sigmod: {}", 5, 5, "unknown 'sigmod'; did you mean 'sigmoid'?"),
    ("- sigmoid", "- 3", 5, 5, "expected dense, sigmoid, tanh, relu, leaky_relu, prelu, elu"),
    ("- sigmoid", "- {relu: {}, tanh: {}}", 5, 5, "found a mapping of 2 keys"),
    ("squared_error:", "squared_eror:", 15, 8, "did you mean 'squared_error'?"),
    ("{sgd:", "{sdg:", 19, 15, "unknown 'sdg'; expected sgd"),
    ("{uniform:", "{unifrom:", 8, 19, "unknown 'unifrom'; did you mean 'uniform'?"),
    ("float32", "float23", 2, 19, "unknown 'float23'; did you mean 'float32'?"),
    ("[float64, float32]", "[]", 2, 9, "expected at least 1 entry, found an empty list"),
    ("[float64, float32]", "float64", 2, 9, "expected a list, found the text 'float64'"),
    ("low: 0", 'low: "0"', 8, 34, "expected a number, found the text '0'; write it without quotes"),
    ("low: 0", "low: .nan", 8, 34, "expected a finite number, found the number nan"),
    ("units: 2", "units: 2.5", 4, 34, "expected a whole number, found the number 2.5"),
    ("units: 2", "units: 0", 4, 34, "expected at least 1, found the number 0"),
    ("seed: 0", "seed: 4294967296", 11, 34, "expected at most 4294967295, found"),
    ("1e-3", "-1e-3", 19, 36, "expected a number above 0, found the number -0.001"),
    ("name: hidden", "name: Hidden", 4, 19, "expected a name of small letters"),
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
    ("loss, step: 7", "gradient/hidden.bias, step: 7", 21, 42, "expected a step from 0 to 6, found 7"),
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


def test_all_mistakes_in_order(mistakes):
    """Mistakes against the schema come together, in the order of the file; so do those that the checks find."""
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
