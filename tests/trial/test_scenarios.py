"""Random scenarios: every backend is certified on each; and the strategy, the campaign and its findings themselves."""

import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Literal, get_args

import numpy as np
import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as profile

from backproof.backends import numpy_reference
from backproof.backends.registry import DEFAULT
from backproof.backends.torch_autograd.losses import LOSSES
from backproof.backends.torch_autograd.optimizers import sgd
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.losses import Loss
from backproof.cases.format.optimizers import Optimizer
from backproof.cases.format.schema import Batch, Case, Dtype
from backproof.cases.problem import materialise
from backproof.cases.reading.consistency import check
from backproof.cases.reading.load import load
from backproof.report.judging.outcome import Result, attempt
from tests.trial import fuzz, scenarios
from tests.trial.planting import planted
from tests.trial.scenarios import honest, judge_everywhere, members, value

MOST_ROUNDS = 20

few = profile(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@profile(few, max_examples=7)
@given(scenarios.scenarios(most=4))
def test_random_scenarios_are_certified(drawn):
    """`make fuzz` draws ten thousand; a scenario may leave the dtype's range, or hold nothing but zeros."""
    for case in drawn.cases:
        judge_everywhere(case)


# ---------------------------------------------------------------- the strategy


def examples(strategy, number: int, start: int = 0) -> list:
    """So many examples of a strategy; another start gives others."""
    drawn = []

    @profile(few, max_examples=number, derandomize=False)
    @seed(start)
    @given(strategy)
    def draw(example):
        drawn.append(example)

    draw()
    return drawn


@pytest.fixture(scope="module")
def drawn() -> list[dict]:
    """Cases with their numbers."""
    return [case for example in examples(scenarios.scenarios(most=1), 150) for case in example.cases]


def test_drawn_cases_have_no_mistake(drawn):
    assert len(drawn) > 100
    for case in drawn:
        assert check(Case.model_validate(case)) == []


@pytest.fixture(scope="module")
def structures() -> list[dict]:
    """Cases without their numbers, until every kind is met; at most so many that a strategy misses one which is not.

    Hypothesis draws what is like what it drew before, and constants from the modules that a process has loaded: a kind
    may be missing among some hundreds.
    """
    drawn, missing = [], every_kind()
    for number in range(MOST_ROUNDS):
        drawn += examples(scenarios.structures(), 200, number)
        missing -= {kind for case in drawn for kind in fuzz.kinds(case)}
        if not missing and number > 0:
            break
    return drawn


def every_kind() -> set[str]:
    """All kinds of losses, optimizers and layers; and no training."""
    return {kind.kind for choice in (Loss, Optimizer) for kind in members(choice)} | {*KINDS, "no training"}


def is_ragged(structure: dict) -> bool:
    """The last batch of an epoch is shorter than the others."""
    batch = structure.get("training", {}).get("batch", {})
    return batch.get("last", "keep") == "keep" and structure["samples"] % batch.get("size", 1) > 0


def test_every_kind_and_every_setting_is_met(structures):
    """Among so many structures, whatever Hypothesis begins with."""
    assert every_kind() <= {kind for case in structures for kind in fuzz.kinds(case)}
    assert {case["dtypes"][0] for case in structures} == set(get_args(Dtype))
    trained = [case["training"] for case in structures if "training" in case]
    batches = [training["batch"] for training in trained if "batch" in training]
    assert {batch["order"] for batch in batches} == {"sequential", "shuffled"}
    assert {batch["last"] for batch in batches} == {"keep", "drop"}
    assert {"steps", "epochs"} <= {key for training in trained for key in training}
    assert {len(case["network"]) > 1 for case in structures} == {True, False}


def test_every_shape_of_a_network_is_met(structures):
    """Positions, two users of one value, branches, a skip of the layer before it."""
    assert {len(case["shape"]) for case in structures} == {1, 2, 3}
    networks = [scenarios.case_of(case).graph.nodes for case in structures]
    nodes = [node for network in networks for node in network]
    assert any(len(set(node.inputs)) < len(node.inputs) for node in nodes)
    assert any(len(set(node.inputs)) > 1 for node in nodes)
    assert any(before.name not in node.inputs for network in networks for before, node in pairwise(network))


class Weighing(LayerConcept):
    """y = x times the other value, of positions alone: a kind that nobody knows."""

    takes = 2

    def shape(self, *before):
        if len({*before}) > 1 or len(before[0]) < 2:
            raise ValueError
        return before[0]


def test_a_new_kind_joins(monkeypatch):
    """Wherever its shape fits, of every value before it."""
    monkeypatch.setitem(KINDS, "weighing", Weighing)
    drawn = [layer for network in examples(scenarios.networks((3, 2)), 60) for layer in network]
    assert {layer.inputs[1] for layer in drawn if layer.kind == "weighing"} > {"input"}
    flat = [layer for network in examples(scenarios.networks((2,)), 60) for layer in network]
    assert "weighing" not in {layer.kind for layer in flat}


def test_hostile_numbers_are_met(drawn, structures):
    """Magnitudes of 1e-30, saturation, zeros, one sample, one unit, a sample again and again, a ragged last batch."""
    weights = [np.abs(values) for case in drawn for path, values in case["parameters"].items() if "weight" in path]
    inputs = [np.array(case["data"]["inputs"]) for case in drawn]
    problems = [materialise(Case.model_validate(case), case["dtypes"][0]) for case in drawn]
    assert any(0 < weight.max() < 1e-29 for weight in weights)
    assert any(weight.max() > 30 for weight in weights)
    assert any(not weight.any() for weight in weights)
    assert any(np.isin(weight, [0, 1]).all() and weight.any() for weight in weights)
    assert any(weight.shape == (1, 1) for weight in weights)
    assert any(len(x) == 1 for x in inputs)
    assert any(len(x) > 2 and x.any() and (x == x[0]).all() for x in inputs)
    assert any((problem.batches < 0).any() for problem in problems) or any(map(is_ragged, structures))
    preactivations = [numpy_reference.run(problem).values for problem in problems[:100]]
    assert any((values[name] == 0).any() for values in preactivations for name in values if name.startswith("dense"))


@pytest.mark.parametrize(
    ("annotation", "bounds", "holds"),
    [
        (bool, [], lambda drawn: drawn in (True, False)),
        (float | None, [], lambda drawn: drawn is None or -1 <= drawn <= 1),
        (float, [Gt(0), Le(0.5)], lambda drawn: 0 < drawn <= 0.5),
        (float, [Ge(2), Lt(2.01)], lambda drawn: 2 <= drawn < 2.01),
        (int, [Gt(2)], lambda drawn: 2 < drawn < 20),
        (int, [Ge(0), Lt(2)], lambda drawn: drawn in (0, 1)),
        (Literal["a", "b"], [], lambda drawn: drawn in "ab"),
        (Batch, [], Batch.model_validate),
    ],
)
def test_settings_of_every_type(annotation, bounds, holds):
    @profile(few, max_examples=15)
    @given(value(SimpleNamespace(annotation=annotation, metadata=bounds)))
    def draw(setting):
        assert holds(setting)

    draw()


def test_a_setting_of_an_unknown_type_is_told():
    """Left out it would never be tried."""
    with pytest.raises(TypeError, match="no strategy for a setting of type <class 'complex'>"):
        value(SimpleNamespace(annotation=complex, metadata=[]))


# ---------------------------------------------------------------- what counts as an alarm

TAME = {
    "title": "tame",
    "dtypes": ["float32"],
    "network": [{"dense": {"units": 1, "bias": False}}],
    "parameters": {"dense1.weight": [[0.5]]},
    "data": {"inputs": [[1.0]], "targets": [[0.25]]},
    "loss": {"squared_error": {"factor": 1.0, "reduction": "sum"}},
}


@pytest.mark.parametrize(
    ("verdict", "message", "weight", "expected"),
    [
        ("certified", "", 0.5, "certified"),
        ("differs", "step 0, ...", 0.5, ""),
        ("error", "ValueError", 0.5, ""),
        ("out of range", "...", 0.5, ""),
        ("out of range", "...", 1e38, "out of range"),
        ("undecided", "nothing was compared: ...", 0.5, ""),
        ("undecided", "nothing was compared: ...", 0, "nothing to compare"),
    ],
)
def test_a_backend_may_be_refused_for_good_reason_only(verdict, message, weight, expected):
    data = TAME["data"] if weight else {"inputs": [[1.0]], "targets": [[0]]}
    problem = materialise(
        Case.model_validate(TAME | {"parameters": {"dense1.weight": [[weight]]}, "data": data}), "float32"
    )
    result = Result("numpy", verdict, message, numpy_reference.run(problem))
    assert honest(problem, result) == expected


@pytest.mark.parametrize(("factor", "expected"), [(2.0**-13, "out of range"), (0.5, "")])
def test_a_step_that_is_divided_by_a_flushed_square(factor, expected):
    """Adam's direction in float16 without an epsilon."""
    adam = {"steps": 1, "optimizer": {"adam": {"learning_rate": 0.125, "epsilon": 0.0}}}
    loss = {"squared_error": {"factor": factor, "reduction": "sum"}}
    problem = materialise(Case.model_validate(TAME | {"loss": loss, "training": adam}), "float16")
    result = Result("numpy", "out of range", "...", numpy_reference.run(problem))
    assert honest(problem, result) == expected


@pytest.mark.parametrize(("weight", "expected"), [(2000.0, "out of range"), (1000.0, "")])
def test_an_exponent_that_is_off_by_more_than_overflows(weight, expected):
    """8 ulp of 2000 are 125 in bfloat16, and e to that power is beyond it."""
    problem = materialise(Case.model_validate(TAME | {"parameters": {"dense1.weight": [[weight]]}}), "bfloat16")
    problem = replace(problem, loss=problem.loss.model_copy(update={"factor": 2.0**-10}))
    assert honest(problem, Result("numpy", "out of range", "...", numpy_reference.run(problem))) == expected


def test_a_run_that_is_lost_is_an_alarm():
    problem = materialise(Case.model_validate(TAME), "float32")
    assert not honest(problem, Result("torch", "error", "it broke"))


# ---------------------------------------------------------------- a finding


def momentum(_, parameters):
    return torch.optim.SGD(parameters, lr=0.5, momentum=0.5)


def of_all_but_the_last(loss, output, targets):
    """Right for one sample."""
    rows = slice(max(len(output) - 1, 1))
    total = loss.factor * ((output[rows] - targets[rows]) ** 2).sum()
    return total / output.numel() if loss.reduction == "mean" else total


SQUARED_ERROR = LOSSES["squared_error"]
FINDINGS = {  # a rule of the backend, the wrong one; the layers, samples and steps that it needs, and where it shows
    "tanh 1e-4 too large": (torch.tanh, lambda x: 1.0001 * torch.tanh(x), (["dense", "tanh"], 1, 1), "tanh1"),
    "momentum": (sgd, momentum, (["dense"], 1, 1), "dense1.weight"),
    "sum for mean": (
        SQUARED_ERROR,
        lambda _, y, t: ((y - t) ** 2).sum(),
        (["dense"], 1, 1),
        "loss",
    ),
    "products that lose a sample": (
        SQUARED_ERROR,
        of_all_but_the_last,
        (["dense"], 2, 1),
        "loss",
    ),
}


def few_members(choice):
    """The few kinds, or all of a choice that has none of them."""
    return [kind for kind in members(choice) if kind.kind in FEW] or members(choice)


FEW = ("dense", "tanh", "softplus", "squared_error", "huber", "sgd", "adam")  # among all kinds a mistake is met late


@pytest.mark.parametrize(("right", "wrong", "needs", "tensor"), FINDINGS.values(), ids=FINDINGS)
def test_a_finding_shrinks_to_a_file_that_reproduces_it(monkeypatch, tmp_path, right, wrong, needs, tensor):
    """And that loads, and is certified without the mistake."""
    monkeypatch.setattr(scenarios, "DEFAULT", ["torch"])
    monkeypatch.setattr(scenarios, "members", few_members)
    monkeypatch.setattr(scenarios, "kinds_of_layers", lambda: [KINDS[kind] for kind in FEW if kind in KINDS])
    with planted(right, wrong):
        unit = fuzz.run_unit(0, 100, tmp_path)
        (file,) = unit["alarms"]
        case = load(tmp_path / "finding_0.yaml")
        result = attempt(materialise(case, case.dtypes[0]), "torch")
    assert file == str(tmp_path / "finding_0.yaml")
    assert (sorted(layer.kind for layer in case.network), len(case.data.inputs), case.steps) == needs
    assert set(case.graph.shapes.values()) == {(1,)}
    assert (result.verdict, result.judgement.where.tensor) == ("differs", tensor)
    assert result.message in case.note
    assert attempt(materialise(case, case.dtypes[0]), "torch").verdict == "certified"


@pytest.mark.parametrize("again", [True, False])
def test_a_refusal_that_cannot_be_made_smaller_is_kept(monkeypatch, tmp_path, again):
    """As it was, even if it does not come again; nothing that was certified in vain beside it is counted twice."""
    judged = []

    def refuse_the_third(case, name):
        judged.append(case)
        verdict = "" if len(judged) == 3 or (again and case in judged[2:3]) else "certified"
        return verdict, Result(name, verdict or "differs", "a spark")

    monkeypatch.setattr(scenarios, "DEFAULT", ["numpy"])
    monkeypatch.setattr(scenarios, "judge_on", refuse_the_third)
    monkeypatch.setattr(fuzz, "judge_on", refuse_the_third)
    unit = fuzz.run_unit(0, 20, tmp_path)
    found = load(tmp_path / "finding_0.yaml")
    assert unit["alarms"] == [str(tmp_path / "finding_0.yaml")]
    assert f"numpy is refused in {found.dtypes[0]}: differs: a spark" in found.note
    assert np.array_equal(found.data.inputs, judged[2]["data"]["inputs"])
    assert unit["counts"]["certified"] <= (2 if again else len(judged))


# ---------------------------------------------------------------- a campaign


def test_a_campaign_goes_on_where_it_stopped(tmp_path, capsys):
    """Finished units are not run again; a line that was cut off, or is of other code, does not count."""
    command = ["4", "--examples", "2", "--jobs", "1", "--output", str(tmp_path)]
    assert fuzz.main(command) == 0
    first, units = capsys.readouterr().out, (tmp_path / "units.jsonl").read_text()
    assert "random scenarios certified on each of numpy, torch, jax" in first
    assert "0 false alarms" in first
    with (tmp_path / "units.jsonl").open("a") as file:
        file.write(units.splitlines()[0].replace('"key": "', '"key": "x') + "\n" + units[:30])
    assert fuzz.main(command) == 0
    assert capsys.readouterr().out == first
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["scenarios"]["certified"] >= 4
    assert summary["backends"] == list(DEFAULT)


def test_an_alarm_fails_the_campaign(monkeypatch, tmp_path, capsys):
    counts = {"certified": 9, "float32": 9}
    unit = {"seed": 0, "counts": counts, "shapes": ["a"], "alarms": ["finding_0.yaml"], "seconds": 1.0}
    monkeypatch.setattr(fuzz, "run_campaign", lambda campaign, *_: campaign.keep(unit))
    assert fuzz.main(["9", "--output", str(tmp_path)]) == fuzz.FOUND
    assert "1 false alarms\n  finding_0.yaml" in capsys.readouterr().out


def test_a_campaign_ends_where_everything_is_refused(tmp_path):
    """Nothing would ever be certified."""
    campaign = fuzz.Campaign(9, 40, 0, tmp_path)
    for number in range(fuzz.MOST_ALARMS):
        assert not campaign.ended
        campaign.keep({"seed": number, "counts": {}, "shapes": [], "alarms": ["finding.yaml"], "seconds": 1.0})
    assert campaign.ended


def test_a_worker_that_dies_leaves_the_campaign_incomplete(monkeypatch, tmp_path, capsys):
    def die(*_):
        raise fuzz.BrokenProcessPool

    monkeypatch.setattr(fuzz, "run_campaign", die)
    assert fuzz.main(["9", "--output", str(tmp_path)]) == fuzz.INCOMPLETE
    assert "the same command goes on" in capsys.readouterr().err
