"""The API's part for chat: sessions and messages."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from agents import costs
from agents.actions import answers, conversations, runs
from agents.errors import NotAChatUser
from agents.models import Question, Run, Session
from agents.states import ACTIVE, RunStatus
from approvals import permissions
from approvals.actions import trust as trust_actions
from approvals.api import Token, call_out, person, trust_out, with_people
from approvals.api_schemas import CallOut, Problem
from approvals.errors import NotAReviewer, NotFound
from approvals.models import ToolCall, TrustGrant

router = Router(tags=["sessions"])

STATUS = {
    RunStatus.QUEUED: "running",
    RunStatus.RUNNING: "running",
    RunStatus.WAITING: "waiting",
    RunStatus.QUARANTINED: "failed",
    RunStatus.FAILED: "failed",
}


class SessionIn(Schema):
    agent: str = Field(description="The agent's slug.")


class SessionBrief(Schema):
    id: str
    agent: str
    status: Literal["idle", "running", "waiting", "failed"]


class MessageIn(Schema):
    text: str
    idempotency_key: str = Field("", max_length=200)


class RunOut(Schema):
    run: str


class MessageOut(Schema):
    """A Bedrock Converse message."""

    role: Literal["user", "assistant"]
    content: list[dict[str, Any]]


class TrustOut(Schema):
    id: str
    tool: str
    scope: dict[str, Any] = Field(
        {}, description="Arguments that have to be these; none means any arguments."
    )
    granted_by: str
    granted_at: str
    expires_at: str
    max_uses: int | None
    uses: int


class QuestionOut(Schema):
    """What the agent asks the person whose session it is."""

    id: str
    message: str
    choices: list[str] = Field(description="Answers to choose from; any other text is an answer too.")
    status: Literal["open", "answered", "cancelled", "handed_over"]
    answer: str
    asked_at: str


class AnswerIn(Schema):
    question: UUID = Field(description="The question's id.")
    answer: str = Field(description="One of its choices, or any text.")


class UsageOut(Schema):
    """What the model cost in this session, as far as its provider tells."""

    input_tokens: int = Field(0, description="Those read from or written to the model's cache not counted.")
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    model_ms: int = 0


class SessionOut(SessionBrief):
    error: str = Field("", description="Why the last run failed, if it did.")
    messages: list[MessageOut]
    calls: list[CallOut]
    questions: list[QuestionOut]
    trust: list[TrustOut]
    usage: UsageOut


ERRORS = {403: Problem, 404: Problem, 409: Problem, 422: Problem}


@router.post("", response={201: SessionBrief, **ERRORS}, auth=Token("chat"), summary="Start a session")
def create(request: HttpRequest, payload: SessionIn) -> Status[Any]:
    return Status(201, _brief(conversations.begin(_chatter(request), payload.agent), None))


@router.post(
    "/{session_id}/messages", response={202: RunOut, **ERRORS}, auth=Token("chat"), summary="Say something"
)
def post(request: HttpRequest, session_id: UUID, payload: MessageIn) -> Status[Any]:
    """The same idempotency_key gives the same run."""
    run = conversations.post(_mine(request, session_id), payload.text, payload.idempotency_key)
    return Status(202, {"run": str(run.pk)})


@router.get(
    "/{session_id}", response={200: SessionOut, **ERRORS}, auth=Token("chat"), summary="The whole state"
)
def show(request: HttpRequest, session_id: UUID) -> dict[str, Any]:
    session = _mine(request, session_id)
    calls = with_people(ToolCall.objects.filter(session=session.key)).order_by("pk")
    grants = TrustGrant.objects.filter(TrustGrant.live(), session=session.key).select_related("granted_by")
    last = session.runs.last()  # read once, so that the status and its reason belong together
    return {
        **_brief(session, last),
        "error": last.error if last else "",
        "messages": [
            {"role": message.role, "content": message.content}
            for message in session.messages.filter(superseded=False)
        ],
        "calls": [call_out(call) for call in calls],
        "questions": [_question(one) for one in session.questions.all()],
        "trust": [trust_out(grant) for grant in grants],
        "usage": costs.of_session(session),
    }


@router.post(
    "/{session_id}/answers",
    response={200: QuestionOut, **ERRORS},
    auth=Token("chat"),
    summary="Answer a question of the agent",
)
def answer(request: HttpRequest, session_id: UUID, payload: AnswerIn) -> dict[str, Any]:
    """The first answer counts; a later one gets 409 `not_open`. An answer approves nothing."""
    session = _mine(request, session_id)
    return _question(answers.answer(session, payload.question, person(request), payload.answer))


@router.post(
    "/{session_id}/stop", response={202: SessionBrief, **ERRORS}, auth=Token("chat"), summary="Stop the run"
)
def stop(request: HttpRequest, session_id: UUID) -> Status[Any]:
    """Stopping what does not run is no error."""
    session = _mine(request, session_id)
    if run := session.runs.filter(status__in=ACTIVE).first():
        runs.stop(run, person(request).get_username())
    return Status(202, _brief(session, session.runs.last()))


@router.delete(
    "/{session_id}/trust/{grant_id}",
    response={204: None, **ERRORS},
    auth=Token("chat", "review"),
    summary="Revoke trust",
)
def revoke(request: HttpRequest, session_id: UUID, grant_id: UUID) -> Status[Any]:
    """By the person whose session it is, or by whoever may give such trust."""
    user, scopes = person(request), request.scopes  # type: ignore[attr-defined]
    reviewer = "review" in scopes and permissions.visible_calls(user).filter(session=str(session_id)).exists()
    own = Session.objects.filter(pk=session_id, user=user).exists()
    if not reviewer and not own:
        raise NotFound("There is no such session, or it is not yours.")
    grant = TrustGrant.objects.filter(pk=grant_id, session=str(session_id)).first()
    if grant is None:
        raise NotFound("There is no such trust in this session.")
    if not own and not permissions.may_revoke(user, grant):
        raise NotAReviewer("Only those who may give this trust may end it.")
    trust_actions.revoke(grant_id, str(session_id), user)
    return Status(204, None)


def _chatter(request: HttpRequest) -> User:
    user = person(request)
    if not permissions.may_chat(user):
        raise NotAChatUser("You are not in the group of chat users. An administrator can add you.")
    return user


def _mine(request: HttpRequest, session_id: UUID) -> Session:
    session = Session.objects.select_related("agent").filter(pk=session_id, user=person(request)).first()
    if session is None:
        raise NotFound("There is no such session, or it is not yours.")
    _chatter(request)
    return session


def _question(one: Question) -> dict[str, Any]:
    names = ("message", "choices", "status", "answer")
    return {
        "id": str(one.pk),
        "asked_at": one.asked_at.isoformat(),
        **{name: getattr(one, name) for name in names},
    }


def _brief(session: Session, last: Run | None) -> dict[str, Any]:
    status = STATUS.get(RunStatus(last.status), "idle") if last else "idle"
    return {"id": session.key, "agent": session.agent.slug, "status": status}
