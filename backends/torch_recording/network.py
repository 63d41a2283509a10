"""A model as a list of layers: what torch.fx finds in `forward`, as far as the format has it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import fx, nn

from backproof.backends.torch_recording.modules import PARAMETERS, row_of, settings_of
from backproof.backends.torch_recording.settings import NotRead

Layer = dict[str, dict[str, Any]]  # {kind: settings}, as a case has it

FUNCTIONS: dict[Callable, str] = {
    F.relu: "relu", torch.relu: "relu", F.sigmoid: "sigmoid", torch.sigmoid: "sigmoid",
    F.tanh: "tanh", torch.tanh: "tanh", F.silu: "silu", F.selu: "selu", F.mish: "mish",
    F.gelu: "gelu", F.relu6: "relu6", F.softsign: "softsign", F.logsigmoid: "log_sigmoid",
    F.hardswish: "hard_swish", F.hardsigmoid: "hard_sigmoid", F.hardtanh: "hard_tanh",
    F.elu: "elu", F.celu: "celu", F.leaky_relu: "leaky_relu", F.softmax: "softmax",
    torch.softmax: "softmax", F.log_softmax: "log_softmax", torch.log_softmax: "log_softmax",
}  # fmt: skip
ARGUMENTS = {"alpha": "alpha", "negative_slope": "slope", "approximate": "approximate"}
HARMLESS = {"inplace": (False, True), "dim": (-1,), "_stacklevel": None, "dtype": (None,)}
ADDITIONS = (operator.add, operator.iadd, torch.add)
METHODS = ("relu", "sigmoid", "tanh")
_POSITIONAL = {"leaky_relu": ("negative_slope",), "softmax": ("dim",), "log_softmax": ("dim",)}
_POSITIONAL |= {"elu": ("alpha",), "celu": ("alpha",)}


class _Tracer(fx.Tracer):
    """Takes a module that the format has as one operation, and looks into all others."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return row_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


class Reading:
    """The layers of a model, and which parameter each path is.

    Attributes:
        layers: in the order of the forward pass, all named: by path, a function by fx' name.
        parameters: by path of the format, the parameter and whether it is transposed there.
        names: by module path and number of its call, the name of the layer.
        is_flattened: whether what the model sees is flattened before anything else.
    """

    def __init__(self, model: nn.Module):
        self.model, self.layers = model, []
        self.parameters: dict[str, tuple[nn.Parameter, bool]] = {}
        self.names: dict[str, str] = {}
        self.is_flattened = False
        self._values: dict[fx.Node, str] = {}
        self._calls: dict[str, int] = {}
        if row_of(model) is not None:
            self.model = nn.Sequential(model)
        for node in _traced(self.model).nodes:
            self._read(node)
        if self.model is not model:
            self.names = {"": "0"}

    def _read(self, node: fx.Node) -> None:
        """Read one operation that fx has found."""
        match node.op:
            case "placeholder" if not self._values:
                self._values[node] = "input"
            case "call_module":
                self._module(node, self.model.get_submodule(node.target))
            case "call_function" if node.target in ADDITIONS and not node.kwargs:
                self._addition(node)
            case "call_function" if node.target in FUNCTIONS:
                self._function(node, FUNCTIONS[node.target])
            case "call_method" if node.target in METHODS and len(node.args) == 1:
                self._function(node, node.target)
            case "output" if self._values.get(node.args[0]) == self._last:
                pass
            case "output":
                raise NotRead("the model returns something else than the value of its last layer")
            case _:
                raise NotRead(f"{_where(node)}: the format has nothing like {_what(node)}")

    # ------------------------------------------------------------ layers

    @property
    def _last(self) -> str:
        return next(iter(self.layers[-1].values()))["name"] if self.layers else "input"

    def _add(self, kind: str, name: str, node: fx.Node, sources: list[fx.Node], **settings) -> None:
        """Add a layer, which takes the value before it unless it says otherwise."""
        taken = [self._value(source, node) for source in sources]
        if kind == "skip":
            settings["source"] = taken.pop()
        inputs = {} if taken == [self._last] else {"inputs": taken}
        self.layers.append({kind: {"name": name, **settings, **inputs}})
        self._values[node] = name

    def _value(self, source: Any, node: fx.Node) -> str:
        if not isinstance(source, fx.Node) or source not in self._values:
            raise NotRead(
                f"{_where(node)}: {_what(node)} takes {source!r}, which is no layer's value"
            )
        return self._values[source]

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        """Add a module as a layer."""
        path, told = node.target, f"{node.target} ({type(module).__name__})"
        if isinstance(module, nn.Flatten) and self._value(node.args[0], node) == "input":
            if (module.start_dim, module.end_dim) != (1, -1):
                raise NotRead(f"{told}: flattens something else than all of a sample")
            self.is_flattened, self._values[node] = True, "input"
            return
        if (row := row_of(module)) is None:
            raise NotRead(f"{told}: the format has no such layer")
        if len(node.args) != 1 or node.kwargs:
            raise NotRead(f"{told}: it is called with more than one value")
        try:
            settings = settings_of(module, row)
        except ValueError as reason:
            raise NotRead(f"{told}: {reason}") from None
        number = self._calls[path] = self._calls.get(path, 0) + 1
        name = path if number == 1 else f"{path}_{number}"
        self._add(row.kind, name, node, [node.args[0]], **settings)
        self.names[name] = name
        for own, attribute in PARAMETERS.get(row.kind, {}).items():
            if (w := getattr(module, attribute)) is not None:
                self.parameters[f"{name}.{own}"] = w, row.kind == "dense" and own == "weight"

    def _addition(self, node: fx.Node) -> None:
        """Add a residual connection: the later of two values, and the other one as its source."""
        order = list(self._values.values())
        sources = [source for source in node.args if isinstance(source, fx.Node)]
        if len(sources) != 2 or any(source not in self._values for source in sources):
            raise NotRead(f"{_where(node)}: {_what(node)} is no sum of two layers' values")
        sources.sort(key=lambda source: order.index(self._values[source]), reverse=True)
        self._add("skip", self._free(node.name), node, sources)

    def _function(self, node: fx.Node, kind: str) -> None:
        """Add an activation that is a function."""
        settings = {}
        given = dict(zip(_POSITIONAL.get(kind, ()), node.args[1:], strict=False))
        for name, value in (given | node.kwargs).items():
            if name in ARGUMENTS:
                settings[ARGUMENTS[name]] = value
            elif name not in HARMLESS or (HARMLESS[name] and value not in HARMLESS[name]):
                raise NotRead(f"{_where(node)}: {_what(node)} with {name} = {value!r}")
        self._add(kind, self._free(node.name), node, [node.args[0]], **settings)

    def _free(self, name: str) -> str:
        """Return a name that no layer has."""
        while name in self._values.values():
            name += "_"
        return name


def _traced(model: nn.Module) -> fx.Graph:
    """Return what fx finds.

    Raises:
        NotRead: if it can't follow `forward`.
    """
    try:
        return _Tracer().trace(model)
    except Exception as reason:  # noqa: BLE001, whatever a forward does
        name = type(model).__name__
        raise NotRead(f"{name}.forward can't be read by torch.fx: {reason}") from None


def _where(node: fx.Node) -> str:
    """Return the path and the class of the module in whose `forward` an operation stands."""
    stack = [*(node.meta.get("nn_module_stack") or {}).values()]
    path, kind = stack[-1] if stack else ("", None)
    return f"{path or 'the model'} ({getattr(kind, '__name__', kind)})" if kind else "the model"


def _what(node: fx.Node) -> str:
    return f"`{getattr(node.target, '__name__', node.target)}`"


def ties_of(parameters: dict[str, tuple[nn.Parameter, bool]]) -> Iterator[tuple[str, str, bool]]:
    """Yield the paths that share a parameter with one before: its path, and whether transposed."""
    owners: dict[nn.Parameter, tuple[str, bool]] = {}
    for path, (w, turned) in parameters.items():
        if w in owners:
            owner, other = owners[w]
            yield path, owner, other != turned
        else:
            owners[w] = path, turned
