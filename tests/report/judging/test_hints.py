"""A hint explains all that is wrong, at every step where it is, and is not told where it may be a coincidence."""

from dataclasses import replace

import numpy as np
import pytest

from backproof.backends.registry import backend
from backproof.backends.torch_autograd.arrays import to_tensor, to_tensors
from backproof.backends.torch_autograd.network import resolve
from backproof.backends.torch_autograd.training import look
from backproof.backends.users_code import of_function
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.report.judging.hints import FAMILIES, Hint, found, hint
from backproof.report.judging.judge import judge
from backproof.report.judging.mistakes import digits
from tests.trial.examples import EXAMPLES, problem_of
from tests.trial.planting import gradients_only

DTYPES = ["float64", "float32", "bfloat16"]
COINCIDENCES = 4  # seeds


@pytest.fixture(scope="module")
def example():
    """Four steps of a network of sigmoids, by the reference."""
    problem = problem_of("sum", "float64")
    return problem, backend("numpy").run(problem)


def message(problem, run):
    """What the judge says; nothing is certified here."""
    judgement = judge(problem, run)
    assert judgement.verdict == "differs"
    return judgement.message


def changed(run, group, name, change, steps=...):
    """The run with one tensor changed, at some steps."""
    tensors = dict(getattr(run, group))
    tensors[name] = tensors[name].copy()
    tensors[name][steps] = change(tensors[name][steps])
    return replace(run, **{group: tensors})


def test_hint_and_look_stand_in_the_message_and_by_themselves(example):
    problem, run = example
    judgement = judge(problem, changed(run, "gradients", "readout.weight", lambda g: 2 * g))
    assert judgement.where.hint == "this is what a missing factor ½ would give"
    assert judgement.where.look.endswith("look at the backward pass of the dense layer readout")
    assert judgement.message.endswith(f"; {judgement.where.look}; {judgement.where.hint}")
    assert (Hint("", "look at it").instead_of("so: look at this"), Hint().instead_of("look there")) == (
        "so: look at it",
        "look there",
    )


# ---------------------------------------------------------------- all that is wrong, at all steps


def test_a_mistake_must_come_true_at_other_steps(example):
    """A gradient that is doubled at step 0, and tripled behind it, is not called doubled."""
    problem, run = example
    twice = changed(run, "gradients", "readout.weight", lambda g: 2 * g)
    assert "a missing factor ½" in message(problem, twice)
    thrice = changed(twice, "gradients", "readout.weight", lambda g: 1.5 * g, slice(1, None))
    assert message(problem, thrice).endswith("one factor, which changes from step to step")


def test_a_single_number_is_no_factor_until_it_is_seen_again(example):
    problem, run = example
    losses = run.loss.copy()
    losses[0] *= 1.37
    assert "times what is right" not in message(problem, replace(run, loss=losses))
    assert message(problem, replace(run, loss=1.37 * run.loss)).endswith("it is 1.37 times what is right")


def test_end_to_end_it_explains_every_gradient(example):
    problem, run = example
    run = gradients_only(problem, run)
    halved = replace(run, gradients={path: -0.3 * g for path, g in run.gradients.items()})
    assert message(problem, halved).endswith("; every gradient is -0.3 times what is right")
    other = changed(halved, "gradients", "readout.bias", lambda g: g[..., ::-1])
    assert "every gradient is -" not in message(problem, other)


PARTS = "a mean of the means over 2 parts of the batch, of 3 samples and 1 in the last one, would give"


@pytest.fixture
def four():
    """Steps of four samples, whose loss is a mean."""
    problem = problem_of("with squared_error", "float64")
    assert (problem.loss.reduction, problem.batches.shape[1]) == ("mean", 4)
    return problem


def test_a_mean_of_means_over_unequal_parts_is_named(four):
    run = backend("numpy").run(four)
    weights = np.array([4 / 6, 4 / 6, 4 / 6, 4 / 2])[:, None]
    assert PARTS in message(four, changed(run, "cotangents", four.output, lambda dy: dy * weights))


def test_so_it_is_end_to_end(four):
    network = resolve(four.network)

    def gradients(parameters, inputs, targets):
        own = {path: w.requires_grad_() for path, w in to_tensors(parameters).items()}
        pairs = [(to_tensor(inputs[rows]), to_tensor(targets[rows])) for rows in (slice(3), slice(3, None))]
        loss = sum(look(four, network, own, {}, x, t)[0] for x, t in pairs) / 2
        loss.backward()
        return loss, {path: own[path].grad for path in four.trained}

    assert PARTS in message(four, of_function(gradients, backend("numpy")).run(four))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x / 2, "every element is 0.5 times what is right; step 1 saw them as they should be: were they"),
        (lambda x: 2 * x + 1, "every element is 2 times what is right, +1; step 1 saw them"),
        (lambda x: x + 1, "every element is what is right, +1; step 1 saw them as they should be"),
    ],
)
def test_samples_that_were_changed_since_are_named(example, change, words):
    problem, run = example
    assert np.array_equal(*problem.batches[1:3])
    assert words in message(problem, changed(run, "values", "input", change, slice(2, None)))


def test_the_operation_to_look_at_is_named(example):
    """End to end that is one layer, in the place of all of them."""
    problem, run = example
    assert Hint("; words", "look at b").added_to("found 1; look at a") == "found 1; look at b; words"
    assert Hint("; words").added_to("found 1; look at a") == "found 1; look at a; words"
    assert Hint().added_to("found 1; look at a") == "found 1; look at a"
    y, dy = run.values["sigmoid2"], run.cotangents["sigmoid2"]
    h = run.values["sigmoid1"]
    back = dy @ run.before["readout.weight"].mT * h * (1 - h)
    wrong = {
        "readout.weight": h.mT @ dy, "readout.bias": dy.sum(axis=-2),
        "hidden.weight": run.values["input"].mT @ back, "hidden.bias": back.sum(axis=-2),
    }  # fmt: skip
    assert y.shape == dy.shape
    told = message(problem, gradients_only(problem, replace(run, gradients=wrong)))
    assert "look at the backward pass of the sigmoid layer sigmoid2" in told
    assert told.endswith("; this is what the derivative of sigmoid left out would give")


# ---------------------------------------------------------------- no coincidence


def noisy(dtype, seed):
    """A factor between 0.7 and 1.3 for every number of its own."""
    random = np.random.default_rng(seed)
    return lambda tensor: (tensor.astype(float) * random.uniform(0.7, 1.3, tensor.shape)).astype(dtype)


WRONG = [
    ("values", "tanh1", "by adam"), ("cotangents", "tanh1", "by adam"), ("gradients", "hidden.weight", "by adam"),
    ("after", "hidden.weight", "by adam"), ("state_after", "first_moment/hidden.weight", "by adam"),
    ("cotangents", "decoder", "shared"), ("gradients", "encoder.weight", "shared"), ("after", "encoder.bias", "shared"),
    ("gradients", "readout.weight", "mixed"), ("values", "softmax", "sigmoids"),
    ("cotangents", "of_gelu", "exponentials"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("group", "name", "on"), WRONG)
def test_noise_is_no_known_mistake(group, name, on, dtype):
    """Locally and end to end, whatever the numbers are."""
    problem = materialise(Case.model_validate(EXAMPLES[on] | {"dtypes": [dtype]}), dtype)
    run = backend("numpy").run(problem)
    for seed in range(COINCIDENCES):
        wrong = changed(run, group, name, noisy(problem.dtype, seed))
        assert ";" not in message(problem, wrong).rpartition("look at")[2]
        if group == "gradients":
            assert ";" not in judge(problem, gradients_only(problem, wrong)).message.rpartition("look at")[2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("on", ["with poisson", "mixed", "shared"])
def test_a_wrong_loss_is_no_known_mistake(on, dtype):
    """A single number a step: a thousand mistakes are tried on it."""
    problem = materialise(Case.model_validate(EXAMPLES[on] | {"dtypes": [dtype]}), dtype)
    run = backend("numpy").run(problem)
    wrong = [replace(run, loss=noisy(problem.dtype, seed)(run.loss)) for seed in range(COINCIDENCES)]
    judged = [judge(problem, one) for run in wrong for one in (run, gradients_only(problem, run))]
    said = [judgement.message for judgement in judged if judgement.verdict == "differs"]
    assert any(said)
    assert not [words for words in said if ";" in words.rpartition("look at")[2]]


# ---------------------------------------------------------------- digits


def test_digits_lost_are_told_from_a_wrong_formula(example):
    problem, run = example
    random = np.random.default_rng(1)
    noise = changed(run, "gradients", "readout.weight", lambda g: g * (1 + 1e-10 * random.normal(size=g.shape)))
    assert "it agrees to 9 digits: digits lost" in message(problem, noise)
    factor = changed(run, "gradients", "readout.weight", lambda g: g * (1 + 1e-10))
    assert message(problem, factor).endswith("; every element is (1 + 1e-10) times what is right")
    single = changed(run, "gradients", "readout.weight", lambda g: g.astype(np.float32).astype(float))
    assert "every number found is one of float32" in message(problem, single)


@pytest.mark.parametrize("errors", [[1e-9, 1e-9, 1e-9, 1e-9], [0, 0, 0, 1e-9], [1e-2, -1e-2, 3e-2, -1e-3]])
def test_other_errors_are_not_lost_digits(errors):
    """One number added to all, a single wrong element, and errors that are not small."""
    right = np.array([0.3, -1.7, 0.9, 1.1])
    assert digits.between(right + errors, right) == ""


# ---------------------------------------------------------------- always a string, never an error


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 1e300])
@pytest.mark.parametrize("scope", ["layers", "gradients"])
def test_hopeless_numbers_have_a_message(example, value, scope):
    """No hint raises, and telling never changes a verdict."""
    problem, run = example
    for group in ("gradients", "after", "values", "cotangents")[: 4 if scope == "layers" else 2]:
        name = "readout.weight" if group in ("gradients", "after") else "readout"
        wrong = changed(run, group, name, lambda tensor: np.full_like(tensor, value))
        message(problem, wrong if scope == "layers" else gradients_only(problem, wrong))


def test_a_hint_that_fails_is_left_out(example, monkeypatch):
    problem, run = example

    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setitem(FAMILIES, "gradient", [broken])
    wrong = changed(run, "gradients", "readout.weight", lambda g: 2 * g)
    assert hint(problem, wrong, 0, "gradient", "readout.weight") == Hint()
    with pytest.raises(ZeroDivisionError):
        found(problem, wrong, 0, "gradient", "readout.weight")


def test_every_phase_has_families():
    assert {*FAMILIES} == {"value", "loss", "cotangent", "gradient", "learning rate", "state", "update"}
