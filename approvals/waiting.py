"""What waits for a decision: in which order, and narrowed down as the address says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from approvals import permissions
from approvals.models import Decision, ToolCall
from approvals.states import Choice, Risk, Status

ORDER = ("urgency", "requested_at", "pk")
MOST = 200  # characters of a filter; no name is longer


@dataclass(frozen=True)
class Filters:
    """Which of the waiting calls a person wants to see. Empty means all of them."""

    mine: str = ""  # "1": those that they may decide, and have not yet approved
    group: str = ""
    agent: str = ""
    tool: str = ""
    risk: str = ""
    session: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From a query string. What makes no sense there is left out."""
        found = {name: str(given.get(name) or "")[:MOST].replace("\x00", "") for name in cls.__annotations__}
        found["mine"] = "1" if found["mine"] else ""
        found["risk"] = found["risk"] if found["risk"] in Risk.values else ""
        return cls(**found)

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    @property
    def query(self) -> str:
        """As an address has it: empty, or beginning with a question mark."""
        chosen = {name: value for name, value in asdict(self).items() if value}
        return f"?{urlencode(chosen)}" if chosen else ""

    @property
    def more(self) -> str:
        """The same behind other parameters."""
        return self.query.replace("?", "&", 1)

    def but(self, **changes: str) -> Filters:
        return replace(self, **changes)

    def only(self, user: User, calls: QuerySet[ToolCall]) -> QuerySet[ToolCall]:
        """Those of these calls that pass."""
        if self.mine:
            calls = calls.filter(for_me(user))
        if self.group:
            calls = calls.filter(groups__contains=f"|{self.group}|")
        exact = {name: getattr(self, name) for name in ("agent", "tool", "risk", "session")}
        return calls.filter(**{name: value for name, value in exact.items() if value})


def for_me(user: User) -> Q:
    """Calls that this person may settle, or decide and has not yet approved; as permissions.refusal says of each."""
    groups = Q(pk=None)
    for name in permissions.group_names(user):
        groups |= Q(groups__contains=f"|{name}|")
    own = Q(requested_by=user) & ~Q(pk__in=_may_decide_own(user))
    approved = Decision.objects.filter(
        ~Q(choice=Choice.DENY), call=OuterRef("pk"), by=user, undone_at=None, round=OuterRef("round")
    )
    return groups & ~own & (~Q(Exists(approved)) | Q(status=Status.UNKNOWN))


def _may_decide_own(user: User) -> list[Any]:
    """The person's own waiting calls whose policy lets the requester decide. There are 20 a session at most."""
    mine = ToolCall.objects.filter(requested_by=user, status__in=(Status.PENDING, Status.UNKNOWN))
    return [call.pk for call in mine.only("terms") if call.term("requester_may_decide")]


def pending(calls: QuerySet[ToolCall]) -> QuerySet[ToolCall]:
    """Those that nobody has decided, in the order in which to decide them."""
    return calls.filter(status=Status.PENDING).order_by(*ORDER)


def unknown(calls: QuerySet[ToolCall]) -> QuerySet[ToolCall]:
    """Those that a person has to settle; an agent waits for each."""
    return calls.filter(status=Status.UNKNOWN).order_by("finished_at", "pk")


@dataclass(frozen=True)
class Facet:
    """One value that the waiting calls can be narrowed down to."""

    name: str
    value: str
    label: str
    count: int
    query: str
    chosen: bool


def facets(calls: QuerySet[ToolCall], filters: Filters) -> dict[str, list[Facet]]:
    """For each filter the values there are among these calls, with how many have them; the most frequent first."""
    rows = calls.order_by().values_list("tool", "agent", "risk", "groups").annotate(n=Count("pk"))
    counts: dict[str, dict[str, int]] = {"tool": {}, "agent": {}, "risk": {}, "group": {}}
    for tool, agent, risk, groups, number in rows:
        _count(counts["tool"], [tool], number)
        _count(counts["agent"], [agent], number)
        _count(counts["risk"], [risk], number)
        _count(counts["group"], [name for name in groups.split("|") if name], number)
    return {name: list(_facets(name, found, filters)) for name, found in counts.items()}


def _count(counts: dict[str, int], values: Iterable[str], number: int) -> None:
    for value in values:
        counts[value] = counts.get(value, 0) + number


def _facets(name: str, counts: dict[str, int], filters: Filters) -> Iterable[Facet]:
    for value, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if value:
            label = f"{Risk(value).label} risk" if name == "risk" else value
            chosen = getattr(filters, name) == value
            query = filters.but(**{name: "" if chosen else value}).query
            yield Facet(name, value, label, number, query or "?", chosen)
