"""What a reviewer's page tells of itself: which call it shows, and whom a call is taken by."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from approvals.actions import attention
from approvals.errors import Refusal
from approvals.requests import Request, calls_of, reviewer
from approvals.states import UNSETTLED


@never_cache
@require_POST
def look(request: Request, call_id: UUID) -> HttpResponse:
    """This call is looked at just now."""
    reviewer(request)
    found = calls_of(request).filter(pk=call_id).first()
    if found is None:
        raise Http404("There is no such call, or it is not yours to see.")
    if found.status in UNSETTLED:
        attention.look(found, request.user)
    return HttpResponse(status=204)


@never_cache
@require_POST
def take(request: Request, call_id: UUID) -> HttpResponse:
    """Look after a call, or no more; answers with its card, or with the reason why not."""
    reviewer(request)
    act = attention.release if request.POST.get("release") else attention.take
    try:
        act(call_id, request.user)
    except Refusal as refused:
        return HttpResponse(refused.message, status=refused.http_status, content_type="text/plain")
    if request.htmx:
        return trigger_client_event(HttpResponse(status=204), "nod:refresh", {"calls": [str(call_id)]})
    return redirect("approvals:call", call_id)


@cache_control(max_age=86400, private=True)
@require_safe
def favicon(request: Request) -> HttpResponse:
    """Nod's sign with a number of waiting calls."""
    given = request.GET.get("n", "")
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < 6 else 0
    return HttpResponse(_FAVICON % (str(number) if number < 100 else "99"), content_type="image/svg+xml")


_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<circle cx="16" cy="16" r="15" fill="#126e5a"/>'
    '<text x="16" y="22.5" font-family="system-ui,sans-serif" font-size="18" font-weight="700" fill="#fff"'
    ' text-anchor="middle">%s</text></svg>'
)
