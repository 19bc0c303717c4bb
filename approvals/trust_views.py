"""What is not asked for at present, and ending that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from approvals import permissions
from approvals.actions import trust
from approvals.models import TrustGrant
from approvals.presentation import rows, span
from approvals.requests import Request, reviewer, wants
from approvals.trust_words import told, uses

LISTED = 200
ENDED = 20  # of those that ended, the last ones


@never_cache
@require_safe
def trusted(request: Request) -> HttpResponse:
    """What is not asked for at present, by whose word, and what that let through; then the same of what ended."""
    reviewer(request)
    grants = permissions.visible_grants(request.user)
    page = "trusted.html#grants" if wants(request, "grants") else "trusted.html"
    context = {
        "found": _entries(request, grants.filter(TrustGrant.live())[:LISTED]),
        "over": _entries(request, grants.exclude(TrustGrant.live())[:ENDED]),
        "ended": "ended" in request.GET,
    }
    return render(request, page, context)


def _entries(request: Request, grants: QuerySet[TrustGrant]) -> list[dict[str, Any]]:
    listed = list(
        grants.select_related("granted_by", "revoked_by").prefetch_related("decisions__call__requested_by")
    )
    used = uses(listed)
    return [
        {
            "grant": grant,
            "scope": rows(grant.scope),
            "may_revoke": permissions.may_revoke(request.user, grant),
            "call": next(decision.call for decision in grant.decisions.all()),
            "left": span(grant.expires_at - timezone.now()),
            "over": told(grant).over,
            "uses": used.get(grant.pk, []),
        }
        for grant in listed
    ]


@never_cache
@require_POST
def revoke(request: Request, grant_id: UUID) -> HttpResponse:
    """End trust; from now on its calls are asked for again."""
    reviewer(request)
    grant = permissions.visible_grants(request.user).filter(pk=grant_id).first()
    if grant is None:
        raise Http404("There is no such trust, or it is not yours to see.")
    if not permissions.may_revoke(request.user, grant):
        raise PermissionDenied("Only those who may give this trust may end it.")
    ended = not trust.revoke(grant.pk, grant.session, request.user)
    return redirect(f"{reverse('approvals:trusted')}{'?ended' if ended else ''}")
