"""Sums of derivatives, by the name of what they are derivatives by."""

from __future__ import annotations

from backproof.reference.formulas.activations import in_any_order


def add(sums: dict, name: str, derivative) -> None:
    """Add a derivative to `sums[name]`: a value that is used twice has the sum of both, in any order."""
    sums[name] = in_any_order(sums[name]) + derivative if name in sums else derivative
