"""What became of the calls: a list to look back at, and the same as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any
from urllib.parse import urlencode

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from approvals import permissions
from approvals.days import day, problem, within
from approvals.fields import storable
from approvals.lists import ListRow, list_rows
from approvals.models import Decision, ToolCall
from approvals.requests import Request, as_uuid, records_of, reviewer
from approvals.states import Status

PAGE = 50
EXPORTED = 10_000  # rows of a file
FORMULA = re.compile(r'((?:^|[;|\t\r\n])(?:[^\S\t\r\n]|")*)(?=[=+\-@])')  # what begins a field, perhaps
AT_ONCE = 500
ASKED = [
    (status.value, status.label)
    for status in (
        Status.SUCCEEDED,
        Status.APPROVED,
        Status.STARTED,
        Status.DENIED,
        Status.FAILED,
        Status.EXPIRED,
        Status.CANCELLED,
        Status.LAPSED,
        Status.UNKNOWN,
    )
] + [("trusted", "Trusted")]
UNASKED = [(Status.BLOCKED.value, Status.BLOCKED.label), ("unasked", "Not asked")]
"""Only for those who may look these up."""

COLUMNS = ("asked_at", "tool", "agent", "for", "what", "state", "note", "decided_by", "policy", "call")


@dataclass(frozen=True)
class Wanted:
    """What the address asks for."""

    status: str
    tool: str
    agent: str
    person: str
    since: str
    until: str
    trust: str = ""  # a grant: what it let through

    def fits(self) -> Q:
        fits = within("requested_at", self.since, self.until)
        for name, value in (("tool", self.tool), ("agent", self.agent), ("trust", self.trust)):
            if value:
                fits &= Q(**{name: value})
        if self.person:
            mine = Decision.objects.filter(call=OuterRef("pk"), by__username=self.person, undone_at=None)
            fits &= Q(requested_by__username=self.person) | Q(Exists(mine))
        if self.status == "trusted":
            return fits & Q(groups="", trust__isnull=False)
        if self.status == "unasked":
            return fits & Q(groups="") & ~Q(status=Status.BLOCKED)
        return fits & Q(status=self.status) if self.status in Status.values else fits

    def query(self, **changes: str) -> str:
        """As a query string, without what is empty."""
        kept = {name: value for name, value in {**vars(self), **changes}.items() if value}
        return urlencode(kept)


@never_cache
@require_safe
def history(request: Request) -> HttpResponse:
    """The calls that wait no more, newest first."""
    reviewer(request)
    wanted = _wanted(request)
    calls = _calls(request, wanted)
    if before := as_uuid(request.GET.get("before", "")):
        calls = calls.filter(pk__lt=before)
    found = list(calls[: PAGE + 1])
    filters = ASKED + (UNASKED if permissions.sees_unasked(request.user) else [])
    context = {
        "rows": list_rows(found[:PAGE]),
        "older": found[PAGE - 1].pk if len(found) > PAGE else None,
        "newest": before is None,
        "wanted": wanted,
        "problem": problem(request.GET.get("since", "").strip(), request.GET.get("until", "").strip()),
        "query": wanted.query(),
        "filters": [(value, label, wanted.query(status=value)) for value, label in (("", "All"), *filters)],
    }
    return render(request, "history.html", context)


@never_cache
@require_safe
def export(request: Request) -> HttpResponse:
    """The same calls as a file for a spreadsheet."""
    reviewer(request)
    calls = _calls(request, _wanted(request))[:EXPORTED]
    text = StringIO()
    file = csv.writer(text, quoting=csv.QUOTE_ALL)
    file.writerows([harmless(cell) for cell in row] for row in _table(calls))
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="history.csv"'
    return response


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, nor what it splits off with a separator of its own."""
    first = "'" if cell.startswith(("\t", "\r", "\n")) else ""
    return first + FORMULA.sub(r"\1'", cell)


def _table(calls: QuerySet[ToolCall]) -> Iterator[tuple[str, ...]]:
    yield COLUMNS
    for call in calls.iterator(chunk_size=AT_ONCE):
        [row] = list_rows([call])
        yield _cells(call, row)


def _cells(call: ToolCall, row: ListRow) -> tuple[str, ...]:
    decision = call.decision()
    return (
        call.requested_at.isoformat(timespec="seconds"),
        call.tool,
        call.agent,
        call.requested_by.get_username(),
        row.plain,
        row.state.text,
        row.state.note,
        decision.by.get_username() if decision else "",
        call.policy,
        str(call.pk),
    )


def _wanted(request: Request) -> Wanted:
    given: dict[str, Any] = {
        name: storable(request.GET.get(name, "").strip())
        for name in ("status", "tool", "agent", "person", "since", "until")
    }
    for name in ("since", "until"):
        given[name] = given[name] if day(given[name]) else ""
    trust = as_uuid(request.GET.get("trust", ""))
    return Wanted(**given, trust=str(trust) if trust else "")


def _calls(request: Request, wanted: Wanted) -> QuerySet[ToolCall]:
    calls = records_of(request).exclude(status=Status.PENDING).filter(wanted.fits())
    return calls.select_related("requested_by", "trust__granted_by").order_by("-pk")
