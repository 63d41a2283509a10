"""A file to fill in, for gradients or an optimizer of one's own: the names, the shapes and the formulas of a case."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

from backproof.cases.console.command import as_called
from backproof.cases.console.terminal import printable
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.optimizers import Decaying, Updating
from backproof.cases.format.schema import Case

INDENT, WIDTH = "    ", 100


def function_of(case: Case) -> str:
    """What one writes for the case: `update` where it is about an optimizer alone, else `gradients`."""
    return "update" if case.objective and case.training else "gradients"


def command(case: Case, case_file: Path, file: Path) -> str:
    """What judges the file, for a shell."""
    own = f"mine={file}:{function_of(case)}"
    return f"{as_called('report')} {shlex.quote(str(case_file))} --backend {shlex.quote(own)}"


def template(case: Case, case_file: Path, file: Path) -> str:
    """The text of the file: a function that runs, and fails until it is filled in.

    Raises:
        ValueError: if the file is not to be Python.
    """
    if file.suffix != ".py":
        raise ValueError(f"expected a name that ends in .py, found {file}")
    lines = _update(case) if function_of(case) == "update" else _gradients(case)
    name = _in_docstring(case.name)
    what, until = {
        "update": (
            f"The update of {name}, by hand.",
            "it is filled in nothing is trained, and the first number",
        ),
        "gradients": (
            f"Gradients of {name}, by hand.",
            "they are filled in they are zeros, and the first one",
        ),
    }[function_of(case)]
    head = [
        f'"""{what}',
        "",
        "Train with it, and judge it:"
        if function_of(case) == "update"
        else "Train with them, and judge them:",
        "",
        f"    {_in_docstring(command(case, case_file, file))}",
        "",
        f"Until {until} that is wrong is named.",
        '"""',
        "",
        "import numpy as np",
        "",
        "",
    ]
    return "\n".join([*head, *lines]) + "\n"


def _in_docstring(words: str) -> str:
    """The words on one line, as they are in a string between three quotes."""
    return printable(words).replace("\\", r"\\").replace('"""', r"\"\"\"")


def _gradients(case: Case) -> list[str]:
    """The lines of a function that gives zeros."""
    parameters, trained = case.parameter_shapes(), case.trained_shapes()
    names = {path: path.replace(".", "_") for path in parameters}
    shapes = {
        name: ", ".join(map(str, shape))
        for name, shape in (case.graph.shapes | case.graph.masks).items()
    }
    masks = [*case.graph.masks]
    return [
        f"def gradients(parameters, inputs, targets{', masks' if masks else ''}):",
        '    """The loss of a batch, and its derivative by every trained parameter, in the dtype of the inputs.',
        "",
        f"    inputs: (samples, {shapes['input']}); targets: (samples, {shapes[case.graph.output]}), of classes a 1 at the class.",
        *(
            f"    masks: {path} (samples, {shapes[path]}) of 0 and 1; {{}} in the end."
            for path in masks
        ),
        '    """',
        *(
            f'    {names[path]} = parameters["{path}"]  # {shape}'
            for path, shape in parameters.items()
        ),
        *(f"    {line}" for line in _tied(case, names)),
        "",
        "    # Forward, from the inputs on:",
        *(
            f"    #   {layer.name}, (samples, {shapes[layer.name]}): {_formula(layer)}"
            for layer in case.network
        ),
        f"    # {_loss(case)}",
        "    loss = inputs.dtype.type(0)",
        "",
        "    # Backward, from the loss to the first layer:",
        "    return loss, {",
        *(
            f'        "{path}": np.zeros_like({names[path]}),  # {shape}'
            for path, shape in trained.items()
        ),
        "    }",
    ]


def _update(case: Case) -> list[str]:
    """The lines of a function that leaves the parameters as they are."""
    optimizer, schedule, clip = case.training.optimizer, case.training.schedule, case.training.clip
    trained = case.trained_shapes()
    names = {path: path.replace(".", "_") for path in trained}
    starts = {
        f"{name}/{path}": (f"{name}_{names[path]}", path)
        for name in optimizer.starts
        for path in trained
    }
    return [
        "def update(parameters, gradients, state, step):",
        '    """The parameters and the state after a step, in the dtype of the parameters.',
        "",
        "    state: what was returned by the step before, {} at first; step: 0, 1, ..., so that t = step + 1.",
        '    """',
        *(
            f'    {names[path]} = parameters["{path}"]  # {shape}'
            for path, shape in trained.items()
        ),
        *(f'    gradient_{names[path]} = gradients["{path}"]' for path in trained),
        *(
            f'    {name} = state.get("{key}", np.full_like({names[path]}, {optimizer.starts[key.partition("/")[0]]!r}))'
            for key, (name, path) in starts.items()
        ),
        "",
        *_comment(f"{optimizer.kind}: {_equations(optimizer)}"),
        *_comment(", ".join(f"{name} = {value}" for name, value in optimizer if name != "kind")),
        *(
            _comment(f"Of step k = step, by {schedule.kind}: {first_sentence(schedule)}")
            if schedule
            else ()
        ),
        *(
            _comment(f"Gradients come as they are clipped, by {clip.kind}: {first_sentence(clip)}")
            if clip
            else ()
        ),
        "",
        "    return {",
        *(f'        "{path}": {names[path]},' for path in trained),
        "    }, {",
        *(f'        "{key}": {name},' for key, (name, _) in starts.items()),
        "    }",
    ]


def _equations(optimizer: Updating) -> str:
    """What its class says, and of weight decay what is true of it, on one line."""
    coupled, _, decoupled = Decaying.__doc__.partition("\n\n")
    decay = decoupled if getattr(optimizer, "is_decoupled", False) else coupled
    texts = [type(optimizer).__doc__, decay if getattr(optimizer, "weight_decay", 0) else ""]
    return " ".join(" ".join(texts).split())


def _comment(line: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, initial_indent=f"{INDENT}# ", subsequent_indent=f"{INDENT}#   "
    )


def _tied(case: Case, names: dict[str, str]) -> Iterator[str]:
    for path, tie in case.tied.items():
        yield f"{path.replace('.', '_')} = {names[tie.parameter]}{'.T' if tie.transposed else ''}"


def _formula(layer: LayerConcept) -> str:
    """The layer's kind, and its equation as the schema has it, on one line."""
    return f"{layer.kind}: {first_sentence(layer)}"


def _loss(case: Case) -> str:
    terms = [case.loss, *case.penalties]
    return "Loss: " + " Plus: ".join(
        f"{term.kind}: {first_sentence(term)} {_settings(term)}".strip() for term in terms
    )


def _settings(term) -> str:
    given = [
        f"{name} = {value}"
        for name, value in term
        if name in term.model_fields_set and name != "kind"
    ]
    return f"({', '.join(given)})" if given else ""


def first_sentence(concept) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join(type(concept).__doc__.partition("\n\n")[0].split())
