"""Mistakes in what terms, layers or parameters share: a share left out, doubled, or averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backproof.cases.format.losses import L1, L2, Penalty
from backproof.cases.format.network import Node
from backproof.report.judging.mistakes.formulas import times
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene, only

LEFT_OUT = {"left out": 0, "halved": 1 / 2, "doubled": 2, "subtracted": -1}

# ---------------------------------------------------------------- penalties


def penalties(scene: Scene) -> Mistakes:
    """Yield other penalties: in the loss, in the gradients, or in both."""
    local, phase = scene.run.has_layers, scene.phase
    for words, look, changed in _other_penalties(scene):
        both = scene.computed(replace(scene.problem, penalties=changed))
        if len(scene.checks) > 1:
            yield Mistake(words, both, look)
        told = words if local else f"{words} in the loss alone"
        yield Mistake(told, only("loss", both), look)
        told = words if local else f"{words} in the gradients, and in the loss as it should be,"
        yield Mistake(told, only("gradient", both), look)
    penalised = {path for one in scene.problem.penalties for path in one.parameters}
    if phase == "gradient" and scene.tensor in penalised:
        without = scene.computed(replace(scene.problem, penalties=()))[scene.key]
        words = "the penalties alone, without the gradient of the loss,"
        yield scene.here(words, scene.truth - without, look="look at how shares are added up")


def _other_penalties(scene: Scene) -> Iterator[tuple[str, str, tuple[Penalty, ...]]]:
    """Yield other penalties in words, where to look, and what they are.

    Of a gradient alone they are those that have a part in it.
    """
    penalties, local = scene.problem.penalties, len(scene.checks) == 1 and scene.phase == "gradient"
    concerned = [one for one in penalties if not local or scene.tensor in one.parameters]

    def instead(penalty: Penalty, other: Penalty) -> tuple[str, tuple[Penalty, ...]]:
        changed = tuple(other if one is penalty else one for one in penalties)
        return f"look at the {penalty.kind} penalty", changed

    for words, factor in LEFT_OUT.items():
        for penalty in concerned:
            yield f"the {penalty.kind} penalty {words}", *instead(penalty, _times(penalty, factor))
        if len(concerned) > 1:
            changed = tuple(_times(penalty, factor) for penalty in penalties)
            yield f"all penalties {words}", "look at the penalties", changed
    for penalty in concerned:
        kind, paths = penalty.kind, penalty.parameters
        other = (L2 if kind == "l1" else L1)(coefficient=penalty.coefficient, parameters=paths)
        words = f"an {other.kind} penalty in place of the {kind} one"
        yield words, *instead(penalty, other)
        for path in paths if len(paths) > 1 and not local else ():
            others = tuple(one for one in paths if one != path)
            fewer = penalty.model_copy(update={"parameters": others})
            yield f"the {kind} penalty without {path}", *instead(penalty, fewer)
        for what, more in _not_penalised(scene, paths).items() if not local else ():
            wider = penalty.model_copy(update={"parameters": (*paths, *more)})
            yield f"the {kind} penalty on {what} as well", *instead(penalty, wider)


def _not_penalised(scene: Scene, paths: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return trained parameters that a penalty is not on, in words: biases, and all others."""
    others = tuple(path for path in scene.problem.trained if path not in paths)
    biases = tuple(path for path in others if path.endswith(".bias"))
    found = {others: "all other parameters", biases: "the biases"}
    return {what: more for more, what in found.items() if more}


def _times(penalty: Penalty, factor: float) -> Penalty:
    return penalty.model_copy(update={"coefficient": factor * penalty.coefficient})


# ---------------------------------------------------------------- users of one value or parameter


def users(scene: Scene) -> Mistakes:
    """Yield what comes back from one of several users left out or taken twice, or a mean of all."""
    for name, sharing in _shared(scene):
        for words, factor in {"left out": 0, "taken twice": 2}.items():
            for user in sharing:
                what = f"the {user.kind} layer {user.name}"
                tensors = scene.computed(rules={user.name: times(factor, name)})
                look = f"look at what {what} passes back to {name}"
                yield Mistake(f"the share of {what} in {name} {words}", tensors, look)
        rules = {user.name: times(1 / len(sharing), name) for user in sharing}
        words = f"a mean of the shares of {name} in place of their sum"
        yield Mistake(words, scene.computed(rules=rules))


def _shared(scene: Scene) -> Iterator[tuple[str, list[Node]]]:
    """Yield what several layers use, with its users; locally only the wrong tensor itself."""
    local, problem = scene.run.has_layers, scene.problem
    for name in problem.shapes:
        using = scene.users(name)
        if len(using) > 1 and (not local or scene.key == ("cotangent", name)):
            yield name, using
    for path in problem.trained:
        tied = [other for other, tie in problem.tied.items() if tie.parameter == path]
        if tied and (not local or scene.key == ("gradient", path)):
            layers = (scene.layer(one.rpartition(".")[0]) for one in (path, *tied))
            yield path, [layer for layer in layers if layer]
