"""Whether the person in the chat may decide a call there, and what its form says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.http import QueryDict

from approvals import permissions
from approvals.actions.decisions import Ruling
from approvals.desk_page import INCOMPLETE
from approvals.errors import InvalidInput
from approvals.models import ToolCall
from approvals.secrecy import secrets_in
from approvals.sizes import too_long
from approvals.states import Choice, Status
from approvals.wording import approvers


@dataclass(frozen=True)
class Inline:
    """What a chat offers: approve and deny, unless `elsewhere` says why that is done on the desk.

    `desk`: the person may open the call there.
    """

    elsewhere: str
    desk: bool

    @property
    def here(self) -> bool:
        return not self.elsewhere


def offers(user: User, calls: Iterable[ToolCall]) -> dict[UUID, Inline]:
    """For the calls that this person may decide."""
    return {call.pk: _offer(user, call) for call in calls if _may(user, call)}


def _may(user: User, call: ToolCall) -> bool:
    if call.status != Status.PENDING or permissions.refusal(user, call):
        return False
    return user.get_username() not in approvers(call)


def _offer(user: User, call: ToolCall) -> Inline:
    return Inline(_elsewhere(call), desk=permissions.may_see(user, call))


def _elsewhere(call: ToolCall) -> str:
    """Why it takes the desk: the chat shows no secrets, and asks for nothing but a click."""
    if call.term("confirm") or call.term("justify"):
        return "It asks for more than a click."
    if too_long(call.arguments):
        return "It is too long to be approved."
    return "Some of it is hidden here." if secrets_in(call.arguments) else ""


def ruling(form: QueryDict) -> Ruling:
    """Approve or deny, of exactly what the page showed. Trust is given on the desk. Raises InvalidInput."""
    choice, version = form.get("choice", ""), form.get("version", "")
    if choice not in (Choice.APPROVE, Choice.DENY) or not (version.isascii() and version.isdecimal()):
        raise InvalidInput(INCOMPLETE)
    if len(version) > 9:
        raise InvalidInput(INCOMPLETE)
    return Ruling(Choice(choice), int(version), form.get("digest", ""), form.get("comment", ""))
