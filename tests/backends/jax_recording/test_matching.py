"""Which parameter of a tree is which of the case."""

import pytest

from backproof.backends.jax_recording.matching import places_of
from backproof.backends.recorded import NotTheCase
from tests.backends.jax_recording import loops

RIGHT = {"hidden.kernel": (3, 4), "hidden.bias": (4,), "readout.kernel": (4, 2), "readout.bias": (2,)}


def places(shapes, names=None, turned=()):
    return {path: tuple(place) for path, place in places_of(shapes, turned, loops.problem(), names or {}).items()}


def renamed(**layers):
    return {".".join([layers[path.split(".")[0]], path.split(".")[1]]): shape for path, shape in RIGHT.items()}


def test_by_name():
    assert places(RIGHT)["hidden.weight"] == ("hidden.kernel", False)
    assert places({f"params.{path}": shape for path, shape in RIGHT.items()}) == {
        path: (f"params.{there}", turned) for path, (there, turned) in places(RIGHT).items()
    }


def test_by_shape():
    assert places(renamed(hidden="Dense_0", readout="Dense_1"))["readout.weight"] == ("Dense_1.kernel", False)


def test_by_names_of_a_layer_or_a_parameter():
    shapes = renamed(hidden="a", readout="b")
    assert places(shapes, {"a": "hidden", "b": "readout"})["hidden.bias"] == ("a.bias", False)
    alone = {path.replace(".", "_"): shape for path, shape in RIGHT.items()}
    names = {path.replace(".", "_"): path.replace("kernel", "weight") for path in RIGHT}
    assert places(alone, names)["readout.weight"] == ("readout_kernel", False)


def test_a_transposed_weight():
    shapes = RIGHT | {"hidden.kernel": (4, 3)}
    assert places(shapes)["hidden.weight"] == ("hidden.kernel", True)


def test_two_that_fit_are_not_guessed():
    shapes = RIGHT | {"other.kernel": (3, 4), "other.bias": (4,)}
    shapes = {path.replace("hidden", "one"): shape for path, shape in shapes.items()}
    with pytest.raises(
        NotTheCase, match=r"no parameter is sure to be hidden\.weight \(3, 4\).*names=\{'PATH': 'hidden'"
    ):
        places(shapes)


def test_a_wrong_shape():
    with pytest.raises(NotTheCase, match=r"hidden\.weight: expected \(3, 4\); hidden\.kernel has \(3, 5\)"):
        places(RIGHT | {"hidden.kernel": (3, 5)})
