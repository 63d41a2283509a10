"""Which module of a recorded loop is which layer of a case.

A module is a layer by its name where `names` says so, or where its path is the layer's name; the
others are matched in the order of the forward pass, a class of torch.nn with a layer of its kind,
and a class of one's own with a layer whose parameters have its shapes. A layer without parameters
that no module is (`F.relu`) is not recorded, and followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor, nn

from backproof.backends.recorded import NotTheCase, Place
from backproof.backends.torch_recording.modules import PARAMETERS, row_of
from backproof.backends.torch_recording.steps import Call
from backproof.cases.format.layers.layer import LayerConcept, Shape
from backproof.cases.problem import Problem

Names = Mapping[str, str]


def labels_of(calls: Iterable[Call]) -> list[str]:
    """Return the path of each call; of the n-th call of a module `PATH_n`."""
    seen: Counter[str] = Counter()
    labels = []
    for call in calls:
        seen[call.path] += 1
        labels.append(f"{call.path}_{seen[call.path]}" if seen[call.path] > 1 else call.path)
    return labels


def matched(calls: Sequence[Call], problem: Problem, names: Names) -> dict[str, int]:
    """Return by layer the place of its call in a forward pass.

    Raises:
        NotTheCase: if two are the same one.
    """
    layers, found = {layer.name: layer for layer in problem.layers}, {}
    labels = labels_of(calls)
    for place, label in enumerate(labels):
        if (name := names.get(label, label)) in layers:
            if name in found:
                two = f"{labels[found[name]]} and {label}"
                raise NotTheCase(f"names: {two} would both be the layer {name}: name each of them")
            found[name] = place
    free = [place for place in range(len(calls)) if place not in found.values()]
    others = [layer for layer in layers.values() if layer.name not in found]
    shapes = {layer.name: _shapes(problem, layer) for layer in others}

    def fits(place: int, layer: LayerConcept) -> bool:
        return _fits(calls[place].module, layer.kind, shapes[layer.name])

    found |= {layer.name: place for place, layer in _in_order(free, others, fits)}
    return found


def _shapes(problem: Problem, layer: LayerConcept) -> dict[str, Shape]:
    return layer.parameters(*problem.graph.taken[layer.name])


def _fits(module: nn.Module, kind: str, shapes: Mapping[str, Shape]) -> bool:
    """Tell whether a module may be a layer of this kind, with parameters of these shapes."""
    if row := row_of(module):
        return row.kind == kind
    found = dict(module.named_parameters(recurse=False))
    paths = [PARAMETERS.get(kind, {}).get(name, name) for name in shapes]
    return bool(shapes) and all(
        path in found and tuple(found[path].shape) in (shape, shape[::-1])
        for path, shape in zip(paths, shapes.values(), strict=True)
    )


def _in_order(free: Sequence, others: Sequence, fits: Callable) -> list[tuple]:
    """Return the longest list of pairs that fit, in the order of both."""
    best: dict[tuple[int, int], list[tuple]] = {}
    for i in reversed(range(len(free))):
        for j in reversed(range(len(others))):
            choices = [best.get((i + 1, j), []), best.get((i, j + 1), [])]
            if fits(free[i], others[j]):
                choices.insert(0, [(free[i], others[j]), *best.get((i + 1, j + 1), [])])
            best[i, j] = max(choices, key=len)
    return best.get((0, 0), [])


# ---------------------------------------------------------------- parameters


def places_of(
    model: nn.Module,
    calls: Sequence[Call],
    layers: Mapping[str, int],
    problem: Problem,
    names: Names,
) -> dict[str, Place]:
    """Return by path of the case where each of its parameters stands in the model.

    Raises:
        NotTheCase: if one is nowhere, or has another shape there.
    """
    owners = {w: path for path, w in model.named_parameters()}
    own = {w: path for path, w in names.items() if path in owners.values() for w in [names[path]]}
    tensors = dict(model.named_parameters())
    found = {}
    for path, values in problem.parameters.items():
        layer, _, name = path.rpartition(".")
        if path in own:
            w, is_alone = tensors[own[path]], True
        elif layer in layers:
            module = calls[layers[layer]].module
            kind = next(one.kind for one in problem.layers if one.name == layer)
            w = getattr(module, PARAMETERS.get(kind, {}).get(name, name), None)
            is_alone = False
        else:
            w = None
        if not isinstance(w, Tensor) or w not in owners:
            raise NotTheCase(_nowhere(path, calls, values.shape))
        found[path] = Place(owners[w], _turned(path, w, values.shape, is_alone=is_alone))
    return found


def _turned(path: str, w: Tensor, shape: Shape, *, is_alone: bool) -> bool:
    """Tell whether a parameter is (out, in) as torch.nn has it; one alone only if it must be."""
    found = tuple(w.shape)
    if found == shape[::-1] and len(shape) == 2 and not (is_alone and found == shape):
        return True
    if found != shape:
        expected = f"expected {shape}, or {shape[::-1]} as torch has it"
        raise NotTheCase(f"{path}: {expected}; the model has {found}")
    return False


def _nowhere(path: str, calls: Sequence[Call], shape: Shape) -> str:
    """Say which modules there are, where none has a parameter of the case."""
    there = ", ".join(map(str, calls))
    say = f"say which by names={{'MODULE': {path.rpartition('.')[0]!r}}}"
    return f"no module is found that has {path} {shape}; the forward pass took {there}; {say}"
