"""A case becomes the same arrays as the NumPy programs that it quotes."""

import numpy as np
import pytest

from cases import problem as problem_module
from cases.problem import materialise
from cases.schema import Case

SAMPLES = 5


def case(**changes) -> Case:
    """A 3-4-1 network with drawn weights and five samples."""
    settings = {
        "title": "drawn",
        "dtypes": ["float64", "float32"],
        "network": [
            {"dense": {"name": "hidden", "units": 4, "bias": False}},
            "sigmoid",
            {"dense": {"name": "readout", "units": 1, "bias": False}},
        ],
        "parameters": {f"{name}.weight": {"uniform": {"low": 0, "high": 1}} for name in ("hidden", "readout")},
        "random": {"generator": "mt19937", "seed": 10},
        "data": {"inputs": [[i, 0.1, 0] for i in range(SAMPLES)], "targets": [[i] for i in range(SAMPLES)]},
        "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
    }
    return Case.model_validate(settings | changes)


def training(**settings) -> dict:
    return {"training": {"optimizer": {"sgd": {"learning_rate": 0.1}}} | settings}


def same(actual: np.ndarray, desired: np.ndarray) -> bool:
    return actual.dtype == desired.dtype and np.array_equal(actual, desired)


# ---------------------------------------------------------------- draws


def test_mt19937_is_numpy_random_seed():
    np.random.seed(10)  # noqa: NPY002 (what the quoted programs call)
    hidden, readout = np.random.rand(3, 4), np.random.rand(4, 1)  # noqa: NPY002
    parameters = materialise(case(), "float64").parameters
    assert same(parameters["hidden.weight"], hidden)
    assert same(parameters["readout.weight"], readout)


def test_pcg64_is_default_rng():
    draws = {"hidden.weight": {"normal": {"mean": 1, "std": 2}}, "readout.weight": {"uniform": {"low": -1, "high": 1}}}
    random = np.random.default_rng(3)
    parameters = materialise(case(random={"generator": "pcg64", "seed": 3}, parameters=draws), "float64").parameters
    assert same(parameters["hidden.weight"], random.normal(1, 2, (3, 4)))
    assert same(parameters["readout.weight"], random.uniform(-1, 1, (4, 1)))


def test_drawn_in_the_order_written_and_listed_in_the_order_of_the_layers():
    written = dict(reversed(case().parameters.items()))
    parameters = materialise(case().model_copy(update={"parameters": written}), "float64").parameters
    random = np.random.RandomState(10)
    readout, hidden = random.uniform(size=(4, 1)), random.uniform(size=(3, 4))
    assert list(parameters) == ["hidden.weight", "readout.weight"]
    assert same(parameters["hidden.weight"], hidden)
    assert same(parameters["readout.weight"], readout)


def test_rounded_once():
    double, single = materialise(case(), "float64"), materialise(case(), "float32")
    for path, values in double.parameters.items():
        assert same(single.parameters[path], values.astype(np.float32))
    assert same(single.inputs[:, 1], np.full(SAMPLES, 0.1, np.float32))
    assert single.targets.dtype == np.float32


@pytest.mark.parametrize(("below", "above"), [(1, 1 + 2.0**-7), (-1 - 2.0**-7, -1)])
def test_a_bfloat16_is_rounded_once(below, above):
    """Just beside the middle of two numbers, which is the nearest float32."""
    middle = (below + above) / 2
    inputs = [[middle - 2.0**-40, middle + 2.0**-40, 0.1]]
    problem = materialise(case(data={"inputs": inputs, "targets": [[0]]}), "bfloat16")
    assert problem.inputs.astype(float).tolist() == [[below, above, 0.10009765625]]
    assert problem.dtype.name == "bfloat16"


# ---------------------------------------------------------------- batches


def batches(**settings) -> np.ndarray:
    return materialise(case(**training(**settings)), "float64").batches


def test_without_training_one_step_sees_all():
    problem = materialise(case(), "float64")
    assert problem.batches.tolist() == [[0, 1, 2, 3, 4]]
    assert problem.optimizer is None


def test_full_batches():
    assert batches(steps=3).tolist() == [[0, 1, 2, 3, 4]] * 3


def test_sequential_batches_start_over_once_all_data_is_used():
    assert batches(steps=4, batch={"size": 2}).tolist() == [[0, 1], [2, 3], [4, -1], [0, 1]]
    assert batches(steps=3, batch={"size": 2, "last": "drop"}).tolist() == [[0, 1], [2, 3], [0, 1]]


@pytest.mark.parametrize(("last", "steps"), [("keep", 6), ("drop", 4)])
def test_epochs_are_passes_over_the_data(last, steps):
    assert batches(epochs=2, batch={"size": 2, "last": last}).shape == (steps, 2)


@pytest.mark.parametrize(("last", "kept"), [("keep", 5), ("drop", 4)])
def test_shuffled_batches_come_from_one_permutation_an_epoch_after_the_draws(last, kept):
    shuffled = batches(epochs=2, batch={"size": 2, "order": "shuffled", "last": last})
    random = np.random.RandomState(10)
    random.uniform(size=3 * 4 + 4 * 1)
    expected = [random.permutation(SAMPLES)[:kept] for _ in range(2)]
    assert np.array_equal(shuffled[shuffled >= 0].reshape(2, kept), expected)
    assert (shuffled < 0).sum() == (2 if last == "keep" else 0)


# ---------------------------------------------------------------- records


def recorded(**changes) -> list[int]:
    return materialise(case(**changes), "float64").recorded.tolist()


def test_every_step_is_recorded_by_default():
    assert recorded(**training(steps=7)) == [0, 1, 2, 3, 4, 5, 6]


def test_the_last_and_the_published_steps_are_always_recorded():
    published = [{"tensor": "loss", "step": step, "value": "1", "source": "a book"} for step in (5, 12)]
    assert recorded(**training(steps=12), record={"every": 4}) == [0, 4, 8, 11]
    assert recorded(**training(steps=12), record={"every": 4}, published=published) == [0, 4, 5, 8, 11]


def test_long_runs_are_thinned(monkeypatch):
    monkeypatch.setattr(problem_module, "MEMORY_FOR_RECORDS", 2**20)
    steps = recorded(**training(steps=100_000))
    assert steps[:100] == list(range(100))
    assert steps[-1] == 99_999
    assert 250 < len(steps) <= 300
