"""What all concepts share: strict reading, a name for each kind, the types of small settings."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"

NAME = r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$"


def _as_text(name: Any) -> Any:
    """Return the name as text: YAML reads the name `0` as a number."""
    return str(name) if type(name) is int else name


_Name = Annotated[str, StringConstraints(pattern=NAME, max_length=64)]
Name = Annotated[_Name, BeforeValidator(_as_text, json_schema_input_type=int | _Name)]
"""Of a layer, as modules are called: `hidden`, `0`, `Dense_0`, `encoder.fc1`."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
Positive = Annotated[float, Field(gt=0)]
Small = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]


class Unread(Exception):  # noqa: N818 (it says what became of the key)
    """A key that a mistake kept from being read."""


class Concept(BaseModel):
    """One concept of the format; `kind` is the word for it in a file."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)
    kind: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def __getattr__(self, name: str) -> Any:
        """Raise `Unread` for a key that is missing through a mistake (`partly.py`)."""
        if name in type(self).model_fields:
            raise Unread
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides its own
