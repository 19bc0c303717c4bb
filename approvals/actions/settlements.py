"""What a person does about a call whose outcome is unknown. It is never repeated by guess."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import F
from django.db.models.functions import Now

from approvals import audit, events
from approvals.actions import calls
from approvals.actions.decisions import (
    check_length,
    check_may_decide,
    check_note,
    check_word,
    find,
    record_refusal,
)
from approvals.errors import AlreadyDecided, Refusal, Stale, TooEarly
from approvals.fields import storable
from approvals.models import AuditEntry, Decision, Tool, ToolCall
from approvals.permissions import voting
from approvals.signals import resumed, settled
from approvals.states import Choice, Outcome, Status

SETTLED = "call.settled"


@dataclass(frozen=True)
class Settlement:
    """What the person found out, and what they saw (version, digest)."""

    outcome: Outcome
    version: int
    digest: str
    note: str = ""
    confirm: str = ""  # the word that they typed


def settle(call_id: Any, user: User, settlement: Settlement) -> ToolCall:
    """Say what became of an UNKNOWN call: it happened, it is to run again, or it is given up.

    Running it again is an approval, by the same rules and with a decision of its own: where it takes several, the
    outcome stays unknown until as many have said so. Raises NotFound, NotAReviewer, SelfApproval, AlreadyDecided,
    Stale, TooEarly, TooLate, CommentRequired, ConfirmRequired, TooLong, InvalidInput; nothing has changed then. A
    refusal is audited.
    """
    call = find(call_id)
    try:
        check_may_decide(call, user)
        return _settle(call, user, settlement)
    except Refusal as refused:
        record_refusal(call, user, refused, settlement.outcome)
        raise


@audit.audited(durable=True)
def _settle(call: ToolCall, user: User, settlement: Settlement) -> ToolCall:
    if call.status != Status.UNKNOWN:
        raise _lost(call)
    again = settlement.outcome == Outcome.RUN_AGAIN
    check_note(settlement.note, required=not again or bool(call.term("justify")))
    if again:
        check_length(call.arguments)
        check_word(call, settlement.confirm)
        _must_be_over(call)
    note = storable(settlement.note.strip())
    if again:
        call = ToolCall.objects.select_for_update().get(pk=call.pk)  # who says so too waits, and counts
        changes = _again(call, user)
    else:
        changes = _ended(settlement.outcome, user.get_username(), note)
    _change(call, settlement, changes)
    call.refresh_from_db()
    if again:
        _approve(call, user, settlement, note)
    if call.status == Status.APPROVED:
        resumed.send(sender=ToolCall, call=call)
        if call.elsewhere:
            calls.open_window(call)  # no run goes on with it and opens one
    if call.status != Status.UNKNOWN:
        audit.record(SETTLED, user.get_username(), call=call, outcome=settlement.outcome, note=note)
        settled.send(sender=ToolCall, call=call)
    events.ring(
        events.APPROVALS, "changed" if call.status == Status.UNKNOWN else "decided", call=str(call.pk)
    )
    events.ring(events.session_topic(call.session), "changed")
    return call


def _must_be_over(call: ToolCall) -> None:
    """What was started may still be under way: a slow service, a worker that stands still. Raises TooEarly."""
    timeout = Tool.objects.filter(name=call.tool).values_list("timeout", flat=True).first() or 0
    patience = timedelta(seconds=timeout) + settings.EFFECT_GRACE
    if ToolCall.objects.filter(pk=call.pk, started_at__gt=Now() - patience).exists():
        raise TooEarly(
            "It may still be running. It can be run again "
            f"{patience.total_seconds():.0f} seconds after it was started."
        )


def _ended(outcome: Outcome, who: str, note: str) -> dict[str, Any]:
    if outcome == Outcome.HAPPENED:
        told = f"{who} checked: it happened. {note}"
        return {"status": Status.SUCCEEDED, "result": [{"text": told}], "version": F("version") + 1}
    told = f"{who} gave it up: {note} It may or may not have happened. Do not try it again."
    return {"status": Status.FAILED, "result": [{"text": told}], "version": F("version") + 1}


def _again(call: ToolCall, user: User) -> dict[str, Any]:
    """One more who wants it run again; approved, if they are enough. The first of them begins a new round."""
    begun = voting(call)
    if begun and call.decisions.filter(by=user, round=call.round, undone_at=None).exists():
        raise AlreadyDecided(
            "You have said so already. Somebody else has to as well.", call_status=call.status
        )
    counts = {"approvals": call.approvals + 1 if begun else 1, "round": call.round + (not begun)}
    if counts["approvals"] < call.quorum:
        return counts
    fresh: dict[str, Any] = {
        "started_at": None,
        "finished_at": None,
        "executable_until": None,
        "fault": "",
        "why": "",
    }
    return {**counts, **fresh, "status": Status.APPROVED, "decided_at": Now(), "version": F("version") + 1}


def _change(call: ToolCall, seen: Settlement, changes: dict[str, Any]) -> None:
    rows = ToolCall.objects.filter(
        pk=call.pk, status=Status.UNKNOWN, version=seen.version, digest=storable(seen.digest)
    )
    if not rows.update(**changes):
        call.refresh_from_db()
        if call.status == Status.UNKNOWN:
            raise Stale("The call is not what this page showed. Reload, look at it again, then settle it.")
        raise _lost(call)


def _lost(call: ToolCall) -> AlreadyDecided:
    """Why nobody settles this any more; the audit trail knows who did."""
    entry = AuditEntry.objects.filter(kind=SETTLED, call=str(call.pk)).first()
    if entry is None:
        return AlreadyDecided("Nobody needs to settle this.", call_status=call.status)
    return AlreadyDecided(
        f"{entry.actor} settled this before you.",
        decided_by=entry.actor,
        decided_at=entry.at.isoformat(),
        call_status=call.status,
    )


def _approve(call: ToolCall, user: User, seen: Settlement, note: str) -> None:
    Decision.objects.create(
        call=call,
        by=user,
        requested_by_id=call.requested_by_id,
        self_allowed=bool(call.term("requester_may_decide")),
        choice=Choice.APPROVE,
        comment=note,
        digest=call.digest,
        version=seen.version,
        round=call.round,
    )
    audit.record("decision.made", user.get_username(), call=call, choice=Choice.APPROVE, again=True)
    if call.status == Status.APPROVED:
        audit.record("call.approved", user.get_username(), call=call)
