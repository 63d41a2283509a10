"""Skips, masks, ties, frozen parameters, penalties, clipping and schedules in one run: each fault has its own place."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from flint import arb

from backproof.backends import numpy_reference
from backproof.backends.registry import DEFAULT, backend
from backproof.backends.trajectory import cut
from backproof.cases.format.layers.combining import Skip
from backproof.cases.format.optimizers import Norm, Value
from backproof.reference.exact_run import RADIUS, exact_run
from backproof.reference.formulas.combining import dropout_forward
from backproof.reference.numbers.balls import balls, floats, radius, working_precision
from backproof.reference.training import operands, train
from backproof.report.judging.drift import compare
from backproof.report.judging.judge import judge
from backproof.report.judging.operations import checks_of_steps
from backproof.report.telling.depth import gradients_by_layer
from tests.trial.planting import gradients_only

STEPS, LATE, MAXIMUM = 12, 7, 8.0  # the third step of an epoch, 2, 5, 8 and 11, has one sample; the others have two
RANDOM = np.random.default_rng(0)
SHARING = {
    "network": [
        {"dense": {"name": "hidden", "units": 3}},
        "tanh",
        {"dropout": {"name": "drop", "rate": 0.4}},
        {"dense": {"name": "second", "units": 3}},
        {"skip": {"name": "joined", "source": "hidden"}},
        {"dense": {"name": "readout", "units": 1, "bias": False}},
    ],
    "parameters": {
        "hidden.weight": RANDOM.normal(size=(3, 3)).tolist(),
        "hidden.bias": [0.1, -0.2, 0.3],
        "second.bias": [0.3, 0.2, -0.1],
        "readout.weight": [[1.2], [-0.5], [0.7]],
    },
    "tied": {"second.weight": {"parameter": "hidden.weight", "transposed": True}},
    "frozen": ["readout.weight"],
    "penalties": [
        {"l1": {"coefficient": 0.01, "parameters": ["hidden.weight"]}},
        {"l2": {"coefficient": 0.02, "parameters": ["readout.weight", "hidden.weight", "second.bias"]}},
    ],
    "random": {"generator": "pcg64", "seed": 0},
    "data": {"inputs": RANDOM.normal(size=(5, 3)).tolist(), "targets": RANDOM.normal(size=(5, 1)).tolist()},
    "loss": {"squared_error": {"factor": 1, "reduction": "mean"}},
}
TRAINING = {
    "steps": STEPS,
    "batch": {"size": 2},
    "optimizer": {"momentum": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}},
    "clip": {"norm": {"maximum": MAXIMUM}},
    "schedule": {"step_decay": {"every": 3, "factor": 0.5}},
}


def sharing(problem_of, dtype="float64", training=(), **changes):
    return problem_of(dtype, **SHARING | {"training": TRAINING | dict(training)} | changes)


@pytest.fixture(scope="module", params=["float64", "float32"])
def example(request, problem_of):
    problem = sharing(problem_of, request.param)
    return problem, numpy_reference.run(problem)


def refused(problem, run) -> tuple:
    judgement = judge(problem, run)
    assert judgement.verdict == "differs", judgement.message
    where = judgement.where
    return where.step, where.phase, where.tensor


def changed(run, field: str, name: str | None, at, change):
    """The run with one element, or part of a tensor, made of what stands there."""
    tensors = getattr(run, field)
    tensor = np.array(tensors if name is None else tensors[name])
    tensor[at] = change(tensor[at])
    return replace(run, **{field: tensor if name is None else tensors | {name: tensor}})


# ---------------------------------------------------------------- what is right


SOME = {"every": 5}


@pytest.mark.parametrize(
    ("name", "dtype", "record"),
    [
        *product(("numpy", "torch"), ("float64", "float32"), (None, SOME)), ("jax", "float64", None),
        ("jax", "float32", SOME),
    ],
)  # fmt: skip
def test_a_right_run_is_certified(problem_of, name, dtype, record):
    """Whole, and by its gradients alone; JAX takes seconds to compile each."""
    problem = sharing(problem_of, dtype, record=record)
    run = backend(name).run(problem)
    assert judge(problem, run).message == ""
    assert judge(problem, gradients_only(problem, run)).message == ""
    assert {*run.gradients} == {"hidden.weight", "hidden.bias", "second.bias"}
    assert {*run.before} == {*run.after} == {*run.gradients, "readout.weight"}


def test_everything_counts(example):
    """Clipping, the masks, the l1 penalty and the schedule all have something to do in this run."""
    problem, run = example
    sizes = np.sqrt(sum(np.square(g).reshape(STEPS, -1).sum(axis=1) for g in run.gradients.values()))
    assert (sizes > MAXIMUM).any()
    assert (sizes < MAXIMUM).any()
    assert {*np.unique(problem.masks["drop.mask"]).tolist()} == {0, 1}
    assert np.unique(run.learning_rates).size == 4
    np.testing.assert_array_equal(run.after["readout.weight"], np.tile(run.before["readout.weight"][:1], (STEPS, 1, 1)))


def test_the_ledger_counts_every_tensor(example):
    """Six values, a loss, seven cotangents, three gradients, a rate, three states and updates; then values, a loss."""
    assert judge(*example).ledger.tensors == STEPS * (6 + 1 + 7 + 3 + 1 + 3 + 3) + 7


# ---------------------------------------------------------------- learning rates


def test_a_wrong_learning_rate_is_named(example):
    problem, run = example
    wrong = changed(run, "learning_rates", None, LATE, lambda rate: rate * (1 + 1e-12))
    assert refused(problem, wrong) == (LATE, "learning rate", "learning rate")
    assert "look at the step_decay schedule" in judge(problem, wrong).message


def test_a_run_at_a_rate_that_is_not_on_record_is_named(example):
    """The rates are those of the schedule, but the updates were made with others."""
    problem, run = example
    constant = numpy_reference.run(replace(problem, schedule=None))
    step, phase, tensor = refused(problem, replace(constant, learning_rates=run.learning_rates))
    assert (step, phase, tensor) == (3, "update", "hidden.weight")


@pytest.mark.parametrize("number", [np.nan, np.inf, 0.0])
def test_a_learning_rate_that_is_none(example, number):
    problem, run = example
    wrong = changed(run, "learning_rates", None, LATE, lambda _: number)
    assert refused(problem, wrong) == (LATE, "learning rate", "learning rate")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rates: rates[:-1], "learning_rates: expected shape (12,), found (11,)"),
        (lambda rates: rates[:, None], "learning_rates: expected shape (12,), found (12, 1)"),
        (lambda rates: rates.astype(np.float32), "learning_rates: expected float64, found float32"),
        (lambda rates: rates.tolist(), "learning_rates: expected an array, found list"),
    ],
)
def test_learning_rates_that_are_not_whole(example, change, message):
    problem, run = example
    judgement = judge(problem, replace(run, learning_rates=change(run.learning_rates)))
    assert (judgement.where.phase, judgement.message) == ("structure", message)


def test_learning_rates_where_there_is_no_schedule(example):
    problem, run = example
    judgement = judge(replace(problem, schedule=None), run)
    assert (judgement.where.phase, judgement.message) == ("structure", "learning_rates: none are expected")


# ---------------------------------------------------------------- ties and skips


@pytest.mark.parametrize("whole", [True, False], ids=["layers", "gradients"])
@pytest.mark.parametrize("wrong", ["lost", "twice", "not transposed"])
def test_a_wrong_tied_gradient_is_named(example, whole, wrong):
    """The share of the second layer is lost at one step, added twice, or added as it is."""
    problem, run = example
    share = run.values["drop"].mT @ run.cotangents["second"]
    off = {"lost": -share.mT, "twice": share.mT, "not transposed": share - share.mT}[wrong]
    faulty = changed(run, "gradients", "hidden.weight", LATE, lambda gradient: gradient + off[LATE])
    faulty = faulty if whole else gradients_only(problem, faulty)
    assert refused(problem, faulty) == (LATE, "gradient", "hidden.weight")


def test_a_weight_of_a_later_layer_is_judged_with_the_first_that_uses_it(problem_of):
    """Its gradient is complete when the backward pass has come to the hidden layer."""
    problem = sharing(
        problem_of,
        tied={"hidden.weight": {"parameter": "second.weight", "transposed": True}},
        penalties=None,
        parameters={
            name.replace("hidden.weight", "second.weight"): value for name, value in SHARING["parameters"].items()
        },
    )
    run = numpy_reference.run(problem)
    assert judge(problem, run).message == ""
    places = [check[:2] for check in checks_of_steps(problem, cut(run, np.array([0]), 2))]
    assert places.index(("gradient", "second.weight")) > places.index(("cotangent", "tanh1"))


def test_a_tied_weight_that_went_its_own_way_is_named(problem_of):
    """The second layer was run with a copy that was never updated."""
    problem = sharing(problem_of)
    own = dict(problem.parameters) | {"second.weight": problem.parameters["hidden.weight"].T.copy()}
    apart = replace(problem, tied={}, parameters=own)
    run = numpy_reference.run(apart)
    tensors = {
        field: {path: values for path, values in getattr(run, field).items() if path != "second.weight"}
        for field in ("before", "after")
    }
    step, phase, tensor = refused(problem, replace(run, **tensors))
    assert (step, phase) in {(0, "gradient"), (1, "value")}
    assert tensor in {"hidden.weight", "second"}


@pytest.mark.parametrize("wrong", ["lost", "twice"])
def test_a_wrong_cotangent_of_a_skips_source_is_named(example, wrong):
    """What comes back over the skip is lost, or added twice."""
    problem, run = example
    sign = {"lost": -1, "twice": 1}[wrong]
    faulty = changed(run, "cotangents", "hidden", LATE, lambda dy: dy + sign * run.cotangents["joined"][LATE])
    assert refused(problem, faulty) == (LATE, "cotangent", "hidden")


def test_a_skip_from_another_layer_is_named(problem_of):
    problem = sharing(problem_of)
    layers = tuple(
        layer.model_copy(update={"source": "input"}) if isinstance(layer, Skip) else layer for layer in problem.layers
    )
    run = numpy_reference.run(replace(problem, layers=layers))
    assert refused(problem, run) == (0, "value", "joined")


# ---------------------------------------------------------------- frozen parameters


def test_a_frozen_parameter_that_is_updated_is_named(example):
    problem, run = example
    faulty = changed(run, "after", "readout.weight", (LATE, 1, 0), lambda w: w * problem.dtype.type(1.001))
    assert refused(problem, faulty) == (LATE, "update", "readout.weight")
    assert "no update is asked for" in judge(problem, faulty).message


def test_a_frozen_parameter_that_was_trained_is_named(example):
    """From step to step, and by its gradient, which nobody asks for."""
    problem, _ = example
    everything = numpy_reference.run(replace(problem, trained=(*problem.trained, "readout.weight")))
    assert "gradients of readout.weight: nothing of that name is expected" in judge(problem, everything).message
    without = {
        field: {name: tensor for name, tensor in getattr(everything, field).items() if "readout" not in name}
        for field in ("gradients", "state_before", "state_after")
    }
    faulty = replace(everything, **without)
    assert refused(problem, faulty) == (0, "update", "readout.weight")


def test_a_frozen_parameter_that_moves_between_records_is_named(problem_of):
    """Steps 0, 5, 10 and 11 are recorded; at each of them it stands still."""
    problem = sharing(problem_of, record={"every": 5})
    run = numpy_reference.run(problem)
    later = changed(run, "before", "readout.weight", (slice(1, None), 1, 0), lambda w: w * 1.001)
    later = changed(later, "after", "readout.weight", (slice(1, None), 1, 0), lambda w: w * 1.001)
    assert refused(problem, later) == (5, "continuity", "readout.weight")
    assert "the parameter is frozen" in judge(problem, later).message
    assert refused(problem, gradients_only(problem, later)) == (5, "continuity", "readout.weight")


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("record", [None, {"every": 5}], ids=["every step", "some steps"])
@pytest.mark.parametrize(
    ("masks", "first"),
    [
        (np.ones_like, 0),
        (lambda masks: np.roll(masks, 1, axis=0), 0),
        (lambda masks: masks[:, ::-1], 0),
        (lambda masks: np.where(np.arange(STEPS)[:, None, None] == 10, 1 - masks, masks), 10),
    ],
    ids=["none", "of the step before", "of the other sample", "wrong at step 10"],
)
def test_a_wrong_mask_is_named(problem_of, masks, first, record):
    problem = sharing(problem_of, record=record)
    other = {"drop.mask": masks(problem.masks["drop.mask"])}
    assert refused(problem, numpy_reference.run(replace(problem, masks=other))) == (first, "value", "drop")


def test_a_mask_of_a_short_batch(problem_of):
    """The first row is that of its only sample."""
    problem = sharing(problem_of)
    masks = problem.masks["drop.mask"].copy()
    masks[2::3, 0] = 1 - masks[2::3, 0]
    assert refused(problem, numpy_reference.run(replace(problem, masks={"drop.mask": masks}))) == (2, "value", "drop")
    masks = problem.masks["drop.mask"].copy()
    masks[2::3, 1] = 1 - masks[2::3, 1]
    assert judge(problem, numpy_reference.run(replace(problem, masks={"drop.mask": masks}))).message == ""


@pytest.mark.parametrize("name", DEFAULT)
def test_what_is_dropped_is_zero_however_large_its_cotangent(problem_of, name):
    """The cotangent over 1 - rate overflows, and 0 times infinity is NaN."""
    problem = problem_of(
        "float16", network=[{"dropout": {"rate": 0.998, "mask": [[0]]}}, {"dense": {"units": 1, "bias": False}}],
        parameters={"dense1.weight": [[1]]}, data={"inputs": [[1]], "targets": [[70]]},
        loss={"squared_error": {"factor": 1, "reduction": "sum"}},
    )  # fmt: skip
    run = backend(name).run(problem)
    assert run.cotangents["dropout1"].ravel()[0] == -140
    assert judge(problem, run).message == ""


def test_a_mask_after_the_last_step_is_named(example):
    problem, run = example
    x, mask = run.final_values["tanh1"], problem.masks["drop.mask"][0][[0, 1, 0, 1, 0]]
    dropped = run.final_values | {"drop": dropout_forward(x, mask, 0.4).astype(problem.dtype)}
    assert refused(problem, replace(run, final_values=dropped)) == (STEPS, "value", "drop")


def test_a_mask_that_is_forgotten_on_the_way_back_is_named(example):
    problem, run = example
    keeps = run.cotangents["drop"] / problem.dtype.type(0.6)
    faulty = changed(run, "cotangents", "tanh1", LATE, lambda _: keeps[LATE])
    assert refused(problem, faulty) == (LATE, "cotangent", "tanh1")


# ---------------------------------------------------------------- penalties and clipping


def test_a_forgotten_penalty_is_named(example):
    """First by the loss; by the gradient alone where that is right."""
    problem, run = example
    without = numpy_reference.run(replace(problem, penalties=()))
    assert refused(problem, without) == (0, "loss", "loss")
    assert refused(problem, gradients_only(problem, without)) == (0, "loss", "loss")
    l2 = 2 * problem.dtype.type(0.02) * run.before["second.bias"]
    faulty = changed(run, "gradients", "second.bias", LATE, lambda gradient: gradient - l2[LATE])
    assert refused(problem, faulty) == (LATE, "gradient", "second.bias")


def test_a_penalty_of_a_frozen_parameter_is_part_of_the_loss(example):
    problem, run = example
    share = problem.dtype.type(0.02) * np.square(run.before["readout.weight"][LATE]).sum()
    assert refused(problem, changed(run, "loss", None, LATE, lambda loss: loss - share)) == (LATE, "loss", "loss")


@pytest.mark.parametrize(
    "clip", [None, Norm(maximum=7), Norm(maximum=MAXIMUM, epsilon=1e-3), Value(maximum=MAXIMUM)],
    ids=["none", "at less", "epsilon", "by value"],
)  # fmt: skip
def test_another_clipping_is_named(example, clip):
    """At the first step whose gradients are as large as that, which is step 0."""
    problem, _ = example
    run = numpy_reference.run(replace(problem, clip=clip))
    assert refused(problem, run) == (0, "state", "velocity/hidden.weight")
    assert "and the clipping by norm" in judge(problem, run).message


def test_clipped_gradients_in_the_place_of_gradients_are_named(example):
    """They are recorded as they are before the clipping."""
    problem, run = example
    size = np.sqrt(sum(np.square(gradient[0]).sum() for gradient in run.gradients.values()))
    clipped = {path: gradient / max(size / MAXIMUM, 1) for path, gradient in run.gradients.items()}
    clipped = {path: gradient.astype(problem.dtype) for path, gradient in clipped.items()}
    step, phase, _ = refused(problem, replace(run, gradients=clipped))
    assert (step, phase) == (0, "gradient")


def test_weight_decay_in_the_gradient_on_record_is_named(example):
    """Coupled or not, it is the optimizer's."""
    problem, run = example
    decayed = {path: g + problem.dtype.type(0.01) * run.before[path] for path, g in run.gradients.items()}
    step, phase, _ = refused(problem, replace(run, gradients=decayed))
    assert (step, phase) == (0, "gradient")


# ---------------------------------------------------------------- hints


def test_hints_know_ties_clips_and_schedules(example):
    """An update that is made twice, at one step; a frozen parameter has no check to compare a hint with."""
    problem, run = example
    before, after = run.before["hidden.bias"][LATE], run.after["hidden.bias"][LATE]
    twice = changed(run, "after", "hidden.bias", LATE, lambda _: before + 2 * (after - before))
    assert "an update made twice" in judge(problem, twice).message
    faulty = changed(run, "gradients", "hidden.weight", LATE, lambda gradient: 2 * gradient)
    assert "a missing factor ½" in judge(problem, faulty).message
    frozen = changed(run, "after", "readout.weight", LATE, lambda w: 2 * w)
    assert "this is what" not in judge(problem, frozen).message


# ---------------------------------------------------------------- the reference by itself


@pytest.mark.parametrize("step", [0, 2, LATE])
def test_gradients_are_differences_of_the_loss(problem_of, step):
    """Central differences of a run's loss by every trained parameter, tied shares and penalties included."""
    problem = sharing(problem_of)
    at = list(train(problem))[step]
    here = replace(
        problem, batches=problem.batches[step : step + 1], recorded=np.zeros(1, int),
        masks={"drop.mask": problem.masks["drop.mask"][step : step + 1]},
    )  # fmt: skip
    for path in problem.trained:
        for index in np.ndindex(at.before[path].shape):
            losses = []
            for move in (1e-6, -1e-6):
                moved = {name: values.copy() for name, values in at.before.items()}
                moved[path][index] += move
                losses.append(next(train(replace(here, parameters=moved))).loss)
            difference = (losses[0] - losses[1]) / 2e-6
            np.testing.assert_allclose(at.gradients[path][index], difference, rtol=1e-7, atol=1e-8)


def test_a_tied_parameter_is_the_same_numbers(problem_of):
    problem = sharing(problem_of)
    for step in train(problem):
        weight = operands(problem, step.before)["second.weight"]
        assert np.array_equal(weight, step.before["hidden.weight"].T)


def test_an_exact_run_with_all_of_them(problem_of):
    """Ties, masks, a short batch, penalties, clipping and a schedule in balls; floats stay twelve digits close."""
    problem = sharing(problem_of, training={"schedule": {"cosine_decay": {"steps": 7}}})
    run = exact_run(problem, {0, STEPS - 1}, seconds=60)
    last = run.steps[STEPS - 1]
    assert max(radius(values) for values in last.after.values()) < RADIUS
    assert isinstance(run.steps[0].learning_rate, arb)
    *_, floating = train(problem)
    with working_precision(run.bits):
        for path, values in floating.after.items():
            np.testing.assert_allclose(values, floats(last.after[path]), rtol=1e-12)
        assert all(a == b for a, b in zip(
            last.after["readout.weight"].ravel(), balls(problem.parameters["readout.weight"]).ravel(), strict=True
        ))  # fmt: skip


@pytest.mark.parametrize("maximum", [0.5, 1.0])
def test_a_clip_at_its_kink(problem_of, maximum):
    """A gradient whose norm is the maximum but for its rounding: either side is right."""
    problem = problem_of(
        "float32",
        objective={"linear": {"coefficients": [0.6 * maximum, 0.8 * maximum]}},
        parameters={"x.weight": [1, 2]}, network=None, data=None, loss=None,
        training={"steps": 3, "optimizer": {"sgd": {"learning_rate": 0.1}}, "clip": {"norm": {"maximum": maximum}}},
    )  # fmt: skip
    for name in ("numpy", "torch"):
        assert judge(problem, backend(name).run(problem)).message == ""


def test_gradients_by_layer_need_a_chain_of_trained_weights(problem_of):
    problem = sharing(problem_of)
    run = numpy_reference.run(problem)
    assert gradients_by_layer(problem, run) == []


def test_a_dropout_lets_cotangents_grow_by_what_it_divides_by(problem_of):
    """1 / (1 - rate) more at most, which the bound knows."""
    problem = problem_of(
        network=[
            {"dense": {"name": "a", "units": 3, "bias": False}}, {"dropout": {"rate": 0.75}},
            {"dense": {"name": "b", "units": 1, "bias": False}},
        ],
        parameters={"a.weight": [[1, 2, 3], [4, 5, 6]], "b.weight": [[1], [1], [1]]},
        random={"generator": "pcg64", "seed": 1},
    )  # fmt: skip
    first, last = gradients_by_layer(problem, numpy_reference.run(problem))
    assert first.bound == pytest.approx(4 * np.sqrt(3) * last.cotangent, rel=1e-12)
    assert last.cotangent < first.cotangent <= first.bound


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda run: replace(run, learning_rates=run.learning_rates[:-1]),
            "torch: learning_rates: expected shape (12,), found (11,)",
        ),
        (
            lambda run: replace(run, gradients=run.gradients | {"readout.weight": run.before["readout.weight"]}),
            "torch: gradients of readout.weight: nothing of that name is expected",
        ),
    ],
)
def test_a_pair_is_not_within_where_a_run_is_not_whole(example, spoil, message):
    """A rate is missing, or a frozen parameter has a gradient."""
    problem, run = example
    drift = compare(problem, run, spoil(run), ("numpy", "torch"))
    assert (drift.within, drift.message) == (False, message)
    assert compare(problem, run, run).within


def test_no_check_is_left_out_of_a_block(example):
    """Two blocks, of the full and of the short batches: every check has a row for each of its steps."""
    problem, run = example
    short = np.arange(2, STEPS, 3)
    for check in checks_of_steps(problem, cut(run, short, 1)):
        assert len(check.actual) == len(short)
        assert check.budget().max() <= 1
