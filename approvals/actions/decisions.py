"""What a reviewer does: approve, deny or trust a pending call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jsonschema
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, UUIDField
from django.db.models.functions import Now

from approvals import audit, events, permissions
from approvals.actions import calls, trust
from approvals.actions.verdicts import check_size
from approvals.digest import call_digest
from approvals.errors import (
    AlreadyDecided,
    CommentRequired,
    Expired,
    InvalidArguments,
    InvalidInput,
    NotFound,
    NotTrustable,
    Refusal,
    Stale,
    TooLate,
)
from approvals.failpoints import reach
from approvals.fields import storable
from approvals.models import Decision, Tool, ToolCall, TrustGrant
from approvals.prepared import Insert, Select, Slot, Update
from approvals.signals import reopening, settled
from approvals.states import Choice, Status

MAX_COMMENT = 2000
_PK = Slot("pk", UUIDField())
NO_CALL = "There is no such call, or it is not yours to see."
MAX_USES = 1_000_000
MAX_VERSION = 2**31 - 1  # what its column takes


@dataclass(frozen=True)
class Ruling:
    """What the reviewer saw (version, digest) and what they decided on it."""

    choice: Choice
    version: int
    digest: str
    comment: str = ""
    arguments: dict[str, Any] | None = None  # only where the reviewer changed them
    trust_for: timedelta | None = None
    trust_uses: int | None = None


def decide(call_id: Any, user: User, ruling: Ruling) -> ToolCall:
    """Settle a pending call. One decision wins: the update holds only for what the reviewer saw.

    Raises AlreadyDecided, Stale, Expired, NotAReviewer, SelfApproval, CommentRequired, InvalidArguments,
    NotTrustable, NotFound; nothing has changed then. A refusal is audited.
    """
    call = find(call_id)
    try:
        _check_party(call, user)
        return _decide(call, user, ruling)
    except Refusal as refused:
        record_refusal(call, user, refused, ruling.choice)
        raise


def record_refusal(call: ToolCall, user: User, refused: Refusal, choice: str) -> None:
    """In a transaction of its own, since that of the change is gone."""
    with audit.audited():
        audit.record("decision.refused", user.get_username(), call=call, code=refused.code, choice=choice)


def find(call_id: Any) -> ToolCall:
    """Raises NotFound."""
    call: ToolCall | None = _CALL.first(pk=call_id)
    if call is None:
        raise NotFound(NO_CALL)
    return call


_ADD_DECISION = Insert(Decision)
_CALL = Select(lambda: ToolCall.objects.filter(pk=_PK).order_by())


def check_may_decide(call: ToolCall, user: User) -> None:
    """Raises NotFound, NotAReviewer, SelfApproval."""
    _check_party(call, user)
    if refused := permissions.refusal(user, call):
        raise refused


def undo(call_id: Any, user: User, version: int) -> ToolCall:
    """Take one's own decision back, as long as nothing has come of it. The call waits again, as it was asked.

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
    decision = call.decision()
    if decision is None or call.status not in (Status.APPROVED, Status.DENIED):
        raise TooLate("There is no decision to undo: nobody decided, or it has been acted upon.")
    if call.decisions.filter(undone_at=None).count() > 1:
        raise TooLate("This let a call run again whose outcome was unknown; that cannot be undone.")
    if decision.by_id != user.pk:
        raise TooLate(f"Only {decision.by.get_username()} can undo this decision.")
    undone = audit.entry("decision.undone", user.get_username(), call=call, choice=decision.choice)
    reopening.send(sender=ToolCall, call=call)  # first: who holds a run may wait for its approved calls
    _reopen(call, version)
    Decision.objects.filter(pk=decision.pk).update(undone_at=Now())
    if decision.grant_id:
        trust.revoke(decision.grant_id, call.session, user)
    call.refresh_from_db()
    audit.write(undone, audit.entry("call.pending", user.get_username(), call=call))
    events.ring(events.APPROVALS, "pending", call=str(call.pk))
    events.ring(events.session_topic(call.session), "changed")
    return call


def _reopen(call: ToolCall, version: int) -> None:
    changes: dict[str, Any] = {
        "status": Status.PENDING,
        "decided_at": None,
        "executable_until": None,
        "version": F("version") + 1,
    }
    if call.proposed is not None:  # a reviewer's edit goes with the decision
        digest = call_digest(
            session=call.session, tool=call.tool, definition=call.definition, arguments=call.proposed
        )
        changes |= {"arguments": call.proposed, "proposed": None, "digest": digest}
    rows = ToolCall.objects.filter(pk=call.pk, status=call.status, version=version, expires_at__gt=Now())
    if not rows.update(**changes):
        raise TooLate("It is too late to undo this: the call runs, has run, or has expired meanwhile.")


def _check_party(call: ToolCall, user: User) -> None:
    """Whoever asked for the call knows it, and may learn why it is not theirs to decide; others need to see it."""
    asked_for_it = user.is_active and user.pk == call.requested_by_id
    if not asked_for_it and not permissions.may_see(user, call):
        raise NotFound(NO_CALL)


@audit.audited(durable=True)
def _decide(call: ToolCall, user: User, ruling: Ruling) -> ToolCall:
    if refused := permissions.refusal(user, call):
        raise refused
    _check(call, ruling)
    transaction.on_commit(lambda: reach("decided", call.session))
    arguments, digest = _content(call, ruling)
    grant = _grant(call, user, ruling) if ruling.choice == Choice.TRUST else None
    _settle(call, ruling, arguments, digest)
    decision = Decision(
        call=call,
        by=user,
        requested_by_id=call.requested_by_id,
        self_allowed=bool(call.term("requester_may_decide")),
        choice=ruling.choice,
        comment=storable(ruling.comment),
        digest=digest,
        version=ruling.version,
        grant=grant,
    )
    _ADD_DECISION.row(decision)
    _tell(call, decision, grant, edited=ruling.arguments is not None)
    settled.send(sender=ToolCall, call=call)
    reach("deciding", call.session)
    return call


def _check(call: ToolCall, ruling: Ruling) -> None:
    if call.status != Status.PENDING:
        raise lost(call)
    check_note(ruling.comment, required=ruling.choice == Choice.DENY)
    if ruling.choice == Choice.TRUST and not call.trustable:
        raise NotTrustable(f"{call.tool} is always asked for and cannot be trusted. Approve it instead.")


def check_note(text: str, *, required: bool) -> None:
    """Raises CommentRequired, or InvalidInput where it is too long."""
    if required and not _says_something(text):
        raise CommentRequired("Say why: the agent and the person who asked get to read it.")
    if len(text) > MAX_COMMENT:
        raise InvalidInput(f"The comment is longer than {MAX_COMMENT} characters. Shorten it.")


def _says_something(comment: str) -> bool:
    """A reason has a character that can be seen; zero-width ones are none."""
    return any(char.isprintable() and not char.isspace() for char in comment)


def _content(call: ToolCall, ruling: Ruling) -> tuple[Any, str]:
    """The arguments that will run and their digest, edits included."""
    if ruling.arguments is None:
        return call.arguments, call.digest
    if ruling.choice == Choice.DENY:
        raise InvalidInput("A denial cannot change the arguments. Leave them out.")
    arguments = whole_arguments(call.tool, ruling.arguments)
    digest = call_digest(
        session=call.session, tool=call.tool, definition=call.definition, arguments=arguments
    )
    return arguments, digest


def whole_arguments(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the schema's defaults filled in, since these would run too.

    Raises InvalidArguments with one sentence for each way in which they miss the tool's schema.
    """
    row = Tool.objects.filter(name=tool).first()
    schema: Any = row.schema if row else {"type": "object"}
    properties = schema.get("properties", {})
    whole = {name: each["default"] for name, each in properties.items() if "default" in each} | arguments
    check_size(whole)
    problems = [
        f"{'.'.join(map(str, problem.path)) or 'arguments'}: {problem.message}"
        for problem in jsonschema.Draft202012Validator(schema).iter_errors(whole)
    ]
    if problems:
        raise InvalidArguments("The arguments do not fit the tool. " + "; ".join(sorted(problems)[:5]))
    return whole


def _grant(call: ToolCall, user: User, ruling: Ruling) -> TrustGrant:
    longest = min(timedelta(seconds=call.term("trust_expires_in") or 0), settings.TRUST_MAX_AGE)
    wanted = longest if ruling.trust_for is None else ruling.trust_for
    if wanted <= timedelta():
        raise InvalidInput("Trust has to last for some time. Give a positive expires_in.")
    if ruling.trust_uses is not None and not 1 <= ruling.trust_uses <= MAX_USES:
        raise InvalidInput(f"Trust covers at least one call. Give max_uses from 1 to {MAX_USES:,}.")
    limits = [uses for uses in (ruling.trust_uses, call.term("trust_max_uses")) if uses]
    return TrustGrant.objects.create(
        session=call.session,
        tool=call.tool,
        provider=call.provider,
        definition=call.definition,
        granted_by=user,
        expires_at=Now() + min(wanted, longest),
        max_uses=min(limits) if limits else None,
    )


def _settle(call: ToolCall, ruling: Ruling, arguments: Any, digest: str) -> None:
    status = Status.DENIED if ruling.choice == Choice.DENY else Status.APPROVED
    edits: dict[str, Any] = {}
    if digest != call.digest:
        edits = {"arguments": arguments, "proposed": call.arguments, "digest": digest}
    settle = _SETTLE_EDITED if edits else _SETTLE
    version = ruling.version if abs(ruling.version) <= MAX_VERSION else 0  # of no call
    seen = {"version": version, "seen": storable(ruling.digest)}
    if not settle(pk=call.pk, **seen, status=status, **edits):
        call.refresh_from_db()
        raise lost(call)
    for name, value in {"status": status, "version": call.version + 1, **edits}.items():
        setattr(call, name, value)
    if status == Status.APPROVED and not call.run:  # a run opens its windows with the last decision
        calls.open_window(call)


def _as_seen() -> Any:
    """The call, if it is what the reviewer saw, and still waits."""
    return ToolCall.objects.filter(
        pk=_PK,
        status=Status.PENDING,
        version=Slot("version"),
        digest=Slot("seen"),
        expires_at__gt=Now(),
    )


_SETTLED: dict[str, Any] = {"status": Slot("status"), "decided_at": Now(), "version": F("version") + 1}
_SETTLE = Update(_as_seen, **_SETTLED)
_SETTLE_EDITED = Update(
    _as_seen,
    **_SETTLED,
    arguments=Slot("arguments"),
    proposed=Slot("proposed"),
    digest=Slot("digest"),
)


def lost(call: ToolCall) -> Refusal:
    """Why a decision came too late or on something else than what is there."""
    decision = call.decision()
    if decision:
        who = decision.by.get_username()
        verb = "denied" if decision.choice == Choice.DENY else "approved"
        return AlreadyDecided(
            f"{who} {verb} this before you.",
            decided_by=who,
            decided_at=decision.at.isoformat(),
            call_status=call.status,
        )
    if call.status == Status.PENDING:
        fresh = ToolCall.objects.filter(pk=call.pk, expires_at__gt=Now()).exists()
        if fresh:
            return Stale("The call is not what this page showed. Reload, look at it again, then decide.")
    if call.status in (Status.EXPIRED, Status.PENDING):
        return Expired("Nobody decided in time; the call has expired and will not run.")
    return AlreadyDecided(
        f"This call is not waiting any more: {call.get_status_display().lower()}.", call_status=call.status
    )


def _tell(call: ToolCall, decision: Decision, grant: TrustGrant | None, *, edited: bool) -> None:
    actor = decision.by.get_username()
    kind = "call.denied" if decision.choice == Choice.DENY else "call.approved"
    entries = [
        audit.entry(
            "decision.made", actor, call=call, choice=decision.choice, comment=decision.comment, edited=edited
        ),
        audit.entry(kind, actor, call=call),
    ]
    if grant:
        grant.refresh_from_db()
        entries.append(
            audit.entry(
                "trust.granted",
                actor,
                call=call,
                grant=str(grant.pk),
                expires_at=grant.expires_at.isoformat(),
                max_uses=grant.max_uses,
            )
        )
    audit.write(*entries)
    events.ring(events.APPROVALS, "decided", call=str(call.pk))
    events.ring(events.session_topic(call.session), "changed")
