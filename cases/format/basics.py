"""What is known of cases before one is read: where the shipped ones are, and the dtypes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

CASES = Path(__file__).resolve().parents[1]

Dtype = Literal["float64", "float32", "float16", "bfloat16"]
DTYPES = get_args(Dtype)


def as_text(name: str) -> str:
    r"""Return a name in which bytes that are no text are written as `\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
