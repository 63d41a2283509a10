"""The checks of published numbers: is there such a tensor, at that step, of that shape?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from backproof.cases.format.fields import slices
from backproof.cases.format.losses import OF_SIGNS
from backproof.cases.format.message import Mistakes, hint, quoted
from backproof.cases.format.schema import Case, Published


def fitting(case: Case) -> Mistakes:
    """Yield numbers that the case has no tensor, step, part or shape for."""
    return _told(case, partial(_wrong_quotation, case))


def _told(case: Case, look: Callable[[Published], tuple[str, str] | None]) -> Mistakes:
    """Yield what `look` finds wrong, a key and a message, with the place of the key."""
    for i, published in enumerate(case.published):
        if wrong := look(published):
            key, message = wrong
            yield ("published", i, key), message


def _wrong_quotation(case: Case, published: Published) -> tuple[str, str] | None:
    """Return the key that does not fit the case, and why."""
    tensor, step, steps = published.tensor, published.step, published.steps
    shapes = _tensor_shapes(case, step)
    if tensor not in shapes:
        return "tensor", f"there is no tensor {quoted(tensor)}{hint(tensor, shapes)}"
    counts_updates = case.training and not tensor.startswith("update/") and steps == 1
    last, end = case.steps if counts_updates else case.steps - 1, step + steps - 1
    if end > last and steps > 1:
        return "steps", f"the last of these steps is {end}, but that of the run is {last}"
    if end > last:
        return "step", f"expected a step from 0 to {last}, found {step}"
    some = range(step, step + min(steps, case.steps_per_epoch))  # batches of every size among them
    if shapes[tensor] and len({_tensor_shapes(case, at)[tensor] for at in some}) > 1:
        rows = f"{tensor} has a row a sample"
        return "steps", f"{rows}, and not every one of these steps has as many samples"
    shape, index = shapes[tensor], published.index or []
    if published.transpose and len(shape) < 2:
        return "transpose", f"{tensor} has shape {shape}, which has no transpose"
    shape = (*shape[:-2], *shape[:-3:-1]) if published.transpose else shape
    if (part := _part_of(shape, index)) is None:
        return "index", f"{tensor} has shape {shape}, so the index {index} is outside"
    if _without_ones(part) != _without_ones(published.value.shape):
        return "value", f"expected shape {part}, found {published.value.shape}"
    return None


def consistent(case: Case) -> Mistakes:
    """Yield numbers of which two things are said that contradict each other."""
    return _told(case, _wrong_mark)


def _wrong_mark(published: Published) -> tuple[str, str] | None:
    """Return the key that contradicts another one about how a number is judged, and why."""
    shape, wrong = published.value.shape, published.wrong
    for index in (wrong and wrong.elements) or ():
        if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
            printed = f"the printed numbers have shape {shape}"
            return "wrong", f"{printed}, so the element {index} is none of them"
    if published.noise and wrong:
        return "noise", "what is noise at its source can't be wrong: give one of the two reasons"
    if published.noise and published.within:
        return "noise", "noise is neither met nor missed, so `within` has no use"
    if published.within and published.computed_in:
        return "within", "it stands in place of what `computed_in` would allow: give one of the two"
    return None


def _part_of(shape: tuple[int, ...], index: list[int | str]) -> tuple[int, ...] | None:
    """Return the shape of what an index picks; None where it lies outside, or picks nothing."""
    if len(index) > len(shape):
        return None
    picked = []
    for n, part in zip(shape, slices(index), strict=False):
        if isinstance(part, slice):
            start, stop = part.start or 0, n if part.stop is None else part.stop
            picked.append(stop - start)
            if not start < stop <= n:
                return None
        elif part >= n:
            return None
    return *picked, *shape[len(index) :]


def _tensor_shapes(case: Case, step: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of everything that can be published, at this step."""
    rows, output = _rows(case, step), case.output_shape
    shapes = {"loss": (), "output": (rows, *output)}
    for kind in ("value", "cotangent"):
        shapes |= {f"{kind}/{name}": (rows, *shape) for name, shape in case.graph.shapes.items()}
    shapes |= {f"parameter/{name}": shape for name, shape in case.parameter_shapes().items()}
    for kind in ("gradient", *(["update"] if case.training else [])):
        shapes |= {f"{kind}/{name}": shape for name, shape in case.trained_shapes().items()}
    for state in case.training.optimizer.state if case.training else ():
        shapes |= {f"state/{state}/{name}": shape for name, shape in case.trained_shapes().items()}
    if case.loss.by_class or case.loss.kind in OF_SIGNS:
        shapes["accuracy"] = ()
    if case.data.targets.shape[1:] == output:
        shapes["absolute_error"] = ()
    return shapes


def _rows(case: Case, step: int) -> int:
    """Return the number of samples in the batch of this step; after the last step of all."""
    if step == case.steps:
        return len(case.data.inputs)
    before = step % case.steps_per_epoch * case.batch.size
    return min(case.batch.size, len(case.data.inputs) - before)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
