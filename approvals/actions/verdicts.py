"""Reads what a verdict needs and asks the policy. Changes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Subquery
from django.db.models.functions import Now

from approvals.digest import call_digest, canonical
from approvals.errors import DefinitionChanged, InvalidArguments, NotFound
from approvals.models import PolicyMark, Tool, ToolPolicy, TrustGrant
from approvals.policy import Facts, Policies, Rule, Terms, Verdict, judge
from approvals.prepared import Select, Slot
from approvals.states import Effect, Risk
from approvals.trusting import covers

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
    prompt: str = ""  # what the person had written whom it is for
    definition: str = ""  # hash of the tool as whoever runs it has it


@dataclass(frozen=True)
class Judged:
    """A request with its verdict, the tool as it is defined now, and the digest of what would run.

    `grant`: the trust that covers it, whether or not the verdict rests on it.
    """

    request: Request
    verdict: Verdict
    tool: Tool
    digest: str
    grant: TrustGrant | None = None


def check_size(arguments: dict[str, Any]) -> None:
    """Raises InvalidArguments for arguments larger than MAX_ARGUMENTS."""
    if len(canonical(arguments)) > MAX_ARGUMENTS:
        raise InvalidArguments(f"The arguments are larger than {MAX_ARGUMENTS // 1000} kB. Send less.")


def examine(request: Request, *, heed_trust: bool = True) -> Judged:
    """The verdict on a request by the policies and trust as they stand; or by the policies alone.

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
    grant = _covering(request, tool) if heed_trust and tool.trusted else None
    policies = policies_as_of(tool.mark)
    facts = facts_of(tool, request.agent, request.arguments, session=request.session)
    if grant:
        facts = replace(facts, trusted=True, trust_terms=thawed(grant.terms))
    if any(rule.when for rule in policies.about(facts)):
        facts = replace(facts, **_asker(request.requested_by))
    return Judged(request, judge(facts, policies), tool, digest, grant)


def facts_of(tool: Tool, agent: str, arguments: Any, **more: Any) -> Facts:
    """What is known of a call of this tool."""
    return Facts(
        tool=tool.name,
        provider=tool.provider,
        agent=agent,
        known=tool.known,
        risk=Risk(tool.risk),
        arguments=arguments,
        **more,
    )


def _asker(user: int) -> dict[str, Any]:
    """What conditions may know besides the call: who asked, and the time by the database's clock."""
    rows = _ASKER(user=user)
    groups = tuple(sorted(group for _, _, group in rows if group))
    return {"user": rows[0][0], "now": rows[0][1], "user_groups": groups}


_ASKER = Select(
    lambda: User.objects.filter(pk=Slot("user")).order_by().values_list("username", Now(), "groups__name")
)


def _with_trust() -> Any:
    """The tool, whether some trust for it lives in the session, and the mark of the policies; one query for all."""
    grants = TrustGrant.objects.filter(
        TrustGrant.live(),
        session=Slot("session"),
        tool=OuterRef("name"),
        provider=OuterRef("provider"),
        definition=OuterRef("definition"),
    )
    mark = Subquery(PolicyMark.objects.values("mark")[:1])
    return Tool.objects.filter(name=Slot("name")).annotate(trusted=Exists(grants), mark=mark)


_TOOL = Select(_with_trust)


_kept: tuple[str, Policies] = ("", Policies())  # replaced whole: threads see the one or the other


def policies_as_of(mark: str | None) -> Policies:
    """The enabled policies, from memory as long as their mark is the same.

    A mark is a word by chance that no other state of the policies ever has; the one of policies that were never
    committed is not met again. It is read before the policies are: they may be newer than it, never older.
    """
    global _kept
    known, policies = _kept
    if mark and mark == known:
        return policies
    policies = Policies(rules())
    if mark:
        _kept = mark, policies
    return policies


_DURATIONS = ("open_for", "executable_for", "trust_expires_in")


def frozen(terms: Terms) -> dict[str, Any]:
    """Terms as JSON: durations in seconds."""
    values = asdict(terms)
    return values | {name: values[name].total_seconds() for name in _DURATIONS}


def thawed(values: dict[str, Any]) -> Terms:
    """The terms of a call. What an older version did not know has its default."""
    known = {each.name for each in fields(Terms)}
    given = {name: value for name, value in values.items() if name in known}
    lasting = {name: timedelta(seconds=given[name]) for name in _DURATIONS if name in given}
    return Terms(**given | lasting | {"groups": tuple(given.get("groups", Terms().groups))})


def rules() -> list[Rule]:
    """All enabled policies, as they are stored."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for *columns, group in _RULES():
        row = dict(zip(_COLUMNS, columns, strict=True))
        _, groups = found.setdefault(row["name"], (row, []))
        if group:
            groups.append(group)
    return [_rule(row, tuple(sorted(groups))) for row, groups in found.values()]


def _covering(request: Request, tool: Tool) -> TrustGrant | None:
    """A live trust grant for exactly this definition of the tool in the session, and for these arguments."""
    grants = TrustGrant.objects.filter(
        TrustGrant.live(),
        session=request.session,
        tool=tool.name,
        provider=tool.provider,
        definition=tool.definition,
    )
    found = (grant for grant in grants.order_by("expires_at") if covers(grant.scope, request.arguments))
    return next(found, None)


_OF_RULE = ("name", "tool", "agent", "provider", "when")
_OF_TERMS = (
    "quorum", "requester_may_decide", "requester_may_trust", "open_for", "executable_for", "confirm", "justify",
    "trust_expires_in", "trust_max_uses", "notify",
)  # fmt: skip
_COLUMNS = (*_OF_RULE, *_OF_TERMS, "effect", "risk")
_RULES = Select(
    lambda: ToolPolicy.objects.filter(enabled=True).values_list(*_COLUMNS, "groups__name")
)  # joined


def _rule(row: dict[str, Any], groups: tuple[str, ...]) -> Rule:
    terms = Terms(groups=groups or Terms().groups, **{name: row[name] for name in _OF_TERMS})
    return Rule(
        **{name: row[name] for name in _OF_RULE},
        effect=Effect(row["effect"]),
        risk=Risk(row["risk"]) if row["risk"] else None,
        terms=terms,
    )
