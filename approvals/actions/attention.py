"""Who looks at a call, who has taken it, and what has waited too long. Nothing here decides anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from approvals import audit, events, permissions
from approvals.errors import NotFound, Refusal, TooLate
from approvals.models import Attention, ToolCall
from approvals.states import UNSETTLED, Status

LOOKS_FOR = timedelta(seconds=45)
"""A look counts for this long; pages repeat it every 20 s."""

TAKEN_FOR = timedelta(minutes=10)


class Taken(Refusal):
    """Somebody else looks after the call. They may still be asked, or the call be decided."""

    code, http_status = "taken", 409


def look(call: ToolCall, user: User) -> None:
    """The person looks at this call, and at no other any more. Others are told where that is news."""
    with transaction.atomic():
        before = Attention.objects.filter(user=user).values_list("call_id", flat=True).first()
        known = Attention.objects.filter(looked_at(), user=user, call=call).exists()
        Attention.objects.update_or_create(user=user, defaults={"call": call, "at": Now()})
        if not known:
            _ring(*{before, call.pk} - {None})


def looked_at() -> Q:
    """Looks that count, by the database's clock."""
    return Q(at__gt=Now() - LOOKS_FOR)


def take(call_id: Any, user: User) -> None:
    """Look after a call for ten minutes: others see it and turn to other calls first. It stops nobody.

    Raises Taken, TooLate, NotFound and what forbids the person to decide it; nothing has changed then.
    """
    call = _decidable(call_id, user)
    free = Q(taken_until=None) | Q(taken_until__lte=Now()) | Q(taken_by=user)
    with audit.audited():
        taken = ToolCall.objects.filter(free, pk=call.pk, status__in=UNSETTLED).update(
            taken_by=user, taken_until=Now() + TAKEN_FOR
        )
        if taken:
            audit.record("call.taken", user.get_username(), call=call)
            _ring(call.pk)
    if not taken:
        raise _why_not(call)


def release(call_id: Any, user: User) -> None:
    """Look after it no more. Raises NotFound; nothing happens where it is not theirs."""
    call = _visible(call_id, user)
    with audit.audited():
        mine = ToolCall.objects.filter(pk=call.pk, taken_by=user, taken_until__gt=Now())
        if mine.update(taken_by=None, taken_until=None):
            audit.record("call.released", user.get_username(), call=call)
            _ring(call.pk)


def escalate_due(limit: int = 500) -> int:
    """Move calls that have waited for half of their time up in the queue, and ring for them once more."""
    due = ToolCall.objects.filter(status=Status.PENDING, escalated=False, halfway_at__lte=Now())
    return sum(_escalate(call) for call in due[:limit])


@audit.audited()
def _escalate(call: ToolCall) -> bool:
    # the version stays: what a reviewer looks at has not changed
    moved = ToolCall.objects.filter(pk=call.pk, status=Status.PENDING, escalated=False).update(escalated=True)
    if moved:
        audit.record("call.escalated", "system", call=call)
        events.ring(events.APPROVALS, "pending", call=str(call.pk))
        events.ring(events.session_topic(call.session), "changed")
    return bool(moved)


def _decidable(call_id: Any, user: User) -> ToolCall:
    call = _visible(call_id, user)
    if refused := permissions.refusal(user, call):
        raise refused
    return call


def _visible(call_id: Any, user: User) -> ToolCall:
    call = permissions.visible_calls(user).filter(pk=call_id).first()
    if call is None:
        raise NotFound("There is no such call, or it is not yours to see.")
    return call


def _why_not(call: ToolCall) -> Refusal:
    call.refresh_from_db()
    if call.status in UNSETTLED and call.taken_by:
        who = call.taken_by.get_username()
        return Taken(f"{who} has taken this. Turn to another call, or decide it all the same.", taken_by=who)
    return TooLate("This call does not wait any more.")


def _ring(*calls: Any) -> None:
    for call in calls:
        events.ring(events.APPROVALS, "looks", call=str(call))
