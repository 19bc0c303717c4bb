"""Arguments that a reviewer changes before the call runs."""

from __future__ import annotations

from typing import Any

import jsonschema

from approvals.actions.verdicts import check_size
from approvals.digest import call_digest, canonical
from approvals.errors import InvalidArguments
from approvals.models import Tool, ToolCall


def digest_of(call: ToolCall, arguments: Any) -> str:
    """Of the call, if these were its arguments."""
    return call_digest(session=call.session, tool=call.tool, definition=call.definition, arguments=arguments)


def proposal(call: ToolCall, arguments: Any) -> Any:
    """The model's own arguments, to be kept beside these; None where these are the model's own."""
    own = call.arguments if call.proposed is None else call.proposed
    return None if canonical(own) == canonical(arguments) else own


def whole_arguments(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the schema's defaults filled in, since these would run too.

    Raises InvalidArguments with one sentence for each way in which they miss the tool's schema.
    """
    row = Tool.objects.filter(name=tool).first()
    schema: Any = row.schema if row else {"type": "object"}
    properties = schema.get("properties", {})
    whole = {name: each["default"] for name, each in properties.items() if "default" in each} | arguments
    check_size(whole)
    problems = [
        f"{'.'.join(map(str, problem.path)) or 'arguments'}: {problem.message}"
        for problem in jsonschema.Draft202012Validator(schema).iter_errors(whole)
    ]
    if problems:
        raise InvalidArguments("The arguments do not fit the tool. " + "; ".join(sorted(problems)[:5]))
    return whole
