"""JSON Schemas that strangers wrote: what of them is safe to apply to arguments."""

from __future__ import annotations

from typing import Any

import jsonschema

from approvals.digest import canonical
from approvals.errors import InvalidArguments, InvalidInput

MOST = 32_000  # bytes
DEEPEST = 30

_PLAIN = frozenset(
    (
        "type", "title", "description", "default", "enum", "const", "required", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    )
)  # fmt: skip


def check(schema: dict[str, Any]) -> None:
    """Raises InvalidInput for what is no JSON Schema of an object, or too big to be read."""
    try:
        if len(canonical(schema)) > MOST:  # first: looking through a megabyte of it takes seconds
            raise InvalidInput(f"definition: the schema is longer than {MOST:,} bytes. Shorten it.")
        jsonschema.Draft202012Validator.check_schema(schema)
    except InvalidArguments as error:
        raise InvalidInput(f"definition: {error.message.replace('arguments', 'schema')}") from None
    except (jsonschema.SchemaError, RecursionError) as error:
        why = error.message if isinstance(error, jsonschema.SchemaError) else "it is nested too deeply"
        raise InvalidInput(f"definition: the schema is no JSON Schema ({why[:200]}).") from None
    if schema and schema.get("type", "object") != "object":
        raise InvalidInput("definition: the schema has to be that of an object, as arguments are.")


def tame(schema: Any, depth: int = 0) -> dict[str, Any]:
    """The parts that cost little and reach nowhere: no references, which may lead to other servers or in circles, and
    no patterns, which may take for ever."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return {}
    kept = {name: value for name, value in schema.items() if name in _PLAIN}
    if isinstance(properties := schema.get("properties"), dict):
        kept["properties"] = {name: tame(each, depth + 1) for name, each in properties.items()}
    if isinstance(items := schema.get("items"), dict):
        kept["items"] = tame(items, depth + 1)
    if isinstance(choices := schema.get("anyOf"), list):
        kept["anyOf"] = [tame(each, depth + 1) for each in choices]
    if schema.get("additionalProperties") is False:
        kept["additionalProperties"] = False
    return kept
