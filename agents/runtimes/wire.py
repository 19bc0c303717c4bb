"""What Nod and the agent that it hosts on AgentCore say to each other: JSON in a request, events in its answer.

Both ends import this, and nothing here imports Django's models or Strands. docs/agentcore.md describes it for others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from agents.runtimes import port, shapes

PROTOCOL = 1
"""Raised when an older end could misread a newer one."""
BEAT = 5.0  # seconds without anything else until the hosted agent says that it is still there


@dataclass(frozen=True)
class Asked:
    """A call that the model asks for and nobody has decided; `digest` is that of what would run."""

    id: str
    tool: str
    arguments: dict[str, Any]
    definition: str
    digest: str


STATUSES = ("succeeded", "failed", "lost", "untouched")


@dataclass(frozen=True)
class Result:
    """What became of a call that was approved.

    `status`: succeeded; failed; lost, where nobody can say; untouched, where it did not begin.
    """

    id: str
    status: str
    content: port.Blocks = field(default_factory=list)
    timed_out: bool = False


@dataclass(frozen=True)
class Halted:
    """The loop has returned and keeps nothing; send `state` again, with decisions on these calls."""

    calls: list[Asked]
    state: dict[str, Any]


@dataclass(frozen=True)
class Beat:
    """Still there."""


Event = port.Text | port.Said | port.Used | port.Finished | port.Failed | Result | Halted | Beat
KINDS: dict[str, type[Any]] = {
    "text": port.Text,
    "message": port.Said,
    "used": port.Used,
    "result": Result,
    "paused": Halted,
    "finished": port.Finished,
    "failed": port.Failed,
    "beat": Beat,
}
ENDS = (Halted, port.Finished, port.Failed)
"""One of these comes last; an answer that ends without it broke off."""
REFUSED = frozenset(
    {
        "invalid_payload",
        "newer_protocol",
        "invalid_state",
        "no_prompt",
        "open_calls",
        "no_open_calls",
        "unknown_call",
        "decided_twice",
        "unknown_tool",
        "invalid_arguments",
        "digest_mismatch",
    }
)
"""Codes of a failure with which the hosted agent has turned a request down before it touched a tool."""
_NAMES = {kind: name for name, kind in KINDS.items()}


class Misread(ValueError):
    """The other end said something that this one does not know."""


def pack(event: Event) -> dict[str, Any]:
    """The event as JSON."""
    return dict(_sendable({"type": _NAMES[type(event)], **asdict(event)}))


def unpack(value: Any) -> Event:
    """The event that JSON stands for.

    Raises Misread.
    """
    try:
        given = dict(value)
        kind = KINDS[given.pop("type")]
        if kind is Halted:
            given["calls"] = [_checked(Asked(**call)) for call in given["calls"]]
        event: Event = _checked(kind(**given))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Misread(f"{type(error).__name__}: {error}") from None
    return event


CHECKS: dict[type[Any], dict[str, Callable[[Any], bool]]] = {
    port.Text: {"text": shapes.is_text},
    port.Said: {"message": shapes.is_message},
    port.Used: {each.name: shapes.is_count for each in fields(port.Used)},
    port.Finished: {"state": shapes.is_object},
    port.Failed: {"code": shapes.is_text, "message": shapes.is_text},
    Result: {
        "id": shapes.is_text,
        "status": STATUSES.__contains__,
        "content": shapes.are_blocks,
        "timed_out": shapes.is_flag,
    },
    Halted: {"state": shapes.is_object},
    Asked: {
        "id": shapes.is_text,
        "tool": shapes.is_text,
        "arguments": shapes.is_object,
        "definition": shapes.is_text,
        "digest": shapes.is_text,
    },
    Beat: {},
}


def _checked(event: Any) -> Any:
    """Its fields are what they are declared to be: a dataclass does not check that by itself."""
    for name, fits in CHECKS[type(event)].items():
        if not fits(getattr(event, name)):
            raise Misread(f"{type(event).__name__}.{name} is of a wrong type")
    return event


def _sendable(value: Any) -> Any:
    """Models write halves of characters too, and no connection carries them."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_sendable(name): _sendable(each) for name, each in value.items()}
        case list() | tuple():
            return [_sendable(each) for each in value]
    return value
