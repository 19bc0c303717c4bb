"""Calls that agents which run elsewhere ask for over the API (docs/api.md). How they are claimed is in leases.py."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.db.models import QuerySet

from approvals import audit
from approvals.actions import calls
from approvals.actions.edits import whole_arguments
from approvals.actions.limits import limited
from approvals.actions.outside_tools import Sketch, entered
from approvals.actions.verdicts import Request
from approvals.digest import canonical
from approvals.errors import IdempotencyConflict, InvalidInput, NotFound, TooManyWaiting
from approvals.fields import storable
from approvals.models import ToolCall
from approvals.states import ELSEWHERE, Status

NO_CALL = "There is no such call, or it is not one that you asked for over the API."
SESSION = re.compile(r"[!-~]{1,80}")
KEY = re.compile(r"[!-~]{1,200}")
AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}|")
MAX_REASON = 4000


@dataclass(frozen=True)
class Wanted:
    """What an agent elsewhere asks for. `key`: the same for each attempt to ask for the same."""

    session: str
    tool: str
    arguments: dict[str, Any]
    key: str
    agent: str = ""
    reason: str = ""
    sketch: Sketch | None = None  # the tool, as the agent has it

    def check(self) -> None:
        """Raises InvalidInput."""
        if not SESSION.fullmatch(self.session):
            raise InvalidInput(
                "session: give 1 to 80 visible ASCII characters, the same for one conversation of the agent."
            )
        if not KEY.fullmatch(self.key):
            raise InvalidInput(
                "idempotency_key: give 1 to 200 visible ASCII characters, other ones for each call of the session."
            )
        if not AGENT.fullmatch(self.agent):
            raise InvalidInput("agent: give at most 100 ASCII letters, digits, “.”, “_” and “-”.")
        if len(self.reason) > MAX_REASON:
            raise InvalidInput(f"reason: give at most {MAX_REASON:,} characters.")


def session_key(user: User, session: str) -> str:
    """The session as the ledger has it: one of this person's own, and never that of a chat, whose key is a UUID."""
    own = f"agent/{user.pk}/"
    return own + session.removeprefix(own)


def asked_by(user: User) -> QuerySet[ToolCall]:
    """The calls that agents elsewhere asked for with this person's tokens."""
    return ToolCall.objects.filter(requested_by=user, run="")


def ask(user: User, wanted: Wanted) -> ToolCall:
    """Enter a call into the ledger as ALLOWED, PENDING or BLOCKED; one that is there already comes back as it is now.

    Raises InvalidInput, InvalidArguments, DefinitionChanged, IdempotencyConflict, TooManyWaiting; nothing was entered.
    """
    wanted.check()
    session = session_key(user, wanted.session)
    if known := _find(session, wanted.key):
        return _the_same(known, wanted)
    tool = entered(wanted.tool, wanted.sketch, user)
    arguments = wanted.arguments
    # The schema of Nod's own tools holds; what runs is the agent's, so no defaults are added.
    if tool.provider != ELSEWHERE:
        whole_arguments(tool.name, arguments)
    request = Request(
        session=session,
        tool_use_id=wanted.key,
        tool=tool.name,
        arguments=arguments,
        requested_by=user.pk,
        agent=wanted.agent,
        said=storable(wanted.reason),
        definition=tool.definition,
    )
    try:
        _enter(user, request)
    except IntegrityError:  # somebody used the same key a moment ago
        if (known := _find(session, wanted.key)) is None:
            raise
        return _the_same(known, wanted)
    return ToolCall.objects.get(session=session, tool_use_id=wanted.key)


@audit.audited(durable=True)
def _enter(user: User, request: Request) -> None:
    let = calls.allow(request)
    if isinstance(let, ToolCall):
        return
    judged = limited(let, about_to_ask=0)
    if not judged.verdict.asks:
        calls.block(judged)
        return
    if asked_by(user).filter(status=Status.PENDING).count() >= settings.PENDING_A_TOKEN_OWNER:
        raise TooManyWaiting(
            f"{settings.PENDING_A_TOKEN_OWNER} calls of your agents wait for people already. "
            "Ask again when some are decided."
        )
    calls.ask([judged])


def _find(session: str, key: str) -> ToolCall | None:
    return ToolCall.objects.filter(session=session, tool_use_id=key).first()


def _the_same(call: ToolCall, wanted: Wanted) -> ToolCall:
    """The call that was asked for before with this key. Raises IdempotencyConflict where that was another one."""
    asked = call.arguments if call.proposed is None else call.proposed
    same = (
        call.tool == wanted.tool
        and canonical(asked) == canonical(wanted.arguments)
        and call.agent == wanted.agent
        and call.said == storable(wanted.reason)
        and (wanted.sketch is None or wanted.sketch.hash_for(call.tool) == call.definition)
    )
    if not same:
        raise IdempotencyConflict(
            "This idempotency_key stands for another call of the session. Give each call a key of its own.",
            call=str(call.pk),
        )
    return call


def mine(call_id: Any, user: User) -> ToolCall:
    """Raises NotFound."""
    call = asked_by(user).filter(pk=call_id).first()
    if call is None:
        raise NotFound(NO_CALL)
    return call


def withdraw(call_id: Any, user: User) -> ToolCall:
    """The agent does not want it any more. A call that has started, or is over, stays as it is."""
    call = mine(call_id, user)
    open_ones = (Status.PENDING, Status.APPROVED, Status.ALLOWED)
    while call.status in open_ones:  # decided at the same moment: withdrawn all the same
        calls.cancel(ToolCall.objects.filter(pk=call.pk), user.get_username(), *open_ones)
        call.refresh_from_db()
    return call
