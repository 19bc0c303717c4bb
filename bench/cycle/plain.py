"""The floor: the same cycle as plain Django rows, by hand, on PostgreSQL.

Six commits: the message; the request with its approval; approved; started; the result; the answer. There is no
policy, no check of anything, no Strands and no notification: less than any real application could do with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dj_database_url
import django
from django.conf import settings
from django.db import connection, models, transaction

from bench import script

if not settings.configured:
    settings.configure(
        DATABASES={"default": {**dj_database_url.config(), "CONN_MAX_AGE": None}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()

TOOLS: dict[str, Any] = {"send_email": script.send_email, "lookup": script.lookup}


class Line(models.Model):
    """One message."""

    talk = models.CharField(max_length=64)
    body = models.JSONField()

    class Meta:
        app_label = "plain"
        indexes = [models.Index(fields=["talk", "id"], name="line_talk")]  # noqa: RUF012

    def __str__(self) -> str:
        return self.talk


class Approval(models.Model):
    key = models.CharField(max_length=64, primary_key=True)
    talk = models.CharField(max_length=64)
    call = models.JSONField()
    status = models.CharField(max_length=16)

    class Meta:
        app_label = "plain"

    def __str__(self) -> str:
        return self.key


class Log(models.Model):
    approval = models.ForeignKey(Approval, models.CASCADE)
    event = models.CharField(max_length=16)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "plain"

    def __str__(self) -> str:
        return self.event


class Peer:
    """See bench/cycle/worker.py for what a contestant offers."""

    def __init__(self, workdir: Path) -> None:
        if Line._meta.db_table not in connection.introspection.table_names():
            with connection.schema_editor() as editor:
                for model in (Line, Approval, Log):
                    editor.create_model(model)

    def chat(self, sid: str, prompt: str) -> None:
        self._say(sid, {"role": "user", "text": prompt})
        self._go_on(sid)

    def pause(self, sid: str) -> str:
        self._say(sid, {"role": "user", "text": "send"})
        return self._go_on(sid)

    def resume(self, sid: str, ticket: str) -> str:
        self._step(ticket, "pending", "approved")
        self._step(ticket, "approved", "started")
        call = Approval._default_manager.get(key=ticket).call
        result = TOOLS[call["tool"]](**call["arguments"])
        with transaction.atomic():
            self._say(sid, {"role": "tool", "text": result})
            Approval._default_manager.filter(key=ticket).update(status="done")
        return self._go_on(sid)

    def state_bytes(self, sid: str) -> int:
        bodies = list(Line._default_manager.filter(talk=sid).values_list("body", flat=True))
        calls = list(Approval._default_manager.filter(talk=sid).values_list("call", flat=True))
        return sum(len(json.dumps(each)) for each in bodies + calls)

    def close(self) -> None:
        connection.close()

    def _go_on(self, sid: str) -> str:
        """The key of the approval that it waits for, or the answer."""
        lines = list(Line._default_manager.filter(talk=sid).order_by("id").values_list("body", flat=True))
        while True:
            tool, content = script.decide(*_since(lines))
            if tool is None:
                self._say(sid, {"role": "assistant", "text": content})
                return str(content)
            call = {"tool": tool, "arguments": content, "id": script.call_id()}
            said = {"role": "assistant", "call": call}
            if tool == "send_email":
                return self._ask(sid, call, said)
            result = {"role": "tool", "text": TOOLS[tool](**content)}
            lines += [said, result]
            with transaction.atomic():
                self._say(sid, said)
                self._say(sid, result)

    def _ask(self, sid: str, call: dict[str, Any], said: dict[str, Any]) -> str:
        with transaction.atomic():
            self._say(sid, said)
            return Approval._default_manager.create(
                key=f"{sid}:{call['id']}", talk=sid, call=call, status="pending"
            ).key

    def _say(self, sid: str, body: dict[str, Any]) -> None:
        Line._default_manager.create(talk=sid, body=body)

    def _step(self, ticket: str, old: str, new: str) -> None:
        with transaction.atomic():
            changed = Approval._default_manager.filter(key=ticket, status=old).update(status=new)
            assert changed == 1, f"{ticket} is not {old}"
            Log._default_manager.create(approval_id=ticket, event=new)


def _since(lines: list[dict[str, Any]]) -> tuple[str, int]:
    """The last prompt, and how many tool results came after it."""
    at = max(number for number, line in enumerate(lines) if line["role"] == "user")
    return str(lines[at]["text"]), sum(line["role"] == "tool" for line in lines[at:])
