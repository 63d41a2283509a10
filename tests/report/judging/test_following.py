"""What is not recorded is followed: the optimizer's state and the learning rates; a loss may be absent."""

from dataclasses import replace

import numpy as np
import pytest

from backproof.backends import numpy_reference
from backproof.backends.trajectory import flat, of_arrays
from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.reference.formulas.optimizers import init, update
from backproof.reference.numbers.half import half
from backproof.report.judging.following import followed, notes
from backproof.report.judging.judge import judge

OPTIMIZERS = {
    "momentum": {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01},
    "asgd": {"learning_rate": 0.1, "t0": 5},
    "lion": {"learning_rate": 0.01},
    "rprop": {"learning_rate": 0.01},
    "adagrad": {"learning_rate": 0.1},
    "adadelta": {"learning_rate": 1},
    "rmsprop": {"learning_rate": 0.01, "momentum": 0.9},
    "adam": {"learning_rate": 0.05, "amsgrad": True},
    "adamw": {"learning_rate": 0.05, "weight_decay": 0.1},
    "adamax": {"learning_rate": 0.05},
    "nadam": {"learning_rate": 0.05},
    "radam": {"learning_rate": 0.05},
}
WARM_UP = {"warm_up": {"steps": 5, "then": {"cosine_decay": {"steps": 10}}}}


def training(kind: str, **others) -> dict:
    return {"training": {"steps": 40, "optimizer": {kind: OPTIMIZERS[kind]}, **others}}


def without(run, **absent):
    """The run without its state and rates."""
    return replace(run, state_before={}, state_after={}, **absent)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_followed_state_holds_the_recorded_one(problem_of, kind, dtype):
    """Within its bound at every step, with clipping and a schedule in front of it; and the run is certified."""
    problem = problem_of(dtype, **training(kind, clip={"norm": {"maximum": 0.1}}, schedule=WARM_UP))
    run = numpy_reference.run(problem)
    state = followed(problem, without(run)).state_before
    assert state.keys() == run.state_before.keys()
    for name, values in run.state_before.items():
        assert state[name].shape == values.shape
        assert (np.abs(values - state[name].value) <= state[name].bound).all()
    for absent in ({}, {"learning_rates": None}):
        judgement = judge(problem, without(run, **absent))
        assert judgement.verdict == "certified", judgement.message
        assert judgement.message.startswith("the state is not recorded: it is followed from the start")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_wrong_state_is_found_in_the_update(problem_of, dtype):
    """β₂ off by one part in a thousand: nothing of the state is seen, and the update is refused all the same."""
    problem = problem_of(dtype, **training("adam"))
    wrong = problem.optimizer.model_copy(update={"beta2": 0.998})
    run = replace(numpy_reference.run(replace(problem, optimizer=wrong)))
    judgement = judge(problem, without(run))
    assert judgement.verdict == "differs"
    assert judgement.where.phase == "update"
    assert "the state is not recorded" in judgement.message


def test_rates_that_are_not_recorded_are_those_of_the_schedule(problem_of):
    problem = problem_of(training={"steps": 20, "optimizer": {"sgd": {"learning_rate": 0.3}}, "schedule": WARM_UP})
    run = numpy_reference.run(problem)
    right = judge(problem, replace(run, learning_rates=None))
    note = "the learning rates are not recorded: they are taken from the schedule"
    assert (right.verdict, right.message) == ("certified", note)
    half = replace(problem, optimizer=problem.optimizer.model_copy(update={"learning_rate": 0.3 * (1 + 1e-9)}))
    judgement = judge(problem, replace(numpy_reference.run(half), learning_rates=None))
    assert judgement.message.startswith("step 1, update of ")  # the rate of step 0 is 0
    assert "look at the sgd optimizer and the warm_up schedule" in judgement.message


def test_what_is_there_in_part_is_missing(problem_of):
    """A state is recorded as a whole or not at all, and can't be followed where steps are not recorded."""
    problem = problem_of(**training("adam"))
    run = numpy_reference.run(problem)
    some = {name: values for name, values in run.state_after.items() if "second" in name}
    assert judge(problem, replace(run, state_after=some)).verdict == "incomplete"
    assert judge(problem, replace(run, state_before={})).verdict == "incomplete"
    thinned = problem_of(record={"every": 7}, **training("adam"))
    judgement = judge(thinned, without(numpy_reference.run(thinned)))
    assert judgement.verdict == "incomplete"
    assert "state_before: all missing" in judgement.message


def test_a_run_that_diverges_is_followed_up_to_there(problem_of):
    """What leaves the range takes the followed state with it, and is told as in a run with its state."""
    momentum = {"momentum": {"learning_rate": 1e30, "momentum": 0.9}}
    changes = {
        "network": [{"dense": {"name": "one", "units": 1}}],
        "parameters": {"one.weight": [[1], [1]], "one.bias": [0]},
    }
    problem = problem_of("float32", training={"steps": 20, "optimizer": momentum}, **changes)
    run = numpy_reference.run(problem)
    whole, less = judge(problem, run), judge(problem, without(run))
    assert (whole.verdict, less.verdict) == ("out of range", "out of range")
    assert (less.where.step, less.where.phase) == (whole.where.step, whole.where.phase)


def test_gradients_without_a_loss_are_judged(problem_of):
    """Of gradients alone the loss may be absent as a whole, and is told as not judged; wrong ones are refused."""
    problem = problem_of()
    run = numpy_reference.run_gradients(problem, _gradients_of(problem))
    assert judge(problem, run).message == ""
    less = replace(run, loss=None, final_loss=None)
    judgement = judge(problem, less)
    assert (judgement.verdict, judgement.message) == ("certified", "the loss is not recorded, so it was not judged")
    assert judgement.ledger.elements == judge(problem, run).ledger.elements - 41
    wrong = replace(less, gradients={path: -values for path, values in less.gradients.items()})
    assert judge(problem, wrong).where.phase == "gradient"
    assert judge(problem, replace(run, loss=None)).verdict == "incomplete"
    assert judge(problem, replace(numpy_reference.run(problem), loss=None, final_loss=None)).verdict == "incomplete"


def test_a_run_without_them_is_the_same_from_a_file(problem_of):
    problem = problem_of(**training("adam", schedule=WARM_UP))
    run = without(numpy_reference.run(problem), learning_rates=None)
    again = of_arrays(flat(run), problem, 0.0)
    assert [*notes(problem, again)] == [*notes(problem, run)]
    assert len([*notes(problem, again)]) == 2


def _gradients_of(problem):
    from backproof.reference.training import derivatives

    def gradients(parameters, inputs, targets):
        found = derivatives(problem, parameters, {}, inputs, targets)
        return found.loss, found.gradients

    return gradients


@pytest.mark.parametrize("factor", [1.0, 0.0, -1.0])
def test_a_followed_state_that_drowns_the_step_is_undecided(factor):
    """In bfloat16 its bound soon is wider than what Adam moves: a step of nothing must not be certified."""
    case = load(CASES / "optimizers" / "adam.yaml")
    longer = case.model_copy(update={"training": case.training.model_copy(update={"steps": 55})})
    problem = materialise(longer, "bfloat16")

    def advance(parameters, gradients, state, step):
        w, g = ({path: half(array) for path, array in arrays.items()} for arrays in (parameters, gradients))
        memory = {name: half(array) for name, array in (state or init(problem.optimizer, w)).items()}
        after, memory = update(problem.optimizer, w, g, memory, step)
        if step >= 50:
            after = {path: w[path] + factor * (after[path] - w[path]) for path in w}
        return {path: np.asarray(after[path]) for path in w}, {
            name: np.asarray(array) for name, array in memory.items()
        }

    judgement = judge(problem, without(numpy_reference.run_update(problem, advance)))
    assert judgement.verdict == "undecided"
    assert "record the state" in judgement.message
