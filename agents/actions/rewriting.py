"""A person writes their last message anew. What was said after it is folded away; what was done is not undone.

Rows stay, marked as superseded: the model gets them no more, people can open them, the ledger has their calls.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from agents.actions import conversations
from agents.errors import NotLast
from agents.models import Message, Run, Session
from approvals import audit
from approvals.models import ToolCall
from approvals.states import Status

NOTE = "Note from Nod: "
OPEN = (Status.PENDING, Status.APPROVED, Status.STARTED, Status.UNKNOWN)


def editable(session: Session) -> Message | None:
    """The last message that its user wrote, which is the one that can be written anew."""
    rows = session.messages.filter(role="user", superseded=False, note=False).order_by("-seq")
    return next((row for row in rows[:20] if row.written), None)


@audit.audited(durable=True)
def rewrite(session: Session, seq: int, text: str, actor: str) -> Run:
    """Another message in the place of the last one, and a run that answers it.

    Raises Busy while a run is active, NotLast where it is not the last message (any more) or where something that
    it led to is not over, InvalidInput, AgentInactive; nothing has changed then.
    """
    text = conversations.checked(text)
    run = conversations.new_run(session)  # from here on nobody else writes into this session
    before = editable(session)
    if before is None or before.seq != seq:
        raise NotLast("Only your last message can be written anew. Look at the chat as it is now.")
    calls = ToolCall.objects.filter(session=session.key, turn__gte=seq).order_by("pk")
    if calls.filter(status__in=OPEN).exists():
        raise NotLast("Something that this message led to is not over yet. Write a new message instead.")
    after = session.messages.order_by("seq").values_list("seq", flat=True).last() or seq
    session.messages.filter(seq__gte=seq).update(superseded=True)
    after = _add(session, run, after, _results(before))
    if calls:
        after = _add(session, run, after, [{"text": _note(list(calls))}], note=True)
    _add(session, run, after, conversations.words(text, before.files), files=before.files)
    conversations.touch(session, text)
    audit.record("message.superseded", actor, session=session.key, first=seq, last=after, calls=len(calls))
    return run


def _add(session: Session, run: Run, after: int, content: list[dict[str, Any]], **more: Any) -> int:
    if not content:
        return after
    Message(session=session, run=run, seq=after + 1, role="user", content=content, **more).save(
        force_insert=True
    )
    return after + 1


def _results(before: Message) -> list[dict[str, Any]]:
    """What the message told the model of earlier calls is true still."""
    return [block for block in before.content if "toolResult" in block]


def _note(calls: list[ToolCall]) -> str:
    """What the model is told of the calls that it cannot see any more: Nod's own words alone.

    Arguments, results and reasons are texts of others, which would have the user's authority in a user's message.
    """
    made = Counter((call.tool, Status(call.status).label.lower()) for call in calls)
    lines = [
        f"{NOTE}the user wrote their last message anew. Before that, these calls were made. "
        "What ran stays done; do not repeat it unless you are asked to. The arguments and results stand in the "
        "user's chat; ask for them if they matter.",
        *(
            f"- {tool}: {status}{f', {times} times' if times > 1 else ''}"
            for (tool, status), times in made.items()
        ),
    ]
    return "\n".join(lines)
