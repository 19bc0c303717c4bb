"""Calls that are alike, decided with one word: those that the person saw, each by itself, and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.db import DatabaseError

from approvals import permissions
from approvals.actions import decisions, undoing
from approvals.actions.decisions import Ruling
from approvals.alike import MOST, alike
from approvals.errors import InvalidInput, NotFound, NotTrustable, Refusal
from approvals.ids import uuid7
from approvals.models import Decision, ToolCall
from approvals.states import Choice, Status


@dataclass(frozen=True)
class Seen:
    """One call as it was on the page."""

    call: UUID
    version: int
    digest: str


@dataclass(frozen=True)
class Became:
    """What came of one of them."""

    call: ToolCall
    refused: Refusal | None = None


def decide_together(
    user: User, seen: Sequence[Seen], choice: Choice, comment: str = ""
) -> tuple[UUID, list[Became]]:
    """Approve or deny each of these calls. One that cannot be decided any more stops no other.

    Gives the batch, for undo_together, and what came of each; fewer, where the database went away.
    Raises InvalidInput, NotFound, NotTrustable, CommentRequired; nothing has changed then.
    """
    if choice == Choice.TRUST:
        raise NotTrustable("Trust is given on one call at a time. Open one of them.")
    _check(user, seen)
    decisions.check_note(comment, required=choice == Choice.DENY)
    batch, became = uuid7(), []
    for each in seen:
        try:
            became.append(_became(each.call, _decision(user, each, choice, comment, batch)))
        except DatabaseError:
            if not became:
                raise
            return batch, became  # what is left out was not decided; what was can be taken back
    return batch, became


def undo_together(user: User, batch: UUID) -> list[Became]:
    """Take back each of one's decisions of a batch that can still be taken back. Raises NotFound."""
    mine = Decision.objects.filter(batch=batch, by=user).select_related("call").order_by("pk")
    if not mine:
        raise NotFound("You have decided nothing together like this.")
    made = [one for one in mine if one.undone_at is None]
    return [_became(one.call_id, _undo(user, one.call)) for one in made]


def _check(user: User, seen: Sequence[Seen]) -> None:
    ids = {each.call for each in seen}
    if not 1 < len(ids) == len(seen) <= MOST:
        raise InvalidInput(f"From 2 to {MOST} different calls can be decided together. Reload the page.")
    calls = list(permissions.visible_calls(user).filter(pk__in=ids))
    if len(calls) < len(ids):
        raise NotFound(decisions.NO_CALL)
    # what waits no more, whatever became of it, is told call by call
    waiting = [call for call in calls if call.status == Status.PENDING]
    if len(waiting) > 1 and alike(waiting) is None:
        raise InvalidInput("These calls are not alike any more. Decide them one by one.")


def _decision(user: User, seen: Seen, choice: Choice, comment: str, batch: UUID) -> Callable[[], ToolCall]:
    ruling = Ruling(choice, seen.version, seen.digest, comment=comment, batch=batch)
    return lambda: decisions.decide(seen.call, user, ruling)


def _undo(user: User, call: ToolCall) -> Callable[[], ToolCall]:
    return lambda: undoing.undo(call.pk, user, call.version)


def _became(call_id: UUID, act: Callable[[], ToolCall]) -> Became:
    try:
        return Became(act())
    except Refusal as refused:
        return Became(ToolCall.objects.get(pk=call_id), refused)
