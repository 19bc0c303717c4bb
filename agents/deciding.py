"""Whether the person in the chat may decide a call there, and what its form says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.http import QueryDict

from approvals import permissions
from approvals.actions.decisions import Ruling
from approvals.errors import InvalidInput
from approvals.models import ToolCall
from approvals.states import Choice, Status
from approvals.wording import approvers

INCOMPLETE = "The form was not complete. Reload the page and decide again."
LARGEST = 64_000  # characters of arguments; more than that is read on the desk


@dataclass(frozen=True)
class Inline:
    """What a chat offers. `here`: approve and deny; otherwise a link to the desk, where the person may open it."""

    here: bool
    desk: bool


def offers(user: User, calls: Iterable[ToolCall]) -> dict[UUID, Inline]:
    """For the calls that this person may decide."""
    return {call.pk: _offer(user, call) for call in calls if _may(user, call)}


def _may(user: User, call: ToolCall) -> bool:
    if call.status != Status.PENDING or permissions.refusal(user, call):
        return False
    return user.get_username() not in approvers(call)


def _offer(user: User, call: ToolCall) -> Inline:
    asks_more = bool(call.term("confirm") or call.term("justify"))
    return Inline(
        here=not asks_more and len(str(call.arguments)) <= LARGEST, desk=permissions.may_see(user, call)
    )


def ruling(form: QueryDict) -> Ruling:
    """Approve or deny, of exactly what the page showed. Trust is given on the desk. Raises InvalidInput."""
    choice, version = form.get("choice", ""), form.get("version", "")
    if choice not in (Choice.APPROVE, Choice.DENY) or not (version.isascii() and version.isdecimal()):
        raise InvalidInput(INCOMPLETE)
    if len(version) > 9:
        raise InvalidInput(INCOMPLETE)
    return Ruling(Choice(choice), int(version), form.get("digest", ""), form.get("comment", ""))
