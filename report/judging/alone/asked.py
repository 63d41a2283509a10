"""One operation with its numbers, without a case: what must be found, and the truth of it.

The truth is the reference's formula, fed with the given arrays. A layer takes `x`, or the values
that its formula names, its parameters (`weight`) and masks (`mask`), and gives `y`. A loss takes
`y` and `t`, and gives `loss`; an optimizer takes `parameter`, `gradient` and its state, and gives
the first and the state after the step. A derivative has the name of what it is by.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ml_dtypes import finfo
from pydantic import TypeAdapter, ValidationError

from backproof.backends.trajectory import Arrays
from backproof.cases.format.added import REFUSED
from backproof.cases.format.basics import DTYPES
from backproof.cases.format.message import describe, hint
from backproof.cases.format.network import Node
from backproof.cases.reading.messages import tell_all
from backproof.reference.numbers.bounded import Bounded, exact, rounded_to
from backproof.reference.numbers.kinks import Kinks
from backproof.reference.numbers.precision import Precision, precision_of
from backproof.report.judging.operations import Check

Truths = Iterator[tuple[str, str, Bounded]]  # phase, name and (1, *shape) of each result
Shape = tuple[int, ...]
WIDE = ("float32", "float64")
OF_COTANGENTS = 0xD7  # a stream of their own


class Unfit(ValueError):  # noqa: N818, it says what is wrong with what was given
    """What was given is no such operation: the message says what was expected and found."""


@dataclass(frozen=True)
class Asked:
    """One operation with its numbers.

    Attributes:
        kind: `dense`, `squared_error`, `adam`.
        inputs: by name.
        wanted: the names of those that have a derivative.
        results: the shape of everything else that must be found, by name.
        by_sample: the names of the inputs whose first axis is the samples.
        truths: of inputs, of a cotangent (None where no derivatives are asked for), in a precision.
        inner: in which the operation is computed, before each result is rounded to the dtype.
        settings: of the kind, as the format has read them.
        node: a layer of one part as an operation of a network.
        step: of an optimizer, from 0.
    """

    kind: str
    inputs: Arrays
    wanted: tuple[str, ...]
    results: dict[str, Shape]
    by_sample: tuple[str, ...]
    truths: Callable[[Arrays, np.ndarray | None, Precision], Truths]
    inner: Precision
    settings: Any
    node: Node | None = None
    step: int = 0

    @property
    def dtype(self) -> np.dtype:
        """The dtype of all its numbers but class indices."""
        return next(a.dtype for a in self.inputs.values() if a.dtype.name in DTYPES)

    @property
    def value(self) -> str:
        """The name of what the cotangent belongs to."""
        return next(iter(self.results))

    def expected(self, *, derivatives: bool = True) -> dict[str, Shape]:
        """Return the shape of everything that must be found, by name."""
        wanted = self.wanted if derivatives else ()
        return self.results | {name: self.inputs[name].shape for name in wanted}

    def drawn(self, seed: int, which: int = 0) -> np.ndarray:
        """Draw a cotangent: normal numbers, never ones, nor what a test draws by the same seed."""
        generator = np.random.default_rng((seed, OF_COTANGENTS, which))
        return generator.normal(size=self.results[self.value]).astype(self.dtype)

    def checks(
        self, found: Mapping[str, np.ndarray], cotangent: np.ndarray | None, kinks: Kinks | None
    ) -> Iterator[Check]:
        """Yield what was found beside its truth, in the order in which it is computed."""
        last = precision_of(self.dtype)
        precision = replace(self.inner, kinks=kinks)
        for phase, name, truth in self.truths(self.inputs, cotangent, precision):
            look = f"look at {WAYS[phase].format(self.kind)}"
            yield Check(phase, name, found[name][None], rounded_to(truth, last), look)


WAYS = {
    "value": "the forward pass of {}",
    "loss": "the value of {}",
    "cotangent": "the backward pass of {}",
    "gradient": "the backward pass of {}",
    "state": "what {} remembers",
    "update": "the step of {}",
}


def given(inputs: Mapping[str, np.ndarray], precision: Precision) -> dict[str, Bounded]:
    """Take arrays as exact, as of one step: (1, *shape); flags are 0 and 1."""
    numbers = {n: a.astype(np.float64) if a.dtype.kind in "biu" else a for n, a in inputs.items()}
    return {name: exact(array[None], precision) for name, array in numbers.items()}


def read(sort: Any, kind: str, settings: Mapping[str, Any]) -> Any:
    """Read the settings of a kind as the format does.

    Raises:
        Unfit: with all mistakes, and what may have been meant.
    """
    try:
        return TypeAdapter(sort).validate_python({kind: dict(settings)})
    except ValidationError as invalid:
        told = dict.fromkeys(message for _, message in tell_all(invalid.errors(include_url=False)))
        raise Unfit(f"{kind}: {'; '.join(told)}") from None


def whole_number(what: str, number: Any) -> int:
    """Return a whole number from 0 on; raise Unfit for anything else."""
    with suppress(TypeError):
        if not isinstance(number, bool) and (index := operator.index(number)) >= 0:
            return index
    raise Unfit(f"{what}: expected a whole number from 0 on, found {number!r}")


def checked_kind(what: str, kind: Any, kinds: Iterable[str]) -> None:
    """Raise Unfit, with what may have been meant, unless there is such a kind."""
    if not isinstance(kind, str):
        raise Unfit(f"expected the kind of {what} as a text, found {describe(kind)}")
    if kind not in (known := list(kinds)):
        reasons = "".join(f"; {reason}" for reason in REFUSED)
        where = "all are in docs/generated/reference.md, and docs/extending.md adds one of your own"
        raise Unfit(f"there is no {what} {kind!r}{hint(kind, known)}; {where}{reasons}")


# ---------------------------------------------------------------- what must hold of the inputs


def checked_names(kind: str, inputs: Mapping[str, Any], names: Mapping[str, bool]) -> None:
    """Raise Unfit unless the inputs are those of these names, of which some may be left out."""
    needed = [name for name, is_needed in names.items() if is_needed]
    for name in inputs:
        if name not in names:
            takes = f"{kind} takes {', '.join(needed)}"
            raise Unfit(f"{kind}: there is no input {name!r}{hint(name, names)}; {takes}")
    if missing := [name for name in needed if name not in inputs]:
        raise Unfit(f"{kind}: expected the inputs {', '.join(needed)}; {missing[0]} is missing")


def checked_numbers(kind: str, inputs: Mapping[str, np.ndarray], indices: str = "") -> np.dtype:
    """Return the one dtype of the inputs; raise Unfit for several, and for NaN and infinity."""
    numbers = {n: a for n, a in inputs.items() if n != indices or a.dtype.kind not in "iu"}
    dtypes = {name: array.dtype for name, array in numbers.items()}
    for name, dtype in dtypes.items():
        if dtype.name not in DTYPES:
            raise Unfit(f"{kind}: {name}: expected numbers of {', '.join(DTYPES)}, found {dtype}")
    if len({*dtypes.values()}) > 1:
        told = ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
        raise Unfit(f"{kind}: expected inputs of one dtype; {told}")
    for name, array in numbers.items():
        if not np.isfinite(array.astype(np.float64)).all():
            raise Unfit(f"{kind}: {name} holds numbers that are not finite")
        if not array.size:
            raise Unfit(f"{kind}: {name} holds no numbers: its shape is {array.shape}")
    return next(iter(dtypes.values()))


def inner_precision(dtype: np.dtype, accumulate: str | None) -> Precision:
    """Return the precision in which an operation is computed.

    Args:
        dtype: of its inputs and results.
        accumulate: a dtype in which everything inside it is carried, if that is wider, and rounded
            once at the end. None: every operation rounds to the dtype; in 16 bits sums and products
            of matrices are carried in float32.

    Raises:
        Unfit: if it is another one.
    """
    if accumulate not in (None, *WIDE):
        why = "sums that are carried in 16 bits lose every digit from a few hundred terms on"
        raise Unfit(f"accumulate: expected {' or '.join(WIDE)}, found {accumulate!r}; {why}")
    inner = None if accumulate is None else np.dtype(accumulate)
    is_wider = inner is not None and finfo(inner).eps < finfo(dtype).eps
    return precision_of(inner if is_wider else dtype)
