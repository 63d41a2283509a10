"""What every backend owes: the whole structure, the dtype, the same bits for thinned records, and no side effects."""

import copy
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from backproof.backends import registry
from backproof.backends.__main__ import main
from backproof.cases.format.schema import Dtype
from backproof.report.judging.judge import judge
from backproof.report.judging.structure import structure_mistakes

HIDDEN = {"dense": {"name": "hidden", "units": 3}}
READOUT = {"dense": {"name": "readout", "units": 1, "bias": False}}
SGD = {"optimizer": {"sgd": {"learning_rate": 0.3}}}
FIELDS = ("values", "cotangents", "gradients", "before", "after", "state_before", "state_after", "final_values")

every_backend = pytest.mark.parametrize("name", registry.DEFAULT)


def run(name, problem):
    return registry.backend(name).run(problem)


def arrays(trajectory) -> dict[str, np.ndarray]:
    """All arrays of a trajectory by field and name."""
    named = {f"{field}/{name}": array for field in FIELDS for name, array in getattr(trajectory, field).items()}
    return named | {"loss": trajectory.loss, "final_loss": trajectory.final_loss, "steps": trajectory.steps}


@every_backend
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_structure_and_dtype(problem_of, name, dtype, reduction):
    """Everything is there, of the right shape and dtype, and certified; the problem is left as it was."""
    problem = problem_of(
        dtype,
        network=[HIDDEN, "tanh", READOUT, "relu", "identity", "sigmoid"],
        loss={"squared_error": {"factor": 0.3, "reduction": reduction}},
        training={"steps": 3, **SGD},
    )
    before = copy.deepcopy(problem)
    trajectory = run(name, problem)
    assert structure_mistakes(problem, trajectory) == []
    assert judge(problem, trajectory).verdict == "certified"
    assert trajectory.seconds > 0
    for field in ("inputs", "targets", "batches", "recorded"):
        assert np.array_equal(getattr(problem, field), getattr(before, field))
    assert all(np.array_equal(values, before.parameters[path]) for path, values in problem.parameters.items())


@every_backend
def test_runs_are_repeatable_and_share_no_memory(problem_of, name):
    problem = problem_of(training={"steps": 3, **SGD})
    first, second = arrays(run(name, problem)), arrays(run(name, problem))
    assert all(np.array_equal(array, second[key]) for key, array in first.items())
    given = (problem.inputs, problem.targets, *problem.parameters.values())
    recorded = [array for key, array in first.items() if not key.startswith(("final_values/input", "steps"))]
    assert not any(np.shares_memory(array, other) for array in recorded for other in given)


@every_backend
@pytest.mark.parametrize("batch", [None, {"size": 2}])
def test_thinned_record_is_the_same_run(problem_of, name, batch):
    """Recording every seventh step changes no bit of what is recorded; 23 is no multiple, so a last gap is left."""
    training = {"steps": 24, **SGD} | ({"batch": batch} if batch else {})
    full, thinned = (run(name, problem_of(training=training, record=record)) for record in (None, {"every": 7}))
    assert thinned.steps.tolist() == [0, 7, 14, 21, 23]
    full, thinned, steps = arrays(full), arrays(thinned), thinned.steps
    assert full.keys() == thinned.keys()
    for key, array in thinned.items():
        expected = full[key] if key.startswith("final") else full[key][steps]
        assert np.array_equal(array, expected), key


@pytest.fixture(scope="module")
def ragged(problem_of):
    """A mean over batches of two, two and one of five samples, at one common learning rate, and its reference run."""
    inputs = np.random.default_rng(0).normal(size=(5, 2)).tolist()
    problem = problem_of(
        data={"inputs": inputs, "targets": [[0.1], [0.9], [0.4], [0.7], [0.2]]},
        loss={"squared_error": {"factor": 1, "reduction": "mean"}},
        training={"epochs": 4, "batch": {"size": 2}, **SGD},
    )
    return problem, arrays(run("numpy", problem))


@pytest.mark.parametrize("name", [name for name in registry.DEFAULT if name != "numpy"])
def test_ragged_batches(ragged, name):
    """The mean is over the samples that are there; the rows of the others are zero in every backend."""
    problem, desired = ragged
    actual = arrays(run(name, problem))
    assert actual.keys() == desired.keys()
    for key, array in actual.items():
        np.testing.assert_allclose(array, desired[key], rtol=1e-12, atol=1e-14, err_msg=key)
        if key.startswith(("values", "cotangents")):
            assert not array[2::3, 1].any(), key


@pytest.mark.parametrize("name", [*registry.DEFAULT, "jax-eager"])
def test_gradients_only(problem_of, name):
    """Without training there is one step, which leaves every bit of the parameters, the sign of a zero too."""
    problem = problem_of(
        parameters={"hidden.weight": [[0.5, -0.0, 0.9], [0.1, 0.6, -1.1]], "hidden.bias": [-0.0, 0, 1e-300],
                    "readout.weight": [[1.2], [-0.5], [0.7]]},
        dtypes=["float64"], training=None,
    )  # fmt: skip
    trajectory = run(name, problem)
    assert trajectory.steps.tolist() == [0]
    for path, initial in problem.parameters.items():
        assert trajectory.before[path][0].tobytes() == trajectory.after[path][0].tobytes() == initial.tobytes(), path
    assert trajectory.final_loss == pytest.approx(trajectory.loss[0], rel=1e-14)
    assert judge(problem, trajectory).verdict == "certified"


# ---------------------------------------------------------------- python -m backends


def test_command_lists_versions_and_settings(capsys):
    assert main([]) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["backend", "packages"]
    assert [row.split()[:2] for row in rows] == [[name, registry.framework(name)] for name in registry.BACKENDS]
    assert np.__version__ in rows[0]


def test_what_runs_by_default_is_one_backend_a_framework():
    assert list(registry.DEFAULT) == list(dict.fromkeys(map(registry.framework, registry.BACKENDS)))


def broken():
    raise RuntimeError("built for another\nprocessor")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module", "the backend torch is not installed: No module named 'no_such_module'"),
        ("planted_broken", "RuntimeError: built for another processor"),
    ],
)
def test_command_tells_what_is_missing(capsys, monkeypatch, module, message):
    """Not installed, or installed and broken: the others are listed all the same."""
    monkeypatch.setitem(sys.modules, "planted_broken", SimpleNamespace(PACKAGES=("torch",), settings=broken))
    monkeypatch.setitem(registry.BACKENDS, "torch", module)
    assert main([]) == 3
    output = capsys.readouterr().out
    assert message in output
    assert len(output.splitlines()) == 2 + len(registry.BACKENDS)


def test_version_of_a_missing_package():
    assert registry.versions("numpy", "no-such-package") == {"numpy": np.__version__, "no-such-package": None}


# ---------------------------------------------------------------- what random scenarios found


def neuron(problem_of, dtype, x, w, t, **changes):
    """One linear neuron without bias."""
    return problem_of(
        dtype,
        network=[{"dense": {"units": 1, "bias": False}}],
        parameters={"dense1.weight": [[w]]},
        data={"inputs": [[x]], "targets": [[t]]},
        loss={"squared_error": {"factor": 1, "reduction": "sum"}},
        **changes,
    )


@every_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_recorded_is_what_is_consumed(problem_of, name, dtype):
    """Beside its target a product must not be contracted with the difference: XLA's fusions do that."""
    x, w = np.array([1.1, 1.3], dtype)
    target = np.nextafter(x * w, np.inf)
    problem = neuron(problem_of, dtype, float(x), float(w), float(target), training={"steps": 3, **SGD})
    judgement = judge(problem, run(name, problem))
    assert judgement.verdict == "certified", judgement.message


@every_backend
def test_padding_does_not_leak(problem_of, name):
    """The last sample overflows; a short batch that is padded must not see it."""
    problem = problem_of(
        network=[{"dense": {"units": 1, "bias": False}}],
        parameters={"dense1.weight": [[1]]},
        data={"inputs": [[1], [0.5], [1e308]], "targets": [[10], [10], [1e308]]},
        loss={"squared_error": {"factor": 1, "reduction": "sum"}},
        random={"generator": "pcg64", "seed": 0},
        training={"steps": 4, "batch": {"size": 2, "order": "shuffled"}, "optimizer": {"sgd": {"learning_rate": 0.5}}},
    )
    assert problem.batches[1].tolist() == [1, -1]
    trajectory = run(name, problem)
    assert np.isfinite(trajectory.gradients["dense1.weight"][1]).all()
    assert judge(problem, trajectory).verdict == "out of range"


@every_backend
@pytest.mark.parametrize(("dtype", "w"), [("float32", 1.9e-38), ("bfloat16", 1.9e-38), ("float64", 3.6e-308)])
def test_a_flushed_part_of_a_derivative(problem_of, name, dtype, w):
    """Where tanh' is multiplied as (dy + dy y)(1 - y), dy y alone may be flushed to zero."""
    problem = problem_of(
        dtype,
        network=["tanh", {"dense": {"units": 1, "bias": False}}],
        parameters={"dense1.weight": [[w]]},
        data={"inputs": [[0.5]], "targets": [[-0.5]]},
        loss={"squared_error": {"factor": 1, "reduction": "sum"}},
        training=None,
    )
    judgement = judge(problem, run(name, problem))
    assert judgement.verdict == "certified", judgement.message


@every_backend
def test_nothing_flushes_a_float16(problem_of, name):
    """Subnormal operands and results of products, of a matrix and elementwise: all of them are powers of two."""
    problem = problem_of(
        "float16",
        network=[{"dense": {"units": 1, "bias": False}}, "prelu", {"dense": {"units": 1, "bias": False}}],
        parameters={"dense1.weight": [[-(2.0**-2)]], "prelu1.slope": [0.5], "dense2.weight": [[2.0**6]]},
        data={"inputs": [[2.0**-14]], "targets": [[0]]},
        loss={"squared_error": {"factor": 0.5, "reduction": "sum"}},
        training=None,
    )
    trajectory = run(name, problem)
    values = {layer: float(value.item()) for layer, value in trajectory.values.items()}
    assert values == {"input": 2.0**-14, "dense1": -(2.0**-16), "prelu1": -(2.0**-17), "dense2": -(2.0**-11)}
    assert float(trajectory.gradients["prelu1.slope"].item()) == 2.0**-21  # -2⁻¹¹ · 2⁶ · -2⁻¹⁶
    assert judge(problem, trajectory).verdict == "certified"


SUMS = {  # over the samples, for a bias and a slope, and over the units
    "network": [{"dense": {"units": 6}}, "prelu", "softmax"],
    "parameters": {"dense1.weight": [[0.5] * 6] * 3, "dense1.bias": [0.1, -0.2, 0.3, 0, 1, 2], "prelu1.slope": [0.3]},
    "data": {"inputs": [[i / 100, 1 - i / 50, 0.3] for i in range(100)], "targets": [[0, 0.1, 0.2, 0, 0.3, 0.4]] * 100},
    "training": None,
}


@every_backend
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_16_bit_sum_is_rounded_once(problem_of, name, dtype):
    problem = problem_of(dtype, **SUMS)
    judgement = judge(problem, run(name, problem))
    assert judgement.verdict == "certified", judgement.message


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_sum_that_xla_rounds_after_every_term_is_refused(problem_of, monkeypatch, dtype):
    """What the derivative of a broadcast bias is without `rounded_once`."""
    import jax

    from backproof.backends import jax_autograd

    monkeypatch.setattr(jax_autograd.training, "rounded_once", lambda function: function)
    jax.clear_caches()
    problem = problem_of(dtype, **SUMS)
    judgement = judge(problem, jax_autograd.run(problem))
    jax.clear_caches()
    assert (judgement.verdict, judgement.where.tensor) == ("differs", "dense1.bias")


def test_torch_takes_and_gives_every_bit():
    """bfloat16 too, which it shares with NumPy as integers only."""
    from backproof.backends.torch_autograd.arrays import to_array, to_tensor

    patterns = np.arange(2**16, dtype=np.uint16)
    for dtype in (np.dtype("float16"), np.dtype("bfloat16")):
        there_and_back = to_array(to_tensor(patterns.view(dtype)))
        assert there_and_back.dtype == dtype
        assert np.array_equal(there_and_back.view(np.uint16), patterns)


def test_jax_compiles_once_for_problems_of_one_structure(problem_of, monkeypatch):
    """Other numbers share the program; another layer, setting or shape does not."""
    import jax

    from backproof.backends import jax_autograd
    from backproof.backends.jax_autograd.layers import LAYERS

    traced, tanh = [], LAYERS["tanh"]
    monkeypatch.setitem(LAYERS, "tanh", lambda x: traced.append(x.shape) or tanh(x))
    jax.clear_caches()
    problem = problem_of()
    first = jax_autograd.run(problem)
    compiled = len(traced)
    other = replace(problem, inputs=problem.inputs + 1)
    second = jax_autograd.run(other)
    assert len(traced) == compiled > 0
    assert not np.array_equal(first.final_loss, second.final_loss)
    for changes in (
        {"loss": {"squared_error": {"factor": 2.0, "reduction": "sum"}}},
        {"training": {"steps": 39, "optimizer": {"sgd": {"learning_rate": 0.3}}}},
    ):
        seen = len(traced)
        jax_autograd.run(problem_of(**changes))
        assert len(traced) > seen
    jax.clear_caches()
