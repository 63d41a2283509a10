"""A case becomes the same arrays as the NumPy programs that it quotes."""

import pickle

import numpy as np
import pytest

from backproof.cases import problem as problem_module
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise

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


# ---------------------------------------------------------------- once


def test_a_case_is_drawn_once_a_dtype():
    one = case()
    assert materialise(one, "float32") is materialise(one, "float32")
    assert materialise(one, "float32") is not materialise(one, "float64")


def test_a_changed_copy_of_a_case_is_drawn_anew():
    """And has a graph of its own."""
    one = case()
    problem, weight = materialise(one, "float64"), np.ones((3, 4))
    other = one.model_copy(update={"parameters": one.parameters | {"hidden.weight": weight}})
    assert same(materialise(other, "float64").parameters["hidden.weight"], weight)
    fewer = one.model_copy(update={"network": one.network[:1]})
    assert (one.output_shape, fewer.output_shape) == ((1,), (4,))
    assert materialise(one, "float64") is problem


def test_what_was_drawn_does_not_travel():
    """The case does, and is drawn there: what it takes to send it stays small."""
    one = case()
    before = len(pickle.dumps(one))
    problem = materialise(one, "float64")
    sent = pickle.dumps(one)
    assert len(sent) == before
    assert materialise(pickle.loads(sent), "float64").fingerprint == problem.fingerprint  # noqa: S301 (our own)


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


# ---------------------------------------------------------------- masks, ties and objectives


def dropping(**settings) -> dict:
    """The changes for a network with two dropout layers, of 4 units and of 1, behind the hidden and the last layer."""
    first, last = ({"dropout": {"rate": rate} | settings.get(name, {})} for name, rate in (("a", 0.25), ("b", 0.5)))
    hidden, sigmoid, readout = (
        {"dense": {"name": "hidden", "units": 4, "bias": False}}, "sigmoid",
        {"dense": {"name": "readout", "units": 1, "bias": False}},
    )  # fmt: skip
    return {"network": [hidden, first, sigmoid, readout, last]}


def test_masks_are_drawn_between_the_parameters_and_the_permutations():
    """Layer by layer, of all steps at once, and in full for a short batch too."""
    shuffled = training(epochs=2, batch={"size": 2, "order": "shuffled"})
    problem = materialise(case(**dropping(), **shuffled), "float32")
    random = np.random.RandomState(10)
    random.uniform(size=3 * 4 + 4 * 1)
    expected = {
        path: random.uniform(size=(6, 2, units)) >= rate
        for path, units, rate in (("dropout1.mask", 4, 0.25), ("dropout2.mask", 1, 0.5))
    }
    assert list(problem.masks) == list(expected)
    assert all(same(problem.masks[path], mask.astype(np.float32)) for path, mask in expected.items())
    order = np.concatenate([random.permutation(SAMPLES) for _ in range(2)])
    assert np.array_equal(problem.batches[problem.batches >= 0], order)
    assert all(layer.mask is None for layer in problem.layers if layer.kind == "dropout")


def test_a_rate_of_0_drops_nothing():
    problem = materialise(case(**dropping(a={"rate": 0.0}), **training(steps=3)), "float64")
    assert problem.masks["dropout1.mask"].all()
    assert not problem.masks["dropout2.mask"].all()


def test_given_masks_are_taken_in_turn():
    masks = np.random.default_rng(0).integers(0, 2, (3, SAMPLES, 4))
    one = [[1], [0], [1], [1], [0]]
    changes = dropping(a={"mask": masks.tolist()}, b={"mask": one})
    problem = materialise(case(**changes, **training(steps=7)), "float64")
    for step in range(7):
        at = problem.masks_at(step)
        assert list(at) == ["dropout1.mask", "dropout2.mask"]
        assert np.array_equal(at["dropout1.mask"], masks[step % 3])
        assert np.array_equal(at["dropout2.mask"], one)
    steps = np.array([6, 0, 2])
    assert np.array_equal(problem.masks_at(steps)["dropout1.mask"], masks[[0, 0, 2]])


def test_no_number_can_be_changed():
    problem = materialise(case(**dropping(), **training(steps=3)), "float64")
    named = [*problem.parameters.values(), *problem.masks.values(), *problem.buffers.values()]
    for array in (problem.inputs, problem.targets, problem.batches, problem.recorded, *named):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_tied_parameter_has_no_value_and_a_frozen_one_no_gradient():
    dense = [{"dense": {"name": name, "units": 3}} for name in ("a", "b", "c")]
    problem = materialise(
        case(
            network=dense,
            parameters={"a.weight": np.eye(3).tolist(), "a.bias": [1, 2, 3], "c.bias": [0, 0, 0]},
            tied={
                "b.weight": {"parameter": "a.weight", "transposed": True}, "c.weight": {"parameter": "a.weight"},
                "b.bias": {"parameter": "a.bias"},
            },
            frozen=["a.bias"], random=None, data={"inputs": [[1, 2, 3]], "targets": [[1, 2, 3]]},
        ),
        "float64",
    )  # fmt: skip
    assert list(problem.parameters) == ["a.weight", "a.bias", "c.bias"]
    assert problem.trained == ("a.weight", "c.bias")
    assert list(problem.tied) == ["b.weight", "c.weight", "b.bias"]


@pytest.mark.parametrize(
    ("objective", "loss", "targets"),
    [
        ({"linear": {"coefficients": [3, -1]}}, "weighted_sum", [[3, -1]]),
        ({"quadratic": {"coefficients": [3, -1]}}, "weighted_squares", [[3, -1]]),
        ({"gradients": {"values": [[3, -1], [0.5, 2]]}}, "weighted_sum", [[3, -1], [0.5, 2]]),
    ],
)
@pytest.mark.parametrize("start", [[5, 7], [[5, 7]]])
def test_an_objective_is_a_network_of_one_layer(objective, loss, targets, start):
    settings = {"title": "alone", "dtypes": ["float64"], "objective": objective, "parameters": {"x.weight": start}}
    problem = materialise(Case.model_validate(settings | training(steps=5)), "float64")
    assert (problem.loss.kind, problem.loss.factor, problem.loss.reduction) == (loss, 1, "sum")
    assert problem.parameters["x.weight"].tolist() == [[5, 7]]
    assert problem.targets.tolist() == targets
    assert problem.batches.tolist() == [[step % len(targets)] for step in range(5)]
    (layer,) = problem.layers
    assert (layer.kind, layer.name, layer.units, layer.bias) == ("dense", "x", 2, False)


# ---------------------------------------------------------------- positions and graphs


def test_a_graph_over_positions():
    """Inputs, targets and masks have an axis of positions; parameters have none."""
    problem = materialise(
        case(
            network=[
                {"dense": {"name": "a", "units": 4}},
                {"dropout": {"name": "b", "rate": 0.5}},
                {"dense": {"name": "c", "units": 4, "inputs": ["a"]}},
                {"skip": {"name": "d", "source": "b"}},
            ],
            parameters={
                "a.weight": np.ones((2, 4)).tolist(), "a.bias": [0] * 4,
                "c.weight": np.eye(4).tolist(), "c.bias": [0] * 4,
            },
            data={"inputs": np.ones((5, 3, 2)).tolist(), "targets": np.ones((5, 3, 4)).tolist()},
            **training(steps=7, batch={"size": 2}),
        ),
        "bfloat16",
    )  # fmt: skip
    assert [(node.name, node.inputs) for node in problem.network] == [
        ("a", ("input",)), ("b", ("a",)), ("c", ("a",)), ("d", ("c", "b")),
    ]  # fmt: skip
    assert problem.shapes == {"input": (3, 2)} | dict.fromkeys("abcd", (3, 4))
    assert {path: values.shape for path, values in problem.parameters.items()} == {
        "a.weight": (2, 4), "a.bias": (4,), "c.weight": (4, 4), "c.bias": (4,),
    }  # fmt: skip
    assert problem.masks["b.mask"].shape == (7, 2, 3, 4)
    assert problem.targets.shape == (5, 3, 4)


def test_class_indices_of_positions_become_a_number_a_class():
    indices = [[0, 2], [1, 1], [2, 0]]
    problem = materialise(
        case(
            network=[{"dense": {"name": "readout", "units": 3, "bias": False}}],
            parameters={"readout.weight": [[1, 2, 3]]},
            random=None,
            data={"inputs": [[[1], [2]]] * 3, "targets": indices},
            loss={"softmax_cross_entropy": {"reduction": "mean"}},
        ),
        "float32",
    )
    assert problem.targets.shape == (3, 2, 3)
    assert problem.targets.argmax(axis=-1).tolist() == indices
    assert problem.targets.sum(axis=-1).tolist() == [[1, 1]] * 3


def test_every_step_of_a_published_sum_is_recorded():
    published = [{"tensor": "loss", "step": 5, "steps": 4, "value": "1", "source": "a book"}]
    assert recorded(**training(steps=20), record={"every": 100}, published=published) == [0, 5, 6, 7, 8, 19]
