"""Writes sessions to files, and files to sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now
from django.utils.duration import duration_iso_string

from agents.models import Agent, Message, Run, Session
from approvals.models import Decision, ToolCall

FOLDER = Path(__file__).parent
PEOPLE = {"user": "alice", "requested_by": "alice", "by": "rita"}


def save(name: str, session: Session) -> Path:
    """The session, its runs, messages, calls and decisions as they are stored."""
    calls = ToolCall.objects.filter(session=session.key).order_by("pk")
    rows = {
        "session": _row(session),
        "runs": [_row(run) for run in session.runs.order_by("created_at")],
        "messages": [_row(message) for message in session.messages.order_by("seq")],
        "calls": [_row(call) for call in calls],
        "decisions": [_row(one) for one in Decision.objects.filter(call__in=calls).order_by("pk")],
    }
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(rows, indent=1, cls=DjangoJSONEncoder, sort_keys=True) + "\n")
    return path


def load(path: Path) -> Session:
    """The session with all that belongs to it, as if it had been paused today."""
    rows = json.loads(path.read_text())
    session: Session = _make(Session, rows["session"])
    for kind, name in ((Run, "runs"), (Message, "messages"), (ToolCall, "calls"), (Decision, "decisions")):
        for row in rows[name]:
            _make(kind, row)
    day = Now() + ToolCall._meta.get_field("executable_for").to_python("1 00:00:00")
    calls = ToolCall.objects.filter(session=session.key)
    calls.filter(expires_at__isnull=False).update(expires_at=day)
    calls.filter(executable_until__isnull=False).update(executable_until=day)
    return session


def _row(found: models.Model) -> dict[str, Any]:
    row = {}
    for field in found._meta.concrete_fields:
        if isinstance(field, models.AutoField | models.BigAutoField):
            continue  # the database gives new ones
        value = field.value_from_object(found)
        if field.name in PEOPLE or field.name in ("agent", "trust", "grant") and field.is_relation:
            continue
        if isinstance(field, models.DurationField) and value is not None:
            value = duration_iso_string(value)
        row[field.name] = value
    return row


def _make(kind: type[models.Model], row: dict[str, Any]) -> Any:
    """One row. Fields that did not exist then have their defaults."""
    values: dict[str, Any] = {}
    for field in kind._meta.concrete_fields:
        if field.name in PEOPLE and field.is_relation:
            values[field.name] = User.objects.get(username=PEOPLE[field.name])
        elif field.name == "agent" and field.is_relation:
            values["agent"] = Agent.objects.get(slug="assistant")
        elif field.name in row:
            values[field.attname] = field.to_python(row[field.name])
    made = kind(**values)
    made.save(force_insert=True)
    return made
