"""The judge refuses every wrong rule and blames the right place, and it certifies what is only written otherwise."""

import re
from typing import get_args

import pytest

from backends import DEFAULT, backend
from cases.layers import Layer
from cases.losses import Loss
from cases.optimizers import AnySchedule, Clip, Optimizer
from reference import activations, backprop, layers, losses, optimizers, schedules
from report.judge import judge
from tests.trial import page
from tests.trial.examples import problem_of
from tests.trial.mutants import EQUIVALENT, MUTANTS
from tests.trial.planting import DTYPES, gradients_only, outcome, planted

pytestmark = pytest.mark.usefixtures("quickly_compiled")

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


def test_there_are_more_than_a_hundred():
    assert len({mutant.name for mutant in (*MUTANTS, *EQUIVALENT)}) == len(MUTANTS) + len(EQUIVALENT)
    assert len(MUTANTS) > 100
    assert {mutant.backend for mutant in MUTANTS} == set(DEFAULT)


@both_dtypes
@each_mutant
def test_wrong_rule_is_refused_and_blamed(mutant, dtype):
    """In float32 some are no mistake, or one below its rounding: those are certified, or their reason is wrong."""
    one = outcome(mutant, dtype)
    if mutant.blind and dtype == "float32":
        assert one.place == "certified", f"{mutant.blind}? {one.local.message}"
    else:
        assert one.local.verdict == "differs"
        assert one.place == f"step {mutant.step}, {mutant.noticed}", one.local.message


@both_dtypes
@pytest.mark.parametrize("mutant", EQUIVALENT, ids=lambda mutant: mutant.name)
def test_same_rule_in_other_words_is_certified(mutant, dtype):
    one = outcome(mutant, dtype)
    assert (one.local.message, one.end_to_end.message) == ("", "")


PLANTED = sorted({(mutant.on, mutant.backend) for mutant in (*MUTANTS, *EQUIVALENT)})


@both_dtypes
@pytest.mark.parametrize(("example", "name"), PLANTED)
def test_without_a_wrong_rule_all_is_certified(example, name, dtype):
    """So that it is the rule that a mutant is refused for; end to end too."""
    problem = problem_of(example, dtype)
    run = backend(name).run(problem)
    assert judge(problem, run).verdict == "certified"
    assert judge(problem, gradients_only(problem, run)).verdict == "certified"


def kinds(choice) -> set[str]:
    """The members of a union of the schema."""
    union, *_ = get_args(choice)
    return {member.kind for member in get_args(union) or (union,)}


def test_every_kind_has_a_mutant():
    """A new layer, loss or optimizer is not on trial before it has one."""
    dense = {"dense": (layers.dense_forward, layers.dense_backward)}
    rules_of_one = {kind: (rule,) for kind, rule in (optimizers.OPTIMIZERS | schedules.SCHEDULES).items()}
    tables = dense | layers.FUNCTIONS | losses.LOSSES | rules_of_one
    rules = {mutant.rule for mutant in MUTANTS}
    on_trial = {kind for kind, functions in tables.items() if rules & {*functions}}
    assert on_trial == set().union(*map(kinds, (Layer, Loss, Optimizer, AnySchedule)))
    assert {f"clip by {kind}" for kind in kinds(Clip)} <= {mutant.name.partition(":")[0] for mutant in MUTANTS}
    assert {losses.penalty_forward, losses.penalty_backward} <= rules


# ---------------------------------------------------------------- planting


def test_a_rule_that_nobody_uses_cannot_be_planted():
    """The run would be the right one, and its certificate a lie."""
    with pytest.raises(LookupError, match="no program uses"), planted(len, abs):
        pass


def test_planting_reaches_tables_and_is_undone():
    before = layers.FUNCTIONS["tanh"], backprop.update
    with planted(activations.tanh_backward, max), planted(optimizers.update, min):
        assert layers.FUNCTIONS["tanh"] == activations.ACTIVATIONS["tanh"] == (before[0][0], max)
        assert activations.tanh_backward is max
        assert backprop.update is min
    assert (layers.FUNCTIONS["tanh"], backprop.update) == before


# ---------------------------------------------------------------- hints

HINTS = {
    "a wrong sign": [
        "absolute_error: sign of t - y", "sigmoid_binary_cross_entropy: t - sigmoid(y)",
        "negative_log_likelihood: sign forgotten",
        "sigmoid: y - 1 for 1 - y", "tanh: wrong sign", "dense: dx with wrong sign", "dense: gradient with wrong sign",
        "dense: bias gradient with wrong sign", "loss: predicted and actual swapped in the derivative",
    ],
    "a derivative that is never computed": [
        "dense: dx zero, the graph cut", "dense: gradient zero", "dense: bias gradient missing",
        "record: cotangents of the inputs forgotten", "torch: output detached in the loss",
        "jax: stop_gradient behind tanh", "skip: back through the skip alone",
    ],
    "a missing factor ½": [
        "huber: half forgotten", "poisson: squared error's",
        "tanh: a factor 2, as if of tanh(2x)", "dense: gradient doubled", "loss: mean over the samples only",
        "loss: half forgotten", "loss: derivative divided by the samples only", "loss: a 2 too many where ½ cancels it",
        "loop: backward through the last layer twice",
    ],
    "a missing factor 2": [
        "squared_error: derivative of half of it", "squared_hinge: factor 2 missing",
        "identity: cotangent halved", "loss: factor 2 of the derivative missing", "jax: optax.l2_loss, which halves",
        "weighted_squares: factor 2 missing", "skip: its cotangent shared out",
    ],
    "a sum over the batch in place of a mean (3)": [
        "loss: mean over the outputs only", "loss: derivative divided by the outputs only",
        "record: cotangents of the mean, times the batch size",
    ],
    "a mean over the batch in place of a sum (3)": [
        "dense: dx averaged over the batch", "dense: gradient averaged over the batch",
        "dense: bias gradient averaged over the batch", "sgd: learning rate divided by the batch size",
    ],
    "a sum over the batch and the outputs in place of a mean (6)": [
        "loss: sum for mean", "loss: derivative of the sum for the mean's", "torch: mse_loss with reduction sum",
    ],
    "a mean over the outputs in place of a sum (3)": ["prelu: gradient of the slope averaged over the units"],
    "a mean over the batch and the outputs in place of a sum (8)": [
        "loss: mean for sum", "loss: derivative of the mean for the sum's",
    ],
    "a mean over 3 samples where the batch has 1": [
        "loss: derivative always divided by a full batch of 3", "jax: mean over the padding too",
    ],
    "the transpose": ["dense: square gradient transposed", "sgd: square update transposed"],
    "weights that are already updated": ["dense: dx with the updated weight"],
    "the gradient of the step before": [
        "loop: gradients of the step before", "sgd: gradients of the step before",
        "record: gradients of the step before",
    ],
    "the loss of the step before": ["record: loss of the step before"],
    "a gradient that is not reset between steps": ["loop: gradients not reset between steps", "torch: no zero_grad"],
    "a step uphill": ["sgd: the gradient added", "sgd: uphill", "torch: SGD with maximize"],
    "a parameter that is frozen": [
        "momentum: the velocity before for the velocity after", "adadelta: epsilon forgotten in the numerator",
        "sgd: every other step", "sgd: bias frozen", "sgd: first layer frozen", "sgd: skipped once, step 7,000",
        "record: parameters before for after", "torch: a layer left out of the optimizer",
        "frozen: another one in its place",
    ],
    "an update applied twice": [
        "sgd: learning rate doubled", "sgd: learning rate of another group for biases", "sgd: applied twice",
        "sgd: applied twice once, step 6,999",
    ],
}  # fmt: skip


@both_dtypes
def test_hints(dtype):
    """A known mistake is called by its name, and nothing else is."""
    expected = {name: words for words, names in HINTS.items() for name in names}
    told = {}
    for mutant in MUTANTS:
        if found := re.search(r"; this is what (.*?)(, or .*)? would give$", outcome(mutant, dtype).local.message):
            told[mutant.name] = found[1]
    assert told == expected


# ---------------------------------------------------------------- the page


def test_the_page_says_what_the_judge_says():
    """`make trial` writes it anew."""
    assert page.PAGE.read_text(encoding="utf-8") == page.whole_page()
    assert page.README.read_text(encoding="utf-8") == page.readme_with_headline()
