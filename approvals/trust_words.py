"""What trust covers and how far it has come, in words; and what has used it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.safestring import SafeString

from approvals.lists import ListRow, list_rows
from approvals.models import ToolCall, TrustGrant
from approvals.presentation import mark, span

SHOWN = 5  # uses of a grant


@dataclass(frozen=True)
class Told:
    """A grant in words. `over`: why it covers nothing more, empty while it does."""

    grant: TrustGrant
    same: list[SafeString]
    left: str
    over: str


def told(grant: TrustGrant) -> Told:
    left = grant.expires_at - timezone.now()
    return Told(grant, [mark(name) for name in grant.scope], span(left, words=True), _over(grant, left))


def _over(grant: TrustGrant, left: timedelta) -> str:
    if grant.revoked_at:
        return f"revoked by {grant.revoked_by.get_username()}" if grant.revoked_by else "revoked"
    if left <= timedelta():
        return "its time is up"
    return "it is used up" if grant.max_uses is not None and grant.uses >= grant.max_uses else ""


def uses(grants: Sequence[TrustGrant]) -> dict[UUID, list[ListRow]]:
    """The last calls that each of them let through, the newest first; one query for the calls of all."""
    place = Window(RowNumber(), partition_by=F("trust"), order_by=F("pk").desc())
    calls = ToolCall.objects.filter(trust__in=grants).annotate(place=place).filter(place__lte=SHOWN)
    found: dict[UUID, list[ListRow]] = defaultdict(list)
    for row in list_rows(calls.prefetch_related("decisions__by").order_by("-pk")):
        if row.call.trust_id:
            found[row.call.trust_id].append(row)
    return found
