"""The port between Nod and an agent loop. Plain data in, plain events out; no Django, no Strands.

A runtime gets a Job and yields events; it asks the job's Gate before, at and after each tool call. It keeps
nothing between calls: all that a resume needs is in the job, and the ledger stands behind the gate.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from agents.runtimes.clocks import NEVER, Deadline

Message: TypeAlias = dict[str, Any]
"""{"role": "user" or "assistant", "content": [Converse content blocks]}"""
Blocks: TypeAlias = list[dict[str, Any]]

SCHEMA = 1
"""Of what a paused session consists of; raised when an older worker could not resume it (tests/golden)."""
NEWER = "This chat was paused by a newer version of Nod. Nothing was done. Start a new chat, or update Nod."
STEP_LIMIT = "The agent took too many steps without coming to an end, and was stopped. Ask for less at once."


@dataclass(frozen=True)
class ToolUse:
    """A call as the model asked for it."""

    id: str
    name: str
    arguments: dict[str, Any]


# --- What the gate answers -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Proceed:
    """Nobody needs to be asked, or people have decided: go on to `start`."""


@dataclass(frozen=True)
class Refuse:
    """It will not run; `text` is what the model is told."""

    text: str


@dataclass(frozen=True)
class Ask:
    """People have to decide; `reason` says what and why, as JSON."""

    reason: dict[str, Any]


@dataclass(frozen=True)
class Started:
    """The call is claimed. Run it with exactly these arguments, then `record`."""

    arguments: dict[str, Any]
    timeout: float
    handle: Any
    edited: bool = False
    start_by: Deadline = NEVER  # later than this, somebody else may have settled it
    session: str = ""  # tools see what belongs to it, and nothing of other sessions
    key: str = ""  # stays the same when the call is started again after a crash; for idempotent tools


@dataclass(frozen=True)
class Settled:
    """The ledger already knows what became of it: tell the model that."""

    succeeded: bool
    content: Blocks


class Gate(Protocol):
    """What stands between an agent and its tools.

    `lost`: why whoever drives the run has to stop, once one of these steps has failed; they know, and say so.
    """

    lost: Exception | None

    async def verdict(self, use: ToolUse) -> Proceed | Refuse | Ask:
        """May it run? Reads only."""

    async def start(self, use: ToolUse) -> Started | Settled | Ask:
        """Claim it, just before the effect."""

    async def record(self, started: Started, *, succeeded: bool, content: Blocks) -> None:
        """Store what became of it, just after the effect."""

    async def lose(self, started: Started, *, timed_out: bool) -> Settled | Ask:
        """Nobody can say what became of it: people have to, unless the tool may be repeated anyway."""


# --- What goes in, what comes out ----------------------------------------------------------------------
@dataclass(frozen=True)
class Job:
    """One run, or the rest of one."""

    session: str
    messages: list[Message]
    state: dict[str, Any]
    system_prompt: str
    provider: str
    model_id: str
    parameters: dict[str, Any]
    tools: tuple[str, ...]
    max_steps: int
    gate: Gate
    cancel: threading.Event = field(default_factory=threading.Event)
    runtime_arn: str = ""  # where the loop runs, when that is not here
    runtime_qualifier: str = ""


@dataclass(frozen=True)
class Text:
    """A piece of the answer that is being written."""

    text: str


@dataclass(frozen=True)
class Said:
    """A whole message that now belongs to the conversation."""

    message: Message


@dataclass(frozen=True)
class Used:
    """What one question to the model cost. Those read from its cache are not among `input_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    milliseconds: int = 0


@dataclass(frozen=True)
class Paused:
    """The loop has returned; it goes on when all asked calls are decided. The gate knows which these are."""

    state: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    state: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """`message` is for the person who asked and says what to do."""

    code: str
    message: str


@dataclass(frozen=True)
class Later:
    """Nothing can be begun now. What is approved stays so, and is tried again a little later until it lapses.

    Where nothing is approved, it is a failure: its user may try again.
    """

    code: str
    message: str


Event: TypeAlias = Text | Said | Used | Paused | Finished | Failed | Later
Events: TypeAlias = AsyncGenerator[Event, None]
"""Whoever stops listening closes it."""


class Runtime(Protocol):
    def start(self, job: Job) -> Events:
        """Answer the last message of the job."""

    def resume(self, job: Job) -> Events:
        """Go on with the tool calls of the job's last message; the gate answers from the ledger."""
