"""A file to fill in, for gradients or an optimizer of one's own: names, shapes and formulas."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backproof.backends.framework_templates import FRAMEWORKS, of_framework
from backproof.cases.console.command import as_called
from backproof.cases.console.terminal import printable
from backproof.cases.format.concept import Concept
from backproof.cases.format.optimizers import Decaying, Updating
from backproof.cases.format.schema import Case

WIDTH = 100
HEAD = '''"""{what} of {name}, by hand.

Train with {them}, and judge {them}:

    {command}

Until {until} that is wrong is named.
"""

import numpy as np


{function}
'''
GRADIENTS = '''def gradients(parameters, inputs, targets{masks}):
    """The loss of a batch, and its derivative by every trained parameter, in the dtype of the inputs.

    inputs: (samples, {inputs}); targets: (samples, {outputs}), of classes a 1 at the class.{of_masks}
    """{given}{tied}

    # Forward, from the inputs on:{layers}
    # Loss: {loss}
    loss = inputs.dtype.type(0)

    # Backward, from the loss to the first layer:
    return loss, {{{zeros}
    }}'''  # noqa: E501, what it writes is wider
UPDATE = '''def update(parameters, gradients, state, step):
    """The parameters and the state after a step, in the dtype of the parameters.

    state: what was returned by the step before, {{}} at first; step: 0, 1, ..., so that t = step + 1.
    """{given}{gradients}{state}

{comments}

    return {{{after}
    }}, {{{state_after}
    }}'''  # noqa: E501, likewise


def function_of(case: Case, wanted: str = "") -> str:
    """Return what one writes for a case: `update` for an optimizer alone, else `gradients`.

    Args:
        case: that it is for.
        wanted: `optimizer` for an optimizer in any case; `torch` or `jax` for a whole `run`.
    """
    if wanted in FRAMEWORKS:
        return "run"
    alone = wanted == "optimizer" or case.objective
    return "update" if alone and case.training else "gradients"


def command(case: Case, case_file: Path, file: Path, wanted: str = "") -> str:
    """Return the command that judges the file, for a shell."""
    own = f"mine={file}:{function_of(case, wanted)}"
    return f"{as_called('report')} {shlex.quote(str(case_file))} --backend {shlex.quote(own)}"


def template(case: Case, case_file: Path, file: Path, wanted: str = "") -> str:
    """Return the text of the file: a function that runs, and fails until it is filled in.

    A `run` in a framework is whole, unless a TODO stands in it.

    Raises:
        ValueError: if the file is not to be Python, or nothing is trained that has an optimizer.
    """
    if file.suffix != ".py":
        raise ValueError(f"expected a name that ends in .py, found {file}")
    if wanted == "optimizer" and not case.training:
        raise ValueError(f"{case.name} trains nothing, so it has no optimizer")
    name, judging = _in_docstring(case.name), _in_docstring(command(case, case_file, file, wanted))
    if wanted in FRAMEWORKS:
        return of_framework(case, wanted, name, judging)
    if function_of(case, wanted) == "update":
        what, them, function = "The update", "it", _update(case)
        until = "it is filled in nothing is trained, and the first number"
    else:
        what, them, function = "Gradients", "them", _gradients(case)
        until = "they are filled in they are zeros, and the first one"
    words = {"what": what, "them": them, "until": until, "function": function}
    return HEAD.format(name=name, command=judging, **words)


def _in_docstring(words: str) -> str:
    """Return the words on one line, as they are in a string between three quotes."""
    return printable(words).replace("\\", r"\\").replace('"""', r"\"\"\"")


def _lines(lines: Iterable[str]) -> str:
    """Return lines that follow another one, each in the body of a function."""
    return "".join(f"\n    {line}" for line in lines)


def _given(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the lines that give each parameter a variable."""
    return _lines(f'{_name(path)} = parameters["{path}"]  # {shapes[path]}' for path in shapes)


def _name(path: str) -> str:
    """Return the variable of a parameter: `hidden_weight` of `hidden.weight`."""
    return path.replace(".", "_")


def _gradients(case: Case) -> str:
    """Return a function that gives zeros."""
    graph, trained = case.graph, case.trained_shapes()
    axes = graph.shapes | graph.masks
    shapes = {name: ", ".join(map(str, shape)) for name, shape in axes.items()}

    def tied(path: str) -> str:
        tie = case.tied[path]
        return f"{_name(path)} = {_name(tie.parameter)}{'.T' if tie.transposed else ''}"

    def zeros(path: str) -> str:
        return f'    "{path}": np.zeros_like({_name(path)}),  # {trained[path]}'

    def layer(of: Any) -> str:
        return f"#   {of.name}, (samples, {shapes[of.name]}): {_formula(of)}"

    def mask(path: str) -> str:
        return f"masks: {path} (samples, {shapes[path]}) of 0 and 1; {{}} in the end."

    return GRADIENTS.format(
        masks=", masks" if graph.masks else "",
        inputs=shapes["input"],
        outputs=shapes[graph.output],
        of_masks=_lines(map(mask, graph.masks)),
        given=_given(case.parameter_shapes()),
        tied=_lines(map(tied, case.tied)),
        layers=_lines(map(layer, case.network)),
        loss=" Plus: ".join(map(_term, [case.loss, *case.penalties])),
        zeros=_lines(map(zeros, trained)),
    )


def _update(case: Case) -> str:
    """Return a function that leaves the parameters as they are."""
    optimizer, schedule, clip = case.training.optimizer, case.training.schedule, case.training.clip
    trained, comments = case.trained_shapes(), [f"{optimizer.kind}: {_equations(optimizer)}"]
    comments.append(", ".join(f"{name} = {value}" for name, value in optimizer if name != "kind"))
    if schedule:
        comments.append(f"Of step k = step, by {_formula(schedule)}")
    if clip:
        comments.append(f"Gradients come as they are clipped, by {_formula(clip)}")
    remembered = [(name, path) for name in optimizer.starts for path in trained]

    def state(name: str, path: str) -> str:
        start = f"np.full_like({_name(path)}, {optimizer.starts[name]!r})"
        return f'{name}_{_name(path)} = state.get("{name}/{path}", {start})'

    return UPDATE.format(
        given=_given(trained),
        gradients=_lines(f'gradient_{_name(path)} = gradients["{path}"]' for path in trained),
        state=_lines(state(*each) for each in remembered),
        comments="\n".join(map(_comment, comments)),
        after=_lines(f'    "{path}": {_name(path)},' for path in trained),
        state_after=_lines(f'    "{of}/{path}": {of}_{_name(path)},' for of, path in remembered),
    )


def _equations(optimizer: Updating) -> str:
    """Return what its class says, and of weight decay what is true of it, on one line."""
    coupled, _, decoupled = Decaying.__doc__.partition("\n\n")
    decay = decoupled if getattr(optimizer, "is_decoupled", False) else coupled
    texts = [type(optimizer).__doc__, decay if getattr(optimizer, "weight_decay", 0) else ""]
    return " ".join(" ".join(texts).split())


def _comment(text: str) -> str:
    """Return the lines of a comment in a function."""
    return textwrap.fill(text, WIDTH, initial_indent="    # ", subsequent_indent="    #   ")


def _formula(concept: Concept) -> str:
    """Return a concept's kind, and its equation as the schema has it, on one line."""
    return f"{concept.kind}: {first_sentence(concept)}"


def _term(term: Concept) -> str:
    """Return the formula of a loss or a penalty, with the settings that the case gives."""
    given = [f"{name} = {value}" for name, value in term if name in term.model_fields_set]
    return f"{_formula(term)} ({', '.join(given)})" if given else _formula(term)


def first_sentence(concept: Concept) -> str:
    """Return the first paragraph of its docstring, on one line."""
    return " ".join(type(concept).__doc__.partition("\n\n")[0].split())
