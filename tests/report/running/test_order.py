"""The order of work: who is first, and whether a further worker is worth its start."""

from types import SimpleNamespace

import pytest

from backproof.cases.format.schema import CASES
from backproof.cases.reading.load import load
from backproof.report.running.order import START, TUTORIALS, choose, cost, in_order_of_work


def opened(name: str, price: float, *, shipped: bool = True) -> SimpleNamespace:
    case = SimpleNamespace(name=name, is_shipped=shipped, dtypes=["float64"])
    return SimpleNamespace(case=case, cost=price)


def test_tutorials_are_first_and_nothing_dear_is_last():
    prices = {"depth/b": 1, "digits/a": 9, "losses/a": 2, "losses/b": 3, "network/a": 50, "neuron/a": 5, "xor/a": 7}
    given = [*(opened(name, price) for name, price in prices.items()), opened("neuron/mine", 4, shipped=False)]
    names = [one.case.name for one in in_order_of_work(given)]
    assert names == ["neuron/a", "network/a", "xor/a", "depth/b", "losses/a", "losses/b", "digits/a", "neuron/mine"]
    assert in_order_of_work([]) == []


def test_tutorials_are_there():
    assert all([*(CASES / folder).glob("*.yaml")] for folder in TUTORIALS)


def test_the_price_knows_what_is_dear():
    """Layers to compile, steps to take, numbers to judge."""
    names = "neuron/slope", "depth/tanh_16_wide", "xor/two_four_one", "digits/relu_adam"
    prices = [cost(load(CASES / f"{name}.yaml")) for name in names]
    assert prices == sorted(prices)


@pytest.mark.parametrize(
    ("wanted", "idle", "starting", "patient", "chosen"),
    [
        ([("a", 1), ("b", 1)], {"a", "b"}, set(), True, 0),
        ([("a", 1), ("b", 1)], {"b"}, set(), True, 1),  # another one would be the second of its kind
        ([("a", 1), ("a", 1)], set(), set(), True, None),  # which is not worth its start
        ([("a", START), ("a", 1)], set(), set(), True, 0),
        ([("a", 1), ("a", 1)], set(), set(), False, 0),  # but this has waited
        ([("a", START)], set(), {"a"}, False, None),  # it is being started
        ([("a", START), ("b", START)], set(), {"a"}, True, 1),
        ([], set(), set(), True, None),
    ],
)
def test_a_unit_goes_where_a_worker_is_idle(wanted, idle, starting, patient, chosen):
    assert choose(wanted, idle, starting, patient) == chosen
