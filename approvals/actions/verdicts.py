"""Reads what a verdict needs and asks the policy. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef

from approvals.digest import call_digest, canonical
from approvals.errors import DefinitionChanged, InvalidArguments, NotFound
from approvals.models import Tool, ToolPolicy, TrustGrant
from approvals.policy import Facts, Rule, Terms, Verdict, judge
from approvals.prepared import Select, Slot
from approvals.states import Effect, Risk

MAX_ARGUMENTS = 1_000_000  # bytes of canonical JSON


@dataclass(frozen=True)
class Request:
    """A call that an agent wants to make. `turn` is the number of the message that asked for it."""

    session: str
    tool_use_id: str
    tool: str
    arguments: dict[str, Any]
    requested_by: int
    run: str = ""
    turn: int = 0
    agent: str = ""
    said: str = ""
    definition: str = ""  # hash of the tool as whoever runs it has it


@dataclass(frozen=True)
class Judged:
    """A request with its verdict, the tool as it is defined now, and the digest of what would run."""

    request: Request
    verdict: Verdict
    tool: Tool
    digest: str


def check_size(arguments: dict[str, Any]) -> None:
    """Raises InvalidArguments for arguments larger than MAX_ARGUMENTS."""
    if len(canonical(arguments)) > MAX_ARGUMENTS:
        raise InvalidArguments(f"The arguments are larger than {MAX_ARGUMENTS // 1000} kB. Send less.")


def examine(request: Request) -> Judged:
    """The verdict on a request by the policies and trust as they stand.

    Raises NotFound for an unknown tool, DefinitionChanged where the runner has another one than the
    catalogue, InvalidArguments for arguments without an exact JSON form.
    """
    tool = _TOOL.first(session=request.session, name=request.tool)
    if tool is None:
        raise NotFound(f"There is no tool named {request.tool}.")
    if request.definition and request.definition != tool.definition:
        raise DefinitionChanged(f"The definition of {tool.name} changed. Restart Nod, then ask again.")
    check_size(request.arguments)
    digest = call_digest(
        session=request.session, tool=tool.name, definition=tool.definition, arguments=request.arguments
    )
    facts = Facts(
        tool=tool.name,
        provider=tool.provider,
        agent=request.agent,
        known=tool.known,
        trusted=tool.trusted,
        risk=Risk(tool.risk),
    )
    return Judged(request, judge(facts, rules()), tool, digest)


def _with_trust() -> Any:
    """The tool, and whether it is trusted in the session; one query for both."""
    grants = TrustGrant.objects.filter(
        TrustGrant.live(),
        session=Slot("session"),
        tool=OuterRef("name"),
        provider=OuterRef("provider"),
        definition=OuterRef("definition"),
    )
    return Tool.objects.filter(name=Slot("name")).annotate(trusted=Exists(grants))


_TOOL = Select(_with_trust)


def rules() -> list[Rule]:
    """All enabled policies."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for *columns, group in _RULES():
        row = dict(zip(_COLUMNS, columns, strict=True))
        _, groups = found.setdefault(row["name"], (row, []))
        if group:
            groups.append(group)
    return [_rule(row, tuple(sorted(groups))) for row, groups in found.values()]


def live_grant(session: str, tool: Tool) -> TrustGrant | None:
    """A live trust grant for exactly this definition of the tool in the session."""
    grants = TrustGrant.objects.filter(
        TrustGrant.live(), session=session, tool=tool.name, provider=tool.provider, definition=tool.definition
    )
    return grants.order_by("expires_at").first()


_COLUMNS = (
    "name", "tool", "effect", "agent", "provider", "risk", "requester_may_decide", "open_for", "executable_for",
    "trust_expires_in", "trust_max_uses",
)  # fmt: skip
_RULES = Select(
    lambda: ToolPolicy.objects.filter(enabled=True).values_list(*_COLUMNS, "groups__name")
)  # joined


def _rule(row: dict[str, Any], groups: tuple[str, ...]) -> Rule:
    terms = Terms(
        groups=groups or Terms().groups,
        requester_may_decide=row["requester_may_decide"],
        open_for=row["open_for"],
        executable_for=row["executable_for"],
        trust_expires_in=row["trust_expires_in"],
        trust_max_uses=row["trust_max_uses"],
    )
    return Rule(
        name=row["name"],
        tool=row["tool"],
        effect=Effect(row["effect"]),
        agent=row["agent"],
        provider=row["provider"],
        risk=Risk(row["risk"]) if row["risk"] else None,
        terms=terms,
    )
