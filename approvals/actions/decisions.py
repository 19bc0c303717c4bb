"""What a reviewer does: approve, deny or trust a pending call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, IntegerField, UUIDField
from django.db.models.functions import Now

from approvals import audit, events, permissions
from approvals.actions import calls
from approvals.actions.edits import digest_of, proposal, whole_arguments
from approvals.errors import (
    AlreadyDecided,
    CommentRequired,
    ConfirmRequired,
    Expired,
    InvalidInput,
    NotFound,
    NotTrustable,
    Refusal,
    SelfApproval,
    Stale,
    TooLong,
)
from approvals.failpoints import reach
from approvals.fields import storable
from approvals.models import Decision, ToolCall, TrustGrant
from approvals.prepared import Insert, Select, Slot, Update
from approvals.signals import settled
from approvals.sizes import TOO_LONG, too_long
from approvals.states import Choice, Effect, Status

MAX_COMMENT = 2000
_PK = Slot("pk", UUIDField())
NO_CALL = "There is no such call, or it is not yours to see."
MAX_USES = 1_000_000
MAX_VERSION = 2**31 - 1  # what its column takes


@dataclass(frozen=True)
class Ruling:
    """What the reviewer saw (version, digest) and what they decided on it.

    `confirm`: the word that they typed. `trust_same`: the arguments that trust holds for only while they are the same.
    `becomes`: the digest of the changed arguments, where these were looked at with the schema's defaults filled in.
    """

    choice: Choice
    version: int
    digest: str
    comment: str = ""
    arguments: dict[str, Any] | None = None  # only where the reviewer changed them
    becomes: str = ""
    confirm: str = ""
    trust_for: timedelta | None = None
    trust_uses: int | None = None
    trust_same: tuple[str, ...] = ()
    batch: UUID | None = None  # of calls that are decided together


def decide(call_id: Any, user: User, ruling: Ruling) -> ToolCall:
    """Settle a pending call, or add an approval to those that it takes. One denial settles it.

    One decision wins: the update holds only for what the reviewer saw. Raises AlreadyDecided, Stale, Expired,
    NotAReviewer, SelfApproval, CommentRequired, ConfirmRequired, InvalidArguments, TooLong, NotTrustable, NotFound;
    nothing has changed then. A refusal is audited.
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


def _check_party(call: ToolCall, user: User) -> None:
    """Whoever asked for the call knows it, and may learn why it is not theirs to decide; others need to see it."""
    asked_for_it = user.is_active and user.pk == call.requested_by_id
    if not asked_for_it and not permissions.may_see(user, call):
        raise NotFound(NO_CALL)


@audit.audited(durable=True)
def _decide(call: ToolCall, user: User, ruling: Ruling) -> ToolCall:
    if refused := permissions.refusal(user, call):
        raise refused
    _check(call, user, ruling)
    transaction.on_commit(lambda: reach("decided", call.session))
    arguments, digest = _content(call, ruling)
    grant = _grant(call, user, ruling, arguments) if ruling.choice == Choice.TRUST else None
    approves = ruling.choice != Choice.DENY
    voided: list[Decision] = []
    if approves and call.quorum > 1:
        voided = _count(call, user, ruling, arguments, digest)
    elif approves:
        _settle(call, ruling, arguments, digest)
    else:
        voided = _deny(call, user, ruling)
    decision = Decision(
        call=call,
        by=user,
        requested_by_id=call.requested_by_id,
        self_allowed=bool(call.term("requester_may_decide")),
        choice=ruling.choice,
        comment=storable(ruling.comment),
        digest=digest,
        version=ruling.version,
        round=call.round,
        grant=grant,
        batch=ruling.batch,
    )
    _ADD_DECISION.row(decision)
    if approves and call.quorum > 1:
        _complete(call)
    _tell(call, decision, grant, voided, edited=ruling.arguments is not None)
    if call.status != Status.PENDING:
        settled.send(sender=ToolCall, call=call)
    reach("deciding", call.session)
    return call


def _check(call: ToolCall, user: User, ruling: Ruling) -> None:
    if call.status != Status.PENDING:
        raise lost(call)
    approves = ruling.choice != Choice.DENY
    check_note(ruling.comment, required=not approves or bool(call.term("justify")))
    if approves:
        check_length(call.arguments)
        check_word(call, ruling.confirm)
    if ruling.choice == Choice.TRUST:
        _check_trust(call, user)


def _check_trust(call: ToolCall, user: User) -> None:
    if call.effect == Effect.ALWAYS_ASK:
        raise NotTrustable(f"{call.tool} is always asked for and cannot be trusted. Approve it instead.")
    if call.quorum > 1:
        raise NotTrustable(
            f"It takes {call.quorum} people to approve this, so one cannot trust it. Approve it instead."
        )
    if user.pk == call.requested_by_id and not call.term("requester_may_trust"):
        raise SelfApproval(
            "You asked for this yourself; somebody else has to trust it. Approve this call alone."
        )


def check_length(arguments: Any) -> None:
    """Raises TooLong for more than a person may approve."""
    if too_long(arguments):
        raise TooLong(TOO_LONG)


def check_word(call: ToolCall, typed: str) -> None:
    """Raises ConfirmRequired unless exactly the word was typed that the policy demands, but for space around it."""
    word = call.term("confirm")
    if word and typed.strip() != word:
        raise ConfirmRequired(f"Type “{word}”, exactly so, to approve this.", word=word)


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
    check_length(arguments)
    digest = digest_of(call, arguments)
    if ruling.becomes and ruling.becomes != digest:
        raise Stale("The tool has changed since you looked at the difference. Look at it again, then decide.")
    return arguments, digest


def _grant(call: ToolCall, user: User, ruling: Ruling, arguments: Any) -> TrustGrant:
    longest = min(timedelta(seconds=call.term("trust_expires_in") or 0), settings.TRUST_MAX_AGE)
    wanted = longest if ruling.trust_for is None else ruling.trust_for
    if wanted <= timedelta():
        raise InvalidInput("Trust has to last for some time. Give a positive expires_in.")
    if ruling.trust_uses is not None and not 1 <= ruling.trust_uses <= MAX_USES:
        raise InvalidInput(f"Trust covers at least one call. Give max_uses from 1 to {MAX_USES:,}.")
    if unknown := [name for name in ruling.trust_same if name not in arguments]:
        raise InvalidInput(
            f"The call has no argument “{unknown[0]}” that could stay the same. It has: {', '.join(arguments)}."
        )
    limits = [uses for uses in (ruling.trust_uses, call.term("trust_max_uses")) if uses is not None]
    return TrustGrant.objects.create(
        session=call.session,
        tool=call.tool,
        provider=call.provider,
        definition=call.definition,
        scope={name: arguments[name] for name in sorted(ruling.trust_same)},
        terms=call.terms,
        granted_by=user,
        expires_at=Now() + min(wanted, longest),
        max_uses=min(limits) if limits else None,
    )


def _settle(call: ToolCall, ruling: Ruling, arguments: Any, digest: str) -> None:
    """One person's word is enough."""
    status = Status.DENIED if ruling.choice == Choice.DENY else Status.APPROVED
    edits = _edits(call, arguments, digest)
    settle = _SETTLE_EDITED if edits else _SETTLE
    if not settle(**_seen(call, ruling), status=status, approves=int(status == Status.APPROVED), **edits):
        call.refresh_from_db()
        raise lost(call)
    for name, value in {"status": status, "version": call.version + 1, **edits}.items():
        setattr(call, name, value)
    _open_window(call)


def _count(call: ToolCall, user: User, ruling: Ruling, arguments: Any, digest: str) -> list[Decision]:
    """One approval of several; the row is locked from here on. Gives those that an edit makes void."""
    edits = _edits(call, arguments, digest)
    count = _COUNT_EDITED if edits else _COUNT
    if not count(**_seen(call, ruling), **edits):
        call.refresh_from_db()
        raise lost(call)
    counting = call.decisions.filter(undone_at=None, round=call.round)
    if edits:
        voided = list(counting.select_related("by"))
        counting.update(undone_at=Now())
        return voided
    if counting.filter(by=user).exists():
        raise AlreadyDecided(
            "You have approved this already. Somebody else has to as well.", call_status=call.status
        )
    return []


def _deny(call: ToolCall, user: User, ruling: Ruling) -> list[Decision]:
    """Gives the approvals that it makes void: the denier's own; all, where they were for a reviewer's edit.

    What is denied is then what the model asked for: that is what it may not ask for again and again.
    """
    edited = call.proposed is not None
    arguments, digest = (
        (call.proposed, digest_of(call, call.proposed)) if edited else (call.arguments, call.digest)
    )
    _settle(call, ruling, arguments, digest)
    mine = call.decisions.filter(undone_at=None, round=call.round)
    if not edited:
        mine = mine.filter(by=user)
    voided = list(mine.select_related("by"))
    if voided:
        mine.update(undone_at=Now())
        left = 0 if edited else F("approvals") - 1
        ToolCall.objects.filter(pk=call.pk).update(approvals=left)
        call.refresh_from_db(fields=["approvals"])
    return voided


def _complete(call: ToolCall) -> None:
    """Approved, if that was the last approval that it takes."""
    _COMPLETE(pk=call.pk)
    call.refresh_from_db()
    if call.status == Status.APPROVED:
        _open_window(call)


def _open_window(call: ToolCall) -> None:
    if call.status == Status.APPROVED and not call.run:  # a run opens its windows with the last decision
        calls.open_window(call)


def _edits(call: ToolCall, arguments: Any, digest: str) -> dict[str, Any]:
    if digest == call.digest:
        return {}
    return {"arguments": arguments, "proposed": proposal(call, arguments), "digest": digest}


def _seen(call: ToolCall, ruling: Ruling) -> dict[str, Any]:
    """What the reviewer saw, as it has to be still."""
    version = ruling.version if abs(ruling.version) <= MAX_VERSION else 0  # of no call
    return {"pk": call.pk, "version": version, "seen": storable(ruling.digest)}


def _as_seen() -> Any:
    """The call, if it is what the reviewer saw, and still waits."""
    return ToolCall.objects.filter(
        pk=_PK,
        status=Status.PENDING,
        version=Slot("version"),
        digest=Slot("seen"),
        expires_at__gt=Now(),
    )


_CONTENT: dict[str, Any] = {
    "arguments": Slot("arguments"),
    "proposed": Slot("proposed"),
    "digest": Slot("digest"),
}
_MOVED: dict[str, Any] = {"decided_at": Now(), "version": F("version") + 1}
_APPROVES = Slot("approves", IntegerField())
_SETTLE = Update(_as_seen, **_MOVED, status=Slot("status"), approvals=F("approvals") + _APPROVES)
_SETTLE_EDITED = Update(_as_seen, **_MOVED, status=Slot("status"), approvals=_APPROVES, **_CONTENT)
_COUNT = Update(_as_seen, approvals=F("approvals") + 1)
_COUNT_EDITED = Update(_as_seen, approvals=1, version=F("version") + 1, **_CONTENT)
_COMPLETE = Update(
    lambda: ToolCall.objects.filter(pk=_PK, status=Status.PENDING, approvals__gte=F("quorum")),
    **_MOVED,
    status=Status.APPROVED,
)


def lost(call: ToolCall) -> Refusal:
    """Why a decision came too late or on something else than what is there."""
    if call.status == Status.PENDING:
        fresh = ToolCall.objects.filter(pk=call.pk, expires_at__gt=Now()).exists()
        if fresh:
            return Stale("The call is not what this page showed. Reload, look at it again, then decide.")
    if call.status in (Status.EXPIRED, Status.PENDING):
        return Expired("Nobody decided in time; the call has expired and will not run.")
    decision = call.decision()
    if decision and call.status != Status.CANCELLED:
        who = decision.by.get_username()
        verb = "denied" if decision.choice == Choice.DENY else "approved"
        return AlreadyDecided(
            f"{who} {verb} this before you.",
            decided_by=who,
            decided_at=decision.at.isoformat(),
            call_status=call.status,
        )
    return AlreadyDecided(
        f"This call is not waiting any more: {call.get_status_display().lower()}.", call_status=call.status
    )


def _tell(
    call: ToolCall, decision: Decision, grant: TrustGrant | None, voided: list[Decision], *, edited: bool
) -> None:
    actor = decision.by.get_username()
    said: dict[str, Any] = {"choice": decision.choice, "comment": decision.comment, "edited": edited}
    if decision.batch:
        said["batch"] = str(decision.batch)
    if call.quorum > 1:
        said |= {"approvals": call.approvals, "quorum": call.quorum}
    entries = [
        audit.entry("decision.undone", actor, call=call, choice=each.choice, of=each.by.get_username())
        for each in voided
    ]
    entries.append(audit.entry("decision.made", actor, call=call, **said))
    if call.status != Status.PENDING:
        kind = "call.denied" if decision.choice == Choice.DENY else "call.approved"
        entries.append(audit.entry(kind, actor, call=call))
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
                scope=grant.scope,
            )
        )
    audit.write(*entries)
    events.ring(
        events.APPROVALS, "changed" if call.status == Status.PENDING else "decided", call=str(call.pk)
    )
    events.ring(events.session_topic(call.session), "changed")
