"""Whoever asked for a call that waits too long reminds those who may decide it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q
from django.db.models.functions import Now

from approvals import audit, events
from approvals.errors import NotFound, TooEarly
from approvals.models import ToolCall
from approvals.states import Status

LONG = timedelta(minutes=10)  # after this, or half of the time a call is open, it waits too long
AGAIN = timedelta(minutes=10)  # between two reminders of one call
NO_CALL = "There is no such call of yours."


def patience(call: ToolCall) -> timedelta:
    """How long a call may wait before that is too long."""
    open_for = call.expires_at - call.requested_at if call.expires_at else 2 * LONG
    return min(open_for / 2, LONG)


def nudge(call_id: Any, user: User) -> ToolCall:
    """Remind the reviewers of one's own call. Raises NotFound; TooEarly where it does not wait, or not long enough."""
    call = ToolCall.objects.filter(pk=call_id, requested_by=user).first()
    if call is None:
        raise NotFound(NO_CALL)
    _nudge(call, user)
    return call


@audit.audited(durable=True)
def _nudge(call: ToolCall, user: User) -> None:
    rested = Q(nudged_at=None) | Q(nudged_at__lte=Now() - AGAIN)
    overdue = Q(requested_at__lte=Now() - patience(call), expires_at__gt=Now())
    due = ToolCall.objects.filter(rested, overdue, pk=call.pk, status=Status.PENDING)
    if not due.update(nudged_at=Now()):
        call.refresh_from_db()
        raise TooEarly(_why_not(call))
    audit.record("call.nudged", user.get_username(), call=call)
    events.ring(events.APPROVALS, "nudged", call=str(call.pk))
    events.ring(events.session_topic(call.session), "changed")


def _why_not(call: ToolCall) -> str:
    if call.status != Status.PENDING:
        return "This does not wait any more."
    if call.nudged_at:
        return "They were reminded a short while ago. Give them some minutes."
    return "This has not waited long yet. Give them some minutes."
