"""`python -m tests.support.reference_page` writes `docs/generated/reference.md`: every kind, and its spellings."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from textwrap import indent
from typing import Any, NamedTuple

from pydantic import BaseModel

from backproof.cases.console.command import run_command
from backproof.cases.format.concept import Concept
from backproof.cases.format.json_schema import json_schema
from backproof.cases.format.layers.activations import Activation
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.layers.table import Layer
from backproof.cases.format.losses import Criterion, Loss, Parametric, Penalty
from backproof.cases.format.objectives import Objective
from backproof.cases.format.optimizers import AnySchedule, Clip, Decaying, Optimizer, Schedule, Updating
from backproof.cases.format.schema import CASES
from backproof.cases.format.words import CALLED
from backproof.cases.reading.load import load_all
from tests.support.spellings import Source, Spelling
from tests.trial.scenarios import members

ROOT = CASES.parent
PAGE = ROOT / "docs" / "generated" / "reference.md"
DEFINITIONS = json_schema()["$defs"]
MOST_CASES = 3
OF_ALL = {LayerConcept: LayerConcept.model_fields, Criterion: Criterion.model_fields}  # settings that are told once

TITLE = """# Reference: every kind

This page is written by `make reference`, and a test compares it with the sources; [docs/reference.md](../reference.md)
says how to read it.
"""
NAMES = """Every layer may have a `name`; without one it is `dense1`, `sigmoid1`, ...: the how-manieth of its kind. It
takes the value of the layer before it, unless `inputs` names others: `input`, or layers above. Values are (samples,
*positions, features); a layer that says nothing of positions does the same at each."""
LOSSES = """Every loss has a `factor` > 0 (1) and a `reduction`: `sum`, `mean` or `batch_mean`, which must be said.
JAX spells the terms. In PyTorch `of_torch`, `of_terms` and `by_class`, [below](#functions-that-the-pytorch-spellings-
name), bring in the factor, the reduction and the weights of classes."""
DECAY = """In JAX `optax.add_decayed_weights(weight_decay)` stands before the optimizer, unless the decay is decoupled.
Under a schedule `learning_rate` is what it is at each step."""
OBJECTIVES = "In place of network, data and loss: a dense layer `x` of the input 1 and one of the losses above."


# ---------------------------------------------------------------- a kind


class Entry(NamedTuple):
    """What the page says of one kind."""

    concept: type[Concept]
    torch: Spelling
    jax: Spelling
    cases: list[str]

    @property
    def equation(self) -> str:
        """Its own docstring."""
        return _paragraphs(vars(self.concept).get("__doc__") or "")

    @property
    def settings(self) -> str:
        """Each with what it may be, and in parentheses what it is unless it is given."""
        schema = DEFINITIONS[self.concept.__name__]
        before = {name for base, names in OF_ALL.items() if issubclass(self.concept, base) for name in names}
        told = [
            _setting(name, field, needed=name in schema.get("required", ()))
            for name, field in schema["properties"].items()
            if name not in before
        ]
        return "; ".join(told) or "none"

    @property
    def kinks(self) -> str:
        """Where its derivative jumps, and what it is there."""
        return "; ".join(kinks(self.equation)) or "none"

    def markdown(self) -> str:
        """The entry of the page."""
        differentiated = issubclass(self.concept, LayerConcept | Criterion | Parametric)
        return "\n".join([
            f"### `{self.concept.kind}`\n\n{self.equation}\n",
            f"- Settings: {self.settings}",
            *([f"- Kinks: {self.kinks}"] if differentiated else []),
            f"- PyTorch: {_spelled(self.torch)}".replace(": \n", ":\n"),
            f"- JAX: {_spelled(self.jax)}".replace(": \n", ":\n"),
            *([f"- Elsewhere called: {called}"] if (called := CALLED.get(self.concept.kind)) else []),
            cases_line(self.cases),
        ])  # fmt: skip


def kinks(equation: str) -> list[str]:
    """The parts of an equation that say what the derivative is at a point."""
    parts = re.split(r"[,;.](?:\s+|$)", equation)
    return [part.removeprefix("with ") for part in parts if re.search(r"derivative .* at |^at .* derivative ", part)]


def cases_line(names: list[str]) -> str:
    """Links to the first few."""
    return f"- Cases: {', '.join(f'[{name}](../../cases/{name}.yaml)' for name in names[:MOST_CASES])}"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _spelled(spelling: Spelling) -> str:
    """The code, what the source says of it, and what it refuses."""
    about = [] if spelling.about.rstrip(".") in spelling.code else [spelling.about]
    about += [f"Unsupported where `{test}`: {reason}." for test, reason in spelling.refused.items()]
    words, code = " ".join(filter(None, about)), spelling.code.replace("'", '"')
    if "\n" in spelling.code:
        return f"{words}\n\n{indent(_fenced(spelling.code), '  ')}\n"
    return f"`{code}`{'. ' if words else ''}{words}"


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"


# ---------------------------------------------------------------- settings

BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
LARGE = 1000  # a bound that only keeps out mistakes
TYPES = {"number": "a number", "integer": "an integer", "boolean": "true or false", "string": "a name"}
LISTS = {"number": "numbers", "string": "names", "array": "lists of numbers"}


def _setting(name: str, field: dict[str, Any], *, needed: bool) -> str:
    default = "" if needed else f" ({_plain(field['default'])})" if "default" in field else " (optional)"
    return f"`{name}`: {_values(field)}{default}"


def _values(field: dict[str, Any]) -> str:
    """What a setting may be."""
    if kinds := field.get("enum") or [form["title"] for form in field.get("anyOf", ()) if "title" in form]:
        return " or ".join(f"`{kind}`" for kind in dict.fromkeys(kinds))
    if "anyOf" in field:
        return TYPES["string"] if "pattern" in field["anyOf"][-1] else "an array"
    if field["type"] == "array":
        return LISTS[field["items"]["type"]]
    bounds = [f"{sign} {_plain(field[bound])}" for bound, sign in BOUNDS.items() if field.get(bound, LARGE) < LARGE]
    return f"{TYPES[field['type']]} {' and '.join(bounds)}".rstrip()


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


# ---------------------------------------------------------------- the page


class Section(NamedTuple):
    """Kinds of one sort."""

    title: str
    about: str
    concepts: list[type[Concept]]


ACTIVATIONS = [kind for kind in members(Layer) if issubclass(kind, Activation)]
SECTIONS = [
    Section("Layers", NAMES, [kind for kind in members(Layer) if kind not in ACTIVATIONS]),
    Section("Activations", Activation.__doc__, ACTIVATIONS),
    Section("Losses", f"{Criterion.__doc__}\n\n{LOSSES}", members(Loss)),
    Section("Penalties", Parametric.__doc__, members(Penalty)),
    Section("Optimizers", f"{Updating.__doc__}\n\n{Decaying.__doc__}\n\n{DECAY}", members(Optimizer)),
    Section("Gradient clipping", "Before the optimizer sees them.", members(Clip)),
    Section("Schedules", Schedule.__doc__, members(AnySchedule)),
    Section("Objectives", OBJECTIVES, members(Objective)),
]
FRAMEWORKS = {
    "PyTorch": (Source(ROOT / "backends" / "torch_autograd"), "SCHEDULERS"),
    "JAX": (Source(ROOT / "backends" / "jax_autograd"), "SCHEDULES"),
}


@cache
def spellings(framework: str) -> dict[str, Spelling]:
    """What a framework has, by kind."""
    source, schedules = FRAMEWORKS[framework]
    tables = [source.table(name) for name in ("LAYERS", "LOSSES", "PENALTIES", "OPTIMIZERS", schedules)]
    by_value = "clip.kind == 'value'"
    others = {
        "value": source.branch("clip_gradients", by_value),
        "norm": source.branch("clip_gradients", by_value, taken=False),
    }
    return {kind: spelling for table in (*tables, others) for kind, spelling in table.items()}


@cache
def users() -> dict[type[Concept], list[str]]:
    """The shipped cases that use a concept, the simplest first."""
    listed = {concept for section in SECTIONS for concept in section.concepts}
    used = [(listed & {*_concepts(case)}, len(case.network), case.name) for case in load_all([])[0]]
    found = defaultdict(list)
    for concepts, _, name in sorted(used, key=lambda use: (len(use[0]), *use[1:])):
        for concept in concepts:
            found[concept].append(name)
    return found


def _concepts(value: Any) -> Iterator[type[Concept]]:
    """The types of all concepts inside."""
    match value:
        case BaseModel():
            yield type(value)
            yield from _concepts([part for _, part in value])
        case dict():
            yield from _concepts([*value.values()])
        case list() | tuple():
            for part in value:
                yield from _concepts(part)


def entries(section: Section) -> list[Entry]:
    """An entry for each kind; an objective is spelled as its loss."""
    kinds = [getattr(concept, "loss", concept.kind) for concept in section.concepts]
    return [
        Entry(concept, *(spellings(framework)[kind] for framework in FRAMEWORKS), users()[concept])
        for concept, kind in zip(section.concepts, kinds, strict=True)
    ]


def whole_page() -> str:
    """The text of `docs/generated/reference.md`."""
    parts = [TITLE]
    for section in SECTIONS:
        parts += [f"## {section.title}\n\n{_paragraphs(section.about)}\n"]
        parts += [f"{entry.markdown().rstrip()}\n" for entry in entries(section)]
    for framework, (source, _) in FRAMEWORKS.items():
        named = [name for spelling in spellings(framework).values() for name in spelling.mentions]
        parts += [f"## Functions that the {framework} spellings name\n"]
        parts += [f"{_fenced(source.text_of(name))}\n" for name in source.mentioned((*dict.fromkeys(named),))]
    return _formatted("\n".join(parts))


def _formatted(page: str) -> str:
    """Its code as the formatter has it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", PAGE, "-"]
    return subprocess.run(command, input=page, capture_output=True, encoding="utf-8", cwd=ROOT, check=True).stdout


def main() -> int:
    """Write the page."""
    PAGE.write_text(whole_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
