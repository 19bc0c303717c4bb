"""What is not asked for at present, and ending that."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import PermissionDenied
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
from approvals.trust_words import uses

LISTED = 200


@never_cache
@require_safe
def trusted(request: Request) -> HttpResponse:
    """What is not asked for at present, and by whose word."""
    reviewer(request)
    now = timezone.now()
    grants = permissions.visible_grants(request.user).filter(TrustGrant.live()).select_related("granted_by")
    listed = list(grants.prefetch_related("decisions__call__requested_by")[:LISTED])
    used = uses(listed)
    found = [
        {
            "grant": grant,
            "scope": rows(grant.scope),
            "may_revoke": permissions.may_revoke(request.user, grant),
            "call": call,
            "left": span(grant.expires_at - now),
            "uses": used.get(grant.pk, []),
        }
        for grant in listed
        for call in [next(decision.call for decision in grant.decisions.all())]
    ]
    page = "trusted.html#grants" if wants(request, "grants") else "trusted.html"
    context = {
        "found": found,
        "ended": "ended" in request.GET,
        "sees_unasked": permissions.sees_unasked(request.user),
    }
    return render(request, page, context)


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
