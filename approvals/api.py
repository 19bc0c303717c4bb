"""The API's part for calls and decisions, and what all of the API shares: tokens and scopes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from ninja import Router
from ninja.security import HttpBearer
from redis.exceptions import RedisError

from approvals import audit, events, permissions
from approvals.actions import decisions, settlements, tokens, undoing
from approvals.actions import trail as trail_actions
from approvals.api_schemas import (
    CallOut,
    CallsOut,
    DecisionIn,
    Problem,
    SettlementIn,
    TrailOut,
    TrustIn,
    UndoIn,
)
from approvals.durations import parse_duration
from approvals.errors import InvalidInput, NotFound, Refusal
from approvals.fields import storable
from approvals.hub import hub
from approvals.models import ToolCall, TrustGrant
from approvals.states import Choice, Outcome, Status

PAGE = 50
ENTRIES = 200
LONGEST_WAIT = 60.0


class MissingScope(Refusal):
    code, http_status = "missing_scope", 403


class NotAnAuditor(Refusal):
    code, http_status = "not_an_auditor", 403


class Token(HttpBearer):
    """`Authorization: Bearer TOKEN`, with one of the scopes."""

    def __init__(self, *scopes: str) -> None:
        super().__init__()
        self.scopes = frozenset(scopes)

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        user = recognise(request, token)
        if user and not self.scopes & request.scopes:  # type: ignore[attr-defined]
            raise MissingScope(f"This needs a token with the scope {' or '.join(sorted(self.scopes))}.")
        return user


def recognise(request: HttpRequest, token: str) -> User | None:
    """Whose token it is: they make the request, with its scopes. None where it is not valid (any more)."""
    found = tokens.find(token)
    if found is None:
        return None
    request.user = found.user
    request.scopes = frozenset(found.scopes)  # type: ignore[attr-defined]
    return found.user


def person(request: HttpRequest) -> User:
    """The token's owner."""
    assert isinstance(request.user, User)
    return request.user


def with_people(calls: QuerySet[ToolCall]) -> QuerySet[ToolCall]:
    return calls.select_related("requested_by").prefetch_related("decisions__by")


def call_out(call: ToolCall) -> dict[str, Any]:
    """A call as the API shows it."""
    return {
        "id": str(call.pk),
        "session": call.session,
        "agent": call.agent,
        "tool": call.tool,
        "arguments": call.arguments,
        "proposed": call.proposed,
        "definition": call.definition,
        "digest": call.digest,
        "version": call.version,
        "status": call.status,
        "risk": call.risk,
        "requested_by": call.requested_by.get_username(),
        "requested_at": call.requested_at.isoformat(),
        "policy": call.policy,
        "why": call.why,
        "fault": call.fault,
        "trustable": call.trustable,
        "quorum": call.quorum,
        "approvals": call.approvals,
        "confirm": call.term("confirm") or "",
        "justify": bool(call.term("justify")),
        "expires_at": call.expires_at.isoformat() if call.expires_at else None,
        "decisions": [_decision_out(decision) for decision in call.decisions.all()],
        "result": call.result,
    }


def _decision_out(decision: Any) -> dict[str, Any]:
    return {
        "by": decision.by.get_username(),
        "decision": decision.choice,
        "comment": decision.comment,
        "at": decision.at.isoformat(),
        "digest": decision.digest,
        "version": decision.version,
        "undone_at": decision.undone_at.isoformat() if decision.undone_at else None,
    }


def trust_out(grant: TrustGrant) -> dict[str, Any]:
    """A grant as the API shows it."""
    return {
        "id": str(grant.pk),
        "tool": grant.tool,
        "scope": grant.scope,
        "granted_by": grant.granted_by.get_username(),
        "granted_at": grant.granted_at.isoformat(),
        "expires_at": grant.expires_at.isoformat(),
        "max_uses": grant.max_uses,
        "uses": grant.uses,
    }


router = Router(tags=["calls"])


@router.get("", response=CallsOut, auth=Token("review"), summary="Asked calls that you may see")
def list_calls(request: HttpRequest, status: str = "", session: str = "", cursor: str = "") -> dict[str, Any]:
    """Oldest first, 50 at a time; `next` is the cursor of the following page, null at the end."""
    calls = with_people(permissions.visible_calls(person(request))).order_by("pk")
    if status:
        if status not in Status.values:
            raise InvalidInput(f"There is no status “{status}”. There are: {', '.join(Status.values)}.")
        calls = calls.filter(status=status)
    if session:
        calls = calls.filter(session=storable(session))
    if cursor:
        calls = calls.filter(pk__gt=_uuid(cursor))
    page = list(calls[: PAGE + 1])
    more = len(page) > PAGE
    return {
        "items": [call_out(call) for call in page[:PAGE]],
        "next": str(page[PAGE - 1].pk) if more else None,
    }


@router.get("/{call_id}", response=CallOut, auth=Token("chat", "review", "agent"), summary="One call")
async def get_call(request: HttpRequest, call_id: UUID, wait: float = 0) -> dict[str, Any]:
    """With `wait`, answers as soon as the call is no longer pending, after so many seconds (60) at the latest."""
    call = await sync_to_async(_find)(request, call_id)
    if wait > 0 and call["status"] == Status.PENDING:
        return await _once_decided(request, call, min(wait, LONGEST_WAIT))
    return call


@router.post(
    "/{call_id}/decisions",
    response={200: CallOut, 403: Problem, 404: Problem, 409: Problem, 422: Problem},
    auth=Token("review"),
    summary="Approve, deny or trust",
)
def decide(request: HttpRequest, call_id: UUID, payload: DecisionIn) -> dict[str, Any]:
    """One decision wins; the loser gets 409 `already_decided` with who and when."""
    trust = payload.trust or TrustIn()
    ruling = decisions.Ruling(
        choice=Choice(payload.decision),
        version=payload.version,
        digest=payload.digest,
        comment=payload.comment,
        arguments=payload.arguments,
        confirm=payload.confirm,
        trust_for=parse_duration(trust.expires_in) if trust.expires_in is not None else None,
        trust_uses=trust.max_uses,
        trust_same=tuple(trust.same),
    )
    return shown(decisions.decide(call_id, person(request), ruling))


@router.post(
    "/{call_id}/undo",
    response={200: CallOut, 403: Problem, 404: Problem, 409: Problem},
    auth=Token("review"),
    summary="Undo your decision",
)
def undo(request: HttpRequest, call_id: UUID, payload: UndoIn) -> dict[str, Any]:
    """As long as nothing has come of it; afterwards 409 `too_late`."""
    return shown(undoing.undo(call_id, person(request), payload.version))


@router.post(
    "/{call_id}/settlement",
    response={200: CallOut, 403: Problem, 404: Problem, 409: Problem, 422: Problem},
    auth=Token("review"),
    summary="Settle a call whose outcome is unknown",
)
def settle(request: HttpRequest, call_id: UUID, payload: SettlementIn) -> dict[str, Any]:
    """`happened` and `give_up` want a comment; `run_again` is an approval and follows its rules."""
    outcome = Outcome(payload.outcome)
    settlement = settlements.Settlement(
        outcome, payload.version, payload.digest, payload.comment, payload.confirm
    )
    return shown(settlements.settle(call_id, person(request), settlement))


def shown(call: ToolCall) -> dict[str, Any]:
    return call_out(with_people(ToolCall.objects.all()).get(pk=call.pk))


def _find(request: HttpRequest, call_id: UUID) -> dict[str, Any]:
    call = with_people(_party(request)).filter(pk=call_id).first()
    if call is None:
        raise NotFound(decisions.NO_CALL)
    return call_out(call)


def _find_anew(request: HttpRequest, call_id: UUID) -> dict[str, Any]:
    """For who waits: the token may have been revoked meanwhile, or a right of its owner's. Raises NotFound."""
    key = request.headers["Authorization"].partition(" ")[2]
    if recognise(request, key.strip()) is None:
        raise NotFound(decisions.NO_CALL)
    return _find(request, call_id)


def _party(request: HttpRequest) -> QuerySet[ToolCall]:
    """The calls that this token's owner asked for or may review, by the token's scopes."""
    user, scopes = person(request), request.scopes  # type: ignore[attr-defined]
    mine = Q(pk=None)
    if scopes & {"chat", "agent"}:
        mine |= Q(requested_by=user)
    if "review" in scopes:
        mine |= Q(pk__in=permissions.visible_calls(user).values("pk"))
    return ToolCall.objects.filter(mine)


async def _once_decided(request: HttpRequest, call: dict[str, Any], seconds: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    async with _doorbells(call["session"]) as rang:
        while True:
            call = await sync_to_async(_find_anew)(request, UUID(call["id"]))
            left = until - loop.time()
            if call["status"] != Status.PENDING or left <= 0:
                return call
            # a client that waits for a minute holds no connection meanwhile
            await sync_to_async(connections.close_all)()
            await rang(left)


@asynccontextmanager
async def _doorbells(session: str) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    """Gives a function that returns at a doorbell of the session, and after 10 s, since one may be lost.

    Without Redis it returns every second instead.
    """
    async with AsyncExitStack() as stack:
        try:
            queue = await stack.enter_async_context(hub().listen(events.session_topic(session)))
        except (RedisError, OSError):
            yield lambda left: asyncio.sleep(min(left, 1.0))
            return

        async def rang(left: float) -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(queue.get(), min(left, 10.0))

        yield rang


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput("The cursor is not one that this API gave. Leave it out to start over.") from None


trail = Router(tags=["audit"])


@trail.get("", response=TrailOut, auth=Token("admin"), summary="The audit trail")
def read_trail(request: HttpRequest, after: int = 0) -> dict[str, Any]:
    """Entries behind number `after`, oldest first, 200 at a time; `next` is where to go on, null at the end."""
    if not permissions.may_audit(person(request)):
        raise NotAnAuditor("Only administrators read the audit trail.")
    found = trail_actions.read(min(max(after, 0), 2**62), ENTRIES + 1)
    shown = [audit.fields(entry) for entry in found[:ENTRIES]]
    return {"items": shown, "next": shown[-1]["seq"] if len(found) > ENTRIES else None}


def problem(code: str, status: int, title: str, detail: str, **extra: Any) -> dict[str, Any]:
    """The body of an error."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **extra}
