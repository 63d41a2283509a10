"""The judge refuses every wrong rule and blames the right place, and it certifies what is only written otherwise."""

import pytest

from backproof.backends.registry import DEFAULT, backend
from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.losses import Loss
from backproof.cases.format.optimizers import AnySchedule, Clip, Optimizer
from backproof.reference import training
from backproof.reference.formulas import activations, layers, losses, optimizers, schedules
from backproof.report.judging.judge import judge
from tests.trial import page
from tests.trial.examples import problem_of
from tests.trial.hints import HINTS
from tests.trial.mutants import EQUIVALENT, MUTANTS
from tests.trial.planting import DTYPES, gradients_only, outcome, planted
from tests.trial.scenarios import members

pytestmark = pytest.mark.usefixtures("loud_hints")

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


@both_dtypes
def test_from_gradients_alone_the_operation_is_between_two_neighbours(dtype):
    """Of nine in ten at least of those that are refused; how many it is told by the page."""
    refused = [one for mutant in MUTANTS for one in [outcome(mutant, dtype)] if one.end_to_end.verdict == "differs"]
    assert sum(one.blamed_end_to_end for one in refused) >= 0.9 * len(refused)


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
    return {member.kind for member in members(choice)}


def test_every_kind_has_a_mutant():
    """A new layer, loss or optimizer is not on trial before it has one."""
    rules_of_one = {kind: (rule,) for kind, rule in (optimizers.OPTIMIZERS | schedules.SCHEDULES).items()}
    tables = layers.LAYERS | losses.LOSSES | rules_of_one
    rules = {mutant.rule for mutant in MUTANTS}
    on_trial = {kind for kind, functions in tables.items() if rules & {*functions}}
    assert on_trial == {*KINDS}.union(*map(kinds, (Loss, Optimizer, AnySchedule)))
    assert {f"clip by {kind}" for kind in kinds(Clip)} <= {mutant.name.partition(":")[0] for mutant in MUTANTS}
    assert {losses.penalty_forward, losses.penalty_backward} <= rules


# ---------------------------------------------------------------- planting


def test_a_rule_that_nobody_uses_cannot_be_planted():
    """The run would be the right one, and its certificate a lie."""
    with pytest.raises(LookupError, match="no program uses"), planted(len, abs):
        pass


def test_planting_reaches_tables_and_is_undone():
    before = layers.LAYERS["tanh"], training.update
    with planted(activations.tanh_backward, max), planted(optimizers.update, min):
        assert layers.LAYERS["tanh"] == activations.ACTIVATIONS["tanh"] == (before[0][0], max)
        assert activations.tanh_backward is max
        assert training.update is min
    assert (layers.LAYERS["tanh"], training.update) == before


# ---------------------------------------------------------------- hints

RIGHT = {name: words for words, names in HINTS.items() for name in names}


def test_hints():
    """A known mistake is called by its name, and nothing else is; the table was read hint by hint."""
    told = {mutant.name: outcome(mutant, "float64").hint for mutant in MUTANTS}
    assert {name: words for name, words in told.items() if words} == RIGHT
    assert len(RIGHT) >= 0.8 * len(MUTANTS)


def test_hints_in_float32():
    """Rounding hides some, and makes none of them another one."""
    outcomes = [outcome(mutant, "float32") for mutant in MUTANTS if not mutant.blind]
    told = {one.mutant.name: one.hint for one in outcomes if one.hint}
    assert told == {name: RIGHT.get(name) for name in told}
    assert len(told) >= 0.8 * len(outcomes)


# ---------------------------------------------------------------- the page


def test_the_page_says_what_the_judge_says():
    """`make trial` writes it anew."""
    assert page.PAGE.read_text(encoding="utf-8") == page.whole_page()
    assert page.README.read_text(encoding="utf-8") == page.readme_with_headline()
