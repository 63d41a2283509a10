"""Which parameter of a tree is which of a case: by name, or where one alone has the shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from backproof.backends.recorded import NotTheCase, Place
from backproof.cases.problem import Problem

ALIASES = {"kernel": "weight", "w": "weight", "b": "bias", "negative_slope": "slope"}
Shapes = Mapping[str, tuple[int, ...]]


def places_of(
    shapes: Shapes, turned: Collection[str], problem: Problem, names: Mapping[str, str]
) -> dict[str, Place]:
    """Return by path of the case where each of its parameters stands in the tree.

    Args:
        shapes: of the tree's parameters, by path.
        turned: the paths of matrices that are (outputs, inputs).
        problem: has the parameters of the case.
        names: by path of the tree, of a layer or a parameter, the case's name.

    Raises:
        NotTheCase: if one is nowhere, or has another shape there.
    """
    groups: dict[
        str, dict[str, str]
    ] = {}  # by layer of the tree, by the case's name of a parameter
    for path in shapes:
        layer, _, name = path.rpartition(".")
        layer = layer.removeprefix("params.")  # of linen's variables
        groups.setdefault(layer, {})[ALIASES.get(name, name)] = path
    expected: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, values in problem.parameters.items():
        layer, _, name = path.rpartition(".")
        expected.setdefault(layer, {})[name] = values.shape
    alone = {name: path for path, name in names.items() if name in problem.parameters}
    layers = _layers(groups, expected, shapes, names)
    found = {}
    for path, values in problem.parameters.items():
        layer, _, name = path.rpartition(".")
        there = alone.get(path) or groups.get(layers.get(layer, ""), {}).get(name)
        if there not in shapes:
            raise NotTheCase(_nowhere(path, values.shape, shapes))
        swapped = shapes[there][::-1] == values.shape
        is_turned = swapped and (
            shapes[there] != values.shape or (there in turned and path not in alone)
        )
        if not is_turned and shapes[there] != values.shape:
            raise NotTheCase(f"{path}: expected {values.shape}; {there} has {shapes[there]}")
        found[path] = Place(there, is_turned and values.ndim == 2)
    return found


def _layers(
    groups: Mapping[str, dict[str, str]],
    expected: Mapping[str, Shapes],
    shapes: Shapes,
    names: Mapping[str, str],
) -> dict[str, str]:
    """Return by layer of the case the layer of the tree that has its parameters."""
    found = {names.get(group, group): group for group in groups}
    found = {layer: group for layer, group in found.items() if layer in expected}
    free = [group for group in groups if group not in found.values()]
    choices = {
        layer: [group for group in free if _fits(groups[group], of_layer, shapes)]
        for layer, of_layer in expected.items()
        if layer not in found
    }
    for layer, fitting in choices.items():
        wanted = [group for others in choices.values() for group in others]
        if len(fitting) == 1 and wanted.count(fitting[0]) == 1:
            found[layer] = fitting[0]
    return found


def _fits(group: Mapping[str, str], expected: Shapes, shapes: Shapes) -> bool:
    """Tell whether a layer of the tree has these parameters, in these shapes or transposed."""
    return group.keys() == expected.keys() and all(
        shape in (shapes[group[name]], shapes[group[name]][::-1])
        for name, shape in expected.items()
    )


def _nowhere(path: str, shape: tuple[int, ...], shapes: Shapes) -> str:
    """Say which parameters there are, where none can be told to be one of the case."""
    there = ", ".join(f"{name} {found}" for name, found in shapes.items())
    say = f"say which by names={{'PATH': {path.rpartition('.')[0]!r}}}"
    return f"no parameter is sure to be {path} {shape}; the loop has {there}; {say}"
