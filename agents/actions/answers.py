"""What a person answers to an agent's question. It is information: it approves nothing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from agents.actions import questions, runs
from agents.errors import NotOpen
from agents.models import Question, Session
from agents.states import QuestionStatus
from approvals import audit, events
from approvals.errors import InvalidInput, NotFound
from approvals.fields import storable
from approvals.models import ToolCall
from approvals.states import UNSETTLED


def answer(session: Session, question_id: Any, user: User, text: str) -> Question:
    """The answer of the person whose session it is; the first one counts, and the run goes on.

    Raises NotFound, InvalidInput, NotOpen; nothing has changed then.
    """
    text = storable(text.strip())
    if not text:
        raise InvalidInput("The answer is empty. Write something first.")
    if len(text) > settings.MESSAGE_MAX_CHARS:
        raise InvalidInput(
            f"The answer is longer than {settings.MESSAGE_MAX_CHARS:,} characters. Shorten it."
        )
    question = Question.objects.filter(pk=question_id, session=session, session__user=user).first()
    if question is None:
        raise NotFound("There is no such question, or it is not yours to answer.")
    _answer(question, user, text)
    return question


def meanwhile(session: Session) -> str:
    """Where a message cannot be sent since somebody is asked: what to do about it; else nothing."""
    count = Question.objects.filter(session=session, status=QuestionStatus.OPEN).count()
    if count > 1:
        return f"The agent asks you {count} things. Answer each in the field below it."
    if count:
        return "The agent has asked you something meanwhile. Look at it, then send this again."
    if ToolCall.objects.filter(session=session.key, status__in=UNSETTLED).exists():
        return "The agent waits for a decision. Send this when it has gone on, or stop it first."
    return ""


@audit.audited(durable=True)
def _answer(question: Question, user: User, text: str) -> None:
    if not questions.close(question, QuestionStatus.ANSWERED, answer=text):
        question.refresh_from_db()
        raise NotOpen(_why_closed(question))
    question.status, question.answer = QuestionStatus.ANSWERED, text
    questions.record("question.answered", user.get_username(), question, answer=text)
    runs.wake_if_decided(str(question.run_id))
    events.ring(events.session_topic(str(question.session_id)), "changed")


def _why_closed(question: Question) -> str:
    if question.status == QuestionStatus.ANSWERED:
        return "This was answered already. The first answer counts."
    return "The agent does not wait for this any more."
