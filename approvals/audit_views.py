"""The page of the audit trail, for those who may read it. It changes nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from approvals import permissions
from approvals.days import day, problem, within
from approvals.fields import storable
from approvals.models import AuditEntry
from approvals.presentation import mark

PAGE = 100
KINDS = [
    "call.requested",
    "call.allowed",
    "call.blocked",
    "call.pending",
    "call.approved",
    "call.denied",
    "call.expired",
    "call.cancelled",
    "call.lapsed",
    "call.started",
    "call.succeeded",
    "call.failed",
    "call.unknown",
    "call.settled",
    "decision.made",
    "decision.undone",
    "decision.refused",
    "hook.asked",
    "hook.answered",
    "trust.granted",
    "trust.used",
    "trust.revoked",
    "policy.changed",
    "tool.changed",
    "token.created",
    "token.revoked",
    "run.quarantined",
    "run.released",
    "run.stopped",
    "person.signed_in",
    "person.signed_out",
    "person.sign_in_failed",
    "person.changed",
    "group.changed",
    "agent.changed",
    "audit.checkpoint",
    "audit.exported",
    "audit.broken",
]


@never_cache
@require_safe
def trail(request: HttpRequest) -> HttpResponse:
    """The newest entries that fit what was asked for, 100 a page."""
    if not permissions.may_audit(request.user):
        raise PermissionDenied("Only administrators read the audit trail.")
    asked, wrong = _asked(request)
    found = list(_search(asked)[: PAGE + 1])
    context = {
        "entries": [_shown(entry) for entry in found[:PAGE]],
        "older": found[PAGE - 1].seq if len(found) > PAGE else None,
        "asked": asked,
        "problem": wrong,
        "kinds": KINDS,
        "query": _kept(request),
    }
    return render(request, "audit.html", context)


def _kept(request: HttpRequest) -> str:
    """The form as a query string, without the place in the list."""
    return urlencode({name: value for name, value in request.GET.items() if name != "before" and value})


def _asked(request: HttpRequest) -> tuple[dict[str, Any], str]:
    """What the form says, and a sentence about what of it cannot be used."""
    given = {name: storable(request.GET.get(name, "").strip()) for name in ("q", "kind", "since", "until")}
    before = request.GET.get("before", "")
    asked: dict[str, Any] = {**given, "before": int(before) if _number(before) else None}
    wrong = problem(given["since"], given["until"])
    for name in ("since", "until"):
        asked[name] = given[name] if day(given[name]) else ""
    return asked, wrong


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _search(asked: dict[str, Any]) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.order_by("-seq")
    if asked["before"]:
        entries = entries.filter(seq__lt=asked["before"])
    if asked["kind"]:
        entries = entries.filter(kind=asked["kind"])
    if words := asked["q"]:
        exact = Q(session=words) | Q(call=words) | Q(actor=words) | Q(tool=words) | Q(digest=words)
        entries = entries.filter(exact)
    return entries.filter(within("at", asked["since"], asked["until"]))


def _shown(entry: AuditEntry) -> dict[str, Any]:
    data: SafeString | str = ""
    if entry.data:
        data = mark(json.dumps(entry.data, indent=2, ensure_ascii=False, sort_keys=True))
    return {"entry": entry, "data": data}
