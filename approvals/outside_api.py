"""The API's part for agents that run elsewhere: ask, claim, report (docs/api.md)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Status

from approvals.actions import calls, elsewhere, leases
from approvals.actions.outside_tools import Sketch
from approvals.api import Token, person, router, shown
from approvals.api_schemas import CallIn, CallOut, ClaimIn, ClaimOut, DefinitionIn, OutcomeIn, Problem
from approvals.errors import TooLate
from approvals.states import Status as CallStatus

ERRORS = {404: Problem, 409: Problem, 422: Problem}


@router.post(
    "",
    response={201: CallOut, 409: Problem, 422: Problem, 429: Problem},
    auth=Token("agent"),
    summary="Ask before acting",
)
def ask(request: HttpRequest, payload: CallIn) -> Status[Any]:
    """The call is `allowed`, `pending` or `blocked`. The same idempotency_key gives the same call, as it is by then.

    Wait with GET until it is not `pending` any more, then claim it.
    """
    wanted = elsewhere.Wanted(
        session=payload.session,
        tool=payload.tool,
        arguments=payload.arguments,
        key=payload.idempotency_key,
        agent=payload.agent,
        reason=payload.reason,
        sketch=_sketch(payload.definition),
    )
    return Status(201, shown(elsewhere.ask(person(request), wanted)))


@router.post(
    "/{call_id}/claim",
    response={200: ClaimOut, **ERRORS},
    auth=Token("agent"),
    summary="Start an approved call",
)
def claim(request: HttpRequest, call_id: UUID, payload: ClaimIn) -> dict[str, Any]:
    """Just before the effect, which happens with the arguments that come back and no others. One claim wins."""
    brought = {"secret": payload.lease} if payload.lease else {}
    wanted = leases.Claim(payload.digest, seconds=payload.lease_for, **brought)
    call = leases.claim(call_id, person(request), wanted)
    assert call.lease_until
    return {
        "arguments": call.arguments,
        "idempotency_key": calls.idempotency_key(call),
        "lease": wanted.secret,
        "lease_until": call.lease_until.isoformat(),
    }


@router.post(
    "/{call_id}/outcome",
    response={200: CallOut, **ERRORS},
    auth=Token("agent"),
    summary="Say what became of it",
)
def outcome(request: HttpRequest, call_id: UUID, payload: OutcomeIn) -> dict[str, Any]:
    """Only with the lease of the claim. The same outcome may be sent again."""
    succeeded = payload.status == "succeeded"
    return shown(
        leases.report(call_id, person(request), payload.lease, succeeded=succeeded, result=payload.result)
    )


@router.post(
    "/{call_id}/cancel",
    response={200: CallOut, 404: Problem, 409: Problem},
    auth=Token("agent"),
    summary="Withdraw a call",
)
def cancel(request: HttpRequest, call_id: UUID) -> dict[str, Any]:
    """The agent does not want it any more: nobody needs to decide it, and nothing runs."""
    call = elsewhere.withdraw(call_id, person(request))
    if call.status != CallStatus.CANCELLED:
        word = call.get_status_display().lower()
        raise TooLate(f"It is too late to withdraw the call: {word}.", call_status=call.status)
    return shown(call)


def _sketch(given: DefinitionIn | None) -> Sketch | None:
    return Sketch(given.description, given.input_schema) if given else None


__all__ = ["router"]
