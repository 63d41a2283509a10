"""What the figures show, in words: for those who do not see them, and at the place of a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backproof.cases.console.terminal import plain
from backproof.report.judging.outcome import listed
from backproof.report.judging.share import short
from backproof.report.telling.curves import Curves, Failure, known
from backproof.report.telling.depth import LayerGradient


class Told(NamedTuple):
    """A failure of one backend in words, at all dtypes at which it is the same."""

    first: Failure
    words: str


def failed(curves: Curves) -> list[Told]:
    """Tell the failures: `torch float32 differs at step 12`."""
    groups: dict[tuple, list[Failure]] = {}
    for failure in curves.failures:
        groups.setdefault((failure.name, failure.step, failure.verdict), []).append(failure)
    return [Told(group[0], _in_words(group, curves)) for group in groups.values()]


def _in_words(group: list[Failure], curves: Curves) -> str:
    """Write one sentence on failures that differ in their dtype alone."""
    first, dtypes = group[0], [failure.dtype for failure in group]
    everywhere = len(group) > 1 and dtypes == curves.dtypes
    where = "" if everywhere else f" {listed(dtypes)}"
    many = len(group) > 1 and not everywhere
    does = f"{'are' if many else 'is'} {first.verdict}"
    if first.verdict == "differs":
        does = "differ" if many else "differs"
    end = " in every dtype" if everywhere else ""
    return f"{first.name}{where} {does} at step {first.step:,}{end}"


def alt_text(curves: Curves) -> str:
    """Say in a sentence or two what the figure of a case shows, and what fails."""
    shares, drifts = (known(curves.of(panel)) for panel in ("share", "drift"))
    found = [
        f"{curves.case}: {listed(curves.backends)} in {listed(curves.dtypes)}",
        f"steps 0 to {curves.last_step:,}: the loss",
        f"the share of the rounding allowed, at most {short(max(shares, default=0))}",
    ]
    if drifts:
        found.append(f"and how far two runs drift apart, at most {max(drifts):.1e}")
    told = [_with_place(one) for one in failed(curves)] or ["Every run shown is certified"]
    return plain(f"{', '.join(found)}. {'; '.join(told)}.")


def _with_place(told: Told) -> str:
    first, words = told
    return f"{words} ({first.words.removeprefix(f'step {first.step}, ')})"


def alt_text_of_depth(networks: Mapping[str, Sequence[LayerGradient]]) -> str:
    """Say in a sentence what the figure of the gradients by layer shows."""
    left = {name: layers[0].cotangent / layers[-1].cotangent for name, layers in networks.items()}
    least = min(left, key=lambda name: left[name])
    return plain(
        f"The size of the cotangent at each dense layer of {len(left)} networks, relative to that "
        "at the last layer, beside the bound by the chain rule. The least is left at the first "
        f"layer of {least}: {left[least]:.1e} of it."
    )
