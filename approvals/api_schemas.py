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
    definition: str = Field("", description="SHA-256 of the tool's name, description and schema.")
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


class DefinitionIn(Schema):
    """The tool as the agent has it. Without it, the name stands for the tool that the catalogue has, if any."""

    description: str = ""
    input_schema: dict[str, Any] = Field({}, alias="schema", description="JSON Schema of the arguments.")


def _example(**values: Any) -> dict[str, Any]:
    return {"json_schema_extra": {"examples": [values]}}


class CallIn(Schema):
    """What an agent that runs elsewhere wants to do."""

    model_config = _example(  # type: ignore[assignment]
        session="invoices-2026-11",
        tool="pay_invoice",
        arguments={"number": "R-17", "amount": 120.5},
        agent="bookkeeper",
        reason="It is due today.",
        idempotency_key="tooluse_8f2c",
    )
    session: str = Field(
        description="One conversation of the agent, and the scope of trust: 1 to 80 characters."
    )
    tool: str
    arguments: dict[str, Any]
    agent: str = Field("", description="The agent's name, as it says; policies may go by it.")
    reason: str = Field("", description="Why, in the agent's words; shown as such.")
    idempotency_key: str = Field(
        description="Another one for each call of the session; the same gives the same call."
    )
    definition: DefinitionIn | None = None


class ClaimIn(Schema):
    """`digest` is that of the call as it is to run."""

    model_config = _example(digest="9f2b…", lease_for=60)  # type: ignore[assignment]
    digest: str
    lease: str = Field(
        "",
        description="A secret by chance: the claim can be sent again with it. Nod makes one if empty.",
    )
    lease_for: float | None = Field(None, description="Seconds until the outcome has to be there (300).")


class ClaimOut(Schema):
    """Run the tool with exactly these arguments, then send the outcome with the lease."""

    model_config = _example(  # type: ignore[assignment]
        arguments={"number": "R-17", "amount": 120.5},
        idempotency_key="019ab1c2d3e47f5a8b9c0d1e2f3a4b5c",
        lease="Zr0…",
        lease_until="2026-11-23T12:05:00+00:00",
    )
    arguments: dict[str, Any]
    idempotency_key: str = Field(description="Of this call alone, for services that take one.")
    lease: str
    lease_until: str


class OutcomeIn(Schema):
    """`result` is text, any JSON, or Converse content blocks."""

    model_config = _example(lease="Zr0…", status="succeeded", result="Paid 120.50 € for R-17")  # type: ignore[assignment]
    lease: str
    status: Literal["succeeded", "failed"]
    result: Any = None


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
