"""The JSON Schema of a case file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from backproof.cases.format.schema import Case


class _WithoutNull(GenerateJsonSchema):
    """A key that may be left out is never null in a case, and needs no title beside its name."""

    def nullable_schema(self, schema: Any) -> dict:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict:
        absent = schema.get("default") is None
        return self.generate_inner(schema["schema"]) if absent else super().default_schema(schema)

    def field_title_should_be_set(self, _: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a case file."""
    schema = Case.model_json_schema(schema_generator=_WithoutNull)
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **schema, "title": "A training scenario of backproof"}
