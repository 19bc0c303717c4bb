"""What the API takes and gives: calls, decisions, the audit trail, problems."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Field, Schema


class DecisionOut(Schema):
    by: str
    decision: Literal["approve", "deny", "trust"]
    comment: str
    at: str
    digest: str
    version: int
    undone_at: str | None = Field(None, description="It counts no more from then on.")


class CallOut(Schema):
    """A tool call. `digest` is SHA-256 over what will run; `result` has Converse content blocks."""

    id: str
    session: str
    agent: str
    tool: str
    arguments: dict[str, Any]
    proposed: dict[str, Any] | None = Field(
        None, description="The model's own arguments, where a reviewer changed them."
    )
    digest: str
    version: int
    status: str
    risk: str
    requested_by: str
    requested_at: str
    policy: str
    why: str
    fault: str = Field("", description="Why it did not run as decided, or why its outcome is unknown.")
    trustable: bool
    quorum: int = Field(1, description="How many people have to approve.")
    approvals: int = Field(0, description="How many have so far.")
    confirm: str = Field("", description="The word that whoever approves has to send along.")
    justify: bool = Field(False, description="Whether whoever approves has to send a comment.")
    expires_at: str | None
    decisions: list[DecisionOut]
    result: list[dict[str, Any]] | None


class CallsOut(Schema):
    items: list[CallOut]
    next: str | None


class TrustIn(Schema):
    expires_in: str | float | None = Field(default=None, description="Seconds, or 15m, 8h.")
    max_uses: int | None = None
    same: list[str] = Field(
        default=[],
        description="Arguments that have to stay as they are in this call; none means any arguments.",
    )


class DecisionIn(Schema):
    """`version` and `digest` are those of the call that was looked at."""

    decision: Literal["approve", "deny", "trust"]
    version: int
    digest: str
    comment: str = ""
    arguments: dict[str, Any] | None = None
    confirm: str = ""
    trust: TrustIn | None = None


class UndoIn(Schema):
    """`version` is that of the decided call."""

    version: int


class SettlementIn(Schema):
    """`version` and `digest` are those of the call that was looked at."""

    outcome: Literal["happened", "run_again", "give_up"]
    version: int
    digest: str
    comment: str = ""
    confirm: str = ""


class EntryOut(Schema):
    """An audit entry; `hash` covers the others and `prev`, the hash of the entry before in its session's chain."""

    seq: int
    at: str
    kind: str
    actor: str
    session: str
    call: str
    tool: str
    digest: str
    data: dict[str, Any]
    prev: str
    hash: str


class TrailOut(Schema):
    items: list[EntryOut]
    next: int | None


class Problem(Schema):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
