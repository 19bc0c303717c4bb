"""Sessions and their messages: started, written to, read back for a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import UUIDField
from django.db.models.functions import Now

from agents.actions import questions, runs
from agents.actions.attachments import Attachment, stored
from agents.errors import AgentInactive, Busy
from agents.models import Agent, Message, Question, Run, Session
from agents.states import RunStatus
from approvals import events
from approvals.errors import InvalidInput, NotFound
from approvals.failpoints import reach
from approvals.fields import storable
from approvals.models import ToolCall
from approvals.prepared import Insert, Select, Slot, Update
from approvals.states import Status

_PK = Slot("pk", UUIDField())
ATTACHED = "Attached files: "
BUSY = "The agent is still busy with your last message. Wait, answer what it asks, or stop it."
TITLE = 60  # characters
WINDOW = 60  # messages of a long conversation that a model gets to see


def open_with(user: User, agent_slug: str, text: str, files: Sequence[Attachment] = ()) -> Session:
    """A new session and its first message, or neither."""
    session = _unsaved(user, agent_slug)
    checked(text)
    with (
        stored(session, files) as paths,
        transaction.atomic(durable=True),
    ):  # a failing commit takes them back
        session.save(force_insert=True)
        _post(session, text, "", paths)
    return session


def begin(user: User, agent_slug: str) -> Session:
    """A new session with an active agent. Raises NotFound."""
    session = _unsaved(user, agent_slug)
    session.save(force_insert=True)
    return session


def _unsaved(user: User, agent_slug: str) -> Session:
    agent = Agent.objects.filter(slug=storable(agent_slug), active=True).first()
    if agent is None:
        known = ", ".join(Agent.objects.filter(active=True).values_list("slug", flat=True)) or "none yet"
        raise NotFound(f"There is no agent “{agent_slug}”. Agents: {known}.")
    return Session(user=user, agent=agent)


def post(session: Session, text: str, idempotency_key: str = "", files: Sequence[Attachment] = ()) -> Run:
    """Store a user's message and queue the run that answers it.

    The same idempotency key gives the same run. `files` go into the workspace, and the message names them. Raises
    InvalidInput for an empty or overlong text and for files that are none, Busy while another run of the session is
    active, AgentInactive when the agent was switched off.
    """
    checked(text)
    try:
        with stored(session, files) as paths, transaction.atomic(durable=True):
            return _post(session, text, idempotency_key, paths)
    except Busy:
        if run := _known(session, idempotency_key):
            return run  # the same message came twice at once
        raise


def _known(session: Session, idempotency_key: str) -> Run | None:
    """The run that this key has started already."""
    key = storable(idempotency_key)
    return session.runs.filter(idempotency_key=key).first() if key else None


def _post(session: Session, text: str, idempotency_key: str, files: Sequence[str] = ()) -> Run:
    text, idempotency_key = checked(text), storable(idempotency_key)
    if run := _known(session, idempotency_key):
        return run
    run = new_run(session, idempotency_key)
    last = _last(session)
    content = [*_unanswered(session, last), *words(text, files)]
    said = {"role": "user", "content": content, "files": list(files)}
    append(session, run, [said], after=last.seq if last else 0)
    touch(session, text)
    return run


def checked(text: str) -> str:
    """A message as it can be kept. Raises InvalidInput."""
    text = storable(text.strip())
    if not text:
        raise InvalidInput("The message is empty. Write something first.")
    if len(text) > settings.MESSAGE_MAX_CHARS:
        raise InvalidInput(
            f"The message has {len(text):,} characters; {settings.MESSAGE_MAX_CHARS:,} is the most. Shorten it, "
            "or put the text into a file of the workspace."
        )
    return text


def words(text: str, files: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What a user says, as blocks: their text, and a line that names the files they attached."""
    return [{"text": text}, *([{"text": f"{ATTACHED}{', '.join(files)}"}] if files else [])]


def title_of(text: str) -> str:
    """The beginning of what a person wrote, in one line of at most 60 characters, cut between words."""
    line = " ".join(text.split())
    if len(line) <= TITLE:
        return line
    cut = line[:TITLE].rpartition(" ")[0]
    return f"{cut if len(cut) > TITLE // 2 else line[: TITLE - 1]}…"


def touch(session: Session, text: str) -> None:
    """Its user has said something: it is the newest, and out of the archive."""
    if not session.title:
        session.title = title_of(text)
    _TOUCH(pk=session.pk, title=session.title)


_TOUCH = Update(
    lambda: Session.objects.filter(pk=_PK), title=Slot("title"), active_at=Now(), archived_at=None
)


@transaction.atomic(durable=True)
def retry(session: Session) -> Run:
    """Answer the last message once more, after a run that failed or was stopped."""
    before = session.runs.last()
    if before is None or before.status not in (RunStatus.FAILED, RunStatus.STOPPED):
        raise Busy("There is nothing to try again right now.")
    run = new_run(session)
    last = _last(session)
    if last is None or (last.role == "assistant" and not last.tool_uses()):
        raise Busy("There is nothing to try again right now: the agent had answered.")
    if answers := _unanswered(session, last):
        append(session, run, [{"role": "user", "content": answers}], after=last.seq)
    return run


def _last(session: Session) -> Message | None:
    last: Message | None = _LAST.first(pk=session.pk)
    return last


_LAST = Select(lambda: Message.objects.filter(session_id=_PK).order_by("-seq")[:1])


def new_run(session: Session, idempotency_key: str = "") -> Run:
    """In the caller's transaction. Raises Busy, AgentInactive."""
    if not session.agent.active:
        raise AgentInactive(f"{session.agent.name} is switched off. Start a new chat with another agent.")
    try:
        run = Run.objects.create(session=session, idempotency_key=idempotency_key)
    except IntegrityError:  # ends the caller's transaction: a savepoint would cost two round trips
        raise Busy(BUSY) from None
    transaction.on_commit(lambda: reach("posted", session.key))
    runs.enqueue_on_commit(run.pk)
    events.ring(events.session_topic(session.key), "changed")
    return run


def save_state(session: Session, state: dict[str, Any]) -> None:
    """Store the runtime's small state, in the caller's transaction."""
    if state != session.state:
        session.state = state
        session.save(update_fields=["state"])


def append(session: Session, run: Run | None, messages: Iterable[dict[str, Any]], *, after: int) -> int:
    """Add messages behind number `after`, in the caller's transaction; returns the last number."""
    for message in messages:
        after += 1
        _ADD.row(Message(session=session, run=run, seq=after, **message))
    return after


_ADD = Insert(Message)


def _unanswered(session: Session, last: Message | None) -> list[dict[str, Any]]:
    """Tool results that the last message still lacks, because its run was stopped or failed.

    Without them no model takes the conversation. They say what the ledger says.
    """
    if last is None or last.role != "assistant" or not last.tool_uses():
        return []
    found: dict[str, ToolCall | Question] = {}
    for call in ToolCall.objects.filter(session=session.key, turn=last.seq):
        found[call.tool_use_id] = call
    for question in session.questions.filter(turn=last.seq):
        found[question.tool_use_id] = question
    return [tool_result(use["toolUseId"], found.get(use["toolUseId"])) for use in last.tool_uses()]


def tool_result(tool_use_id: str, asked: ToolCall | Question | None) -> dict[str, Any]:
    """The Converse block that tells a model what became of a call or a question."""
    status, content = questions.result(asked) if isinstance(asked, Question) else outcome(asked)
    return {"toolResult": {"toolUseId": tool_use_id, "status": status, "content": content}}


def outcome(call: ToolCall | None) -> tuple[str, list[dict[str, Any]]]:
    """("success" or "error", content blocks): what the model is told of a call, truthfully."""
    if call is None:
        return "error", [{"text": "Cancelled: the run was stopped before this was done."}]
    if call.status in (Status.SUCCEEDED, Status.FAILED):
        return ("success" if call.status == Status.SUCCEEDED else "error"), list(call.result or [])
    return "error", [{"text": _sentence(call)}]


def _sentence(call: ToolCall) -> str:
    match call.status:
        case Status.DENIED:
            decision = call.decision()
            who = decision.by.get_username() if decision else "a reviewer"
            reason = decision.comment if decision else ""
            return f"Denied by {who}. Reason: {reason} Nothing was done. Do not try the same again."
        case Status.BLOCKED:
            return blocked(call.policy, call.why)
        case Status.EXPIRED:
            return "Expired: nobody decided in time. Nothing was done."
        case Status.LAPSED:
            return f"Cancelled: the approval could not be used. {call.why or 'It came too late.'} Nothing was done."
        case Status.UNKNOWN:
            return (
                f"Unknown outcome: {call.why} It may or may not have happened. "
                "Do not repeat it; a person has to check."
            )
        case Status.STARTED:
            return (
                "Unknown outcome: it was still running when the run was stopped. It may or may not have happened. "
                "Do not repeat it; a person has to check."
            )
        case _:
            return "Cancelled: the run was stopped before this was done."


def blocked(policy: str, why: str) -> str:
    """What the model is told of a call that nobody is asked about."""
    if policy:
        return f"Blocked by policy “{policy}”. Nothing was done."
    return f"Refused: {why} Nothing was done."


def newest(session: Session) -> list[Message]:
    """The last messages of a session, in order; about WINDOW, beginning with something a user said.

    A long run may have made more than that by itself; its question is part of it all the same.
    """
    rows: list[Message] = []
    while True:
        earlier = _BEFORE(pk=session.pk, seq=rows[0].seq if rows else END)[::-1]
        rows = earlier + rows
        first = next((at for at, row in enumerate(rows) if row.role == "user" and _plain(row)), None)
        if first is not None:
            return rows[first:]
        if not earlier:
            return rows


END = 2**31 - 1  # behind every message
_BEFORE = Select(
    lambda: Message.objects.filter(session_id=_PK, superseded=False, seq__lt=Slot("seq")).order_by("-seq")[
        :WINDOW
    ]
)


def for_model(rows: list[Message]) -> list[dict[str, Any]]:
    """Messages as a model takes them: roles alternate."""
    messages: list[dict[str, Any]] = []
    for row in rows:
        if messages and messages[-1]["role"] == row.role:
            messages[-1]["content"] += row.content
        else:
            messages.append({"role": row.role, "content": list(row.content)})
    return messages


def _plain(message: Message) -> bool:
    return not any("toolResult" in block for block in message.content)
