"""A recorded JAX loop as the run of a case, and what is told where it can't be one."""

from copy import deepcopy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import backproof
from backproof.backends.jax_recording.runs import problem_of
from backproof.backends.recorded import NotTheCase
from tests.backends.jax_recording import loops

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module")
def recorded():
    return loops.train()


@pytest.fixture
def run(recorded):
    """A right recording, to be spoiled."""
    return deepcopy(recorded)


def refused(run, **options):
    with pytest.raises(backproof.NotCertified) as raised:
        backproof.certify_run(run, loops.CASE, **options)
    return str(raised.value)


def test_nothing_recorded():
    with backproof.record_jax() as run:
        pass
    assert "no step was recorded: call the optimizer of run.optimizer(...)" in refused(run)


def test_another_dtype(run):
    with pytest.raises(NotTheCase, match="mlp is a case in float32; the model's parameters are of float64"):
        problem_of(run, backproof.load(loops.CASE).model_copy(update={"dtypes": ("float32",)}))


def test_no_end(run):
    run.after = run.steps[-1].after = None
    assert "call run.end(params) behind the loop" in refused(run)


def test_unknown_names(run):
    run.calls["hiden"] = run.calls["hidden"]
    assert "tap('hiden'): the case has no such layer; there are input, hidden, squashed, readout, loss" in refused(run)
    del run.calls["hiden"]
    assert "names: the model has no layer, parameter or tap 'x'" in refused(run, names={"x": "hidden"})
    assert "names: the case has no layer or parameter 'x'" in refused(run, names={"hidden": "x"})


def with_a_gate(run, change):
    """Put another parameter into the tree, which each update changes by as much."""
    for number, step in enumerate(run.finished()):
        step.before["gate.scale"] = np.full(3, number * change)
        step.after = step.after | {"gate.scale": np.full(3, (number + 1) * change)}
    return run


def test_a_trained_parameter_that_the_case_does_not_have_is_told(run):
    told = refused(with_a_gate(run, 0.1))
    assert "step 0: gate.scale (3,) is trained, and no parameter of the case, so nobody judges it; add it" in told
    assert "leave it out by names={'gate.scale': None}" in told


@pytest.mark.parametrize("name", ["gate.scale", "gate"])
def test_a_parameter_is_left_out_by_name(name, run):
    with_a_gate(run, 0.1)
    assert backproof.certify_run(run, loops.CASE, names={name: None}).verdict == "certified"
    assert "no layer, parameter or tap 'x'" in refused(run, names={"x": None})


def test_a_parameter_of_the_case_is_not_left_out(run):
    assert "no parameter is sure to be hidden.weight" in refused(run, names={"hidden.kernel": None})


def test_a_parameter_that_no_update_changes_may_stand_in_the_tree(run):
    assert backproof.certify_run(with_a_gate(run, 0.0), loops.CASE).verdict == "certified"


def test_a_tap_that_a_step_does_not_have(run):
    del run.calls["hidden"][1]
    assert "tap('hidden'), step 1: nobody went through it; a loop goes back through each tap in each" in refused(run)


def test_a_step_that_nothing_comes_back_in_has_the_cotangent_0(run):
    run.calls["hidden"][1].cotangent = None
    assert "step 1, cotangent of hidden at [0, 0]: found 0.0" in refused(run)


def test_taps_that_no_update_goes_back_through_are_noted():
    def loss_of(params, x, t):
        backproof.tap("zzz", t)
        return loops.loss_of(params, backproof.tap("input", jnp.asarray(x)), t)

    why = "no update goes back through it, so nothing is recorded under that name"
    expected = {f"tap('{name}'): {why}": 0 for name in ("zzz", "input")}
    assert loops.train(loss_of).notes == expected
    told = refused(loops.train(loss_of, rate=0.02))
    assert all(f"\n  step 0: {words}" in told for words in expected)


def test_a_right_loop_has_no_notes(run):
    assert run.notes == {}


def test_steps_missing(run):
    run.steps.pop()
    assert "the case has 3 steps, the loop made 2" in refused(run)


def test_a_parameter_that_got_no_gradient_is_found():
    def loss_of(params, x, t):
        return loops.loss_of(params | {"hidden": jax.lax.stop_gradient(params["hidden"])}, x, t)

    run = loops.train(loss_of)
    run.calls = {name: run.calls[name] for name in ("readout", "loss")}
    for step in run.steps:
        del step.gradients["hidden.kernel"]
    assert "gradient of hidden.weight" in refused(run)


def test_a_run_is_saved(run, tmp_path):
    run.save(tmp_path / "run.safetensors", loops.CASE)
    assert backproof.certify_run(tmp_path / "run.safetensors", loops.CASE).verdict == "certified"
