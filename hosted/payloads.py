"""Nod's payload: read, and refused whole where a decision is not about the call that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.definitions import definition
from agents.runtimes import port, wire
from agents.runtimes.heard import Heard
from agents.runtimes.shapes import is_use
from agents.tools._arguments import sentences
from agents.tools.registry import InvalidArguments, Tool
from approvals.digest import call_digest
from approvals.errors import InvalidArguments as NoExactForm

NAMES = frozenset({"nod", "state", "decisions", "describe"})
"""A payload with one of these is Nod's; any other is the notebook's."""


class Refused(Exception):
    """The request is answered with this and nothing else; no tool was touched."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Decision(Strict):
    """What was decided on one call of the state's last message.

    approve: run it with its own arguments, or with `arguments`; `digest` is that of what will run.
    deny: tell the model so, with the `comment`. settled: the caller knows what became of it, and says so.
    """

    id: str
    decision: Literal["approve", "deny", "settled"]
    digest: str = ""
    arguments: dict[str, Any] | None = None
    comment: str = ""
    grant: str = Field(default="", max_length=200, description="Never taken twice by one process.")
    key: str = Field(default="", description="For tools that take an idempotency key.")
    timeout: float | None = Field(default=None, gt=0)
    start_within: float | None = Field(default=None, description="Seconds from the arrival of the request.")
    start_before: float | None = Field(default=None, description="Unix time; later it does not begin.")
    status: Literal["succeeded", "failed"] = "failed"
    content: list[dict[str, Any]] = []


class Loop(Strict):
    """Which agent answers; what is left out comes from the environment of the process."""

    system_prompt: str = ""
    provider: str = ""
    model_id: str = ""
    parameters: dict[str, Any] = {}
    tools: list[str] | None = None
    max_steps: int = Field(default=20, ge=1)


class Payload(Strict):
    nod: int = wire.PROTOCOL
    describe: bool = False
    session: str = ""
    prompt: str = ""
    decisions: list[Decision] = []
    state: dict[str, Any] = {}
    agent: Loop = Loop()


@dataclass(frozen=True)
class Approved:
    """A decision whose digest was found to be that of what will run."""

    decision: Decision
    arguments: dict[str, Any]
    edited: bool


def is_nods(payload: Any) -> bool:
    return isinstance(payload, dict) and not NAMES.isdisjoint(payload)


def read(payload: dict[str, Any]) -> Payload:
    """The payload.

    Raises:
        Refused: `invalid_payload` or `newer_protocol`.
    """
    if isinstance(payload.get("nod"), int) and payload["nod"] > wire.PROTOCOL:
        raise Refused("newer_protocol", "The caller is newer than this agent. Deploy the agent anew.")
    try:
        return Payload.model_validate(payload)
    except ValidationError as error:
        raise Refused("invalid_payload", sentences(error).replace("argument", "field")) from None


def conversation(payload: Payload) -> list[port.Message]:
    """The messages that the model gets, with the prompt after them.

    Raises:
        Refused: `invalid_state`, `no_prompt`, `open_calls` or `no_open_calls`.
    """
    messages = payload.state.get("messages", [])
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise Refused("invalid_state", "The state is not one that this agent gave. Send it back as it came.")
    if payload.decisions and not open_calls(messages):
        raise Refused("no_open_calls", "The state has no calls to decide. Send a prompt.")
    if not payload.prompt:
        if not messages:
            raise Refused("no_prompt", "Please provide a 'prompt'.")
        return list(messages)
    if open_calls(messages):
        raise Refused("open_calls", "The state waits for decisions on its calls. Send decisions, no prompt.")
    return [*messages, {"role": "user", "content": [{"text": payload.prompt}]}]


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in ("user", "assistant")
        and isinstance(message.get("content"), list)
        and all(isinstance(block, dict) for block in message["content"])
        and all(is_use(block["toolUse"]) for block in message["content"] if "toolUse" in block)
    )


def open_calls(messages: list[port.Message]) -> dict[str, port.ToolUse]:
    """The calls that the last message asks for, by id."""
    return {use.id: use for use in Heard(messages).open_calls()}


def checked(
    payload: Payload, messages: list[port.Message], session: str, tools: dict[str, Tool]
) -> dict[str, Approved | Decision]:
    """Every decision by its call's id; an approval with the arguments that it covers.

    Raises:
        Refused: `unknown_call`, `decided_twice` or `digest_mismatch`. Nothing of the request is done then.
    """
    calls = open_calls(messages)
    found: dict[str, Approved | Decision] = {}
    for decision in payload.decisions:
        if decision.id not in calls:
            raise Refused("unknown_call", f"The state has no open call {decision.id!r}. Nothing was done.")
        if decision.id in found:
            raise Refused("decided_twice", f"There are two decisions on {decision.id!r}. Nothing was done.")
        settled = decision.decision == "settled"
        found[decision.id] = decision if settled else _covered(decision, calls[decision.id], session, tools)
    return found


def _covered(
    decision: Decision, use: port.ToolUse, session: str, tools: dict[str, Tool]
) -> Approved | Decision:
    tool = tools.get(use.name)
    if tool is None:
        raise Refused("unknown_tool", f"This agent has no tool {use.name!r}. Nothing was done.")
    try:
        proposed = tool.validate(use.arguments)
        arguments = proposed if decision.arguments is None else tool.validate(decision.arguments)
        digest = call_digest(
            session=session, tool=tool.name, definition=definition(tool).hash, arguments=arguments
        )
    except (InvalidArguments, NoExactForm) as error:
        raise Refused(
            "invalid_arguments", f"{use.name} cannot run like that: {error} Nothing was done."
        ) from None
    if decision.digest != digest:
        raise Refused(
            "digest_mismatch",
            f"The decision on {use.name} is not about this call: its digest is another one. Nothing was done.",
        )
    if decision.decision == "deny":
        return decision
    return Approved(decision, arguments, edited=arguments != proposed)
