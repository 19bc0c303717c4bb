"""What tests do at the desk, in one line each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models.functions import Now

from agents import driver
from agents.actions import conversations, runs
from agents.models import Run, Session
from agents.states import RunStatus
from agents.sweeper import DUTIES, SLOW
from approvals.actions import decisions, settlements
from approvals.actions.settlements import Settlement
from approvals.models import AuditEntry, ToolCall
from approvals.states import Choice, Outcome, Status
from tests.fakes.model import Use

PAST = timedelta(seconds=1)
MAIL = {"to": "dev@example.com", "subject": "Launch", "body": "On Thursday."}


def work() -> int:
    """A worker: takes each run that is due as far as it goes. Returns how often it took one."""
    taken = 0
    while due := list(Run.objects.filter(status=RunStatus.QUEUED).values_list("pk", flat=True)):
        for run_id in due:
            driver.advance(str(run_id))
            taken += 1
        assert taken < 100, "runs come back to the queue for ever"
    return taken


def chat(user: User, text: str = "Hello.", session: Session | None = None) -> Session:
    """Says something and lets the worker go as far as it can."""
    session = say(user, text, session)
    work()
    return session


def say(user: User, text: str = "Hello.", session: Session | None = None) -> Session:
    """Says something; no worker is there."""
    session = session or conversations.begin(user, "assistant")
    conversations.post(session, text)
    return session


def sweep() -> None:
    """What a worker's sweepers do every few seconds."""
    for duty in (*DUTIES, *SLOW):
        duty()


def asks(**changes: Any) -> Use:
    """The model wants to send MAIL, with these changes."""
    return Use("send_email", {**MAIL, **changes})


def die(run: Run) -> None:
    """Its worker was killed: nobody renews the lease."""
    pass_by(Run.objects.filter(pk=run.pk), "lease_until")


def claim(run: Run) -> Run:
    """A worker takes the run."""
    claimed = runs.claim(run.pk)
    assert claimed is not None
    return claimed


def last_run(session: Session) -> Run:
    run = session.runs.last()
    assert run is not None
    return run


def calls(session: Session, **filters: Any) -> list[ToolCall]:
    return list(ToolCall.objects.filter(session=session.key, **filters).order_by("pk"))


def only_call(session: Session, **filters: Any) -> ToolCall:
    [call] = calls(session, **filters)
    return call


def pending(session: Session) -> ToolCall:
    return only_call(session, status=Status.PENDING)


def statuses(session: Session) -> list[str]:
    return [call.status for call in calls(session)]


def ruling(call: ToolCall, choice: Choice = Choice.APPROVE, **changes: Any) -> decisions.Ruling:
    """A decision on the call as it was loaded."""
    return decisions.Ruling(**{"choice": choice, "version": call.version, "digest": call.digest, **changes})


def approve(call: ToolCall, by: User, **changes: Any) -> ToolCall:
    return decisions.decide(call.pk, by, ruling(call, **changes))


def deny(call: ToolCall, by: User, comment: str = "Not like this.") -> ToolCall:
    return decisions.decide(call.pk, by, ruling(call, Choice.DENY, comment=comment))


def trust(call: ToolCall, by: User, **changes: Any) -> ToolCall:
    return decisions.decide(call.pk, by, ruling(call, Choice.TRUST, **changes))


def settle(call: ToolCall, by: User, outcome: Outcome, note: str = "I looked.") -> ToolCall:
    return settlements.settle(call.pk, by, Settlement(outcome, call.version, call.digest, note))


def pass_by(rows: Any, field: str) -> None:
    """Sets a deadline of these rows into the past, by the database's clock."""
    assert rows.update(**{field: Now() - PAST})


def kinds(**filters: Any) -> list[str]:
    """The audit trail's kinds, oldest first."""
    return list(AuditEntry.objects.filter(**filters).order_by("seq").values_list("kind", flat=True))


def no_audit(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
    """For `connection.execute_wrapper`: no entry of the audit trail can be written."""
    if f"INSERT INTO {AuditEntry._meta.db_table}" in sql.replace('"', ""):
        raise OSError("the disk is full")
    return execute(sql, *rest)
