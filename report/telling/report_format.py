"""What `report.json` holds: a dataclass a row, of which its JSON Schema is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from backproof.report.judging.outcome import INCOMPLETE
from backproof.report.judging.published import STATUSES

DRAFT = "https://json-schema.org/draft/2020-12/schema"
VERDICTS = ("certified", "differs", "unsupported", *INCOMPLETE)

Verdict = Annotated[str, Field(json_schema_extra={"enum": [*VERDICTS]})]
Scope = Annotated[str, Field(json_schema_extra={"enum": ["layers", "some", "gradients"]})]
Number = float | None
"""null where it is not finite."""


class _Closed:
    """A row that has its own keys and no other."""

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass
class Where(_Closed):
    """A number of a run: the step, and the phase, tensor and index of what is computed there."""

    step: int
    phase: str
    tensor: str
    index: list[int]


@dataclass
class Compared(_Closed):
    """How many steps, tensors (of a step each) and elements were compared.

    Of the elements some are resolved, larger than their allowance, and some undecided.
    """

    steps: int
    tensors: int
    elements: int
    resolved: int
    undecided: int


@dataclass
class Prints(_Closed):
    """How many published entries are met, and missed."""

    met: int
    missed: int


@dataclass
class Seconds(_Closed):
    """The wall times of the run and of the judge."""

    run: float
    judge: float


@dataclass
class Recorded(_Closed):
    """What a run holds.

    `phases` are its own numbers; those that are `borrowed` the reference computed for it: they are
    in no budget and not in the ledger. `lacks` names what a whole run holds beside: it is followed,
    or, of losses and final values, not judged. `steps` are recorded `of` so many.
    """

    scope: Scope
    phases: list[str]
    borrowed: list[str]
    lacks: list[str]
    steps: int
    of: int


@dataclass
class Bias(_Closed):
    """The errors of a tensor, and how far they lean to one side. No verdict depends on it.

    `mean` is that of (actual − truth) / allowance over all its elements and judged steps. Where
    errors are independent |mean| · √elements is of order 1 or less. `draws` is how many errors of
    a step have nothing in common, 0 where that can't be told, and `leaning` is Σ d / √(Σ d²) of
    these, the mean over the steps: of independent ones it is larger than t with a chance of
    2 exp(−t²/2) at most.
    """

    phase: str
    tensor: str
    mean: Number
    elements: int
    draws: int
    leaning: Number


@dataclass
class PrintedNumbers(_Closed):
    """An entry of `published`: the numbers as printed, what the run has there, and the status.

    Both lists are in the order of the rows of their `shape`. `found` is null if the run does not
    record it.
    """

    source: str
    tensor: str
    step: int
    steps: int
    shape: list[int]
    printed: list[str]
    found: list[Number] | None
    status: Annotated[str, Field(json_schema_extra={"enum": [*STATUSES]})]


@dataclass
class Row(_Closed):
    """One case at one dtype on one backend; what a judgement would say is null without one.

    Attributes:
        case, dtype, backend, verdict: what was run, and what came of it.
        budget: the largest share of an allowance that was used (1 is all of it); of a run that
            differs that of the first wrong number.
        resolution, absolute_resolution: the largest error of a gradient that may have passed, of
            the worst tensor at the worst judged step: relative to its largest element, and absolute
            where that is no larger than the error.
        where: the number of that budget.
        ledger: what was compared.
        published, misses: how many published entries are met, and what is missed in words.
        accuracy: the share of samples told right, where the targets are classes.
        seconds: wall times.
        message: the first failure in words, with `look` and `hint` in it; and what is not recorded.
        hint: the known mistake that would have given the wrong tensor; empty if none is known.
        look: where the wrong number leads; empty if there is none.
        recorded: what the run holds.
        undecided: the first number that could not be decided, in words; empty if there is none.
        bias: of the tensor whose errors lean most to one side, where |mean| · √elements is largest;
            null too if nothing was compared.
        biased: the tensors that are noted, because their errors lean farther than by chance.
        median_resolution: the relative one at the median step, of the tensor where that is worst.
        numbers: every published entry of the case beside what the run has.
    """

    case: str
    dtype: str
    backend: str
    verdict: Verdict
    budget: Number
    resolution: Number
    absolute_resolution: Number
    where: Where | None
    ledger: Compared | None
    published: Prints | None
    misses: list[str] | None
    accuracy: Number
    seconds: Seconds | None
    message: str
    hint: str | None
    look: str | None
    recorded: Recorded | None
    undecided: str | None
    bias: Bias | None
    biased: list[Bias] | None
    median_resolution: Number
    numbers: list[PrintedNumbers] | None


@dataclass
class PairRow(_Closed):
    """Two free runs beside each other: their largest differences, at which step, and the status."""

    case: str
    dtype: str
    pair: str
    max_gradient_difference: Number
    max_parameter_difference: Number
    step: int
    status: Annotated[str, Field(json_schema_extra={"enum": ["within", "explained", "outside"]})]


@dataclass
class Report(_Closed):
    """A report of backproof; it is not complete after an interruption."""

    schema: Literal[1]
    verdict: str
    complete: bool
    environment: dict[str, str]
    results: list[Row]
    pairs: list[PairRow]


class _Untitled(GenerateJsonSchema):
    """A key needs no title beside its name."""

    def field_title_should_be_set(self, _: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `report.json`."""
    return {"$schema": DRAFT, **TypeAdapter(Report).json_schema(schema_generator=_Untitled)}
