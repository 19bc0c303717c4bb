"""What became of the calls that were asked for."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from approvals.lists import list_rows
from approvals.requests import Request, as_uuid, calls_of, reviewer
from approvals.states import Status

PAGE = 50
FILTERS = [
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
]


@never_cache
@require_safe
def history(request: Request) -> HttpResponse:
    """All settled calls, newest first."""
    reviewer(request)
    calls = calls_of(request).exclude(status=Status.PENDING).order_by("-pk")
    status = request.GET.get("status", "")
    if status in Status.values:
        calls = calls.filter(status=status)
    if before := as_uuid(request.GET.get("before", "")):
        calls = calls.filter(pk__lt=before)
    found = list(calls[: PAGE + 1])
    context = {
        "rows": list_rows(found[:PAGE]),
        "older": found[PAGE - 1].pk if len(found) > PAGE else None,
        "newest": before is None,
        "status": status,
        "filters": FILTERS,
    }
    return render(request, "history.html", context)
