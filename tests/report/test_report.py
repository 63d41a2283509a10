"""`python -m report` from end to end: what it writes and prints, and its exit codes."""

import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest

from backproof.backends import numpy_reference, registry
from backproof.backends.trajectory import PHASES
from backproof.cases.console.terminal import MOST
from backproof.cases.format.layers.activations import (
    HardSigmoid,
    Identity,
    LeakyRelu,
    LogSoftmax,
    Prelu,
    Relu,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from backproof.cases.format.network import Network
from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.reference.formulas import layers, losses, optimizers
from backproof.reference.formulas.layers import layer_backward, layer_forward
from backproof.report.__main__ import main
from backproof.report.judging.exceptions import EndedError
from backproof.report.judging.outcome import Comparison, Result
from backproof.report.running import chapter, job
from backproof.report.telling import case_page, figures, not_certified, overview, pairs, places
from backproof.report.telling.depth import gradients_by_layer, steepest
from backproof.report.telling.overview import summary

GOOD = """\
title: A small run | with a bar
source: a book | page 3
note: |
  Two lines
  of a note.
dtypes: [float64, float32]
network: [{dense: {name: hidden, units: 2}}, tanh, {dense: {name: readout, units: 1, bias: false}}, sigmoid]
parameters:
  hidden.weight: [[0.5, -0.25, ], [0.125, 0.5]]
  hidden.bias: [0, 0]
  readout.weight: [[1], [-0.5]]
data: {inputs: [[0, 1], [1, 0], [1, 1]], targets: [[0], [1], [1]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
training: {steps: 12, optimizer: {sgd: {learning_rate: 0.5}}}
published:
  - {tensor: parameter/hidden.bias, step: 0, value: ["0", "0.0"], source: a | b}
"""
CHAIN = """\
title: A chain
dtypes: [float64]
network: [{dense: {units: 1}}, sigmoid, {dense: {units: 1}}, sigmoid, {dense: {units: 1}}, relu, {dense: {units: 1}}]
parameters:
  dense1.weight: [[1]]
  dense1.bias: [0]
  dense2.weight: [[2]]
  dense2.bias: [0]
  dense3.weight: [[3]]
  dense3.bias: [0]
  dense4.weight: [[1]]
  dense4.bias: [0]
data: {inputs: [[1]], targets: [[0]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
"""
DIVERGING = re.sub("tanh|sigmoid", "identity", GOOD).replace("rate: 0.5", "rate: 1e12").partition("published")[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory; its files are the cases, by name, and the report goes to `results`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(*arguments: str, names=("numpy",)) -> int:
    """In this process, where a test can put a wrong backend."""
    return main([*arguments, "--executor=inline", *(f"--backend={name}" for name in names)])


def results() -> dict:
    return json.loads(Path("results/report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def page(name: str) -> str:
    """The page of a case."""
    return Path(f"results/cases/{name}.md").read_text(encoding="utf-8")


def verdicts() -> list[str]:
    return [row["verdict"] for row in results()["results"]]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of two cases on the three backends."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "a|b.yaml").write_text(GOOD, encoding="utf-8")
    (folder / "chain.yaml").write_text(CHAIN, encoding="utf-8")
    assert (
        main(
            [str(folder / "a|b.yaml"), str(folder / "chain.yaml"), "--executor=inline", "--output", str(folder / "out")]
        )
        == 0
    )
    return folder / "out"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_report_of_16_bits(dtype):
    """All of it: the gradients by layer, the figures, the exact run."""
    Path("a.yaml").write_text(re.sub("dtypes: .*", f"dtypes: [{dtype}]", CHAIN), encoding="utf-8")
    assert report("a.yaml") == 0
    text = page("a")
    assert verdicts() == ["certified"]
    assert f"### {dtype}, step 0" in text
    assert "gradient size by layer" in text


# ---------------------------------------------------------------- report.json

RESULT = {
    "case", "dtype", "backend", "verdict", "budget", "resolution", "absolute_resolution", "where", "ledger",
    "published", "misses", "accuracy", "seconds", "message", "hint", "look", "recorded", "undecided", "bias", "biased",
    "median_resolution", "numbers",
}  # fmt: skip
PAIR = {"case", "dtype", "pair", "max_gradient_difference", "max_parameter_difference", "step", "status"}


def test_json_has_the_promised_keys(written):
    content = json.loads((written / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert list(content) == ["schema", "verdict", "complete", "environment", "results", "pairs"]
    assert content["complete"] is True
    assert content["schema"] == 1
    assert content["verdict"].startswith("All 9 runs are certified: ")
    assert len(content["results"]) == len(content["pairs"]) == 9
    for row in content["results"]:
        assert row.keys() == RESULT
        assert row["where"].keys() == {"step", "phase", "tensor", "index"}
        assert row["ledger"].keys() == {"steps", "tensors", "elements", "resolved", "undecided"}
        assert row["published"] == {"met": int(row["case"].endswith("a|b")), "missed": 0}
        assert row["accuracy"] is None
        assert row["seconds"].keys() == {"run", "judge"}
        assert 0 < row["budget"] <= 1
    for row in content["pairs"]:
        assert row.keys() == PAIR
        assert row["status"] in ("within", "explained")
    assert [row["pair"] for row in content["pairs"][:3]] == ["numpy-torch", "numpy-jax", "torch-jax"]


def test_json_of_what_has_no_numbers(folder, monkeypatch):
    """Null for what is not finite, and for what a backend that did not run has not got."""
    monkeypatch.setitem(registry.BACKENDS, "torch", "no_such_module")
    Path("diverging.yaml").write_text(DIVERGING)
    assert report("diverging.yaml", names=("numpy", "torch")) == 3
    out_of_range, missing = results()["results"][:2]
    assert out_of_range["verdict"] == "out of range"
    assert out_of_range["budget"] is None or math.isfinite(out_of_range["budget"])
    assert out_of_range["where"]["step"] > 0
    assert missing.keys() == RESULT
    assert (missing["verdict"], missing["budget"], missing["ledger"]) == ("missing", None, None)
    assert missing["accuracy"] is None
    assert (folder / "results" / "figures" / "diverging.svg").exists()


CLASSES = """\
title: Three classes
dtypes: [float64]
network: [{dense: {name: readout, units: 3}}]
parameters: {readout.weight: [[1, 0, 0], [0, 1, 0], [0, 0, 1]], readout.bias: [0, 0, 0]}
data: {inputs: [[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 9]], targets: [0, 1, 2, 1]}
loss: {softmax_cross_entropy: {factor: 1, reduction: mean}}
training: {steps: 2, optimizer: {sgd: {learning_rate: 0.001}}}
"""


@pytest.mark.usefixtures("folder")
def test_accuracy_of_a_classification():
    """Of every backend, of all samples: of two with the same input and different classes one is wrong."""
    Path("classes.yaml").write_text(CLASSES)
    assert report("classes.yaml", names=("numpy", "torch")) == 0
    assert [row["accuracy"] for row in results()["results"]] == [0.75, 0.75]
    text = page("classes")
    assert ", …. Put into their class: numpy 75.00%, torch 75.00% of 4 samples." in text


# ---------------------------------------------------------------- report.md and the figures


def test_markdown_tables_are_well_formed(written):
    """Every row of a table has as many cells as its header; a bar in a file name or a source is escaped."""
    texts = [path.read_text(encoding="utf-8") for path in (written / "report.md", *(written / "cases").iterdir())]
    tables = [table for text in texts for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    assert len(tables) > 10
    for table in tables:
        header, rule, *_ = rows = table.splitlines()
        assert re.fullmatch(r"\|(:?-+:?\|)+", rule), table
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(re.findall(r"(?<!\\)\|", header))}, table
    assert "a \\| b" in "".join(texts)


def test_the_report_is_one_page_that_leads_to_the_others(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings == [
        "backproof report", "By folder", "Every run", "What was compared", "Free-running differences",
        "Gradient size by layer", "Environment",
    ]  # fmt: skip
    links = re.findall(r"\]\((.*?)\)", text)
    assert len(links) == 3
    assert all((written / unquote(link)).is_file() for link in links)
    assert text.count("rounding allowed") == 3  # in the sentence, and where it is explained


def test_the_page_of_a_case_holds_what_a_reader_looks_for(written):
    text = (written / "cases" / "a|b.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    for heading in ("float64, step 0", "float32, the run", "float64, published numbers"):
        assert heading in headings
    assert "| gradient readout.weight" in text
    assert "of the rounding allowed: step " in text
    assert "into their class" not in text
    assert "> Two lines\n> of a note." in text
    assert "1024 bits" in text or "512 bits" in text
    (figure,) = re.findall(r"!\[.+\]\((.*?)\)", text)
    assert (written / "cases" / unquote(figure)).exists()
    assert text.count("<details>") == text.count("</details>") == 4


@pytest.mark.usefixtures("folder")
def test_a_name_from_before_leaves_no_page():
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(GOOD)
        assert report(name, "--no-exact") == 0
        assert [path.stem for path in Path("results/cases").iterdir()] == [name[0]]


SCENARIOS = {
    "network: [{dense: {name: a, units: 2}}, {dropout: {rate: 0.5}}, {dense: {name: b, units: 2, bias: false}}, "
    "{skip: {name: sum, source: input}}, {dense: {name: c, units: 1}}]\n"
    "parameters: {a.weight: [[1, 2], [3, 4]], a.bias: [0, 0], c.weight: [[1], [2]], c.bias: [0]}\n"
    "tied: {b.weight: {parameter: a.weight, transposed: true}}\nfrozen: [a.bias, c.weight]\n"
    "penalties: [{l1: {coefficient: 0.125, parameters: [a.weight, c.bias]}}, "
    "{l2: {coefficient: 2, parameters: [c.weight]}}]\n"
    "random: {generator: pcg64, seed: 0}\n"
    "data: {inputs: [[0, 1], [1, 0], [1, 1]], targets: [[0], [1], [1]]}\n"
    "loss: {squared_error: {factor: 0.5, reduction: mean}}\n"
    "training: {steps: 2, batch: {size: 2}, optimizer: {sgd: {learning_rate: 0.5}}, clip: {norm: {maximum: 4}}, "
    "schedule: {warm_up: {steps: 3, start: 0.5, then: {step_decay: {every: 2, factor: 0.5}}}}}\n": (
        "input (2) → a (2) → dropout1 (dropout 0.5) → b (2, no bias) → sum (+ input) → c (1); b.weight is a.weight "
        "transposed; a.bias, c.weight frozen; squared error × 0.5 (mean) + l1 × 0.125 of a.weight, c.bias + l2 × 2 of "
        "c.weight; 2 steps of sgd (learning_rate 0.5), clipped by norm (maximum 4.0), "
        "learning rate by warm_up (steps 3, start 0.5, then step_decay (every 2, factor 0.5)), batches of 2 of 3 "
        "samples."
    ),
    "network: [{dense: {name: a, units: 1}}, {sigmoid: {name: act}}, sigmoid]\n"
    "parameters: {a.weight: [[1]], a.bias: [0.5]}\n"
    "data: {inputs: [[1]], targets: [[0]]}\nloss: {squared_error: {factor: 1, reduction: sum}}\n": (
        "input (1) → a (1) → act (sigmoid) → sigmoid2; squared error × 1 (sum); gradients only, all samples."
    ),
    "objective: {gradients: {values: [[1, 2, 3], [4, 5, 6]]}}\nparameters: {x.weight: [1, 2, 3]}\n"
    "training: {steps: 1234, optimizer: {asgd: {learning_rate: 0.5}}, clip: {value: {maximum: 2}}}\n": (
        "gradients objective of 3 numbers; 1,234 steps of asgd (learning_rate 0.5), clipped by value (maximum 2.0)."
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("text", "sentence"), SCENARIOS.items(), ids=["shared", "gradients", "objective"])
def test_a_scenario_is_told_in_a_sentence(text, sentence):
    Path("case.yaml").write_text(f"title: A scenario\ndtypes: [float64]\n{text}")
    assert report("case.yaml", *(["--no-exact"] if "1234" in text else [])) == 0
    assert sentence in page("case").splitlines()


WRONG_PRINTS = """\
  - {tensor: parameter/hidden.bias, step: 0, value: ["7", "8"], source: a | b, wrong: "a slip | of the pen"}
  - {tensor: parameter/readout.weight, step: 0, value: ["1", "-0.5"], source: right, wrong: "not wrong at all"}
"""


@pytest.mark.usefixtures("folder")
def test_prints_that_are_wrong_have_a_section_of_their_own():
    """Each once, at whatever dtypes and on whatever backends; not one that a run meets, nor an empty section."""
    Path("a.yaml").write_text(GOOD + WRONG_PRINTS)
    Path("b.yaml").write_text(GOOD)
    assert report("a.yaml", "b.yaml", "--no-exact", names=("numpy", "torch")) == 1
    text = Path("results/report.md").read_text(encoding="utf-8")
    section = text.partition("## Published numbers that are wrong")[2].partition("\n## ")[0]
    rows = [re.split(r"\s*(?<!\\)\|\s*", row.strip("| ")) for row in section.splitlines() if row.startswith("|")]
    assert rows[0] == ["case", "source", "tensor and step", "printed", "why it is wrong"]
    assert rows[2:] == [["[a](cases/a.md)", "a \\| b", "parameter/hidden.bias at 0", "7, 8", "a slip \\| of the pen"]]
    assert text.index("## Free-running differences") < text.index(section) < text.index("## Environment")
    assert report("b.yaml", "--no-exact") == 0
    assert "Published numbers that are wrong" not in Path("results/report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("folder")
def test_figures_are_the_same_to_the_byte():
    Path("a.yaml").write_text(GOOD)
    Path("chain.yaml").write_text(CHAIN)
    for output in ("one", "two"):
        assert report("a.yaml", "chain.yaml", "--output", output) == 0
    one, two = (sorted(Path(output, "figures").iterdir()) for output in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two] == ["_gradients_by_layer.svg", "a.svg"]
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert ET.parse(first).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314, we wrote it


@pytest.mark.usefixtures("folder")
def test_every_backend_is_drawn(monkeypatch):
    """Under its name; runs that are all equal are told so."""
    for name in registry.BACKENDS:
        monkeypatch.setitem(registry.BACKENDS, name, "backproof.backends.numpy_reference")
    Path("a.yaml").write_text(GOOD)
    assert report("a.yaml", "--no-exact", names=registry.BACKENDS) == 0
    figure = Path("results/figures/a.svg").read_text(encoding="utf-8")
    for label in (*registry.BACKENDS, "float64", "float32", "all equal to the bit", "a"):
        assert f">{label}</text>" in figure, label
    assert "<desc>a: numpy, torch, jax, torch-compile and jax-eager in float64 and float32, steps 0 to 11: " in figure


@pytest.mark.usefixtures("folder")
def test_stale_figures_are_removed_and_nobody_s_own():
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(GOOD)
    Path("results/figures").mkdir(parents=True)
    Path("results/figures/mine.svg").touch()
    assert report("a.yaml", "--no-exact") == 0
    assert report("b.yaml", "--no-exact") == 0
    assert {path.name for path in Path("results/figures").iterdir()} == {"b.svg", "mine.svg"}


def test_lines_on_stdout_fit_a_terminal():
    """The summary of all shipped cases, each on every backend; no verdict is lost on the way."""
    everything = frozenset(PHASES)
    judgement = SimpleNamespace(budget=0.9999, scope="layers", only_print_missed=False, borrowed=everything, biased=())
    runs = [Result(name, "certified", judgement=judgement) for name in registry.BACKENDS]
    cases = [load(path) for path in CASES.rglob("*.yaml")]
    comparisons = [Comparison(case, materialise(case, dtype), runs) for case in cases for dtype in case.dtypes]
    lines = summary(comparisons).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).count("certified") == len(comparisons) * len(registry.BACKENDS)
    assert all(name in " ".join(lines).split() for name in registry.BACKENDS)


# ---------------------------------------------------------------- gradients by layer


SLOPES = [
    (Sigmoid(), 0.25), (Tanh(), 1), (Relu(), 1), (Identity(), 1), (LeakyRelu(slope=2.0), 2), (Prelu(name="p"), 3),
    (Softplus(beta=2.0), 1), (HardSigmoid(), 1 / 6),
]  # fmt: skip


def node_of(layer, units: int):
    (node,) = Network([layer.model_copy(update={"name": "p"})], (units,)).nodes
    return node


@pytest.mark.parametrize(("layer", "slope"), SLOPES, ids=lambda value: getattr(value, "kind", ""))
def test_steepest(layer, slope):
    assert steepest(node_of(layer, 2), {"p.slope": np.array([3.0])}) == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("layer", [Softmax(), LogSoftmax()], ids=lambda layer: layer.kind)
def test_no_cotangent_grows_more_behind_a_softmax(layer):
    x, dy = np.random.default_rng(0).normal(size=(2, 1000, 4))
    node = node_of(layer, 4)
    y, _ = layer_forward(node, {"input": x})
    ((_, dx),) = layer_backward(node, {"input": x}, y, dy)
    assert (np.linalg.norm(dx, axis=-1) <= steepest(node, {}) * np.linalg.norm(dy, axis=-1)).all()


@pytest.mark.parametrize("weight", [0.5, 1.0, -3.0])
def test_sigmoid_chain_fades_by_a_quarter_a_layer(weight):
    problem = materialise(load(CASES / "depth" / "sigmoid_8.yaml"), "float64")
    weights = {path: values * weight for path, values in problem.parameters.items()}
    problem = replace(problem, parameters=weights)
    layers = gradients_by_layer(problem, numpy_reference.run(problem))
    assert [layer.layer for layer in layers] == [f"dense{n}" for n in range(1, 9)]
    for before, layer in pairwise(layers):
        assert 0 < before.cotangent / layer.cotangent <= 0.25 * abs(weight)
        assert before.bound / layer.bound == pytest.approx(0.25 * abs(weight))
        assert before.cotangent <= before.bound


# ---------------------------------------------------------------- a wrong reference


def steep(forward, backward):
    """A tanh that is 0.1 % too large."""
    return lambda x: 1.001 * forward(x), backward


def half(forward, backward):
    """A loss whose derivative has lost its factor 2."""
    return forward, lambda loss, y, t: backward(loss, y, t) / 2


def uphill(rule):
    """An optimizer that adds the gradient."""
    return lambda optimizer, w, g, t: rule(optimizer, w, -g, t)


def averaged(forward, backward):
    """A dense layer that takes the mean over the samples for the sum."""

    def wrong(x, y, dy, weight, *bias):
        dx, dweight, *dbias = backward(x, y, dy, weight, *bias)
        return dx, dweight, *(d / dy.shape[-2] for d in dbias)

    return forward, wrong


def shifted(forward, backward):
    """A dense layer whose input is shifted where it has a bias."""
    return lambda x, weight, *bias: forward(x + 0.001 * len(bias), weight, *bias), backward


@pytest.mark.parametrize(
    ("module", "name", "wrong", "place"),
    [
        (layers, "LAYERS", {"tanh": steep}, "step 0, value of tanh1 at [0, 0]"),
        (layers, "LAYERS", {"dense": shifted}, "step 0, value of hidden at [0, 0]"),
        (layers, "LAYERS", {"dense": averaged}, "step 0, gradient of hidden.bias at [0]"),
        (losses, "LOSSES", {"squared_error": half}, "step 0, cotangent of sigmoid1 at [0, 0]"),
        (optimizers, "OPTIMIZERS", {"sgd": uphill}, "step 0, update of hidden.weight at [0, 0]"),
    ],
    ids=["tanh forward", "dense forward", "dense backward", "loss backward", "optimizer"],
)
@pytest.mark.usefixtures("folder")
def test_wrong_reference_is_suspected(monkeypatch, capsys, module, name, wrong, place):
    """The reference alone certifies itself; PyTorch and JAX agree with each other, and the report believes them."""
    if isinstance(wrong, dict):
        right = getattr(module, name)
        rules = {rule: right[rule] if isinstance(right[rule], tuple) else (right[rule],) for rule in wrong}
        wrong = right | {rule: spoil(*rules[rule]) for rule, spoil in wrong.items()}
    monkeypatch.setattr(module, name, wrong)
    Path("case.yaml").write_text(GOOD)
    assert report("case.yaml", "--dtype", "float64", "--no-exact", names=("numpy", "torch", "jax")) == 1
    assert verdicts() == ["certified", "differs", "differs"]
    told = f"and jax agree with each other and miss the truth ({place}): suspect the reference (numpy) or the case."
    assert f"Here torch {told}" in results()["verdict"]
    assert f"Here torch {told}" in " ".join(capsys.readouterr().out.split())
    assert f"Here torch {told}" in Path("results/report.md").read_text(encoding="utf-8").replace("\\", "")
    assert f"**float64: torch {told}**" in page("case").replace("\\", "")


# ---------------------------------------------------------------- places

NAMES = [
    "up.yaml", "../../up.yaml", "up.yml", "a-/b.yaml", "a/-b.yaml", "a-b.yaml", "a--b.yaml", "a~-b.yaml", "/a/b.yaml",
    "a/b.yaml", "_gradients_by_layer.yaml", "up~.yml.yaml", "up~.yaml", "x" * 240 + ".yaml", "x" * 240 + "y.yaml",
    "a/\udc80.yaml", "a/\udc81.yaml", "../up.yaml",
]  # fmt: skip


def test_every_case_has_places_of_its_own_inside_the_folder(tmp_path):
    cases = []
    for name in NAMES:
        case = load(CASES / "xor" / "two_four_one.yaml").model_copy()
        case._name = name
        cases.append(case)
    figure_names = [places.figure_of(case) for case in cases]
    folders = [places.runs_of(tmp_path, case) for case in cases]
    assert len({*figure_names}) == len({*folders}) == len(NAMES)
    assert "figures/_gradients_by_layer.svg" not in figure_names
    for name, runs in zip(figure_names, folders, strict=True):
        assert name.count("/") == 1
        assert len(name.encode()) < 255
        assert runs.resolve().is_relative_to(tmp_path / "runs")
    assert places.figure_of(load(CASES / "xor" / "two_four_one.yaml")) == "figures/xor-two_four_one.svg"
    assert folders[0] == tmp_path / "runs" / "up.yaml"


@pytest.mark.usefixtures("folder")
def test_runs_are_saved_inside_of_the_folder_and_found_there(monkeypatch):
    Path("deep/er").mkdir(parents=True)
    for name in ("up.yaml", "deep/same.yaml", "deep/same.yml"):
        Path(name).write_text(CHAIN)
    monkeypatch.chdir("deep/er")
    cases = ("../../up.yaml", "../same.yaml", "../same.yml")
    assert report(*cases, "--no-exact", "--save-runs", "--output", "out") == 0
    runs = {path.relative_to("out").as_posix() for path in Path("out").rglob("*.safetensors")}
    digits = materialise(load("../same.yaml"), "float64").fingerprint[:8]
    assert runs == {f"runs/{name}/float64.{digits}-numpy.safetensors" for name in ("up", "same.yaml", "same.yml")}
    assert not [*Path("..").glob("*.safetensors"), *Path("../runs").glob("*")]
    assert report(*cases, "--no-exact", "--from-runs", "out", names=()) == 0
    assert verdicts() == ["certified"] * 3


# ---------------------------------------------------------------- what can't be told


TOLD = {
    (case_page, "_scenario"): "the scenario is left out",
    (case_page, "_outputs"): "the output of the processes is left out",
    (case_page, "suspect"): "the odd one out is left out",
    (case_page, "_layers_table"): "the gradient size by layer is left out",
    (case_page, "tensors_at"): "the table of step 0 is left out",
    (case_page, "_trajectory"): "the table of the run is left out",
    (case_page, "_published"): "the table of the published numbers is left out",
    (case_page, "_runs_table"): "the table of the runs is left out",
    (case_page, "pairs_table"): "the table of pairs is left out",
    (chapter, "curves_of"): "the figure is left out",
    (chapter, "body_of"): "the page in HTML is left out",
    (chapter, "html_report"): "the report in HTML is left out",
    (figures, "draw_depth"): "the figure is left out",
    (overview, "_ledger"): "the table of what was compared is left out",
    (overview, "_by_folder"): "the table by folder is left out",
    (overview, "matrix_by_case"): "the table of every run is left out",
    (overview, "_wrong_prints"): "the section on wrong published numbers is left out",
    (not_certified, "_outside"): "what is not certified is left out",
    (pairs, "all_pairs"): "the section on pairs is left out",
}


@pytest.mark.usefixtures("folder")
def test_telling_never_changes_a_verdict(monkeypatch):
    """What can't be drawn or written is left out, with a line that says so and why."""

    def fails(*_, **__):
        raise RuntimeError("planted | here")

    Path("a.yaml").write_text(GOOD)
    Path("chain.yaml").write_text(CHAIN)
    for module, name in TOLD:
        monkeypatch.setattr(module, name, fails)
    assert report("a.yaml", "chain.yaml", "--no-exact", names=("numpy", "torch")) == 0
    assert {*verdicts()} == {"certified"}
    lines = "\n".join([Path("results/report.md").read_text(encoding="utf-8"), page("a"), page("chain")]).splitlines()
    for words in {*TOLD.values()} - {"the page in HTML is left out"}:
        assert f"*{words}, it could not be made: RuntimeError: planted \\| here*" in lines
    assert not [*Path("results/figures").iterdir()]
    assert not Path("results/report.html").exists()
    assert "![" not in "".join(lines)
    monkeypatch.undo()


def fails_exactly(*_):
    raise RuntimeError("planted")


@pytest.mark.parametrize(
    ("options", "exact", "why"),
    [
        (["--no-exact"], None, "it was not asked for (--no-exact)"),
        ([], lambda *_: None, "it takes too long here"),
        ([], fails_exactly, "it failed: RuntimeError: planted"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_why_there_is_no_exact_run(monkeypatch, options, exact, why):
    if exact:
        monkeypatch.setattr(chapter, "exact_run", exact)
    Path("a.yaml").write_text(GOOD)
    assert report("a.yaml", *options) == 0
    text = page("a")
    assert f"The exact run in ball arithmetic was not made: {why}." in text


@pytest.mark.usefixtures("folder")
def test_gradients_by_layer_that_fail_leave_the_rest(monkeypatch, wrong_backend):
    """And no exact run, where no run is certified, says that."""
    monkeypatch.setattr(chapter, "gradients_by_layer", fails_exactly)
    Path("chain.yaml").write_text(CHAIN)
    assert report("chain.yaml", "--no-exact") == 0
    text = page("chain")
    assert "*the gradient size by layer is left out, it could not be made: RuntimeError: planted*" in text
    wrong_backend("replace(run, gradients={k: 1.01 * v for k, v in run.gradients.items()})")
    Path("a.yaml").write_text(GOOD)
    assert report("a.yaml", names=("torch",)) == 1
    assert "was not made: no run is certified." in page("a")


@pytest.mark.usefixtures("folder")
def test_no_message_is_without_end(wrong_backend, capsys):
    """20,000 tensors too many are one message of some lines."""
    wrong_backend("replace(run, gradients=run.gradients | {f'more_{n}': run.loss for n in range(20_000)})")
    Path("a.yaml").write_text(GOOD)
    assert report("a.yaml", "--no-exact", names=("numpy", "torch")) != 0
    assert max(len(row["message"]) for row in results()["results"]) <= MOST
    assert Path("results/report.md").stat().st_size < 100_000
    assert Path("results/report.json").stat().st_size < 100_000
    assert len(capsys.readouterr().out) < 10_000


# ---------------------------------------------------------------- exit codes

WRONG = """\
from dataclasses import replace
from backproof.backends.numpy_reference import PACKAGES, run as right, settings

def run(problem):
    run = right(problem)
    return {}
"""


@pytest.fixture
def wrong_backend(folder, monkeypatch):
    """Let `torch` be a module in the working directory that spoils the trajectory of a right run."""

    def plant(trajectory: str) -> None:
        (folder / "spoilt_backend.py").write_text(WRONG.format(trajectory))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "spoilt_backend", raising=False)
        monkeypatch.setitem(registry.BACKENDS, "torch", "spoilt_backend")

    return plant


LAST = "[*run.final_values][-1]"
GRADIENTS_ONLY = f"scope='gradients', values={{}}, cotangents={{}}, final_values={{{LAST}: run.final_values[{LAST}]}}"


@pytest.mark.parametrize(
    ("trajectory", "code", "verdict", "message"),
    [
        (
            "replace(run, gradients={k: 1.01 * v for k, v in run.gradients.items()})",
            1,
            "differs",
            "gradient of readout",
        ),
        ("replace(run, after={k: v * float('inf') for k, v in run.after.items()})", 1, "differs", "found inf"),
        ("replace(run, loss=run.loss * float('nan'))", 1, "differs", "found nan"),
        ("replace(run, gradients={})", 3, "incomplete", "gradients: all missing"),
        ("replace(run, values=None, loss=None)", 3, "incomplete", "loss: missing"),
        ("replace(run, steps=run.steps[:3], loss=run.loss[:3])", 3, "incomplete", "expected 12 from 0 to 11, found 3"),
        (f"replace(run, {GRADIENTS_ONLY})", 0, "certified", ""),
    ],
)
@pytest.mark.parametrize("names", [("numpy", "torch"), ("torch", "numpy")])
def test_spoilt_backend(wrong_backend, names, trajectory, code, verdict, message):
    """Whatever a backend leaves, and wherever it stands, the report is written whole and says what is wrong."""
    wrong_backend(trajectory)
    Path("case.yaml").write_text(GOOD)
    assert report("case.yaml", "--dtype", "float64", "--no-exact", names=names) == code
    rows = {row["backend"]: row for row in results()["results"]}
    assert rows["numpy"]["verdict"] == "certified"
    assert rows["torch"]["verdict"] == verdict
    assert message in rows["torch"]["message"]
    assert message.replace("|", "\\|") in Path("results/report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("trajectory", "raised"), [("1 / 0", ZeroDivisionError), ("exit(0)", EndedError)])
def test_inline_raises_what_the_code_raises(wrong_backend, trajectory, raised):
    """A debugger stops there; nothing is taken for a verdict."""
    wrong_backend(trajectory)
    Path("case.yaml").write_text(GOOD)
    with pytest.raises(raised) as error:
        report("case.yaml", "--dtype", "float64", "--no-exact", names=("torch",))
    assert trajectory != "exit(0)" or str(error.value).startswith("SystemExit: 0, at ")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero, at mine.py:3 in gradients: return 1 / 0"),
        ("3", "expected (loss, gradients), the gradients in a dictionary by parameter"),
        ("exit(0)", "SystemExit: 0, at mine.py:3 in gradients: return exit(0)"),
    ],
)
def test_an_exception_of_ones_own_has_its_line_and_what_was_printed(returned, message):
    """In a process of its own it is a verdict: the place in the message, the output in the report."""
    Path("case.yaml").write_text(GOOD)
    text = "def gradients(parameters, inputs, targets):\n    print('almost there')\n    return {}\n"
    Path("mine.py").write_text(text.format(returned))
    options = ("--dtype=float64", "--no-exact", "--no-cache", "--jobs=1", "--backend=mine=mine.py:gradients")
    assert main(["case.yaml", *options]) == 3
    (row,) = results()["results"]
    assert (row["verdict"], row["message"].startswith(message)) == ("error", True)
    assert "almost there" in page("case")


UNSUPPORTED = (
    "from backproof.backends.registry import Unsupported\ndef run(problem): raise Unsupported('no such thing here')\n"
)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 4),
        (["--backend=numpy"], 0),
        (["--backend=numpy", "--fail-on=unsupported"], 4),
        (["--fail-on=difference"], 4),
    ],
)
def test_unsupported_says_why_and_has_a_code_of_its_own(capsys, options, code):
    """Where nothing else was there to be judged, or where it is to fail."""
    Path("case.yaml").write_text(GOOD)
    Path("mine.py").write_text(UNSUPPORTED)
    assert main(["case.yaml", "--no-exact", "--executor=inline", "--backend=mine=mine.py:run", *options]) == code
    assert "Unsupported by mine: no such thing here (2 runs)." in " ".join(capsys.readouterr().out.split())
    text = Path("results/report.md").read_text(encoding="utf-8")
    assert "\n### Unsupported\n\n- mine: no such thing here: [case](cases/case.md) float64 float32\n" in text


@pytest.mark.usefixtures("folder")
def test_no_word_of_the_verdict_is_cut(capsys):
    """However long it is, it can be copied from the console."""
    Path("case.yaml").write_text(GOOD)
    Path("mine.py").write_text(UNSUPPORTED.replace("no such thing here", f"see {'a/long/path/' * 9}"))
    assert main(["case.yaml", "--no-exact", "--executor=inline", "--backend=mine=mine.py:run"]) == 4
    assert "a/long/path/" * 9 in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_what_is_not_recorded_is_told_with_the_verdict(capsys):
    """On the console, in the report and in its rows, and nothing is drawn or shown that is not there."""
    Path("case.yaml").write_text(GOOD)
    text = "def run(problem):\n    from backends import numpy_reference\n    run = vars(numpy_reference.run(problem))\n"
    text += "    return {name: run[name] for name in ('gradients', 'before', 'after')}\n"
    Path("mine.py").write_text(text)
    assert main(["case.yaml", "--no-exact", "--executor=inline", "--backend=mine=mine.py:run"]) == 0
    note = "mine: the loss is not recorded, so it was not judged"
    assert capsys.readouterr().out.count(note) == 1
    told = Path("results/report.md").read_text(encoding="utf-8")
    assert note in told
    assert "the loss of all samples is not recorded" in page("case")
    assert {row["message"] for row in results()["results"]} == {note.removeprefix("mine: ")}


def told_of(results: list[Result]) -> str:
    """The summary of these runs of a case, on one line."""
    case = load(CASES / "xor" / "two_four_one.yaml")
    return " ".join(summary([Comparison(case, materialise(case, "float64"), results)]).split())


def judged(**changes) -> SimpleNamespace:
    """As much of a judgement as the summary looks at."""
    resolution = SimpleNamespace(relative=1e-9, absolute=0.0)
    of_gradients = {"budget": 0.5, "biased": (), "where": SimpleNamespace(step=3), "scope": "gradients"}
    of_gradients |= {"only_print_missed": False, "borrowed": ()}
    return SimpleNamespace(resolution=resolution, **of_gradients | changes)


def test_each_part_of_what_is_not_recorded_is_told_once():
    messages = ["the loss; the rates", "the rates", "the loss", ""]
    runs = [Result("mine", "certified", message, judgement=judged(scope="layers")) for message in messages]
    runs.append(Result("yours", "certified", "the rates", judgement=judged(scope="layers")))
    assert told_of(runs).endswith("mine: the loss; the rates yours: the rates")


@pytest.mark.parametrize(
    ("verdict", "changes", "has_star"),
    [
        ("certified", {}, True),
        ("differs", {}, True),
        ("incomplete", {}, False),
        ("undecided", {}, False),
        ("differs", {"only_print_missed": True}, False),
        ("certified", {"scope": "layers"}, False),
    ],
)
def test_a_star_is_explained_where_there_is_one(verdict, changes, has_star):
    told = told_of([Result("mine", verdict, judgement=judged(**changes))])
    assert ("* judged end to end" in told) == (")*" in told) == has_star


@pytest.mark.usefixtures("folder")
def test_a_reference_that_did_not_finish_is_not_warned_of(monkeypatch, capsys):
    Path("chain.yaml").write_text(CHAIN)
    caveat = "Only the reference ran, and it is judged by its own formulas"
    assert report("chain.yaml", "--no-exact") == 0
    assert caveat in " ".join(capsys.readouterr().out.split())
    monkeypatch.setitem(registry.BACKENDS, "numpy", "no_such_module")
    assert report("chain.yaml", "--no-exact") == 3
    assert caveat not in results()["verdict"]


@pytest.mark.usefixtures("folder")
def test_tolerance_of_the_case_is_binding(wrong_backend):
    """Two certified runs that drift further apart than the case allows: exit 1."""
    wrong_backend("run")
    Path("case.yaml").write_text(GOOD + "tolerance: {float64: {rtol: 0}}\n")
    assert report("case.yaml", "--dtype", "float64", names=("numpy", "torch")) == 0
    one_ulp_off = "run.gradients | {'hidden.weight': run.gradients['hidden.weight'] * (1 + 2.3e-16)}"
    wrong_backend(f"replace(run, gradients={one_ulp_off})")
    assert report("case.yaml", "--dtype", "float64", names=("numpy", "torch")) == 1
    assert verdicts() == ["certified", "certified"]
    assert [pair["status"] for pair in results()["pairs"]] == ["outside"]


@pytest.mark.parametrize("change", [("[[0.5, -0.25, ], [0.125, 0.5]]", "[[0, 0], [0, 0]]"), ("steps: 12", "steps: 1")])
@pytest.mark.usefixtures("folder")
def test_plain_runs(change):
    """Parameters that stay zero, and a single step, which has no figure."""
    Path("case.yaml").write_text(GOOD.replace("[[1], [-0.5]]", "[[0], [0]]").replace("tanh", "relu").replace(*change))
    assert report("case.yaml") == 0


@pytest.mark.usefixtures("folder")
def test_an_invalid_case_does_not_stop_the_others(capsys):
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(GOOD.replace("tanh", "tan"))
    assert report(".") == 2
    assert verdicts() == ["certified", "certified"]
    assert (
        capsys.readouterr().err.splitlines()[0]
        == "bad.yaml:7:46: there is no layer 'tan'; did you mean 'tanh'? see docs/generated/reference.md#tanh"
    )
    assert "- `bad.yaml:7:46: there is no layer 'tan'" in Path("results/report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("folder")
def test_a_difference_outweighs_an_invalid_case(wrong_backend):
    wrong_backend("replace(run, loss=run.loss * 2)")
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text("title: x")
    assert report(".", names=("torch",)) == 1


@pytest.mark.usefixtures("folder")
def test_nothing_selected(capsys):
    Path("empty").mkdir()
    assert report("empty") == 5
    assert capsys.readouterr().err == "no case found\n"
    Path("one.yaml").write_text(CHAIN)
    Path("two.yaml").write_text(GOOD)
    assert report("two.yaml", "--no-exact", "--save-runs") == 0
    before = {path: path.read_bytes() for path in Path("results").rglob("*.*")}
    capsys.readouterr()
    for arguments, why in [
        (("one.yaml", "--dtype=float32"), "no case here has float32; one has float64"),
        (("two.yaml", "--dtype=float16"), "no case here has float16; two has float64 and float32"),
        (
            ("one.yaml", "two.yaml", "--dtype=float16", "--dtype=bfloat16"),
            "no case here has float16 or bfloat16; they have float64 and float32",
        ),
        (("--from-runs=results",), f"no run in {Path('results/runs')} is of a case here"),
    ]:
        assert report(*arguments, "--no-exact") == 5
        assert capsys.readouterr().err == f"{why}\n"
    Path("bad.yaml").write_text("title: x")
    assert report("one.yaml", "bad.yaml", "--dtype=float32") == 2
    assert {path: path.read_bytes() for path in Path("results").rglob("*.*")} == before


@pytest.mark.usefixtures("folder")
def test_complaints_fit_a_terminal_and_mistakes_are_one_line_each(capsys):
    Path("a-b-c-d-e-f" * 9 + ".yaml").write_text(GOOD.replace("tanh", "tan"))
    Path("one.yaml").write_text(CHAIN)
    assert report(".", "--from-runs", "no-such-folder/" * 9) == 2
    mistake, *sentence = capsys.readouterr().err.splitlines()
    assert mistake.endswith("there is no layer 'tan'; did you mean 'tanh'? see docs/generated/reference.md#tanh")
    assert sentence == ["there is no folder", "no-such-folder/" * 9 + "runs;", "--save-runs makes it"]


@pytest.mark.usefixtures("folder")
def test_interrupted(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    Path("case.yaml").write_text(GOOD)
    monkeypatch.setattr(job, "run_unit", interrupted)
    assert report("case.yaml") == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_output_that_cannot_be_written(capsys):
    Path("case.yaml").write_text(GOOD)
    assert report("case.yaml", "--output", "case.yaml") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "cannot write to case.yaml: Not a directory"


def test_a_summary_of_github_that_cannot_be_written_is_named(folder, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "nowhere" / "summary"))
    Path("case.yaml").write_text(GOOD)
    assert report("case.yaml", "--no-exact") == 0
    why = f"cannot write to {folder / 'nowhere' / 'summary'}, where GITHUB_STEP_SUMMARY expects the report: "
    assert why in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("streams", ["1>&-", "0<&- 1>&- 2>&-", "1>/dev/full", "1>/dev/full 2>&1", "| true"])
def test_a_report_that_nobody_reads_is_written(folder, streams):
    """Its exit code is the verdict, whatever has become of the streams."""
    Path("good.yaml").write_text(CHAIN)
    Path("bad.yaml").write_text("title: x")
    python = f"cd {CASES.parent} && {sys.executable} -m report {folder} --backend=numpy --executor=inline --no-exact"
    command = f"set -o pipefail; {python} --output {folder / 'out'} {streams}"
    done = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, check=False)  # noqa: S607
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert json.loads((folder / "out" / "report.json").read_text())["results"][0]["verdict"] == "certified"


@pytest.mark.parametrize("streams", ["2>/dev/full", "1>/dev/full 2>/dev/full"])
def test_progress_that_cannot_be_shown_changes_nothing(folder, streams):
    """Nor is anything said before it that could find out first."""
    Path("good.yaml").write_text(CHAIN)
    python = f"cd {CASES.parent} && {sys.executable} -m report {folder} --backend=numpy --executor=inline --no-exact"
    done = subprocess.run(["bash", "-c", f"{python} --output {folder / 'out'} {streams}"], check=False)  # noqa: S607
    assert done.returncode == 0
    assert json.loads((folder / "out" / "report.json").read_text())["complete"] is True


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--backend", "tensorflow"], ["--dtype", "int8"]])
def test_bad_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


# ---------------------------------------------------------------- bad input, from end to end

BAD = {
    "empty": b"",
    "binary": bytes(range(256)),
    "a folder": None,
    "not YAML": b"title: [",
    "too deep": b"[" * 10_000,
    "too large": b"#" * 200_000,
    "aliases": b"a: &a [*a, *a]",
    "a tag that would run a program": b"title: !!python/object/apply:os.system [exit]",
    "a key twice": GOOD.replace("source:", "title:").encode(),
    "an unknown key": GOOD.replace("training:", "trainig:").encode(),
    "an unknown layer": GOOD.replace("tanh", "tahn").encode(),
    "an unknown optimizer": GOOD.replace("sgd:", "sdg:").encode(),
    "text for a number": GOOD.replace("[0, 0]\n", "[0, no]\n").encode(),
    "not a number": GOOD.replace("[0, 0]\n", "[0, .nan]\n").encode(),
    "infinity": GOOD.replace("rate: 0.5", "rate: .inf").encode(),
    "beyond the dtype": GOOD.replace("[0, 0]\n", "[0, 1e300]\n").encode(),
    "a wrong shape": GOOD.replace("[0, 0]\n", "[0, 0, 0]\n").encode(),
    "a ragged array": GOOD.replace("[1, 0]", "[1]").encode(),
    "a negative number of steps": GOOD.replace("steps: 12", "steps: -1").encode(),
    "a learning rate of zero": GOOD.replace("rate: 0.5", "rate: 0").encode(),
    "a file outside": GOOD.replace("[[0], [1], [1]]", "{file: ../x.csv}").encode(),
    "draws without a generator": GOOD.replace("[0, 0]\n", "{uniform: {low: 0, high: 1}}\n").encode(),
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """One run of the command on all bad files and one that does not exist: its lines on stderr, by file."""
    folder = tmp_path_factory.mktemp("bad")
    names = {}
    for number, (name, content) in enumerate([*BAD.items(), ("a file that is not there", None)]):
        path = folder / f"{number}.yaml"
        names[name] = path
        if name == "a folder":
            (path / "inside.yaml").mkdir(parents=True)
        elif content is not None:
            path.write_bytes(content)
    existing = [path for path in names.values() if path.exists()]
    lines = []
    for paths in (existing, [names["a file that is not there"]]):
        command = [sys.executable, "-m", "report", *map(str, paths)]
        done = subprocess.run(command, cwd=CASES.parent, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        lines += done.stderr.splitlines()
    return {name: [line for line in lines if line.startswith(str(path))] for name, path in names.items()}, lines


@pytest.mark.parametrize("name", [*BAD, "a file that is not there"])
def test_bad_input_is_one_line(complaints, name):
    lines, everything = complaints
    (line,) = lines[name]
    assert re.match(r".*\.yaml:\d+:\d+: \S", line)
    assert "Traceback" not in "".join(everything)


def test_bad_inputs_leave_no_other_line(complaints):
    lines, everything = complaints
    assert sum(map(len, lines.values())) == len(everything) == len(BAD) + 1


@pytest.mark.usefixtures("folder")
def test_processes_tell_the_same():
    """Two cases in two processes of their own leave the report that one process leaves, but for the seconds."""
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(GOOD)
    assert report("a.yaml", "b.yaml", "--jobs", "1") == 0
    one = results()
    assert report("a.yaml", "b.yaml", "--jobs", "2") == 0
    two = results()
    for row in (*one["results"], *two["results"]):
        row.pop("seconds")
    assert one["results"] == two["results"]
    assert {path.name for path in Path("results/figures").iterdir()} == {"a.svg", "b.svg"}
