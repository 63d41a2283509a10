"""A file to begin one's own with that trains a case in PyTorch or JAX, and records everything.

It is `run(problem)` (docs/your-own.md), certified as it stands: an ordinary loop, to put one's own
layer or kernel into. A kind that has no line in the tables below is one that the user writes: there
stands a TODO, and it raises NotImplementedError.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from backproof.backends.framework_tables import FRAMEWORKS, SCHEDULES, Framework, attribute
from backproof.cases.format.concept import Concept
from backproof.cases.format.network import Node
from backproof.cases.format.schema import Case

WIDTH = 88
IMPORTS = {"math.": "import math\n\n", "F.": "import torch.nn.functional as F\n"}
TODO = '''

def todo(what):
    """Stand where something is to be filled in."""
    raise NotImplementedError(f"TODO: {what}")
'''
RATES = ' | {"learning_rates": [learning_rate(k) for k in problem.recorded.tolist()]}'


def of_framework(case: Case, framework: str, name: str, command: str) -> str:
    """Return the text of a file that trains the case in `torch` or `jax`.

    Its docstring has the case's name, and the command that judges it.
    """
    text = _Text(case, FRAMEWORKS[framework])
    written = text.how.text.format(name=name, command=command, **text.pieces(), todos=text.told())
    written += TODO if text.todos else ""
    for used, line in IMPORTS.items():
        written = written if used in written else written.replace(line, "")
    return written


def _listed(names: Iterable[str]) -> str:
    """Return a list of names: on one line, or one a line."""
    quoted = [f'"{name}"' for name in names]
    on_one = ", ".join(quoted)
    return f"[{on_one}]" if len(on_one) < WIDTH else json.dumps([*names], indent=4)


class _Text:
    """The pieces of a file that are a case's, and what is left to be filled in."""

    def __init__(self, case: Case, how: Framework):
        self.case, self.how, self.todos = case, how, list[str]()

    def told(self) -> str:
        """Say what is to be filled in, for the docstring."""
        return f"\n\nTODO: {'; '.join(self.todos)}." if self.todos else ""

    def pieces(self) -> dict[str, str]:
        """Return every piece by its place."""
        case, how, graph = self.case, self.how, self.case.graph
        axes = {name: ", ".join(map(str, shape)) for name, shape in graph.shapes.items()}
        divided = {"sum": "", "mean": f" / {how.number}", "batch_mean": " / len(t)"}
        schedule = case.training.schedule if case.training else None
        return {
            "trained": _listed(case.trained_shapes()),
            "state": self.state(),
            "declared": "".join(self.declared()),
            "layers": "".join(f"\n{how.indent}{self.layer(node)}" for node in graph.nodes),
            "terms": self.terms(),
            "factor": repr(getattr(case.loss, "factor", 1.0)),
            "divided": divided[case.loss.reduction],
            "penalties": "".join(self.penalties()),
            "optimizer": self.optimizer(),
            "rate": self.rate(),
            "clip": self.clip(),
            "inputs": axes["input"],
            "outputs": axes[graph.output],
            "output": graph.output,
            "rates": RATES if schedule else "",
        }

    def todo(self, what: str) -> str:
        """Return an expression that raises, and remember what it stands for."""
        self.todos.append(what)
        return f"todo({what!r})"

    # ------------------------------------------------------------ the network

    def declared(self) -> Iterator[str]:
        """Yield the lines that make the parameters of a torch module."""
        trained = self.case.trained_shapes()
        for path, shape in self.case.parameter_shapes().items():
            frozen = "" if path in trained else ", requires_grad=False"
            made = f'nn.Parameter(start["{path}"]{frozen})'
            yield f"\n        self.{attribute(path)} = {made}  # {shape}"

    def layer(self, node: Node) -> str:
        """Return the line that computes a value."""
        taken = {f"x{i or ''}": f'values["{name}"]' for i, name in enumerate(node.inputs)}
        own = {f"p{i}": self.parameter(path) for i, path in enumerate(node.parameters)}
        masks = {name: f'masks["{path}"]' for name, path in node.masks.items()}
        kind = " ".join([node.kind, *(one for one in node.settings.values() if type(one) is str)])
        if kind == "dense":
            computed = " + ".join([f"{taken['x']} @ {own['p0']}", *[*own.values()][1:]])
        elif kind in self.how.layers:
            names = taken | own | masks | _settings(node.settings)
            computed = self.how.layers[kind].format(**names)
        else:
            computed = self.todo(f"the {node.kind} layer {node.name} of {', '.join(node.inputs)}")
        tap = self.how.tap.format(name=node.name)
        either = f"({computed})" if tap and " if " in computed else computed
        return f'values["{node.name}"] = {either}{tap}'

    def parameter(self, path: str) -> str:
        """Return a parameter as a layer takes it, the one that it is tied to perhaps."""
        tie = self.case.tied.get(path)
        if tie is None:
            return self.how.of_model(path)
        return f"{self.how.of_model(tie.parameter)}{'.T' if tie.transposed else ''}"

    # ------------------------------------------------------------ the loss

    def terms(self) -> str:
        """Return the terms of the loss."""
        loss = self.case.loss
        if loss.kind not in self.how.losses or getattr(loss, "class_weights", None):
            return self.todo(f"the terms of the {loss.kind} loss of y and t")
        return self.how.losses[loss.kind].format(**_settings(dict(loss)))

    def penalties(self) -> Iterator[str]:
        """Yield a line for each parameter of each penalty."""
        for penalty in self.case.penalties:
            for path in penalty.parameters:
                of = self.how.penalties[penalty.kind].format(w=self.how.of_loss(path))
                yield f"\n    loss = loss + {penalty.coefficient!r} * {of}"

    # ------------------------------------------------------------ the optimizer

    def optimizer(self) -> str:
        """Return the call that makes the optimizer; None without training."""
        if self.case.training is None:
            return "None"
        optimizer = self.case.training.optimizer
        if not self._is_known(optimizer):
            return self.todo(f"the {optimizer.kind} optimizer")
        made = self.how.optimizers[optimizer.kind].format(**_settings(dict(optimizer)))
        decay = getattr(optimizer, "weight_decay", 0)
        if decay and self.how.tap and "weight_decay" not in made:
            return f"optax.chain(optax.add_decayed_weights({decay}), {made})"
        return made

    def _is_known(self, optimizer: Concept) -> bool:
        """Tell whether the framework has a line for it, with these settings."""
        settings = dict(optimizer)
        lacks = any(settings.get(name, usual) != usual for name, usual in self.how.lacks.items())
        decoupled = settings.get("decoupled", False) or (
            settings.get("nesterov") and settings["dampening"]
        )
        return optimizer.kind in self.how.optimizers and not lacks and not decoupled

    def state(self) -> str:
        """Return what the optimizer remembers: by name the framework's name, in torch the start."""
        training = self.case.training
        starts = training.optimizer.starts if training else {}
        if training is None or not self._is_known(training.optimizer):
            return "{}"
        names = self.how.state
        if self.how.tap:
            return json.dumps({name: names[name] for name in starts})
        return json.dumps({name: (names[name], start) for name, start in starts.items()})

    def rate(self) -> str:
        """Return the learning rate of a step."""
        if self.case.training is None:
            return "0.0"
        schedule, rate = self.case.training.schedule, self.case.training.optimizer.learning_rate
        if schedule is None:
            return repr(rate)
        if schedule.kind not in SCHEDULES:
            return self.todo(f"the {schedule.kind} schedule of {rate}")
        return f"{rate!r} * ({SCHEDULES[schedule.kind].format(**_settings(dict(schedule)))})"

    def clip(self) -> str:
        """Return the lines that clip the gradients."""
        clip = self.case.training.clip if self.case.training else None
        return self.how.clips[clip.kind if clip else ""].format(**_settings(dict(clip or {})))


def _settings(settings: dict[str, Any]) -> dict[str, str]:
    """Return settings as Python has them."""
    return {name: repr(value) for name, value in settings.items()}
