"""Which class of torch.nn is which layer of the format, and where its settings stand."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn


class Row(NamedTuple):
    """One class: the kind of layer, its settings by attribute, and what attributes must be.

    Attributes:
        kind: of the format.
        settings: the format's name of a setting → the module's attribute.
        must_be: attribute → the only values that the format has.
        parameters: the format's name of a parameter → the module's.
    """

    kind: str
    settings: dict[str, str] = {}  # noqa: RUF012, nobody changes it
    must_be: dict[str, tuple] = {}  # noqa: RUF012
    parameters: dict[str, str] = {}  # noqa: RUF012


LAST = {"dim": (-1,)}
MODULES: dict[type[nn.Module], Row] = {
    nn.Linear: Row("dense", {"units": "out_features"}, {}, {"weight": "weight", "bias": "bias"}),
    nn.Dropout: Row("dropout", {"rate": "p"}),
    nn.Identity: Row("identity"),
    nn.Sigmoid: Row("sigmoid"),
    nn.Tanh: Row("tanh"),
    nn.ReLU: Row("relu"),
    nn.LeakyReLU: Row("leaky_relu", {"slope": "negative_slope"}),
    nn.PReLU: Row("prelu", {}, {}, {"slope": "weight"}),
    nn.ELU: Row("elu", {"alpha": "alpha"}),
    nn.SELU: Row("selu"),
    nn.CELU: Row("celu", {"alpha": "alpha"}),
    nn.GELU: Row("gelu", {"approximate": "approximate"}),
    nn.SiLU: Row("silu"),
    nn.Mish: Row("mish"),
    nn.Softplus: Row("softplus", {"beta": "beta"}, {"threshold": (20, 20.0)}),
    nn.Softsign: Row("softsign"),
    nn.Hardtanh: Row("hard_tanh", {}, {"min_val": (-1,), "max_val": (1,)}),
    nn.Hardsigmoid: Row("hard_sigmoid"),
    nn.Hardswish: Row("hard_swish"),
    nn.ReLU6: Row("relu6"),
    nn.LogSigmoid: Row("log_sigmoid"),
    nn.Softmax: Row("softmax", {}, LAST),
    nn.LogSoftmax: Row("log_softmax", {}, LAST),
}
PARAMETERS = {row.kind: row.parameters for row in MODULES.values()}


def row_of(module: nn.Module) -> Row | None:
    """Return the row of a module's class, or of the one whose `forward` it has; None without."""
    for kind in type(module).__mro__:
        if kind in MODULES:
            return MODULES[kind] if type(module).forward is kind.forward else None
    return None


def settings_of(module: nn.Module, row: Row) -> dict[str, Any]:
    """Return the settings of a layer as the format has them.

    Raises:
        ValueError: if an attribute has a value that the format does not know.
    """
    for name, values in row.must_be.items():
        if (found := getattr(module, name)) not in values:
            expected = " or ".join(map(repr, dict.fromkeys(values)))
            raise ValueError(f"{name} = {found!r}, where the format knows {expected} alone")
    settings = {name: getattr(module, attribute) for name, attribute in row.settings.items()}
    if row.kind == "dense" and module.bias is None:
        settings["bias"] = False
    if row.kind == "prelu" and module.num_parameters > 1:
        settings["shared"] = False
    if row.kind == "dropout" and settings["rate"] == 1:
        raise ValueError("p = 1 drops everything; the format's rate is below 1")
    return settings
