"""Taps and updates of JAX loops, in every transformation that a loop may stand in."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import backproof
from tests.backends.jax_recording import loops

jax.config.update("jax_enable_x64", True)


def per_sample(params, x):
    return jax.vmap(lambda one: loops.model(params, one))(x)


def in_two_vmaps(params, x):
    x = jnp.stack([x, x])  # a second axis outside, whose first row alone is used
    return jax.vmap(per_sample, (None, 0))(params, x)[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("compiled", [jax.jit, lambda step: step], ids=["jit", "eager"])
def test_a_right_loop_is_certified(compiled, dtype):
    run = loops.train(compiled=compiled, dtype=dtype)
    found = run.trajectory(loops.problem(dtype))
    assert {*found.values} == {*found.cotangents} == {"hidden", "squashed", "readout"}
    assert len(found.state_after) == 8
    assert backproof.certify_run(run, loops.CASE).verdict == "certified"


@pytest.mark.parametrize(
    "change", [jax.checkpoint, lambda f: lambda *a: f(*a, model=per_sample)], ids=["remat", "vmap"]
)
def test_taps_under_transformations(change):
    judgement = backproof.certify_run(loops.train(change(loops.loss_of)), loops.CASE)
    assert "1 of 4 values (input)" in judgement.message


def test_an_axis_too_many_is_told():
    run = loops.train(lambda *a: loops.loss_of(*a, model=in_two_vmaps))
    with pytest.raises(backproof.NotCertified, match=r"tap\('hidden'\), step 0: expected \(2, 4\), found \(2, 2, 4\)"):
        backproof.certify_run(run, loops.CASE)


@pytest.fixture
def two_steps(tmp_path):
    """A case of the two full batches alone."""
    path = tmp_path / "two.yaml"
    path.write_text(loops.CASE.read_text().replace("steps: 3", "steps: 2"))
    return path


def test_all_steps_in_one_scan(two_steps):
    """Two steps of a loop that is one program: taps and updates fall into their steps by themselves."""
    case = loops.problem()
    inputs, targets = jnp.asarray(case.inputs), jnp.asarray(case.targets)
    with backproof.record_jax() as run:
        optimizer = run.optimizer(optax.adam(0.01))

        def step(carry, rows):
            params, state = carry
            gradients = jax.grad(loops.loss_of)(params, inputs[rows], targets[rows])
            updates, state = optimizer.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = loops.start(), optimizer.init(loops.start())
        (params, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.array([[0, 1], [2, 3]])))(start)
        run.end(params)
    assert backproof.certify_run(run, two_steps).verdict == "certified"


def in_parts(params, x, t):
    """Return the loss of a batch whose samples go through the model one by one."""
    losses = [jnp.sum((loops.model(params, x[k : k + 1]) - t[k : k + 1]) ** 2) / t.size for k in range(len(x))]
    return backproof.tap("loss", sum(losses))


def in_a_scan(params, x, t):
    """Likewise, in a loop of JAX that is gone back through from its end."""

    def term(sample):
        return jnp.sum((loops.model(params, sample[0][None]) - sample[1]) ** 2)

    return backproof.tap("loss", jnp.sum(jax.lax.map(term, (jnp.asarray(x), jnp.asarray(t)))) / t.size)


@pytest.mark.parametrize("loss_of", [in_parts, in_a_scan])
def test_parts_of_a_batch_are_joined(loss_of, two_steps):
    """Their values and cotangents are those of the batch, in the order of the forward passes."""
    assert backproof.certify_run(loops.train(loss_of, steps=2), two_steps).verdict == "certified"


def test_gradients_of_each_sample(two_steps):
    """`vmap` of `grad`, whose mean the optimizer is given; the cotangents are those of the samples' own losses."""

    def train(scale):
        def one(params, x, t):
            return jnp.sum((loops.model(params, x) - t) ** 2) * scale

        def mean_of(params, x, t):
            found = jax.vmap(jax.grad(one), (None, 0, 0))(params, x, t)
            return jax.tree.map(lambda g: jnp.sum(g, axis=0) / (scale * 4), found)

        with backproof.record_jax() as run:
            optimizer, params = run.optimizer(optax.adam(0.01)), loops.start()
            state = optimizer.init(params)
            for x, t in [*loops.batches()][:2]:
                updates, state = optimizer.update(jax.jit(mean_of)(params, x, t), state, params)
                params = optax.apply_updates(params, updates)
            run.end(params)
        return run

    assert backproof.certify_run(train(1 / 4), two_steps).verdict == "certified"
    with pytest.raises(backproof.NotCertified, match="step 0, cotangent of readout"):
        backproof.certify_run(train(1), two_steps)


def test_as_many_parts_as_a_batch_has():
    """The last batch is short, and gone through in one part."""
    assert backproof.certify_run(loops.train(in_parts), loops.CASE).verdict == "certified"


def validated(step, after):
    """Return a step that takes a derivative behind the updates from one on, for itself."""
    seen, step = [], jax.jit(step)

    def both(params, state, x, t):
        params, state = step(params, state, x, t)
        if len(seen) >= after:
            jax.grad(loops.loss_of)(params, x, t)
        seen.append(params)
        return params, state

    return both


def test_a_derivative_between_two_updates_is_told_with_its_step():
    run = loops.train(compiled=lambda step: validated(step, 1))
    told = r"tap\('hidden'\), step 2: expected \(1, 4\), found \(3, 4\) in 2 differentiated passes since the last"
    with pytest.raises(backproof.NotCertified, match=told):
        backproof.certify_run(run, loops.CASE)


def test_a_derivative_behind_the_last_update_is_none_of_the_run():
    run = loops.train(compiled=lambda step: validated(step, 2))
    assert len(run.calls["hidden"]) == 4
    assert backproof.certify_run(run, loops.CASE).verdict == "certified"


def test_taps_change_no_number():
    def train_bare():
        optimizer, params = optax.adam(0.01), loops.start("float32")
        state = optimizer.init(params)
        for x, t in loops.batches("float32"):
            updates, state = optimizer.update(jax.grad(loops.loss_of)(params, x, t), state, params)
            params = optax.apply_updates(params, updates)
        return params

    run = loops.train(dtype="float32", compiled=lambda step: step)
    after = run.finished()[-1].after
    for layer, arrays in train_bare().items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(after[f"{layer}.{name}"], array)


def test_a_tap_outside_of_a_recording_is_nothing():
    x = np.ones(3)
    assert backproof.tap("hidden", x) is x
    params, (x, t) = loops.start(), next(loops.batches())
    compiled = jax.jit(jax.grad(loops.loss_of))
    before = compiled.lower(params, x, t).as_text()
    loops.train()
    assert "callback" not in before
    assert compiled.lower(params, x, t).as_text() == before


def test_a_step_compiled_before_is_compiled_anew():
    optimizer = optax.adam(0.01)

    @jax.jit
    def gradients_of(params, x, t):
        return jax.grad(loops.loss_of)(params, x, t)

    params = loops.start()
    state = optimizer.init(params)
    gradients_of(params, *next(loops.batches()))
    with backproof.record_jax() as run:
        recorded = run.optimizer(optimizer)
        for x, t in loops.batches():
            updates, state = recorded.update(gradients_of(params, x, t), state, params)
            params = optax.apply_updates(params, updates)
        run.end(params)
    assert len(run.calls["hidden"]) == 3


def test_validation_between_steps_is_none_of_the_run():
    def loss_of(params, x, t):
        jax.lax.stop_gradient(loops.model(jax.lax.stop_gradient(params), x))
        return loops.loss_of(params, x, t)

    assert backproof.certify_run(loops.train(loss_of), loops.CASE).verdict == "certified"


@jax.custom_vjp
def wrong_tanh(x):
    return jnp.tanh(x)


wrong_tanh.defvjp(lambda x: (jnp.tanh(x),) * 2, lambda y, dy: (dy * (1 - y * y) * (1 + 1e-9),))


def test_a_wrong_cotangent_between_two_taps_is_located():
    def model(params, x):
        x = backproof.tap("hidden", x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        x = backproof.tap("squashed", wrong_tanh(x))
        return backproof.tap("readout", x @ params["readout"]["kernel"] + params["readout"]["bias"])

    with pytest.raises(backproof.NotCertified, match="step 0, cotangent of hidden at"):
        backproof.certify_run(loops.train(lambda *a: loops.loss_of(*a, model=model)), loops.CASE)


def test_a_detached_value_has_the_cotangent_0():
    def model(params, x):
        x = backproof.tap("hidden", x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        x = jax.lax.stop_gradient(jnp.tanh(x))
        return backproof.tap("readout", x @ params["readout"]["kernel"] + params["readout"]["bias"])

    with pytest.raises(backproof.NotCertified, match=r"step 0, cotangent of hidden at \[0, 0\]: found 0\.0"):
        backproof.certify_run(loops.train(lambda *a: loops.loss_of(*a, model=model)), loops.CASE)


def test_one_program_in_two_recordings():
    """What was compiled in one recording tells the next one, and leaves the first as it is."""
    runs, optimizer = [], None
    for _ in range(2):
        with backproof.record_jax() as run:
            if optimizer is None:
                optimizer = run.optimizer(optax.adam(0.01))
                update, gradients_of = jax.jit(optimizer.update), jax.jit(jax.grad(loops.loss_of))
            params = loops.start()
            state = optimizer.init(params)
            for x, t in loops.batches():
                updates, state = update(gradients_of(params, x, t), state, params)
                params = optax.apply_updates(params, updates)
            run.end(params)
        runs.append(run)
    for run in runs:
        assert len(run.steps) == 3
        assert backproof.certify_run(run, loops.CASE).verdict == "certified"


@pytest.mark.parametrize("taps", [(), ("hidden", "squashed", "readout", "loss")])
def test_what_comes_back_from_an_earlier_recording_is_none_of_this_one(taps):
    """A pullback of `jax.vjp` that outlives its recording: in the new one its calls are other ones, or none."""
    x, t = next(loops.batches())
    with backproof.record_jax():
        _, pullback = jax.vjp(lambda params: loops.loss_of(params, x, t), loops.start())
    with backproof.record_jax() as run:
        if taps:
            jax.grad(loops.loss_of)(loops.start(), x, t)
        before = {name: run.calls[name][0].cotangent for name in taps}
        pullback(jnp.asarray(1000.0))
    assert {*run.calls} == {*taps}
    for name in taps:
        np.testing.assert_array_equal(run.calls[name][0].cotangent, before[name])


def test_a_wrong_rate_is_an_update():
    with pytest.raises(backproof.NotCertified, match=r"step 0, update of hidden\.weight"):
        backproof.certify_run(loops.train(rate=0.0100001), loops.CASE)


def test_states_in_chains_and_injected_hyperparameters():
    tx = optax.chain(optax.identity(), optax.inject_hyperparams(optax.adam)(learning_rate=0.01))
    run = loops.train(tx=tx)
    assert len(run.trajectory(loops.problem()).state_before) == 8
    assert backproof.certify_run(run, loops.CASE).verdict == "certified"


@pytest.mark.parametrize("compiled", [jax.jit, lambda step: step], ids=["jit", "eager"])
def test_an_update_by_hand(compiled, tmp_path):
    """`run.step` records what no optimizer of optax makes, inside of jit too."""
    case = tmp_path / "sgd.yaml"
    case.write_text(
        loops.CASE.read_text().replace("adam: {learning_rate: 0.01}", "momentum: {learning_rate: 0.1, momentum: 0.9}")
    )
    with backproof.record_jax() as run:

        @compiled
        def step(params, velocity, x, t):
            loss, gradients = jax.value_and_grad(loops.loss_of)(params, x, t)
            later = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradients)
            after = jax.tree.map(lambda w, v: w - 0.1 * v, params, later)
            state = {"velocity": velocity}, {"velocity": later}
            run.step(params, gradients, after, loss=loss, state_before=state[0], state_after=state[1])
            return after, later

        params = loops.start()
        velocity = jax.tree.map(jnp.zeros_like, params)
        for x, t in loops.batches():
            params, velocity = step(params, velocity, x, t)
    assert len(run.trajectory(backproof.materialise(backproof.load(case), "float64")).state_after) == 4
    assert backproof.certify_run(run, case).verdict == "certified"


# ---------------------------------------------------------------- what is told


def test_second_derivatives_are_refused_with_words():
    with backproof.record_jax(), pytest.raises(ValueError, match="do not support JVP"):
        jax.hessian(loops.loss_of)(loops.start(), *next(loops.batches()))


def test_update_without_parameters():
    with backproof.record_jax() as run, pytest.raises(ValueError, match="the parameters are needed too"):
        run.optimizer(optax.adam(0.1)).update({}, ())


def test_import_pulls_in_no_framework():
    program = "import backproof, sys; backproof.NotCertified; print({'torch', 'jax'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_versions_of_jax_that_cannot_tell_programs_apart(monkeypatch):
    """All that was compiled is compiled anew there."""
    monkeypatch.setattr("backproof.backends.jax_recording.recorder.IS_RECORDING", None)
    params, (x, t) = loops.start(), next(loops.batches())
    gradients_of = jax.jit(jax.grad(loops.loss_of))
    gradients_of(params, x, t)
    with backproof.record_jax() as run:
        jax.block_until_ready(gradients_of(params, x, t))
    gradients_of(params, x, t)
    assert {name: len(calls) for name, calls in run.calls.items()} == dict.fromkeys(run.calls, 1)
    assert {*run.calls} == {"hidden", "squashed", "readout", "loss"}


def test_no_program_with_taps_is_left_where_the_loop_raises(monkeypatch):
    monkeypatch.setattr("backproof.backends.jax_recording.recorder.IS_RECORDING", None)
    given = loops.start(), *next(loops.batches())
    compiled = jax.jit(jax.value_and_grad(loops.loss_of))
    with pytest.raises(TypeError), backproof.record_jax():
        compiled(*given)[0].reshape(2)
    assert "callback" not in compiled.lower(*given).as_text()


def test_a_loop_that_raises_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError), backproof.record_jax():
        1 / 0  # noqa: B018, it is meant to
    x = np.ones(3)
    assert backproof.tap("hidden", x) is x
