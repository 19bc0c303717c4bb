"""Taking one's own decision back, as long as nothing has come of it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import F, Q
from django.db.models.functions import Now

from approvals import audit, events
from approvals.actions import trust
from approvals.actions.decisions import check_may_decide, find, record_refusal
from approvals.actions.edits import digest_of
from approvals.errors import Refusal, TooLate
from approvals.models import Decision, ToolCall
from approvals.permissions import voting
from approvals.signals import reopening
from approvals.states import UNSETTLED, Choice, Status


def undo(call_id: Any, user: User, version: int) -> ToolCall:
    """Take one's own decision back. The call waits again, as it was asked; approvals of others still count.

    Raises NotFound, NotAReviewer, SelfApproval, TooLate; nothing has changed then. A refusal is audited.
    """
    call = find(call_id)
    try:
        check_may_decide(call, user)
        return _undo(call, user, version)
    except Refusal as refused:
        record_refusal(call, user, refused, "undo")
        raise


@audit.audited(durable=True)
def _undo(call: ToolCall, user: User, version: int) -> ToolCall:
    waits = call.status in UNSETTLED
    if waits:  # no worker holds its run: the call may be locked first, and its count is as it is
        call = ToolCall.objects.select_for_update().get(pk=call.pk)
        if call.status not in UNSETTLED:
            raise TooLate("Somebody else has decided meanwhile. Look at the call again.")
    decision = _own(call, user)
    undone = audit.entry("decision.undone", user.get_username(), call=call, choice=decision.choice)
    if not waits:  # first: who holds a run may wait for its approved calls
        reopening.send(sender=ToolCall, call=call)
    _reopen(call, version, left=max(0, call.approvals - (decision.choice != Choice.DENY)))
    Decision.objects.filter(pk=decision.pk).update(undone_at=Now())
    if decision.grant_id:
        trust.revoke(decision.grant_id, call.session, user)
    call.refresh_from_db()
    audit.write(undone)
    if not waits:
        audit.record("call.pending", user.get_username(), call=call)
    events.ring(events.APPROVALS, "pending", call=str(call.pk))
    events.ring(events.session_topic(call.session), "changed")
    return call


def _own(call: ToolCall, user: User) -> Decision:
    """The person's decision that can be taken back, if the call stands as it left it."""
    counting = call.decisions.filter(undone_at=None, round=call.round).select_related("by").order_by("-pk")
    decision = counting.filter(by=user).first()
    last = counting.first()
    counts = call.status in (Status.PENDING, Status.APPROVED, Status.DENIED) or voting(call)
    if last is None or not counts:
        raise TooLate("There is no decision to undo: nobody decided, or it has been acted upon.")
    if call.round > 1 and call.status == Status.APPROVED:
        raise TooLate("This let a call run again whose outcome was unknown; that cannot be undone.")
    if decision is None or (call.status == Status.DENIED and decision != last):
        raise TooLate(f"Only {last.by.get_username()} can undo this decision.")
    return decision


def _reopen(call: ToolCall, version: int, left: int) -> None:
    """`left`: how many approvals still count. A reviewer's edit goes with the last approval of it."""
    changes: dict[str, Any] = {"approvals": left, "version": F("version") + 1}
    still = Q(status=call.status, version=version, approvals=call.approvals)
    if call.status != Status.UNKNOWN:
        changes |= {"status": Status.PENDING, "decided_at": None, "executable_until": None}
        still &= Q(expires_at__gt=Now())
    if call.status in (Status.APPROVED, Status.DENIED) and call.term("notify"):
        changes["announce_at"] = Now() + settings.NOTICE_GRACE
    if call.proposed is not None and not left and call.status != Status.UNKNOWN:
        digest = digest_of(call, call.proposed)
        changes |= {"arguments": call.proposed, "proposed": None, "digest": digest}
    if not ToolCall.objects.filter(still, pk=call.pk).update(**changes):
        raise TooLate("It is too late to undo this: the call runs, has run, or has expired meanwhile.")
