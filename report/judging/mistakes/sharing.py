"""Mistakes in what several terms, layers or parameters have in common: a share left out, taken twice, or averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backproof.cases.format.losses import L1, L2, Penalty
from backproof.cases.format.network import Node
from backproof.report.judging.mistakes import passes
from backproof.report.judging.mistakes.formulas import Backward, layer_backward
from backproof.report.judging.mistakes.scene import Mistake, Mistakes, Scene

LEFT_OUT = {"left out": 0, "halved": 1 / 2, "doubled": 2, "subtracted": -1}

# ---------------------------------------------------------------- penalties


def penalties(scene: Scene) -> Mistakes:
    """A penalty left out, halved, doubled, subtracted, or another one: in the loss, in the gradients, or in both."""
    for words, look, changed in _other_penalties(scene):
        both = scene.computed(replace(scene.problem, penalties=changed))
        loss = {key: array for key, array in both.items() if key[0] == "loss"}
        slopes = {key: array for key, array in both.items() if key[0] == "gradient"}
        if len(scene.checks) > 1:
            yield Mistake(words, both, look)
        only = "" if scene.run.has_layers else " in the loss alone"
        yield Mistake(words + only, loss, look)
        only = "" if scene.run.has_layers else " in the gradients, and in the loss as it should be,"
        yield Mistake(words + only, slopes, look)
    if scene.phase == "gradient" and any(
        scene.tensor in penalty.parameters for penalty in scene.problem.penalties
    ):
        without = scene.computed(replace(scene.problem, penalties=()))[scene.key]
        words = "the penalties alone, without the gradient of the loss,"
        yield Mistake(words, {scene.key: scene.truth - without}, "look at how shares are added up")


def _other_penalties(scene: Scene) -> Iterator[tuple[str, str, tuple[Penalty, ...]]]:
    """Other penalties in words, where to look, and what they are; of a gradient alone those that have a part in it."""
    penalties, local = scene.problem.penalties, len(scene.checks) == 1 and scene.phase == "gradient"
    concerned = [one for one in penalties if not local or scene.tensor in one.parameters]
    for words, factor in LEFT_OUT.items():
        for penalty in concerned:
            changed = tuple(_times(one, factor) if one is penalty else one for one in penalties)
            yield (
                f"the {penalty.kind} penalty {words}",
                f"look at the {penalty.kind} penalty",
                changed,
            )
        if len(concerned) > 1:
            changed = tuple(_times(penalty, factor) for penalty in penalties)
            yield f"all penalties {words}", "look at the penalties", changed
    for penalty in concerned:
        look = f"look at the {penalty.kind} penalty"
        other = {"l1": L2, "l2": L1}[penalty.kind](
            coefficient=penalty.coefficient, parameters=penalty.parameters
        )
        changed = tuple(other if one is penalty else one for one in penalties)
        yield f"an {other.kind} penalty in place of the {penalty.kind} one", look, changed
        for path in penalty.parameters if len(penalty.parameters) > 1 and not local else ():
            fewer = penalty.model_copy(
                update={"parameters": tuple(p for p in penalty.parameters if p != path)}
            )
            changed = tuple(fewer if one is penalty else one for one in penalties)
            yield f"the {penalty.kind} penalty without {path}", look, changed


def _times(penalty: Penalty, factor: float) -> Penalty:
    return penalty.model_copy(update={"coefficient": factor * penalty.coefficient})


# ---------------------------------------------------------------- users of one value or parameter


def users(scene: Scene) -> Mistakes:
    """What comes back from one of several users left out or taken twice, or a mean of all."""
    for name, sharing in _shared(scene):
        for words, factor in {"left out": 0, "taken twice": 2}.items():
            for user, what in sharing:
                told = f"the share of {what} in {name} {words}"
                look = f"look at what {what} passes back to {name}"
                yield Mistake(
                    told, scene.computed(rules={user.name: _share_times(name, factor)}), look
                )
        rules = {user.name: _share_times(name, 1 / len(sharing)) for user, _ in sharing}
        yield Mistake(
            f"a mean of the shares of {name} in place of their sum", scene.computed(rules=rules)
        )


def _shared(scene: Scene) -> Iterator[tuple[str, list[tuple[Node, str]]]]:
    """What several layers use, with its users and their words; locally only the wrong tensor itself."""
    local, problem = scene.run.has_layers, scene.problem
    for name in scene.names:
        using = passes.users(scene, name)
        if len(using) > 1 and (not local or scene.key == ("cotangent", name)):
            yield name, [(user, f"the {user.kind} layer {user.name}") for user in using]
    for path in problem.trained:
        tied = [other for other, tie in problem.tied.items() if tie.parameter == path]
        if tied and (not local or scene.key == ("gradient", path)):
            layers = [scene.layer(one.rpartition(".")[0]) for one in (path, *tied)]
            yield path, [(layer, f"the {layer.kind} layer {layer.name}") for layer in layers]


def _share_times(name: str, factor: float) -> Backward:
    """The rule of a layer, but for what it passes back to that value or parameter."""
    parameter = name.rpartition(".")[2]

    def rule(layer, numbers, x, y, dy):
        dx, others = layer_backward(layer, numbers, x, y, dy)
        if (path := f"{layer.layer}.{parameter}") in layer.parameters:
            return dx, others | {path: factor * others[path]}
        if name in others:
            return dx, others | {name: factor * others[name]}
        return factor * dx, others

    return rule
