"""What people are spared: the same question once more, and too many at a time. Changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db.models import Count, Q

from approvals.actions.verdicts import Judged
from approvals.models import Decision, ToolCall
from approvals.prepared import Select, Slot
from approvals.states import Effect, Status


def limited(judged: Judged, about_to_ask: int) -> Judged:
    """The same, or blocked where an asked call would go beyond what its session may ask of people.

    `about_to_ask`: calls of this session that will be asked together with this one, and are not stored yet.
    """
    if not judged.verdict.asks:
        return judged
    counted = _COUNTS.first(session=judged.request.session, digest=judged.digest)
    denied, waiting = counted or (0, 0)
    if denied >= settings.DENIALS_A_CALL:
        return _blocked(
            judged, f"{_last_denier(judged)} denied exactly this, {denied} times in this session by now."
        )
    if waiting + about_to_ask >= settings.PENDING_A_SESSION:
        limit = settings.PENDING_A_SESSION
        return _blocked(
            judged, f"{limit} calls of this session wait for people already. Ask again when some are decided."
        )
    return judged


def _counts() -> Any:
    """One row for the session: how often exactly this was denied, and how many calls wait."""
    mine = ToolCall.objects.filter(session=Slot("session"), status__in=[Status.PENDING, Status.DENIED])
    counted = (
        mine.order_by()
        .values("session")
        .annotate(
            denied=Count("pk", filter=Q(status=Status.DENIED, digest=Slot("digest"))),
            waiting=Count("pk", filter=Q(status=Status.PENDING)),
        )
    )
    return counted.values_list("denied", "waiting")


def _last_denier(judged: Judged) -> str:
    same = {"call__session": judged.request.session, "call__digest": judged.digest}
    denials = Decision.objects.filter(**same, call__status=Status.DENIED, undone_at=None)
    return denials.order_by("-pk").values_list("by__username", flat=True).first() or "People"


def _blocked(judged: Judged, why: str) -> Judged:
    return replace(judged, verdict=replace(judged.verdict, effect=Effect.BLOCK, policy="", why=why))


_COUNTS = Select(_counts)
