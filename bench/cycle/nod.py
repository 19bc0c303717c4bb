"""Nod in one process: message, pause, decision, resume; with policy, ledger, trust, audit, Strands and doorbells.

There is no web server and no broker in it: the benchmark calls the actions that the pages and the API call, and the
driver that the Celery task calls. Doorbells go to a channel layer of this process. The model follows a script.

It needs nothing of this package but `bench.script`, so that it also is a row of the peers' benchmark (README.md).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django
from django.conf import settings

from bench import script

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)

if dsn := os.environ.get("PG_DSN"):  # the peers' benchmark: "host=… port=… user=… dbname=…"
    at = dict(part.split("=", 1) for part in dsn.split())
    host = quote(at["host"], safe="")
    os.environ["DATABASE_URL"] = f"postgres://{at['user']}@{host}:{at['port']}/{at['dbname']}"
os.environ |= {
    "DEBUG": "0",
    "ALLOWED_HOSTS": "localhost",
    "SECRET_KEY": "of this benchmark alone, not a secret",
}
if not settings.configured:
    if "--workdir" in sys.argv:
        os.environ["NOD_DATA"] = sys.argv[sys.argv.index("--workdir") + 1]
    from hitl_site import settings as nod

    own = {name: value for name, value in vars(nod).items() if name.isupper()}
    own["CHANNEL_LAYERS"] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.configure(**own)
    django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from strands.models import Model  # noqa: E402

from agents import driver, providers, wakeups  # noqa: E402
from agents.actions import conversations  # noqa: E402
from agents.actions.catalogue import register_local  # noqa: E402
from agents.models import Agent, Message, Run, Session  # noqa: E402
from agents.tools import registry  # noqa: E402
from approvals.actions import decisions  # noqa: E402
from approvals.models import Tool, ToolCall, ToolPolicy  # noqa: E402
from approvals.permissions import CHAT_USERS  # noqa: E402
from approvals.policy import REVIEWERS  # noqa: E402
from approvals.states import Choice, Effect  # noqa: E402


class Scripted(Model):
    """Follows the script; streams as Bedrock does."""

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        tool, content = script.decide(*_since(messages))
        yield {"messageStart": {"role": "assistant"}}
        if tool is None:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": content}}}
        else:
            use = {"name": tool, "toolUseId": script.call_id()}
            yield {"contentBlockStart": {"start": {"toolUse": use}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(content)}}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if tool is None else "tool_use"}}

    def update_config(self, **model_config: Any) -> None:
        raise NotImplementedError

    def get_config(self) -> Any:
        return {"model_id": "script"}

    def structured_output(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


class Peer:
    """See bench/cycle/worker.py for what a contestant offers."""

    def __init__(self, workdir: Path) -> None:
        registry.catalogue().clear()
        for function in (script.send_email, script.lookup):
            made = registry.tool()(function)
            registry.catalogue()[made.name] = made
        model = Scripted()
        providers.build = lambda *args: model
        wakeups.wake = lambda run_id: None  # the benchmark is the worker
        if "approvals_tool" not in connection.introspection.table_names():
            call_command("migrate", verbosity=0)
            _people_and_policies()
        self.alice, self.rita = (User.objects.get(username=name) for name in ("alice", "rita"))
        self._sessions: dict[str, str] = {}
        self._names = workdir / "sessions"

    def build(self, sid: str, gate: bool = True) -> Session:
        """The session, as a page loads it; agents are built anew for each run. `gate` changes nothing here."""
        key = self._key(sid) or self._begun(sid, conversations.begin(self.alice, "assistant"))
        return Session.objects.select_related("agent", "user").get(pk=key)

    def _key(self, sid: str) -> str | None:
        """Of the session of this name, if there is one; another process may have begun it."""
        if sid not in self._sessions and self._names.exists():
            self._sessions |= dict(line.split("\t") for line in self._names.read_text().splitlines())
        return self._sessions.get(sid)

    def _post(self, sid: str, text: str) -> Run:
        """The first message begins the session, as on the page of a new chat."""
        if self._key(sid):
            return conversations.post(self.build(sid), text)
        session = conversations.open_with(self.alice, "assistant", text)
        self._begun(sid, session)
        return session.runs.get()

    def _begun(self, sid: str, session: Session) -> str:
        self._sessions[sid] = session.key
        with self._names.open("a") as file:
            file.write(f"{sid}\t{session.key}\n")
        return session.key

    def chat(self, sid: str, prompt: str) -> None:
        driver.advance(str(self._post(sid, prompt).pk))

    def pause(self, sid: str) -> str:
        run = self._post(sid, "send")
        driver.advance(str(run.pk))
        return str(ToolCall.objects.values_list("pk", flat=True).get(run=str(run.pk)))

    def resume(self, sid: str, ticket: str) -> str:
        shown = ToolCall.objects.get(pk=ticket)  # what the reviewer's page has
        ruling = decisions.Ruling(Choice.APPROVE, version=shown.version, digest=shown.digest)
        decisions.decide(ticket, self.rita, ruling)
        driver.advance(shown.run)
        return Message.objects.filter(run_id=shown.run).order_by("-seq")[0].text

    def burst(self, sid: str, n: int, gate: bool) -> None:
        self.chat(sid, f"burst:{n}")

    def state_bytes(self, sid: str) -> int:
        """Bytes of JSON of the session: its messages, calls and state; without the audit trail."""
        session = self.build(sid)
        with connection.cursor() as cursor:
            cursor.execute(_STORED, {"session": session.pk, "key": session.key})
            return int(cursor.fetchone()[0])

    def written(self) -> int:
        """Bytes of write-ahead log so far."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
            return int(cursor.fetchone()[0])

    def close(self) -> None:
        connection.close()


_STORED = """
SELECT (SELECT sum(octet_length(content)) FROM agents_message WHERE session_id = %(session)s)
     + (SELECT coalesce(sum(octet_length(arguments) + octet_length(coalesce(result, '')) + octet_length(said)), 0)
        FROM approvals_toolcall WHERE session = %(key)s)
     + (SELECT octet_length(state) FROM agents_session WHERE id = %(session)s)
"""


def _people_and_policies() -> None:
    register_local()
    for name, group in (("alice", CHAT_USERS), ("rita", REVIEWERS)):
        User.objects.create(username=name).groups.add(Group.objects.get(name=group))
    agent = Agent.objects.create(
        slug="assistant", name="Assistant", system_prompt=script.SYSTEM, max_steps=10_000
    )
    agent.tools.set(Tool.objects.all())
    ToolPolicy.objects.create(name="Ask before mail", tool="send_email", effect=Effect.ASK)
    ToolPolicy.objects.create(name="Looking up is free", tool="lookup", effect=Effect.ALLOW)


def _since(messages: Any) -> tuple[str, int]:
    """The last prompt, and how many tool results came after it."""
    results = 0
    for message in reversed(messages):
        results += sum("toolResult" in block for block in message["content"])
        texts = [block["text"] for block in message["content"] if "text" in block]
        if message["role"] == "user" and texts:
            return texts[-1], results
    return "", results
