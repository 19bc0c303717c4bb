"""What agents ask the person they talk with: asked, cancelled with the run, told to the model. answers.py answers.

A question is no call of the ledger (docs/decisions/0018-questions.md): reviewers do not see it, an answer allows
nothing. It pauses and wakes its run as a pending call does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import UUIDField
from django.db.models.functions import Now

from agents.models import Question, Run, Session
from agents.states import QuestionStatus
from approvals import audit, events
from approvals.fields import storable
from approvals.prepared import Select, Slot

TOOL = "handoff_to_user"
AGENT = "agent"  # the actor of what the agent's side does
OPEN_A_TURN = 5
TOO_MANY = "Refused: too many questions wait for the user already. Ask one at a time. Nothing was asked."
HANDED_OVER = "Handed over to the user. They go on with a message when they like."


def draft(run: Run, turn: int, tool_use_id: str, arguments: dict[str, Any]) -> Question:
    """An unsaved question, as the model asks it."""
    away = arguments["breakout_of_loop"]
    return Question(
        session_id=run.session_id,
        run=run,
        turn=turn,
        tool_use_id=tool_use_id,
        message=storable(arguments["message"]),
        choices=list(dict.fromkeys(storable(choice) for choice in arguments["choices"])),
        status=QuestionStatus.HANDED_OVER if away else QuestionStatus.OPEN,
    )


def ask(questions: Sequence[Question]) -> None:
    """Store questions, in the caller's transaction: the one that saves the session's state."""
    for one in questions:
        one.save(force_insert=True)
        kind = "question.asked" if one.status == QuestionStatus.OPEN else "question.handed_over"
        record(kind, AGENT, one, message=one.message, choices=one.choices)


def cancel(run_id: Any, actor: str) -> None:
    """What an ended run has asked and nobody has answered."""
    for question in Question.objects.filter(run=run_id, status=QuestionStatus.OPEN):
        _cancel(question, actor)


@audit.audited()
def _cancel(question: Question, actor: str) -> None:
    if close(question, QuestionStatus.CANCELLED):
        record("question.cancelled", actor, question)
        events.ring(events.session_topic(str(question.session_id)), "changed")


def close(question: Question, status: QuestionStatus, **changes: Any) -> int:
    """Compare-and-set: gives 0 where somebody was first."""
    still = Question.objects.filter(pk=question.pk, status=QuestionStatus.OPEN)
    return still.update(status=status, closed_at=Now(), **changes)


def of(session: Session, tool_use_id: str) -> Question | None:
    found: Question | None = _QUESTION.first(session=session.pk, use=tool_use_id)
    return found


def asked_by(session: Session, turn: int) -> int:
    """How many questions a message of the session asks already."""
    return session.questions.filter(turn=turn).count()


_QUESTION = Select(
    lambda: Question.objects.filter(
        session_id=Slot("session", UUIDField()), tool_use_id=Slot("use")
    ).order_by()
)


def result(question: Question) -> tuple[str, list[dict[str, Any]]]:
    """("success" or "error", content blocks): what the model is told."""
    match question.status:
        case QuestionStatus.ANSWERED:
            return "success", [{"text": f"The user answered: {question.answer}"}]
        case QuestionStatus.HANDED_OVER:
            return "success", [{"text": HANDED_OVER}]
    return "error", [{"text": "Cancelled: the run was stopped before the user answered."}]


def record(kind: str, actor: str, question: Question, **data: Any) -> None:
    session = str(question.session_id)
    audit.record(kind, actor, session=session, tool=TOOL, question=str(question.pk), **data)
