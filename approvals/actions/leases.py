"""Claims of agents that run elsewhere, and what they report (docs/api.md).

Nod keeps the ledger; the effect happens there. Whoever claims a call gets a lease and shows it with the outcome. A
lease that ends without one leaves the outcome unknown, and a person settles it: nothing is repeated by guess.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import F, Q
from django.db.models.functions import Now

from approvals import audit, events
from approvals.actions import calls
from approvals.actions.elsewhere import mine
from approvals.actions.rechecks import changed, fault_of
from approvals.actions.tokens import hashed
from approvals.actions.verdicts import Request
from approvals.errors import (
    Changed,
    Claimed,
    InvalidInput,
    Lapsed,
    LostClaim,
    LostLease,
    NotClaimable,
)
from approvals.models import Tool, ToolCall
from approvals.results import blocks_of
from approvals.states import RUNNABLE, Fault, Status

SECRET = re.compile(r"[!-~]{20,100}")
CLAIMED = frozenset({Status.STARTED, Status.SUCCEEDED, Status.FAILED, Status.UNKNOWN})


@dataclass(frozen=True)
class Claim:
    """On what digest, and for how long. `secret`: the lease, where whoever claims brings one, so that they may send
    the same claim again when its answer was lost."""

    digest: str
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    seconds: float | None = None

    @property
    def lasts(self) -> timedelta:
        """Raises InvalidInput."""
        if self.seconds is None:
            return settings.CALL_LEASE
        longest = settings.CALL_LEASE_MOST.total_seconds()
        if not 1 <= self.seconds <= longest:
            raise InvalidInput(f"lease_for: give 1 to {longest:.0f} seconds.")
        return timedelta(seconds=self.seconds)

    def check(self) -> None:
        """Raises InvalidInput."""
        if not SECRET.fullmatch(self.secret):
            raise InvalidInput(
                "lease: give 20 to 100 visible ASCII characters by chance, or leave it out for one of Nod's."
            )


def claim(call_id: UUID, user: User, wanted: Claim) -> ToolCall:
    """Start a call that is allowed or approved: from here on it is this claim's to run, once.

    Checked again: the digest over what is stored and the tool as it is defined now, the policies, trust, the time in
    which an approval may be used. What fails makes the call LAPSED. Raises NotFound, InvalidInput, Changed, Claimed,
    Lapsed, NotClaimable.
    """
    wanted.check()
    lasts = wanted.lasts
    call = _claim(mine(call_id, user).pk, wanted, lasts)
    if call.status != Status.STARTED or call.lease != hashed(wanted.secret) or call.digest != wanted.digest:
        raise _refusal(call, wanted)
    return call


@audit.audited(durable=True)
def _claim(call_id: UUID, wanted: Claim, lasts: timedelta) -> ToolCall:
    """The call as it is then. What lapses here has to be committed, so nothing is raised.

    The call is locked before the trust that covers it, as where trust is taken back with a decision.
    """
    call = ToolCall.objects.select_for_update().get(pk=call_id)
    if call.digest != wanted.digest:
        return call
    if call.status == Status.STARTED:
        return _claim_again(call, wanted, lasts)
    if call.status not in RUNNABLE:
        return call
    if found := changed(call, _request(call)):
        return calls.lapse(call, *found)
    in_time = Q(executable_until__gt=Now())
    return _start(call, in_time, wanted, lasts) or calls.lapse(call, *fault_of(Fault.TOO_LATE))


def _claim_again(call: ToolCall, wanted: Claim, lasts: timedelta) -> ToolCall:
    """The same claim once more; or, where the tool may be repeated, another one after the lease has ended."""
    if (
        call.lease == hashed(wanted.secret)
        or not Tool.objects.filter(name=call.tool, idempotent=True).exists()
    ):
        return call
    over = Q(lease_until__lte=Now())
    if ToolCall.objects.filter(over, pk=call.pk).exists() and changed(call, _request(call)):
        calls.mark_unknown(call, Fault.SILENT)
        call.refresh_from_db()
        return call
    return _start(call, over, wanted, lasts, again=True) or call


def _start(call: ToolCall, when: Q, wanted: Claim, lasts: timedelta, **more: Any) -> ToolCall | None:
    """STARTED with this claim's lease, if it is the time for it by the database's clock."""
    started = ToolCall.objects.filter(when, pk=call.pk).update(
        status=Status.STARTED,
        epoch=F("epoch") + 1,
        started_at=Now(),
        lease=hashed(wanted.secret),
        lease_until=Now() + lasts,
    )
    if not started:
        return None
    call.refresh_from_db()
    audit.record("call.started", calls.AGENT, call=call, epoch=call.epoch, **more)
    events.ring(events.APPROVALS, "changed", call=str(call.pk))
    events.ring(events.session_topic(call.session), "changed")
    return call


def _request(call: ToolCall) -> Request:
    """What would run: the arguments as they were approved."""
    return Request(
        session=call.session,
        tool_use_id=call.tool_use_id,
        tool=call.tool,
        arguments=call.arguments,
        requested_by=call.requested_by_id,
        agent=call.agent,
    )


def _refusal(call: ToolCall, wanted: Claim) -> NotClaimable:
    """Why the claim failed, by what the call is now."""
    if call.status in CLAIMED:
        return Claimed(
            "The call was claimed before, so it may have run. Do not run it; look at what became of it.",
            call_status=call.status,
        )
    if call.status == Status.LAPSED:
        return Lapsed(f"The call lapsed and will not run. {call.why}".strip(), call_status=call.status)
    if call.status in RUNNABLE and call.digest != wanted.digest:
        return Changed(
            "The digest is not that of what was approved. Get the call, look at its arguments, claim with its digest.",
            call_status=call.status,
        )
    word = (
        "is not decided yet" if call.status == Status.PENDING else f"was {call.get_status_display().lower()}"
    )
    return NotClaimable(f"The call {word}. Nothing may run.", call_status=call.status)


def report(call_id: UUID, user: User, secret: str, *, succeeded: bool, result: Any) -> ToolCall:
    """Store what became of a claimed call. The same report once more changes nothing.

    Raises NotFound, InvalidInput, and LostLease where the call is another claim's, or nobody's any more.
    """
    call = mine(call_id, user)
    content = blocks_of(result)
    status = Status.SUCCEEDED if succeeded else Status.FAILED
    if call.lease and secrets.compare_digest(call.lease, hashed(secret)):
        if call.status == Status.STARTED:
            try:
                return calls.record(call, succeeded=succeeded, result=content)
            except LostClaim:
                call.refresh_from_db()
        if (call.status, call.result) == (status, content):
            return call
    raise LostLease(_lost(call), call_status=call.status)


def _lost(call: ToolCall) -> str:
    match call.status:
        case Status.UNKNOWN:
            return "The lease has ended without an outcome; a person says what became of the call."
        case Status.SUCCEEDED | Status.FAILED:
            return "What became of the call is recorded already, and stays so."
        case Status.STARTED:
            return "This is not the lease that the call was claimed with last."
    return "The call is not claimed, so nothing can have become of it."


def sweep(limit: int = 500) -> int:
    """What was claimed, and nobody said in time what became of it, is UNKNOWN from now on. Returns how many.

    A tool that may be repeated can be claimed once more first, for a while.
    """
    repeatable = Tool.objects.filter(idempotent=True).values("name")
    over = Q(lease_until__lte=Now() - settings.CALL_LEASE) | ~Q(tool__in=repeatable)
    silent = ToolCall.objects.filter(over, status=Status.STARTED, lease_until__lte=Now())
    return sum(calls.mark_unknown(call, Fault.SILENT) for call in silent[:limit])
