"""Which case is run before which, and which unit of those that wait is begun next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from backproof.cases.format.schema import Case

TUTORIALS = ("neuron", "network", "xor", "depth")  # folders of shipped cases
# A further worker of a kind is started where what waits for it costs as much, in seconds of the
# machine that `cost` speaks of, or where it has waited for so many seconds.
START, PATIENCE = 10.0, 10.0


def in_order_of_work(opened: Sequence[Any]) -> list[Any]:
    """Return what has a `case` and a `cost` in the order of work.

    The tutorials come first; then the cheaper half of the others, the cheapest first, so that much
    is known early; then the dearer half, the dearest first, so that no long one is left at the end.
    """
    first = [one for one in opened if _folder(one.case) in TUTORIALS]
    first.sort(key=lambda one: TUTORIALS.index(_folder(one.case)))  # a stable sort
    others = [one for one in opened if _folder(one.case) not in TUTORIALS]
    others.sort(key=lambda one: one.cost * len(one.case.dtypes))
    half = (len(others) + 1) // 2
    return [*first, *others[:half], *reversed(others[half:])]


def _folder(case: Case) -> str:
    """Return the folder of a shipped case; empty for others."""
    return case.name.partition("/")[0] if case.is_shipped else ""


def cost(case: Case) -> float:
    """Estimate how long a unit of a case takes, in seconds of some machine.

    JAX compiles its layers, PyTorch walks through them at every step, and the judge looks at every
    number that is on record.
    """
    layers, steps = len(case.network), case.steps
    shapes = case.graph.shapes.values(), case.parameter_shapes().values()
    values, weights = (sum(float(np.prod(shape)) for shape in group) for group in shapes)
    samples = min(case.batch.size, len(case.data.inputs))
    recorded = steps / (case.record.every if case.record else 1)
    numbers = recorded * (2 * values * samples + 4 * weights)
    return 1 + 0.3 * layers + 2e-4 * layers * steps + 1e-6 * numbers


def choose(
    wanted: Sequence[tuple[str, float]],
    idle: AbstractSet[str],
    starting: AbstractSet[str],
    patient: bool,  # noqa: FBT001
) -> int | None:
    """Return the place of the unit that is begun next; None if it is better to wait.

    It is the first that an idle worker can do, or the first worker of its kind. Where there is none
    a further worker is started, if that is worth its start; so two cores are busy with two
    backends rather than with one of them twice, which would import it, and compile, twice.

    Args:
        wanted: for each unit that waits the kind of its worker, and what it costs.
        idle: kinds of which a worker is idle, or not there yet.
        starting: kinds of which one is being started.
        patient: whether something was finished lately.
    """
    first = next((at for at, (kind, _) in enumerate(wanted) if kind in idle), None)
    if first is not None:
        return first
    waits: dict[str, float] = defaultdict(float)
    for kind, taken in wanted:
        waits[kind] += taken
    pays = {kind for kind in waits if not patient or waits[kind] >= START} - starting
    return next((at for at, (kind, _) in enumerate(wanted) if kind in pays), None)
