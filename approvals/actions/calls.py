"""The steps of a call's life that no reviewer takes: asked, started, recorded, expired, cancelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db.models import DurationField, F, Q, QuerySet, UUIDField
from django.db.models.functions import Now

from approvals import audit, events
from approvals.actions.rechecks import changed, fault_of
from approvals.actions.verdicts import Judged, Request, examine, frozen
from approvals.errors import LostClaim
from approvals.fields import storable
from approvals.models import Tool, ToolCall, TrustGrant
from approvals.policy import Terms
from approvals.prepared import Insert, Slot, Update
from approvals.signals import asked, settled
from approvals.states import RUNNABLE, Effect, Fault, Status

AGENT = "agent"  # the actor of what the agent's side does
PROMPT_KEPT = 2000  # characters
SYSTEM = "system"  # the actor of what a clock does


def ask(judged: Sequence[Judged]) -> None:
    """Store asked calls as PENDING, in the caller's transaction: the one that saves the session's state."""
    entries = []
    for one in judged:
        call = _row(one, Status.PENDING)
        call.groups = f"|{'|'.join(one.verdict.terms.groups)}|"
        _ASK.row(call, open_for=one.verdict.terms.open_for, half=one.verdict.terms.open_for / 2)
        if one.verdict.terms.notify:
            ToolCall.objects.filter(pk=call.pk).update(announce_at=Now() + settings.NOTICE_GRACE)
        entries.append(_requested(call))
        entries.append(audit.entry("call.pending", AGENT, call=call, policy=call.policy, why=call.why))
        events.ring(events.APPROVALS, "pending", call=str(call.pk))
        asked.send(sender=ToolCall, call=call)
    audit.write(*entries)


_ASK = Insert(
    ToolCall,
    expires_at=Now() + Slot("open_for", DurationField()),
    halfway_at=Now() + Slot("half", DurationField()),
)


def block(judged: Judged) -> ToolCall:
    """Store a call that a policy blocks, in the caller's transaction."""
    call = _row(judged, Status.BLOCKED)
    call.save(force_insert=True)
    audit.write(_requested(call), audit.entry("call.blocked", AGENT, call=call, policy=call.policy))
    return call


def start_new(request: Request, epoch: int) -> ToolCall | Judged:
    """Start a call that nobody needs to be asked for: one row, STARTED, before the effect.

    In the caller's transaction. Returns the verdict instead when it is not (or no longer) allow.
    """
    started = {"status": Status.STARTED, "epoch": epoch, "started_at": Now()}
    call = _let(request, started)
    if isinstance(call, ToolCall):
        audit.record("call.started", AGENT, call=call)
    return call


def allow(request: Request) -> ToolCall | Judged:
    """Store a call that nobody needs to be asked for and that is claimed later, in the caller's transaction.

    It has to be claimed within the time that an approval would be usable. Returns the verdict instead when it is not
    allow.
    """
    return _let(request, {"status": Status.ALLOWED})


def _let(request: Request, stands: dict[str, Any]) -> ToolCall | Judged:
    judged = examine(request)
    if judged.verdict.effect != Effect.ALLOW:
        return judged
    call = _row(judged, stands["status"])
    if judged.verdict.by_trust and not _use_trust(call, judged):
        return _let(request, stands)  # the grant ended since the verdict: judge again without it
    if call.status == Status.ALLOWED:
        call.executable_until = Now() + judged.verdict.terms.executable_for
    for name, value in stands.items():
        setattr(call, name, value)
    call.save(force_insert=True)
    entries = [
        _requested(call),
        audit.entry("call.allowed", AGENT, call=call, policy=call.policy, why=call.why),
    ]
    if call.trust_id:
        entries.append(audit.entry("trust.used", AGENT, call=call, grant=str(call.trust_id)))
    audit.write(*entries)
    events.ring(events.session_topic(call.session), "changed")
    return call


def start_approved(call: ToolCall, request: Request, epoch: int) -> ToolCall:
    """Claim an approved call just before its effect, in the caller's transaction.

    Checked again here: the digest over what is stored and the tool as it is defined now, the policies
    (one that blocks wins), the window in which an approval may be used. What fails makes the call LAPSED.
    The row that comes back is STARTED with this epoch, or must not run.
    """
    if change := changed(call, request):
        return _lapse_as_read(call, request, epoch, *change)
    if not _START(pk=call.pk, version=call.version, digest=call.digest, epoch=epoch):
        return _not_started(call, request, epoch)
    call.status, call.epoch = Status.STARTED, epoch
    audit.record("call.started", AGENT, call=call, epoch=epoch)
    _ring(call)
    return call


_PK = Slot("pk", UUIDField())
_USABLE = Q(executable_until__gt=Now()) | (
    ~Q(run="") & Q(executable_until=None)  # approved while a worker had the run already
)
_START = Update(
    lambda: ToolCall.objects.filter(
        _USABLE, pk=_PK, status=Status.APPROVED, version=Slot("version"), digest=Slot("digest")
    ),
    status=Status.STARTED,
    epoch=Slot("epoch"),
    started_at=Now(),
)


def start_again(call: ToolCall, request: Request, epoch: int) -> ToolCall:
    """Claim a call once more whose worker died while it ran, in the caller's transaction.

    Only for tools that may be repeated. Whatever has changed since makes its outcome a question for a person.
    """
    if changed(call, request) or not _repeatable(call):
        return leave_unknown(call)
    updated = ToolCall.objects.filter(pk=call.pk, status=Status.STARTED, epoch=call.epoch).update(
        epoch=epoch, started_at=Now()
    )
    if not updated:
        call.refresh_from_db()
        return call
    call.epoch = epoch
    audit.record("call.started", AGENT, call=call, epoch=epoch, again=True)
    return call


def leave_unknown(call: ToolCall) -> ToolCall:
    """A dead worker's call is not started again, in the caller's transaction: a person says what became of it."""
    mark_unknown(call, Fault.WORKER_DIED)
    call.refresh_from_db()
    return call


def idempotency_key(call: ToolCall) -> str:
    """What an idempotent tool gets: the same for each attempt at this call, and for no other call."""
    return call.pk.hex


def _repeatable(call: ToolCall) -> bool:
    return Tool.objects.filter(name=call.tool, idempotent=True).exists()


def _not_started(call: ToolCall, request: Request, epoch: int) -> ToolCall:
    version = call.version
    call.refresh_from_db()
    if call.status != Status.APPROVED:
        return call  # it lapsed, was cancelled or undone a moment ago
    if call.version != version:  # undone and approved once more: what counts is what is there now
        return start_approved(call, request_for(call, request), epoch)
    stale = ToolCall.objects.filter(pk=call.pk, executable_until__lte=Now()).exists()
    return _lapse_as_read(call, request, epoch, *fault_of(Fault.TOO_LATE if stale else Fault.ARGUMENTS))


def _lapse_as_read(call: ToolCall, request: Request, epoch: int, fault: Fault, why: str) -> ToolCall:
    """Lapse the approval that was looked at; one that came in its place meanwhile counts by itself."""
    lapse(call, fault, why, version=call.version)
    if call.status == Status.APPROVED:
        return start_approved(call, request_for(call, request), epoch)
    return call


def request_for(call: ToolCall, request: Request) -> Request:
    """The request with the arguments that were approved."""
    return replace(request, arguments=call.arguments)


def lapse(call: ToolCall, fault: Fault, why: str = "", *, version: int | None = None) -> ToolCall:
    """A call that might run will not, in the caller's transaction; with a version, only while it has that."""
    changes = {"fault": fault, "why": why or f"{fault.label}.", "version": F("version") + 1}
    rows = ToolCall.objects.filter(pk=call.pk, status__in=RUNNABLE)
    if version is not None:
        rows = rows.filter(version=version)
    updated = rows.update(status=Status.LAPSED, finished_at=Now(), **changes)
    call.refresh_from_db()
    if updated:
        audit.record("call.lapsed", SYSTEM, call=call, fault=fault, why=call.why)
        _ring(call)
    return call


def open_windows(run: str) -> None:
    """From now on the approvals of this run may be used, each for its time, in the caller's transaction.

    They wait for the last call of their turn, since the run goes on only then; until then none lapses.
    """
    _OPEN_WINDOWS(run=run)


_OPEN_WINDOWS = Update(
    lambda: ToolCall.objects.filter(run=Slot("run"), status=Status.APPROVED, executable_until=None),
    executable_until=Now() + F("executable_for"),
)


def open_window(call: ToolCall) -> None:
    """From now on the approval of this call may be used, in the caller's transaction."""
    ToolCall.objects.filter(pk=call.pk).update(executable_until=Now() + F("executable_for"))


def close_windows(run: str) -> None:
    """The run waits again: its approvals do not lapse meanwhile, in the caller's transaction."""
    ToolCall.objects.filter(run=run, status=Status.APPROVED).update(executable_until=None)


@audit.audited()
def record(call: ToolCall, *, succeeded: bool, result: Any) -> ToolCall:
    """Store what became of a started call. `result`: Converse content blocks.

    Raises LostClaim when the call is no longer this worker's: it was declared UNKNOWN meanwhile.
    """
    status = Status.SUCCEEDED if succeeded else Status.FAILED
    if not _RECORD(pk=call.pk, epoch=call.epoch, status=status, result=result):
        raise LostClaim("The call is not this worker's any more.")
    call.status, call.result = status, result
    audit.record(f"call.{status}", AGENT, call=call)
    _ring(call)
    return call


_RECORD = Update(
    lambda: ToolCall.objects.filter(pk=_PK, status=Status.STARTED, epoch=Slot("epoch")),
    status=Slot("status"),
    result=Slot("result"),
    finished_at=Now(),
)


@audit.audited()
def mark_unknown(call: ToolCall, fault: Fault) -> bool:
    """A call was started and nobody can say what became of it. False when it was recorded meanwhile.

    From here on it waits for a person (settlements.py): for those who may decide it, had it been asked.
    """
    groups = call.groups or f"|{'|'.join(call.term('groups') or Terms().groups)}|"
    updated = ToolCall.objects.filter(pk=call.pk, status=Status.STARTED, epoch=call.epoch).update(
        status=Status.UNKNOWN,
        fault=fault,
        why=f"{fault.label}.",
        groups=groups,
        finished_at=Now(),
        announce_at=Now() + settings.NOTICE_GRACE if call.term("notify") else None,
        version=F("version") + 1,
    )
    if updated:
        audit.record("call.unknown", SYSTEM, call=call, fault=fault)
        events.ring(events.APPROVALS, "pending", call=str(call.pk))
        events.ring(events.session_topic(call.session), "changed")
    return bool(updated)


def expire_due(limit: int = 500) -> int:
    """Expire pending calls whose time is up; lapse approvals, and what was allowed, that nobody used in time."""
    expired = ToolCall.objects.filter(status=Status.PENDING, expires_at__lte=Now())
    ended = _end(expired[:limit], Status.EXPIRED, "call.expired", SYSTEM)
    for status in RUNNABLE:  # one after the other: each has its index
        lapsed = ToolCall.objects.filter(status=status, executable_until__lte=Now())
        ended += _end(lapsed[:limit], Status.LAPSED, "call.lapsed", SYSTEM)
    return ended


def cancel(calls: QuerySet[ToolCall], actor: str, *statuses: Status) -> int:
    """Cancel those of these calls that are PENDING or APPROVED, or one of `statuses`."""
    waiting = calls.filter(status__in=statuses or (Status.PENDING, Status.APPROVED))
    return _end(waiting, Status.CANCELLED, "call.cancelled", actor)


def _end(calls: Iterable[ToolCall], status: Status, kind: str, actor: str) -> int:
    return sum(_end_one(call, status, kind, actor) for call in calls)


@audit.audited()
def _end_one(call: ToolCall, status: Status, kind: str, actor: str) -> bool:
    before = call.status
    still = Q(pk=call.pk, status=before)
    if status == Status.EXPIRED:
        still &= Q(expires_at__lte=Now())
    if status == Status.LAPSED:
        still &= Q(executable_until__lte=Now())
    changes: dict[str, Any] = {"status": status, "finished_at": Now(), "version": F("version") + 1}
    if status == Status.LAPSED:
        changes |= {"fault": Fault.TOO_LATE, "why": f"{Fault.TOO_LATE.label}."}
    updated = ToolCall.objects.filter(still).update(**changes)
    if updated:
        call.refresh_from_db()
        audit.record(kind, actor, call=call)
        if before == Status.PENDING:
            settled.send(sender=ToolCall, call=call)
        _ring(call)
    return bool(updated)


def _row(judged: Judged, status: Status) -> ToolCall:
    request, verdict = judged.request, judged.verdict
    return ToolCall(
        session=request.session,
        run=request.run,
        turn=request.turn,
        tool_use_id=request.tool_use_id,
        tool=request.tool,
        provider=judged.tool.provider,
        agent=request.agent,
        requested_by_id=request.requested_by,
        arguments=request.arguments,
        said=request.said,
        prompt=storable(request.prompt[:PROMPT_KEPT]),
        definition=judged.tool.definition,
        digest=judged.digest,
        status=status,
        policy=verdict.policy,
        effect=verdict.effect,
        why=storable(verdict.why),
        risk=verdict.risk,
        terms=frozen(verdict.terms),
        quorum=verdict.terms.quorum,
        executable_for=verdict.terms.executable_for,
    )


def _requested(call: ToolCall) -> Any:
    return audit.entry(
        "call.requested", AGENT, call=call, arguments=call.arguments, requested_by=call.requested_by_id
    )


def _use_trust(call: ToolCall, judged: Judged) -> bool:
    """Count one use of the grant that covers it; False when it was revoked or used up since the verdict."""
    assert judged.grant is not None
    used = TrustGrant.objects.filter(TrustGrant.live(), pk=judged.grant.pk).update(uses=F("uses") + 1)
    call.trust = judged.grant if used else None
    return bool(used)


def _ring(call: ToolCall) -> None:
    events.ring(events.APPROVALS, "changed", call=str(call.pk))
    events.ring(events.session_topic(call.session), "changed")
