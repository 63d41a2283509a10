"""The other modes of the frameworks: the same formulas, compiled by inductor, or operation by operation in JAX."""

import numpy as np
import pytest
import torch

from backproof.backends import jax_autograd, registry, torch_autograd
from backproof.backends.jax_autograd import eager
from backproof.backends.jax_autograd.layers import LAYERS
from backproof.backends.torch_autograd import compiled
from backproof.report.judging.judge import judge
from backproof.report.judging.outcome import attempt
from backproof.report.judging.structure import structure_mistakes
from tests.backends.test_backends import HIDDEN, READOUT, SGD, arrays

DTYPES = ("float64", "float32")
MODES = {"torch-compile": torch_autograd, "jax-eager": jax_autograd}
MOMENTUM = {"momentum": {"learning_rate": 0.3, "momentum": 0.9}}


@pytest.fixture(scope="module")
def problems(problem_of):
    """A mean over batches of four and of one, by dtype; close to 0 an elu must not be exp(x) - 1."""
    inputs = np.random.default_rng(0).normal(size=(5, 2)) * np.array([1, 1e-3])
    changes = {
        "network": [HIDDEN, "elu", READOUT, "tanh"],
        "parameters": {
            "hidden.weight": [[1e-5, -1e-6, 0.3], [0.1, -0.7, 0.5]], "hidden.bias": [0, 0, -0.1],
            "readout.weight": [[1.2], [-0.5], [0.7]],
        },
        "data": {"inputs": inputs.tolist(), "targets": [[0.1], [0.9], [0.4], [0.7], [0.2]]},
        "loss": {"squared_error": {"factor": 1, "reduction": "mean"}},
        "training": {"steps": 6, "batch": {"size": 4}, "optimizer": MOMENTUM},
    }  # fmt: skip
    return {dtype: problem_of(dtype, **changes) for dtype in DTYPES}


@pytest.fixture(scope="module")
def runs(problems):
    """Each mode's run by name and dtype, and how many programs inductor made for them."""
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    runs = {(name, dtype): registry.backend(name).run(problems[dtype]) for name in MODES for dtype in DTYPES}
    return runs, torch._dynamo.utils.counters["stats"]["unique_graphs"] - before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODES)
def test_certified_and_beside_the_other_mode(problems, runs, name, dtype):
    problem, run = problems[dtype], runs[0][name, dtype]
    assert structure_mistakes(problem, run) == []
    judgement = judge(problem, run)
    assert judgement.verdict == "certified", judgement.message
    other = arrays(MODES[name].run(problem))
    tolerance = {"rtol": 1e-12, "atol": 1e-14} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-6}
    for key, array in arrays(run).items():
        np.testing.assert_allclose(array, other[key], **tolerance, err_msg=key)


def test_one_program_for_full_batches_and_one_for_the_short_one(runs):
    assert runs[1] == 2 * len(DTYPES)


def test_sixteen_bits_are_rounded_between_operations_that_are_fused(problem_of, monkeypatch):
    """By default inductor sums the two cotangents of a batch as they were before they were rounded."""
    random = np.random.default_rng(0)
    data = {name: random.normal(size=(4, units)).tolist() for name, units in (("inputs", 2), ("targets", 1))}
    training = {"steps": 6, "batch": {"size": 2}, **SGD}
    problem = problem_of("float16", dtypes=["float16"], data=data, training=training)
    assert judge(problem, compiled.run(problem)).verdict == "certified"
    monkeypatch.delitem(compiled.OPTIONS, "emulate_precision_casts")
    assert judge(problem, compiled.run(problem)).where.phase == "gradient"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tap_changes_no_bit(problems, dtype):
    """Not the sign of a zero either."""
    taps = compiled._zero_taps(problems[dtype], torch.tensor(problems[dtype].inputs))
    zeros = torch.tensor([0.0, -0.0], dtype=getattr(torch, dtype))
    for tap in taps.values():
        assert tap.dtype == zeros.dtype
        assert torch.signbit(zeros + tap.reshape(-1, 1)).tolist() == [[False, True]] * tap.numel()


def test_steps_between_recorded_ones(problem_of):
    """JAX's loop in Python goes through them."""
    training = {"steps": 12, **SGD}
    full, thinned = (eager.run(problem_of(training=training, record=record)) for record in (None, {"every": 5}))
    assert thinned.steps.tolist() == [0, 5, 10, 11]
    for path, after in thinned.after.items():
        assert np.array_equal(after, full.after[path][thinned.steps])


def test_operations_are_not_jitted_together(problem_of, monkeypatch):
    """An activation sees numbers, where jit would show it a symbol once."""
    seen, tanh = [], LAYERS["tanh"]
    monkeypatch.setitem(LAYERS, "tanh", lambda x: seen.append(x) or tanh(x))
    eager.run(problem_of(training={"steps": 3, **SGD}))
    assert len(seen) == 3 + 1 + 1  # and once for the shapes of a record


def test_without_a_compiler_the_backend_is_missing(problem_of):
    told = "the backend torch-compile needs a C++ compiler: install g++, or name one in CXX"
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        result = attempt(problem_of(), "torch-compile")
        row = registry.describe("torch-compile")
    assert (result.verdict, result.message) == ("missing", told)
    assert row == {"backend": "torch-compile", "packages": told}


def test_a_compiler_that_fails_is_heard(problem_of, tmp_path):
    """In its own words, without the long command that it was given."""
    compiler = tmp_path / "compiler"
    compiler.write_text(
        "#!/bin/sh\ncase $1 in -v|--version) echo one 1.0;; *) echo Python.h is missing; exit 1;; esac\n"
    )
    compiler.chmod(0o755)
    with torch._inductor.config.patch({"cpp.cxx": (str(compiler),), "fx_graph_cache": False}):
        result = attempt(problem_of(), "torch-compile")
    assert (result.verdict, result.message) == ("error", "RuntimeError: inductor failed: Python.h is missing")
