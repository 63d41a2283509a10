"""A file for gradients of one's own: the names, the shapes and the formulas of a case, and a line a parameter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cases.layers import Layer
from cases.schema import Case

INDENT = "    "


def template(case: Case, case_file: Path, file: Path) -> str:
    """The text of the file: a function that runs, and gives zeros until it is filled in.

    Raises:
        ValueError: if the file is not to be Python, or the case has dropout, whose masks the function is not given.
    """
    if file.suffix != ".py":
        raise ValueError(f"expected a name that ends in .py, found {file}")
    if any(layer.kind == "dropout" for layer in case.network):
        raise ValueError(f"{case.name} has dropout, whose masks gradients() is not given; write run(problem)")
    parameters, trained = case.parameter_shapes(), case.trained_shapes()
    names = {path: path.replace(".", "_") for path in parameters}
    *_, outputs = case.widths.values()
    lines = [
        f'"""Gradients of {case.name}, by hand.',
        "",
        "Train with them, and judge them:",
        "",
        f"    python -m report {case_file} --backend mine={file}:gradients",
        "",
        "Until they are filled in they are zeros, and the first one that is wrong is named.",
        '"""',
        "",
        "import numpy as np",
        "",
        "",
        "def gradients(parameters, inputs, targets):",
        '    """The loss of a batch, and its derivative by every trained parameter, in the dtype of the inputs.',
        "",
        f"    inputs: (samples, {case.widths['input']}); targets: (samples, {outputs}), of classes a 1 at the class.",
        '    """',
        *(f'    {names[path]} = parameters["{path}"]  # {shape}' for path, shape in parameters.items()),
        *(f"    {line}" for line in _tied(case, names)),
        "",
        "    # Forward, from the inputs on:",
        *(f"    #   {layer.name}, (samples, {case.widths[layer.name]}): {_formula(layer)}" for layer in case.network),
        f"    # {_loss(case)}",
        "    loss = inputs.dtype.type(0)",
        "",
        "    # Backward, from the loss to the first layer:",
        "    return loss, {",
        *(f'        "{path}": np.zeros_like({names[path]}),  # {shape}' for path, shape in trained.items()),
        "    }",
    ]
    return "\n".join(lines) + "\n"


def _tied(case: Case, names: dict[str, str]) -> Iterator[str]:
    for path, tie in case.tied.items():
        yield f"{path.replace('.', '_')} = {names[tie.parameter]}{'.T' if tie.transposed else ''}"


def _formula(layer: Layer) -> str:
    """The layer's kind, and its equation as the schema has it, on one line."""
    return f"{layer.kind}: {first_sentence(layer)}"


def _loss(case: Case) -> str:
    terms = [case.loss, *case.penalties]
    return "Loss: " + " Plus: ".join(f"{term.kind}: {first_sentence(term)} {_settings(term)}".strip() for term in terms)


def _settings(term) -> str:
    given = [f"{name} = {value}" for name, value in term if name in term.model_fields_set and name != "kind"]
    return f"({', '.join(given)})" if given else ""


def first_sentence(concept) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join(type(concept).__doc__.partition("\n\n")[0].split())
