"""A run may hold any subset of what there is: what it holds is judged, what it lacks is followed."""

from dataclasses import replace

import pytest

from backproof.backends import numpy_reference
from backproof.backends.registry import DEFAULT, backend
from backproof.backends.trajectory import MAY_LACK, flat, of_arrays
from backproof.cases.format.schema import CASES, Case
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.judging.judge import judge
from tests.trial.examples import problem_of as example
from tests.trial.mutants import MUTANTS
from tests.trial.planting import gradients_only, part_of, run_planted

ON = ("mixed", "by adam", "with huber", "sharing/skip", "xor/relu")
WRONG = [mutant for mutant in MUTANTS if mutant.on == "mixed" and mutant.backend == "numpy"][::6]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("on", ON)
def test_any_part_of_a_right_run_is_certified(on, dtype, seed):
    problem = example(on, dtype)
    run = part_of(problem, numpy_reference.run(problem), seed)
    judgement = judge(problem, run)
    assert judgement.verdict == "certified", judgement.message
    assert judgement.scope in ("some", "gradients")
    assert "not recorded" in judgement.message


@pytest.mark.parametrize("mutant", WRONG, ids=lambda mutant: mutant.name)
def test_a_part_of_a_wrong_run_is_refused(mutant):
    """Whatever is left out, no part is certified in which the wrong number makes a difference: an update is in each."""
    problem = example(mutant.on, "float64")
    run = run_planted(problem, mutant.backend, mutant.rule, mutant.wrong)
    whole = judge(problem, run).where
    for seed in range(3):
        judgement = judge(problem, part_of(problem, run, seed))
        if whole.phase == "loss" or whole.step == problem.steps:  # from which nothing else is computed
            continue
        assert judgement.verdict == "differs", judgement.message
        assert judgement.where.step == whole.step, judgement.message


def test_what_hooks_see_is_judged_from_one_to_the_next(problem_of):
    """The values and cotangents of some layers: the fault is between two of them, and the message says which."""
    problem = problem_of()
    run = numpy_reference.run(problem)
    seen = ("hidden", "readout")
    part = {name: array for name, array in flat(run).items() if not name.startswith(("values/", "cotangents/"))}
    part |= {f"values/{name}": run.values[name] for name in seen}
    part |= {f"cotangents/{name}": run.cotangents[name] for name in seen}
    judgement = judge(problem, of_arrays(part, problem, 0.0))
    followed = "not recorded, and followed: 3 of 5 values (input, tanh1, sigmoid1), "
    followed += "3 of 5 cotangents (input, tanh1, sigmoid1)"
    assert (judgement.verdict, judgement.message) == ("certified", followed)
    wrong = dict(part)
    wrong["values/readout"] = part["values/readout"] * 1.001
    found = judge(problem, of_arrays(wrong, problem, 0.0))
    assert (found.where.phase, found.where.tensor) == ("value", "readout")
    assert "what is recorded before it is taken as given: look at the forward pass of the layers tanh1 and readout" in (
        found.message
    )
    wrong = dict(part)
    wrong["cotangents/hidden"] = part["cotangents/hidden"] * 1.001
    found = judge(problem, of_arrays(wrong, problem, 0.0))
    assert (found.where.phase, found.where.tensor) == ("cotangent", "hidden")
    assert "look at the backward pass of the layers readout and tanh1" in found.message


def test_parameters_alone_are_a_run(problem_of):
    """From one checkpoint to the next everything is followed; a wrong step is found, but not where it went wrong."""
    problem = problem_of()
    run = numpy_reference.run(problem)
    checkpoints = {name: array for name, array in flat(run).items() if name.startswith(("before/", "after/"))}
    judgement = judge(problem, of_arrays(checkpoints, problem, 0.0))
    assert judgement.verdict == "certified"
    assert judgement.message == (
        "not recorded, and followed: all values, all cotangents, all gradients; "
        "not recorded, so not judged: the loss, final values, the final loss"
    )
    assert judgement.phases == ("update",)
    assert {name.partition("/")[0] for name in judgement.lacks} == {*MAY_LACK}
    wrong = run.after["hidden.weight"].copy()
    wrong[7, 0, 0] *= 1 + 1e-9
    found = judge(problem, of_arrays(checkpoints | {"after/hidden.weight": wrong}, problem, 0.0)).where
    assert (found.step, found.phase, found.tensor, found.index) == (7, "update", "hidden.weight", (0, 0))


def test_a_step_that_is_drowned_by_what_is_followed_is_undecided():
    """In bfloat16 the bound of a gradient that is followed end to end is wider than the step it makes."""
    case = load(CASES / "depth" / "sigmoid_16.yaml").model_copy(update={"dtypes": ("bfloat16",)})
    problem = materialise(case, "bfloat16")
    run = flat(numpy_reference.run(problem))
    checkpoints = {name: array for name, array in run.items() if name.startswith(("before/", "after/", "gradients/"))}
    judgement = judge(problem, of_arrays(checkpoints, problem, 0.0))
    assert judgement.verdict == "undecided"
    assert "record the layers" in judgement.message


def test_where_nothing_is_updated_a_gradient_that_is_not_there_is_missing(problem_of):
    """It would be compared nowhere."""
    problem = problem_of(training=None)
    arrays = flat(numpy_reference.run(problem))
    del arrays["gradients/hidden.weight"]
    judgement = judge(problem, of_arrays(arrays, problem, 0.0))
    assert (judgement.verdict, judgement.message) == ("incomplete", "gradients of hidden.weight: missing")


@pytest.mark.parametrize("name", ["values/hiden", "gradients/hidden.wieght", "final_values/loss"])
def test_a_name_that_is_none_is_told(problem_of, name):
    problem = problem_of()
    arrays = flat(numpy_reference.run(problem))
    judgement = judge(problem, of_arrays(arrays | {name: arrays["loss"]}, problem, 0.0))
    assert judgement.verdict == "incomplete"
    assert f"{name.partition('/')[2]}: nothing of that name is expected" in judgement.message


def test_none_in_the_place_of_a_gradient_is_told(problem_of):
    problem = problem_of()
    arrays = flat(numpy_reference.run(problem))
    judgement = judge(problem, of_arrays(arrays | {"gradients/hidden.weight": None}, problem, 0.0))
    assert judgement.message == "gradients of hidden.weight: missing, found None in its place"


@pytest.mark.parametrize("name", DEFAULT)
def test_our_own_backends_record_everything(problem_of, name):
    """They promise it, so that what lacks is a mistake."""
    problem = problem_of()
    run = backend(name).run(problem)
    assert run.scope == of_arrays(flat(run), problem, 0.0).scope == "layers"
    values = {name: array for name, array in run.values.items() if name != "tanh1"}
    judgement = judge(problem, replace(run, values=values))
    assert (judgement.verdict, judgement.message) == ("incomplete", "values of tanh1: missing")


@pytest.mark.parametrize("absent", ["values/", "cotangents/", "gradients/"])
def test_a_state_is_followed_through_gradients_that_are_followed(problem_of, absent):
    settings, batch = {"adam": {"learning_rate": 0.05}}, {"size": 2, "order": "sequential"}
    problem = problem_of(training={"steps": 12, "optimizer": settings, "batch": batch})
    arrays = flat(numpy_reference.run(problem))
    part = {name: array for name, array in arrays.items() if not name.startswith((absent, "state_"))}
    judgement = judge(problem, of_arrays(part, problem, 0.0))
    assert judgement.verdict == "certified", judgement.message
    assert "the state is not recorded: it is followed from the start" in judgement.message


def test_the_mistake_is_named_in_a_part_too(problem_of):
    """The values of modules are recorded, no cotangent is; one layer's derivative is wrong."""
    problem = problem_of()
    mutant = next(one for one in MUTANTS if one.on == "mixed" and "tanh" in one.name and "cotangent" in one.noticed)
    problem = example("mixed", "float64")
    run = run_planted(problem, mutant.backend, mutant.rule, mutant.wrong)
    part = {name: array for name, array in flat(run).items() if not name.startswith("cotangents/")}
    message = judge(problem, of_arrays(part, problem, 0.0)).message
    assert "this is what" in message, message


def test_nothing_is_followed_behind_the_last_number_that_is_judged():
    """A kink there, of which no side is certain, is nobody's."""
    case = {
        "title": "a kink behind what is frozen",
        "dtypes": ["float32"],
        "network": [
            {"dense": {"name": "first", "units": 1, "bias": False}}, "hard_tanh",
            {"dense": {"name": "last", "units": 1}},
        ],
        "parameters": {"first.weight": [[0.1]], "last.weight": [[0.7]], "last.bias": [0.1]},
        "data": {"inputs": [[10.0]], "targets": [[0.3]]},
        "loss": {"squared_error": {"reduction": "sum"}},
        "frozen": ["first.weight", "last.weight"],
    }  # fmt: skip
    problem = materialise(Case.model_validate(case), "float32")
    run = gradients_only(problem, numpy_reference.run(problem))
    assert judge(problem, run).verdict == "certified"


BY_SIGN = {"rprop": {"learning_rate": 0.01}, "lion": {"learning_rate": 0.01}}


@pytest.mark.parametrize(
    "changes",
    [*({"optimizer": {kind: settings}} for kind, settings in BY_SIGN.items()), {"clip": {"norm": {"maximum": 0.001}}}],
    ids=[*BY_SIGN, "clip"],
)
def test_a_scale_that_no_update_shows_is_not_certified(problem_of, changes):
    """An update by signs, or by a gradient over its own size, is the same for one a thousand times too large."""
    problem = problem_of(training={"steps": 8, "optimizer": {"sgd": {"learning_rate": 0.3}}} | changes)
    arrays = flat(numpy_reference.run(problem))
    part = {name: array for name, array in arrays.items() if name.startswith(("before/", "after/", "values/"))}
    judgement = judge(problem, of_arrays(part, problem, 0.0))
    assert judgement.verdict == "undecided"
    assert "one that is 2 times as large would make the same update within what is allowed" in judgement.message
    more = part | {name: array for name, array in arrays.items() if name.startswith("gradients/")}
    assert judge(problem, of_arrays(more, problem, 0.0)).verdict == "certified"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_scale_is_seen_by_epsilon_or_not_at_all(problem_of, dtype):
    """Adam's update tells a gradient from its double where that is not much larger than epsilon: in float64."""
    problem = problem_of(dtype, training={"steps": 8, "optimizer": {"adam": {"learning_rate": 0.05}}})
    arrays = flat(numpy_reference.run(problem))
    part = {name: array for name, array in arrays.items() if name.startswith(("before/", "after/"))}
    assert (
        judge(problem, of_arrays(part, problem, 0.0)).verdict == {"float64": "certified", "float32": "undecided"}[dtype]
    )
    with_state = part | {name: array for name, array in arrays.items() if name.startswith("state_")}
    assert judge(problem, of_arrays(with_state, problem, 0.0)).verdict == "certified"
