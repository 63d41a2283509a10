"""A list of layers is a graph: what each takes, its shapes, and what does not fit, each told once and at its place."""

from typing import ClassVar

import pytest

from backproof.cases.format.layers.combining import Skip
from backproof.cases.format.layers.dense import Dense
from backproof.cases.format.layers.layer import LayerConcept, Shape
from backproof.cases.format.network import Network


class Bilinear(LayerConcept):
    """y = (x0 W) x1, by its parts, of two values of the same width."""

    takes: ClassVar[int] = 2
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"turned": ("x0", "weight"), "": ("turned", "x1")}

    def shape(self, *before: Shape) -> Shape:
        """That of both."""
        x, other = before
        if x != other:
            raise ValueError(f"expected two values of one shape, found {x} and {other}")
        return x

    def part_shapes(self, *before: Shape) -> dict[str, Shape]:
        """Of the first factor."""
        return {"turned": before[0]}

    def parameters(self, *before: Shape) -> dict[str, Shape]:
        """The weight."""
        return {"weight": (before[0][-1], before[0][-1])}


def dense(name: str, units: int = 2, **settings) -> Dense:
    return Dense(name=name, units=units, **settings)


def test_a_graph_with_parts():
    joined = Bilinear(name="c", inputs=("a", "b"))
    network = Network([dense("a"), dense("b"), joined, Skip(name="d", source="c.turned")], (5, 3))
    assert [(node.name, node.kind, node.inputs, node.parameters) for node in network.nodes] == [
        ("a", "dense", ("input",), ("a.weight", "a.bias")),
        ("b", "dense", ("a",), ("b.weight", "b.bias")),
        ("c.turned", "bilinear.turned", ("a",), ("c.weight",)),
        ("c", "bilinear", ("c.turned", "b"), ()),
        ("d", "skip", ("c", "c.turned"), ()),
    ]
    assert network.names == ["input", "a", "b", "c.turned", "c", "d"]
    assert network.shapes == {"input": (5, 3)} | dict.fromkeys(("a", "b", "c.turned", "c", "d"), (5, 2))
    assert network.parameters["a.weight"] == (3, 2)
    assert network.misfits == []


@pytest.mark.parametrize(
    ("layers", "misfits"),
    [
        ([Bilinear(name="c")], {(0, "bilinear"): "bilinear takes 2 values: name 2 layers in `inputs`"}),
        (
            [Bilinear(name="c", inputs=("input",))],
            {(0, "bilinear", "inputs"): "expected 2 names, found 1: bilinear takes 2 values"},
        ),
        (
            [Bilinear(name="c", inputs=("a", "b"))],
            {
                (0, "bilinear", "inputs", 0): "there is no layer 'a' before this one; expected input",
                (0, "bilinear", "inputs", 1): "there is no layer 'b' before this one; expected input",
            },
        ),
        (
            [dense("a", 4), Bilinear(name="c", inputs=("a", "input"))],
            {(1, "bilinear", "inputs"): "expected two values of one shape, found (4,) and (2,)"},
        ),
        ([Bilinear(name="c", inputs=("input", "input"))], {}),
    ],
)
def test_misfits(layers, misfits):
    assert dict(Network(layers, (2,)).misfits) == misfits


def test_what_rests_on_a_mistake_has_no_mistake_of_its_own():
    """Neither a shape that may be wrong nor a parameter; the names are known all the same."""
    network = Network(
        [
            dense("a"),
            Bilinear(name="b", inputs=("a", "input")),
            Bilinear(name="c", inputs=("b.turned", "a")),
            Skip(name="d", source="nowhere"),
        ],
        (3,),
    )
    assert [place for place, _ in network.misfits] == [(1, "bilinear", "inputs"), (3, "skip", "source")]
    assert network.names == ["input", "a", "b.turned", "b", "c.turned", "c", "d"]
    assert list(network.shapes) == ["input", "a"]
    assert list(network.parameters) == ["a.weight", "a.bias"]
