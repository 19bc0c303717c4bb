"""Arguments that a reviewer changes before the call runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema

from approvals.actions.verdicts import check_size
from approvals.digest import call_digest, canonical
from approvals.errors import InvalidArguments, Stale
from approvals.models import Tool, ToolCall
from approvals.schemas import tame
from approvals.secrecy import hide
from approvals.states import ELSEWHERE

# What the schema may say of all arguments without quoting their values, some of which are hidden.
NAMES_ONLY = frozenset(("required", "dependentRequired", "additionalProperties", "unevaluatedProperties"))


def digest_of(call: ToolCall, arguments: Any) -> str:
    """Of the call, if these were its arguments."""
    return call_digest(session=call.session, tool=call.tool, definition=call.definition, arguments=arguments)


def proposal(call: ToolCall, arguments: Any) -> Any:
    """The model's own arguments, to be kept beside these; None where these are the model's own."""
    own = call.arguments if call.proposed is None else call.proposed
    return None if canonical(own) == canonical(arguments) else own


def schema_of(tool: str) -> dict[str, Any]:
    """The JSON Schema of the tool's arguments; any object for a tool that is gone."""
    found = Tool.objects.filter(name=tool).values_list("schema", "provider").first()
    schema, provider = found or (None, "")
    if not isinstance(schema, dict):
        return {"type": "object"}
    return tame(schema) if provider == ELSEWHERE else schema


def whole_arguments(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the schema's defaults filled in, since these would run too.

    Raises InvalidArguments with one sentence for each way in which they miss the tool's schema.
    """
    whole, found = misfits(tool, arguments)
    if found:
        problems = sorted(f"{each.where or 'arguments'}: {each.message}" for each in found)
        raise InvalidArguments("The arguments do not fit the tool. " + "; ".join(problems[:5]))
    return whole


@dataclass(frozen=True)
class Misfit:
    """One way in which arguments miss the schema: in which of them, where in it, and what is wrong."""

    argument: str
    where: str
    message: str


def misfits(tool: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[Misfit]]:
    """The same, with each of these ways by itself."""
    schema = schema_of(tool)
    properties = schema.get("properties", {})
    whole = {name: each["default"] for name, each in properties.items() if "default" in each} | arguments
    check_size(whole)
    problems = jsonschema.Draft202012Validator(schema).iter_errors(whole)
    return whole, [_misfit(each, whole) for each in problems]


def _misfit(problem: jsonschema.ValidationError, whole: dict[str, Any]) -> Misfit:
    path = [str(step) for step in problem.path]
    argument = path[0] if path else _missing(problem)
    quotes = hide(path[0], whole[path[0]])[1] if path else problem.validator not in NAMES_ONLY
    message = f"does not match {problem.validator}" if quotes else problem.message
    return Misfit(argument, ".".join(path), message)


def _missing(problem: jsonschema.ValidationError) -> str:
    """The argument that a problem misses; none where it is another one."""
    required: Any = problem.validator_value if problem.validator == "required" else ()
    return next((name for name in required if problem.message.startswith(repr(name))), "")


def as_changed(call: ToolCall, digest: str, changed: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call that was seen with this digest, with some of them changed. Raises Stale."""
    if call.digest != digest:
        raise stale()
    return {**call.arguments, **changed}


def stale() -> Stale:
    """Nothing was decided."""
    return Stale("The call is not what this page showed. Look at it again, then decide.")
