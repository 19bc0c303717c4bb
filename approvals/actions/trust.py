"""Revoking trust."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models.functions import Now

from approvals import audit, events
from approvals.models import TrustGrant


@audit.audited()
def revoke(grant_id: Any, session: str, user: User) -> bool:
    """Revoke a grant of the session; nothing that has not started can use it from this commit on.

    False when it was not live any more.
    """
    grants = TrustGrant.objects.filter(pk=grant_id, session=session, revoked_at=None)
    updated = grants.update(revoked_at=Now(), revoked_by=user)
    if updated:
        tool = TrustGrant.objects.values_list("tool", flat=True).get(pk=grant_id)
        audit.record("trust.revoked", user.get_username(), session=session, tool=tool, grant=str(grant_id))
        events.ring(events.session_topic(session), "changed")
        events.ring(events.APPROVALS, "changed")
    return bool(updated)
