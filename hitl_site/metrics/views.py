"""Who may read the metrics: this machine on a laptop; elsewhere whoever has the token for it, or an administrator's."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from approvals import permissions
from approvals.actions import tokens
from hitl_site.metrics.exposition import CONTENT_TYPE, text
from hitl_site.metrics.measures import measured

REFUSED = (
    "Metrics take Authorization: Bearer TOKEN, with NOD_METRICS_TOKEN or with an administrator's API token of the "
    "scope admin (docs/operations.md).\n"
)
LOOPBACK = frozenset(("127.0.0.1", "::1"))
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Via")


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not (_on_this_laptop(request) or _may(request)):
        return HttpResponse(REFUSED, status=403, content_type="text/plain; charset=utf-8")
    response = HttpResponse(text(measured()), content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    return response


def _on_this_laptop(request: HttpRequest) -> bool:
    """With DEBUG on, and not through a proxy: behind one, everybody comes from this machine."""
    direct = not any(name in request.headers for name in FORWARDED)
    return settings.DEMO and direct and request.META.get("REMOTE_ADDR") in LOOPBACK


def _may(request: HttpRequest) -> bool:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        return False
    own = settings.METRICS_TOKEN
    if own and secrets.compare_digest(key.encode("utf-8", "replace"), own.encode()):
        return True
    token = tokens.find(key)
    return token is not None and "admin" in token.scopes and permissions.may_audit(token.user)
